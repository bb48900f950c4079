//! Two hundred tasks on one node: how fast they are there, and what they cost that do nothing.

use crate::figure::{Figure, Report, max, median};
use anyhow::{Context, Result};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};
use taffeta_harness::{Cluster, Machine, cores_used, get, within};

const TASKS: usize = 200;
/// Those without isolation, whose shims have no init beside them.
const BARE: usize = 10;
/// Starts of all of them, of which the middle one counts.
const STARTS: usize = 3;
const LIMIT: Duration = Duration::from_secs(60);
/// From the last start to idleness: a node that was just started looks around for ten seconds.
const SETTLE: Duration = Duration::from_secs(15);
/// What is promised.
const START_SECONDS_MAX: f64 = 4.0;
const MEMORY_MIB_MAX: f64 = 1.0;
const PERCENT_MAX: f64 = 1.0;

/// What is asked for.
pub(super) struct Wanted {
    pub(super) start: bool,
    pub(super) memory: bool,
    /// How long the node is watched.
    pub(super) idle_seconds: Option<u64>,
}

pub(super) fn run(wanted: &Wanted, binary: &Path, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::new(binary);
    cluster.start(1);
    cluster.wait_ready();
    let node = &cluster.machines[0];
    let path = cluster.root().join("sleeps.toml");
    fs::write(&path, sleeps(TASKS))?;
    let starts = if wanted.start { STARTS } else { 1 };
    let mut seconds = vec![];
    for start in 1..=starts {
        let begin = Instant::now();
        node.run(&["deploy", &path.to_string_lossy()]).success();
        until_running(node, TASKS);
        seconds.push(begin.elapsed().as_secs_f64());
        eprintln!("{TASKS} tasks, start {start}: {:.2} s", begin.elapsed().as_secs_f64());
        if start < starts {
            node.run(&["stop", "sleeps"]).success();
            until_running(node, 0);
        }
    }
    if wanted.start {
        report.tell(Figure::new("start_200", median(&seconds), "s").at_most(START_SECONDS_MAX));
    }
    let keepers = keepers_of(node, TASKS)?;
    if wanted.memory {
        let (private, both) = memory(&keepers)?;
        report.tell(Figure::new("shim_memory", private, "MiB").at_most(MEMORY_MIB_MAX));
        report.tell(Figure::new("shim_memory_both", both, "MiB").at_most(MEMORY_MIB_MAX));
    }
    if let Some(idle_seconds) = wanted.idle_seconds {
        idle(node, &keepers, Duration::from_secs(idle_seconds), report)?;
    }
    if wanted.memory {
        node.run(&["stop", "sleeps"]).success();
        until_running(node, 0);
        fs::write(&path, sleeps(BARE) + "isolation = \"none\"\n")?;
        node.run(&["deploy", &path.to_string_lossy()]).success();
        until_running(node, BARE);
        let (private, _) = memory(&keepers_of(node, BARE)?)?;
        report.tell(Figure::new("shim_memory_none", private, "MiB").at_most(MEMORY_MIB_MAX));
    }
    Ok(())
}

/// An app of so many tasks that do nothing.
pub(super) fn sleeps(count: usize) -> String {
    let shape = "cpus = 0.005\nmemory = \"4MiB\"";
    format!("app = \"sleeps\"\n[service.sleep]\ncount = {count}\nrun = [\"sleep\", \"3600\"]\n{shape}\n")
}

/// Waits until so many tasks run, and no others are on their way to anything else.
pub(super) fn until_running(node: &Machine, count: usize) {
    within(LIMIT, &format!("{count} tasks run"), || {
        let (_, body) = get(node.http(), "/v1/status")?;
        let status: Value = serde_json::from_str(&body).map_err(|e| e.to_string())?;
        let tasks = status["tasks"].as_object().ok_or("no tasks are told")?;
        let number = |state: &str| tasks.get(state).and_then(Value::as_u64).unwrap_or_default();
        let under_way: u64 = ["waiting", "starting", "stopping"].into_iter().map(number).sum();
        if number("running") == count as u64 && under_way == 0 { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
}

/// What looks after one task.
struct Keepers {
    shim: u64,
    /// The first process of its pid namespace.
    init: Option<u64>,
}

impl Keepers {
    fn all(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.shim).chain(self.init)
    }
}

/// Those of all tasks that run on the node, which are so many.
fn keepers_of(node: &Machine, count: usize) -> Result<Vec<Keepers>> {
    let mut all = vec![];
    for run in fs::read_dir(node.data.join("tasks"))? {
        let run = run?.path();
        if run.join("exit.json").exists() {
            continue; // an earlier run, which is not forgotten yet
        }
        let state: Value = serde_json::from_slice(&fs::read(run.join("state.json"))?)?;
        let shim = state["shim"]["pid"].as_u64().context("a state without a shim")?;
        all.push(Keepers { shim, init: state["init"]["pid"].as_u64() });
    }
    anyhow::ensure!(all.len() == count, "there are shims of {} tasks", all.len());
    Ok(all)
}

/// Memory of shim and init that only one of them has; and the same with what the two have in common and nobody else, as one
/// is a copy of the other. In MiB, of all tasks the most.
fn memory(keepers: &[Keepers]) -> Result<(f64, f64)> {
    let (mut private, mut both) = (vec![], vec![]);
    for task in keepers {
        let (mut own, mut common) = (0, 0);
        for pid in task.all() {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let clean = kib(&text, "Private_Clean")?;
            own += clean + kib(&text, "Private_Dirty")?;
            common += clean + kib(&text, "Pss_Anon")?;
        }
        private.push(own as f64 / 1024.0);
        both.push(common as f64 / 1024.0);
    }
    Ok((max(&private), max(&both)))
}

/// A line of `smaps_rollup` (proc_pid_smaps(5)).
fn kib(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    number.and_then(|number| number.trim().parse().ok()).with_context(|| format!("no {name}"))
}

fn idle(node: &Machine, keepers: &[Keepers], window: Duration, report: &mut Report) -> Result<()> {
    sleep(SETTLE); // what is measured is idleness, which comes by itself
    let agent = node.pid().context("the node has ended")?;
    let used = || keepers.iter().flat_map(Keepers::all).map(cpu_time).sum::<Result<Duration>>();
    let (before, begin) = (used()?, Instant::now());
    let percent = cores_used(&[agent], window)[0] * 100.0;
    let shims = (used()? - before).as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
    report.tell(Figure::new("idle_200", percent, "%").at_most(PERCENT_MAX));
    report.tell(Figure::new("idle_200_shims", shims, "%"));
    Ok(())
}

/// What a process of one thread has used of processors, exactly.
fn cpu_time(pid: u64) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanos = text.split(' ').next().unwrap_or_default().parse().context("schedstat")?;
    Ok(Duration::from_nanos(nanos))
}
