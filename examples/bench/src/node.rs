//! The footprint of an idle node.

use crate::figure::{Figure, Report, max};
use anyhow::Result;
use std::{path::Path, time::Duration};
use taffeta_harness::{Cluster, cores_used, resident_mib};

/// Nodes of the cluster; all of them vote.
const NODES: usize = 3;
/// How long nodes are watched while they idle.
const WINDOW: Duration = Duration::from_secs(20);

/// Gives the largest of three nodes.
pub(crate) fn run(binary: &Path, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::new(binary);
    cluster.start(NODES);
    cluster.wait_ready();
    cluster.wait_voters(NODES);
    let pids: Vec<u32> = cluster.machines.iter().filter_map(|m| m.pid()).collect();
    let percent: Vec<f64> = cores_used(&pids, WINDOW).iter().map(|cores| cores * 100.0).collect();
    let resident: Vec<f64> = pids.iter().map(|pid| resident_mib(*pid)).collect();
    let binary_mib = binary.metadata()?.len() as f64 / 1024.0 / 1024.0;
    report.tell(Figure::new("idle_rss_mib", max(&resident), "MiB").at_most(40.0));
    report.tell(Figure::new("idle_cpu_percent", max(&percent), "%").at_most(2.0));
    report.tell(Figure::new("binary_mib", binary_mib, "MiB").at_most(44e6 / 1024.0 / 1024.0)); // 44 MB
    Ok(())
}
