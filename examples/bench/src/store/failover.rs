//! How long nobody can write after the leader's death.

use super::middle_and_largest;
use crate::figure::{Figure, Report};
use anyhow::Result;
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use taffeta_harness::{Cluster, Recorder, within};

/// Clients that write all the time, to all machines.
const CLIENTS: u32 = 12;
/// Load before each kill.
const LOAD: Duration = Duration::from_millis(1_500);
/// What is promised: the time until the next write is acknowledged, in the middle and at most.
const P50_MAX_MS: f64 = 800.0;
const MAX_MS: f64 = 1_500.0;

pub(crate) fn run(mut cluster: Cluster, kills: u32, report: &mut Report) -> Result<()> {
    let recorder = Recorder::new(&cluster);
    let mut times = vec![];
    recorder.under_load(CLIENTS, || {
        for kill in 1..=kills {
            sleep(LOAD); // the load itself
            let (leader, _) = within(Duration::from_secs(20), "a leader", || recorder.leader_name());
            let victim = cluster.index(&leader);
            let moment = Instant::now();
            cluster.machines[victim].kill_agent();
            let (took, _) = within(Duration::from_secs(20), "a write is acknowledged again", || {
                recorder.acknowledged_after(moment).ok_or_else(|| "none yet".to_owned())
            });
            eprintln!("kill {kill} of the leader {leader}: {:.0} ms", took.as_secs_f64() * 1e3);
            times.push(took);
            cluster.machines[victim].up_again();
            within(Duration::from_secs(20), "it is back", || {
                let (status, body) = taffeta_harness::get(cluster.machines[victim].http(), "/v1/status")?;
                if status == 200 && body.contains("\"ready\":true") { Ok(()) } else { Err(body) }
            });
        }
    });
    recorder.settle();
    recorder.read();
    recorder.check("after the last kill");
    eprintln!("nothing is lost of {}", recorder.summary());
    let (p50, largest) = middle_and_largest(&times);
    report.tell(Figure::new("failover_ms", p50, "ms").at_most(P50_MAX_MS));
    report.tell(Figure::new("failover_max_ms", largest, "ms").at_most(MAX_MS));
    Ok(())
}
