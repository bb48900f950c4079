//! For the tests: the shim alone, and agents that can be killed.
//!
//! `taffeta-shim-test shim <run-folder>` is what the product does for `taffeta shim`. `taffeta-shim-test agent
//! <tasks-root> <node-id>` starts the spec that it reads from stdin, prints the process id, and stays. For
//! `taffeta-shim-test crowd` see its module.

mod crowd;

use std::{ffi::OsString, io, process::ExitCode};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor, shim_main};
use taffeta_isolation_plan::{Executor, TaskSpec};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let verb = args.next().unwrap_or_default();
    if verb == "shim" {
        return shim_main(args);
    }
    let args: Vec<String> = args.filter_map(|arg: OsString| arg.into_string().ok()).collect();
    match (verb.to_str(), args.as_slice()) {
        (Some("agent"), [tasks_root, node_id]) => agent(tasks_root, node_id),
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
