//! The number of a process that has gone is given to another one: that one is let alone, whatever is asked for of the run.

use super::support::{Bench, PATIENCE, lives};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    process::{Child, Command},
    time::Duration,
};
use taffeta_isolation_linux::LinuxExecutor;
use taffeta_isolation_plan::{ActError, CommandError, CommandSpec, Executor};
use taffeta_model::Measure;
use tokio::time::timeout;

/// How long a kill is waited for that cannot come to an end, as the run's lock is held.
const KILL: Duration = Duration::from_millis(1_500);

/// A process that has nothing to do with any run; it ends with its test.
struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    /// When it has begun, as the kernel counts.
    fn start(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A run whose shim answers nobody, and whose processes all have the same number. Its lock, which a shim holds for life.
async fn silent_run(bench: &Bench, executor: &LinuxExecutor, process: &Value, boot_id: Option<&str>) -> File {
    executor.start(bench.spec("r1", &["sleep", "1000"])).await.unwrap();
    let [spec, launch, mut state] = ["spec.json", "launch.json", "state.json"].map(|file| bench.record("r1", file));
    executor.kill("r1").await.unwrap();
    executor.forget("r1").await.unwrap();

    let folder = bench.root.join("r1");
    fs::create_dir_all(folder.join("work")).unwrap();
    for of in ["shim", "task", "init"] {
        if state.get(of).is_some() {
            state[of] = process.clone();
        }
    }
    if let Some(boot_id) = boot_id {
        state["boot_id"] = boot_id.into();
    }
    for (file, record) in [("spec.json", spec), ("launch.json", launch), ("state.json", state)] {
        fs::write(folder.join(file), record.to_string()).unwrap();
    }
    let lock = File::create(folder.join("lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    lock
}

#[tokio::test]
async fn a_process_that_has_got_the_number_is_let_alone() {
    let stranger = Stranger::new();
    let (pid, start) = (stranger.0.id(), stranger.start());
    // One that began at another time, and one that began at the same time after another boot.
    for (start, boot_id) in [(start + 1, None), (start, Some("another"))] {
        let bench = Bench::new();
        let executor = bench.executor();
        let lock = silent_run(&bench, &executor, &json!({ "pid": pid, "start": start }), boot_id).await;

        assert!(executor.usage("r1").await.is_none(), "{boot_id:?}: what it uses is not the task's");
        let signalled = executor.signal("r1", 9).await;
        assert!(matches!(&signalled, Err(ActError::Failed(why)) if why.contains("does not answer")), "{signalled:?}");
        let command = CommandSpec { run: vec!["true".into()], terminal: None, input: false };
        assert!(matches!(executor.exec("r1", command).await, Err(CommandError::Ended(run)) if run == "r1"));
        if executor.permitted().measures.lacking.contains_key(&Measure::MountNamespace) {
            eprintln!("SKIPPED: no task of this machine has namespaces that a check could enter");
        } else {
            let passes = executor.run_check("r1", &["true".into()], PATIENCE).await;
            assert!(!passes, "{boot_id:?}: it was run inside of another process's namespaces");
        }
        assert!(timeout(KILL, executor.kill("r1")).await.is_err(), "what holds the lock is taken for the shim");
        assert!(lives(pid), "{boot_id:?}");

        fs::write(bench.root.join("r1/exit.json"), "{\"version\":1,\"at\":1,\"lost\":true}").unwrap();
        drop(lock);
    }
}
