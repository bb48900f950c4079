//! For the tests: the shim alone, and agents that can be killed.
//!
//! `taffeta-shim-test shim <run-folder>` is what the product does for `taffeta shim`. `taffeta-shim-test agent
//! <tasks-root> <node-id>` starts the spec that it reads from stdin, prints the process id, and stays. `taffeta-shim-test adopt
//! <tasks-root> <node-id> <run> <check>` takes up what another agent has left, does with that run what an agent does, and ends
//! it. For `taffeta-shim-test crowd` see its module.

mod crowd;

use std::{
    ffi::OsString,
    io,
    process::ExitCode,
    time::{Duration, Instant},
};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor, shim_main};
use taffeta_isolation_plan::{Executor, FoundState, TaskSpec};

/// How long a task may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let verb = args.next().unwrap_or_default();
    if verb == "shim" {
        return shim_main(args);
    }
    let args: Vec<String> = args.filter_map(|arg: OsString| arg.into_string().ok()).collect();
    match (verb.to_str(), args.as_slice()) {
        (Some("agent"), [tasks_root, node_id]) => agent(tasks_root, node_id),
        (Some("adopt"), [tasks_root, node_id, run_id, check]) => adopt(tasks_root, node_id, run_id, check),
        (Some("crowd"), [tasks_root, node_id, memory @ ..]) => crowd::run(tasks_root, node_id, memory.first()),
        _ => ExitCode::from(2),
    }
}

fn agent(tasks_root: &str, node_id: &str) -> ExitCode {
    let spec: TaskSpec = serde_json::from_reader(io::stdin()).expect("a spec on stdin");
    let config = LinuxConfig { best_effort: true, ..LinuxConfig::new(tasks_root, node_id) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let executor = LinuxExecutor::new(config).expect("an executor");
        println!("{:?}", executor.start(spec).await);
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

fn adopt(tasks_root: &str, node_id: &str, run_id: &str, check: &str) -> ExitCode {
    let config = LinuxConfig { best_effort: true, ..LinuxConfig::new(tasks_root, node_id) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let executor = LinuxExecutor::new(config).expect("an executor");
        let found = executor.recover().await;
        let runs = found.iter().any(|f| f.run_id == run_id && matches!(f.state, FoundState::Running { .. }));
        println!("{}", if runs { "running" } else { "gone" });
        for script in [check.to_owned(), format!("! {{ {check}; }}")] {
            let run = ["sh", "-c", &script].map(str::to_owned);
            println!("check {}", executor.run_check(run_id, &run, PATIENCE).await);
        }
        executor.signal(run_id, 10).await.expect("its shim takes a signal");
        // The task notes that it was told, so that nobody has to guess when.
        let noted = executor.folder(run_id).join("work/told");
        let until = Instant::now() + PATIENCE;
        while !noted.exists() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("signalled {}", noted.exists());
        executor.kill(run_id).await.expect("its shim kills");
        println!("{}", executor.wait(run_id).await);
    });
    ExitCode::SUCCESS
}
