//! Many real nodes in one ring: how fast all of them know, and what they use while nothing happens.

use crate::{
    args::RingArgs,
    figure::{Figure, Report, max, median},
};
use anyhow::{Result, anyhow};
use std::{path::Path, time::Duration};
use taffeta_harness::{COMPLETE_MAX, Cluster, IDLE_CORES_MAX, KILLED_MAX, LEFT_MAX, Ring, Shown};

/// How long nodes are watched while they idle.
const WINDOW: Duration = Duration::from_secs(20);

pub(crate) fn run(args: &RingArgs, binary: &Path, report: &mut Report) -> Result<()> {
    let nodes = usize::from(args.nodes);
    let at_once = args.at_once.map_or_else(Ring::at_once, usize::from);
    eprintln!("starts {nodes} nodes, {at_once} at a time");
    let ring = Ring::start(cluster(binary, nodes), nodes, at_once);
    let mut ring = ring.map_err(|why| anyhow!("the ring is not complete: {why}"))?;
    report.tell(Figure::new("start", ring.start.as_secs_f64(), "s"));
    report
        .tell(Figure::new("view_complete", ring.complete.took.as_secs_f64(), "s").at_most(COMPLETE_MAX.as_secs_f64()));

    eprintln!("watches them idle for {WINDOW:?}");
    let idle = ring.idle(WINDOW);
    report.tell(Figure::new("idle_cpu", idle.cores.iter().sum(), "cores").at_most(IDLE_CORES_MAX));
    report.tell(Figure::new("rss_median", median(&idle.resident_mib), "MiB"));
    report.tell(Figure::new("rss_max", max(&idle.resident_mib), "MiB"));

    let rounds = 0..usize::from(args.rounds);
    let times = rounds.map(|round| kill(&mut ring, round)).collect::<Result<Vec<f64>>>()?;
    report.tell(Figure::new("kill_known", median(&times), "s").at_most(KILLED_MAX.as_secs_f64()));
    report.tell(Figure::new("kill_known_max", max(&times), "s").at_most(KILLED_MAX.as_secs_f64()));

    let left = seconds("a farewell", ring.leave());
    report.tell(Figure::new("leave_known", left, "s").at_most(LEFT_MAX.as_secs_f64()));
    Ok(())
}

/// Where people would have the nodes, or, if somebody has some there, elsewhere.
fn cluster(binary: &Path, nodes: usize) -> Cluster {
    Cluster::on_defaults(binary, nodes).unwrap_or_else(|why| {
        eprintln!("the default addresses are not free, others are used ({why})");
        Cluster::new(binary)
    })
}

/// Kills three nodes and brings them back; gives the seconds until all others knew.
fn kill(ring: &mut Ring, round: usize) -> Result<f64> {
    let killed = ring.kill_three(round);
    let known = seconds(&format!("the death of {}", killed.roles.join(", ")), killed.known);
    ring.bring_back().map_err(|why| anyhow!("not all are back: {why}"))?;
    Ok(known)
}

/// Says who was the last to know. What did not come in time took for ever.
fn seconds(what: &str, known: Result<Shown, String>) -> f64 {
    match known {
        Ok(Shown { took, last, before }) => {
            let seconds = took.as_secs_f64();
            let before = if before.is_empty() { String::new() } else { format!(", which said before: {before}") };
            eprintln!("{what} is known to all after {seconds:.3} s, last to {last}{before}");
            seconds
        }
        Err(why) => {
            eprintln!("{what} is not known to all: {why}");
            f64::INFINITY
        }
    }
}
