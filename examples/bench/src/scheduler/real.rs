//! Three real nodes: how fast a service of many instances is there, and how many short tasks come to their end.

use crate::figure::{Figure, Report};
use anyhow::Result;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use taffeta_harness::{Cluster, within};

const NODES: usize = 3;
const SERVICE: usize = 30;
const TASKS: usize = 500;
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn run(binary: &Path, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::new(binary);
    cluster.start(NODES);
    cluster.wait_ready();
    cluster.wait_voters(NODES);
    let shape = "cpus = 0.01\nmemory = \"4MiB\"";
    let sleeps = format!("app = \"sleeps\"\n[service.sleep]\ncount = {SERVICE}\nrun = [\"sleep\", \"600\"]\n{shape}\n");
    let begin = deploy(&cluster, "sleeps", &sleeps)?;
    until(&cluster, "sleeps", SERVICE, |task| task["state"] == "running");
    report.tell(Figure::new("deploy_30", begin.elapsed().as_secs_f64(), "s").at_most(3.0));
    let short = format!("app = \"short\"\n[batch.task]\ncount = {TASKS}\nrun = [\"true\"]\n{shape}\n");
    let begin = deploy(&cluster, "short", &short)?;
    until(&cluster, "short", TASKS, |task| task["state"] == "finished" && task["exit_code"] == 0);
    let per_second = TASKS as f64 / begin.elapsed().as_secs_f64();
    report.tell(Figure::new("finished", per_second, "tasks/s").at_least(50.0));
    Ok(())
}

/// Deploys an app; gives when that began.
fn deploy(cluster: &Cluster, name: &str, text: &str) -> Result<Instant> {
    let path = cluster.root().join(format!("{name}.toml"));
    std::fs::write(&path, text)?;
    let begin = Instant::now();
    cluster.machines[0].run(&["deploy", &path.to_string_lossy()]).success();
    Ok(begin)
}

fn until(cluster: &Cluster, app: &str, count: usize, done: impl Fn(&serde_json::Value) -> bool) {
    within(LIMIT, &format!("{count} tasks of {app}"), || {
        let tasks = cluster.machines[0].try_json(&["ps", app])?;
        let there = tasks.as_array().map_or(0, |tasks| tasks.iter().filter(|task| done(task)).count());
        if there == count { Ok(()) } else { Err(format!("{there} of {count}")) }
    });
}
