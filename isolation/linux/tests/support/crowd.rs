//! `taffeta-shim-test crowd <tasks-root> <node-id> [<folder for secrets in memory>]`: an agent with many tasks, as the
//! product's drives the executor, to be killed at any instant.
//!
//! It takes up what an earlier one has left, kills what runs of that, and starts what it reads from stdin, a list of specs,
//! all at once. What becomes of each run it says in a line, `<word> <run>: <words>`; a run that has ended is forgotten.
//! `recovered` is said when all is known that was left, `idle` when none is left, and then it stays.

use std::{collections::BTreeSet, io, process::ExitCode, sync::Arc};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{Executor, FoundState, Memory, StartError, TaskSecrets, TaskSpec};
use taffeta_model::{Exit, Secret, SecretName};
use tokio::task::JoinSet;

/// A spec is sent without its secrets; this variable of it is made one.
const SECRET: &str = "SECRET_TO_BE";

pub(crate) fn run(tasks_root: &str, node_id: &str, memory: Option<&String>) -> ExitCode {
    let specs: Vec<TaskSpec> = serde_json::from_reader(io::stdin()).expect("specs on stdin");
    let memory = memory.map(|folder| Memory::Folder(folder.into()));
    let config = LinuxConfig { best_effort: true, memory, ..LinuxConfig::new(tasks_root, node_id) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let crowd = Crowd(Arc::new(LinuxExecutor::new(config).expect("an executor")));
        let mut runs = JoinSet::new();
        let mut known = BTreeSet::new();
        for found in crowd.0.recover().await {
            known.insert(found.run_id.clone());
            runs.spawn(crowd.clone().take_up(found.run_id, found.state));
        }
        println!("recovered");
        for spec in specs.into_iter().filter(|spec| !known.contains(&spec.run_id)) {
            runs.spawn(crowd.clone().live(with_secret(spec)));
        }
        runs.join_all().await;
        crowd.0.tidy().await;
        println!("idle");
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

fn with_secret(mut spec: TaskSpec) -> TaskSpec {
    if let Some(value) = spec.env.remove(SECRET) {
        let name = SecretName::new("db").expect("a plain name");
        spec.secrets =
            TaskSecrets { files: [(name, Secret::new(value.into_bytes()))].into(), ..TaskSecrets::default() };
    }
    spec
}

#[derive(Clone)]
struct Crowd(Arc<LinuxExecutor>);

impl Crowd {
    async fn take_up(self, run_id: String, state: FoundState) {
        match state {
            FoundState::Running { .. } => {
                println!("readopted {run_id}:");
                if let Err(e) = self.0.kill(&run_id).await {
                    println!("alive {run_id}: {e}");
                }
                let exit = self.0.wait(&run_id).await;
                self.end(&run_id, &exit).await;
            }
            FoundState::Exited { exit, .. } => self.end(&run_id, &exit).await,
            FoundState::Lost => self.end(&run_id, &Exit::Lost).await,
        }
    }

    async fn live(self, spec: TaskSpec) {
        let run_id = spec.run_id.clone();
        match self.0.start(spec).await {
            Ok(_) => {
                println!("started {run_id}:");
                let exit = self.0.wait(&run_id).await;
                self.end(&run_id, &exit).await;
            }
            Err(StartError::AlreadyRan { exit, .. }) => self.end(&run_id, &exit).await,
            Err(e) => println!("failed {run_id}: {e}"),
        }
    }

    async fn end(&self, run_id: &str, exit: &Exit) {
        println!("ended {run_id}: {exit}");
        if let Err(e) = self.0.forget(run_id).await {
            println!("kept {run_id}: {e}");
        }
    }
}
