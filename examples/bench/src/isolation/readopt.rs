//! Ten tasks whose agent was killed: how fast another one knows them again.

use super::many::{sleeps, until_running};
use crate::figure::{Figure, Report, median};
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};
use taffeta_harness::{Cluster, Machine};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{Executor, FoundState};

const TASKS: usize = 10;
/// Deaths of the agent, of which the middle one counts.
const DEATHS: usize = 7;
/// What is promised, in milliseconds.
const MILLIS_MAX: f64 = 20.0;

/// What a node does with its tasks when it starts is done here, with the same executor on the folder of the node that was
/// killed, and timed from within; then the node itself is started again, and has to have the same processes.
pub(super) fn run(binary: &Path, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::new(binary);
    cluster.start(1);
    cluster.wait_ready();
    let path = cluster.root().join("sleeps.toml");
    fs::write(&path, sleeps(TASKS))?;
    cluster.machines[0].run(&["deploy", &path.to_string_lossy()]).success();
    until_running(&cluster.machines[0], TASKS);
    let tasks = pids(&cluster.machines[0])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut found, mut back) = (vec![], vec![]);
    for death in 1..=DEATHS {
        let node = &mut cluster.machines[0];
        node.kill_agent();
        let (time, seen) = runtime.block_on(take_up(binary, node))?;
        ensure!(seen == tasks, "found {seen:?} of {tasks:?}");
        let begin = Instant::now();
        node.up_again();
        until_running(node, TASKS);
        let up = begin.elapsed();
        ensure!(pids(node)? == tasks, "the node has other processes than before");
        eprintln!("death {death}: {time:.2?}, all of the node's start {up:.2?}");
        found.push(time.as_secs_f64() * 1e3);
        back.push(up.as_secs_f64() * 1e3);
    }
    report.tell(Figure::new("readopt_10", median(&found), "ms").at_most(MILLIS_MAX));
    report.tell(Figure::new("readopt_10_node", median(&back), "ms"));
    Ok(())
}

/// Finds the tasks as an agent does; how long that took, and their processes.
async fn take_up(binary: &Path, node: &Machine) -> Result<(Duration, BTreeSet<u64>)> {
    let mut config = LinuxConfig::new(node.data.join("tasks"), node.node_id().context("a node without an id")?);
    config.shim = binary.to_owned();
    config.best_effort = true;
    let executor = LinuxExecutor::new(config)?;
    let begin = Instant::now();
    let found = executor.recover().await;
    let time = begin.elapsed();
    let pid = |state: FoundState| match state {
        FoundState::Running { pid, .. } => Some(u64::from(pid)),
        FoundState::Exited { .. } | FoundState::Lost => None,
    };
    Ok((time, found.into_iter().filter_map(|found| pid(found.state)).collect()))
}

/// The tasks' processes, as the node tells.
fn pids(node: &Machine) -> Result<BTreeSet<u64>> {
    let tasks = node.try_json(&["ps", "sleeps"]).map_err(anyhow::Error::msg)?;
    let tasks = tasks.as_array().context("no list of tasks")?;
    tasks.iter().map(|task| task["pid"].as_u64().context("a task without a process")).collect()
}
