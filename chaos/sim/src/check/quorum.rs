//! What goes on while no majority of the voters is there, and what does not.

use super::{Broken, calm_since};
use crate::{
    cluster::Cluster,
    machine::Machine,
    moments::Moment,
    workload::{Fate, History},
};
use std::{collections::BTreeMap, time::Duration};
use taffeta_agent::RunId;
use taffeta_model::TaskId;

/// What was decided before the quorum was lost has taken effect by then: a pull, the time out of DNS, the grace.
pub(super) const SETTLED: Duration = Duration::from_secs(15);

/// Restarts of what crashes again and again are up to half a minute apart.
const RESTART_MAX: Duration = Duration::from_secs(40);

/// Work that ends by itself.
const BATCHES: [&str; 3] = ["migrate", "crunch", "doomed"];

/// How often runs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was seen since the quorum was lost.
#[derive(Default)]
pub(super) struct Quorum {
    since: Duration,
    /// By machine and task: the run, and when it lived last.
    runs: BTreeMap<(usize, TaskId), (RunId, Duration)>,
}

impl Quorum {
    pub(super) fn step(&mut self, cluster: &mut Cluster, history: &History) -> Result<(), Broken> {
        let now = cluster.now();
        let Some(since) = cluster.quorum_lost else { return Ok(()) };
        if std::mem::replace(&mut self.since, since) != since {
            self.runs.clear();
        }
        invariant_no_write_is_acknowledged_without_a_quorum(cluster, history, since)?;
        if now.as_millis().is_multiple_of(LOOK_EVERY.as_millis()) {
            self.invariant_tasks_go_on_without_a_quorum(cluster, since)?;
        }
        Ok(())
    }

    /// Losing the quorum stops changes, never tasks: what runs, runs on, and what crashes is started again.
    fn invariant_tasks_go_on_without_a_quorum(&mut self, cluster: &mut Cluster, since: Duration) -> Result<(), Broken> {
        let now = cluster.now();
        let mut restarted = 0;
        let settled = now - since > SETTLED;
        let began = if settled { since + SETTLED } else { since + LOOK_EVERY };
        let well = |machine: &&Machine| machine.runs() && calm_since(machine) < began;
        for machine in cluster.machines.iter().filter(well) {
            for run in machine.tasks.living() {
                let task = run.id.task();
                // Work that ends, and what stops without a leader to renew its lease.
                if BATCHES.contains(&task.job.as_str()) || run.exclusive {
                    continue;
                }
                let before = self.runs.insert((machine.number, task), (run.id.clone(), now));
                restarted += u32::from(before.is_some_and(|(before, _)| before != run.id));
            }
        }
        let calm: Vec<usize> = cluster.machines.iter().filter(well).map(|m| m.number).collect();
        // What was to end when the quorum was lost has ended by the time that all has settled.
        let wanted = |lived: Duration| settled || lived == now || now - since < SETTLED - LOOK_EVERY;
        self.runs.retain(|(number, _), (_, lived)| calm.contains(number) && wanted(*lived));
        (0..restarted).for_each(|_| cluster.moments.note(Moment::RestartedWithoutQuorum));
        match self.runs.iter().find(|(_, (_, lived))| settled && now - *lived > RESTART_MAX) {
            Some(((number, _), (run, lived))) => Err(format!(
                "{}: {run} ended {:?} ago and was not started again, with no majority of the voters there",
                cluster.machines[*number].name,
                now - *lived
            )),
            None => Ok(()),
        }
    }
}

/// Acknowledged means on disk on a quorum: without one no write is. Its voters need not run at the same time.
fn invariant_no_write_is_acknowledged_without_a_quorum(
    cluster: &Cluster,
    history: &History,
    since: Duration,
) -> Result<(), Broken> {
    let now = cluster.now();
    let alone = |began: Duration| began > since && !cluster.most_ran_since(began);
    match history
        .all(|fate| matches!(fate, Fate::Acknowledged(at) if at == now))
        .find(|serial| history.began(*serial).is_some_and(alone))
    {
        Some(serial) => Err(format!("the write {serial} was acknowledged with no majority of the voters there")),
        None => Ok(()),
    }
}
