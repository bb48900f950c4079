//! Durable writes: how many a second and how long each takes, beside etcd; how long nobody can write after the leader's
//! death; and what nodes do while nobody wants anything of them.

mod etcd;
mod failover;
mod grpc;
mod idle;
mod load;
mod ours;

use crate::{
    args::{StoreArgs, StoreCase},
    figure::{Beside, Figure, Report, max, median},
};
use anyhow::{Context, Result};
use etcd::Etcd;
use load::{Load, Turn};
use ours::Ours;
use std::{path::Path, time::Duration};
use taffeta_harness::Cluster;

/// Nodes of the product and members of etcd; all of them vote.
pub(crate) const NODES: usize = 3;
/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 200;
/// What is promised: throughput at 64 clients as a multiple of etcd's.
const RATIO_MIN: f64 = 1.5;

/// Numbers of clients with the names of what is measured of them.
const CLIENTS: [(StoreCase, usize, [&str; 3]); 3] = [
    (StoreCase::Writes1, 1, ["durable_writes_1", "durable_writes_1_p50", "durable_writes_1_p99"]),
    (StoreCase::Writes64, 64, ["durable_writes_64", "durable_writes_64_p50", "durable_writes_64_p99"]),
    (StoreCase::Writes512, 512, ["durable_writes_512", "durable_writes_512_p50", "durable_writes_512_p99"]),
];

pub(crate) fn run(args: &StoreArgs, binary: &Path, report: &mut Report) -> Result<()> {
    let wanted = |case: StoreCase| args.cases.is_empty() || args.cases.contains(&case);
    let writes: Vec<_> = CLIENTS.into_iter().filter(|(case, ..)| wanted(*case)).collect();
    if !writes.is_empty() {
        let cluster = three(binary);
        // One thread for the clients, whomever they write to: the machine is shared with the servers.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure_writes(args, &cluster, &writes, report))?;
    }
    if wanted(StoreCase::Failover) {
        failover::run(three(binary), args.kills, report)?;
    }
    if wanted(StoreCase::Idle) {
        idle::run(&three(binary), Duration::from_secs(args.idle_seconds), report)?;
    }
    Ok(())
}

fn three(binary: &Path) -> Cluster {
    let mut cluster = Cluster::new(binary);
    cluster.start(NODES);
    cluster.wait_ready();
    cluster.wait_voters(NODES);
    cluster
}

async fn measure_writes(
    args: &StoreArgs,
    cluster: &Cluster,
    cases: &[(StoreCase, usize, [&'static str; 3])],
    report: &mut Report,
) -> Result<()> {
    let ours = Ours::of(cluster)?;
    let etcd = match Etcd::start(cluster.root()).await {
        Ok(etcd) => Some(etcd),
        Err(why) => {
            eprintln!("etcd is not measured: {why:#} (Debian's package is etcd-server)");
            None
        }
    };
    let turn = Duration::from_secs_f64(args.seconds);
    for (_, clients, names) in cases {
        let mut rounds: Vec<(Turn, Option<Turn>)> = vec![];
        for round in 0..=args.rounds {
            let own = Load::new(&ours, *clients).await?.turn(turn).await.context("a write to the product")?;
            let theirs = match &etcd {
                Some(etcd) => Some(Load::new(etcd, *clients).await?.turn(turn).await.context("a write to etcd")?),
                None => None,
            };
            let beside = theirs.as_ref().map_or_else(String::new, |t| format!(", etcd {t}"));
            eprintln!("{clients} clients, round {round}: {own}{beside}");
            // The first round warms both up.
            if round > 0 {
                rounds.push((own, theirs));
            }
        }
        let [writes, p50, p99] = *names;
        tell(report, writes, "writes/s", &rounds, |turn| turn.per_second, Some(RATIO_MIN).filter(|_| *clients == 64));
        tell(report, p50, "ms", &rounds, |turn| turn.p50_ms, None);
        tell(report, p99, "ms", &rounds, |turn| turn.p99_ms, Some(1.0).filter(|_| *clients == 64));
    }
    Ok(())
}

/// The medians over the rounds. Of what is counted a second the bound is the least, of times the most.
fn tell(
    report: &mut Report,
    case: &'static str,
    unit: &'static str,
    rounds: &[(Turn, Option<Turn>)],
    of: impl Fn(&Turn) -> f64,
    bound: Option<f64>,
) {
    let own: Vec<f64> = rounds.iter().map(|(own, _)| of(own)).collect();
    let theirs: Option<Vec<f64>> = rounds.iter().map(|(_, theirs)| theirs.as_ref().map(&of)).collect();
    let beside = theirs.map(|theirs| {
        let ratios: Vec<f64> = own.iter().zip(&theirs).map(|(own, theirs)| own / theirs).collect();
        Beside { value: median(&theirs), ratio: median(&ratios) }
    });
    let figure = Figure::new(case, median(&own), unit).beside("etcd", beside);
    report.tell(match bound {
        Some(bound) if unit == "ms" => figure.at_most(bound),
        Some(bound) => figure.at_least(bound),
        None => figure,
    });
}

/// Middle and largest of several times, in milliseconds.
pub(crate) fn middle_and_largest(times: &[Duration]) -> (f64, f64) {
    let ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    (median(&ms), max(&ms))
}
