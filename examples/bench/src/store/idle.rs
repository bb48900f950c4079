//! What nodes use while nobody wants anything of them.

use super::etcd::Etcd;
use crate::figure::{Beside, Figure, Report, max};
use anyhow::Result;
use std::{
    thread::sleep,
    time::{Duration, SystemTime},
};
use taffeta_harness::{Cluster, changed_since, cores_used, wakeups, written_bytes};

/// From the last voter to idleness: a node that was just started looks around for ten seconds.
const SETTLE: Duration = Duration::from_secs(15);
/// What is promised: a hundredth of a core.
const PERCENT_MAX: f64 = 1.0;

/// Gives the most of three nodes, watched for so long; then once more while three idle members of etcd are watched as well:
/// what a wake-up costs depends on the machine and on what else keeps it awake.
pub(crate) fn run(cluster: &Cluster, window: Duration, report: &mut Report) -> Result<()> {
    sleep(SETTLE); // what is measured is idleness, which comes by itself
    let pids: Vec<u32> = cluster.machines.iter().filter_map(|m| m.pid()).collect();
    let written = || pids.iter().map(|pid| written_bytes(*pid)).collect::<Vec<u64>>();
    let woken = || pids.iter().map(|pid| wakeups(*pid)).collect::<Vec<u64>>();
    let (before, woken_before, begin) = (written(), woken(), SystemTime::now());
    let percent: Vec<f64> = cores_used(&pids, window).iter().map(|cores| cores * 100.0).collect();
    let bytes: Vec<f64> = written().iter().zip(before).map(|(after, before)| (after - before) as f64).collect();
    let changed = cluster.machines.iter().map(|m| changed_since(&m.data, begin).len()).sum::<usize>();
    eprintln!("three nodes idle for {window:?}: {percent:.2?} % of a core, {bytes:?} bytes written");
    let woken = woken().into_iter().zip(woken_before).map(|(after, before)| after.saturating_sub(before));
    let woken: Vec<f64> = woken.map(|times| times as f64 / window.as_secs_f64()).collect();
    eprintln!("their threads were woken {woken:.0?} times a second");
    report.tell(Figure::new("idle_cpu_percent", max(&percent), "%").at_most(PERCENT_MAX));
    report.tell(Figure::new("idle_disk_bytes", max(&bytes), "B").at_most(0.0));
    report.tell(Figure::new("idle_files_changed", changed as f64, "files").at_most(0.0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let etcd = runtime.block_on(Etcd::start(cluster.root()));
    let beside = match &etcd {
        Ok(etcd) => {
            sleep(SETTLE);
            let all: Vec<u32> = pids.iter().copied().chain(etcd.pids()).collect();
            let all: Vec<f64> = cores_used(&all, window).iter().map(|cores| cores * 100.0).collect();
            let (own, theirs) = all.split_at(pids.len());
            eprintln!(
                "three nodes idle for {window:?}: {own:.2?} % of a core, members of etcd beside them: {theirs:.2?} %"
            );
            Some((max(own), max(theirs)))
        }
        Err(why) => {
            eprintln!("etcd is not measured: {why:#} (Debian's package is etcd-server)");
            None
        }
    };
    let figure = Figure::new("idle_cpu_beside", beside.map_or_else(|| max(&percent), |(own, _)| own), "%");
    let beside = beside.map(|(own, theirs)| Beside { value: theirs, ratio: own / theirs });
    report.tell(figure.beside("etcd", beside).at_most(1.0));
    Ok(())
}
