//! Exclusive tasks, of which the truth is known: what runs on all machines at this instant.

use super::Broken;
use crate::cluster::Cluster;
use std::collections::BTreeMap;

/// What was seen last.
#[derive(Default)]
pub(super) struct Exclusive {
    /// Number of runs of each machine, and the newest.
    runs: Vec<(usize, u32)>,
}

impl Exclusive {
    pub(super) fn step(&mut self, cluster: &Cluster) -> Result<(), Broken> {
        let now: Vec<(usize, u32)> = cluster.machines.iter().map(|machine| machine.tasks.revision()).collect();
        if now == self.runs {
            return Ok(());
        }
        self.runs = now;
        invariant_no_exclusive_task_runs_twice(cluster)
    }
}

/// An exclusive task never runs twice at once, whatever has become of machines, agents and the network.
fn invariant_no_exclusive_task_runs_twice(cluster: &Cluster) -> Result<(), Broken> {
    let mut runs = BTreeMap::new();
    for machine in &cluster.machines {
        for run in machine.tasks.living().into_iter().filter(|run| run.exclusive) {
            let task = run.id.task();
            if let Some((other, there)) = runs.insert(task, (run.id.clone(), &machine.name)) {
                return Err(format!(
                    "{other} on {there} and {} on {} run at once, and are exclusive",
                    run.id, machine.name
                ));
            }
        }
    }
    Ok(())
}
