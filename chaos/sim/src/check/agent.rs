//! What agents obey, and what really runs on their machines.

use super::{Broken, Checker, calm_since};
use crate::{
    cluster::Cluster,
    machine::{CAPACITY, Machine},
    tasks::Living,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{Fence, Place, TaskId};
use taffeta_node::Inspect;

/// How long a run may live on that nobody wants, on a machine that is well: the pull, the time out of DNS, the grace,
/// and SIGKILL, twice over.
const LEFTOVER_MAX: Duration = Duration::from_secs(25);

/// How long something may live on without its shim, on a machine whose agent is well: less than what passes until its task
/// is started anew.
const ORPHAN_MAX: Duration = Duration::from_millis(200);

impl Checker {
    pub(super) fn check_agent(&mut self, machine: &Machine, inspect: &Inspect) -> Result<(), Broken> {
        if machine.outdated {
            return Ok(()); // it has forgotten what it obeyed, and is soon refused
        }
        let seen = self.seen.entry(machine.number).or_default();
        let (obeyed, _) = inspect.obeyed();
        let directory = inspect.directory_fence();
        if obeyed != seen.obeyed {
            invariant_no_older_generation_is_obeyed(machine, seen.generation, obeyed)?;
        }
        if inspect.generation() != seen.generation {
            // It goes on from what another node knew: that the task had succeeded may be lost with the rest.
            machine.tasks.forget_successes();
        }
        seen.generation = inspect.generation();
        invariant_fences_never_go_back(machine, "an assigned set", seen.obeyed, obeyed)?;
        // A disk that was full may hold an older one, which a new process then begins with and soon replaces.
        let (known, before) = seen.directory;
        if before == machine.started {
            invariant_fences_never_go_back(machine, "a directory", Some(known), Some(directory))?;
        }
        (seen.obeyed, seen.directory) = (obeyed, (directory, machine.started));
        Ok(())
    }

    /// Looks at the runs of a machine, if they are others than before, or if some should be gone by now.
    pub(super) fn check_runs(&mut self, cluster: &Cluster, machine: &Machine) -> Result<(), Broken> {
        let seen = self.seen.entry(machine.number).or_default();
        let revision = machine.tasks.revision();
        let changed = std::mem::replace(&mut seen.runs, revision) != revision;
        if changed {
            let living = machine.tasks.living();
            invariant_one_run_of_a_task(machine, &living)?;
            invariant_no_port_twice(machine, &living)?;
            self.invariant_nothing_runs_that_no_one_placed(machine, &living)?;
            // Whether they are still wanted is asked of whoever leads, later.
            self.unwanted
                .retain(|(number, id), _| *number != machine.number || living.iter().any(|run| run.id.as_str() == id));
        }
        if changed {
            invariant_no_batch_task_succeeds_and_is_begun_again(machine)?;
        }
        invariant_no_orphan_outlives_a_look(cluster, machine)?;
        if cluster.now().as_millis().is_multiple_of(500) {
            self.invariant_nothing_is_left_over(cluster, machine)?;
        }
        Ok(())
    }

    /// Nothing runs on a machine that no one placed there.
    fn invariant_nothing_runs_that_no_one_placed(&self, machine: &Machine, living: &[Living]) -> Result<(), Broken> {
        let Some(node) = machine.id else { return Ok(()) };
        let placed = |run: &&Living| self.placements.contains(&(run.id.task(), node, run.id.fence()));
        match living.iter().find(|run| !placed(run)) {
            Some(run) => Err(format!("{}: {} runs and was never placed there", machine.name, run.id)),
            None => Ok(()),
        }
    }

    /// Nothing is left on a machine once it was moved away or is no longer wanted.
    fn invariant_nothing_is_left_over(&mut self, cluster: &Cluster, machine: &Machine) -> Result<(), Broken> {
        let (now, number) = (cluster.now(), machine.number);
        let Some((leader, led_since)) = cluster.led else { return Ok(()) };
        let (Some(node), true) = (machine.id, machine.runs()) else { return Ok(()) };
        let leading = &cluster.machines[leader];
        let living = machine.tasks.living();
        let wanted: BTreeSet<TaskId> = leading
            .look(|inspect| {
                inspect.state(|state| {
                    let here = |run: &&Living| {
                        let task = state.tasks.get(&run.id.task());
                        let place = task.map(|task| &task.place);
                        matches!(place, Some(Place::On { node: n, fence }) if *n == node && *fence == run.id.fence())
                    };
                    living.iter().filter(here).map(|run| run.id.task()).collect()
                })
            })
            .unwrap_or_default();
        for run in &living {
            let key = (number, run.id.to_string());
            if wanted.contains(&run.id.task()) {
                self.unwanted.remove(&key);
                continue;
            }
            let since = *self.unwanted.entry(key).or_insert(now);
            let since = since.max(calm_since(machine)).max(calm_since(leading)).max(led_since);
            if now - since > LEFTOVER_MAX {
                return Err(format!("{}: {} runs on, {:?} after it was to go", machine.name, run.id, now - since));
            }
        }
        Ok(())
    }
}

/// A node refuses anything older than the newest it has obeyed, also after a restart.
fn invariant_fences_never_go_back<T: Ord + std::fmt::Debug>(
    machine: &Machine,
    what: &str,
    before: Option<T>,
    now: Option<T>,
) -> Result<(), Broken> {
    if now < before { Err(format!("{}: takes {what} of {now:?} after {before:?}", machine.name)) } else { Ok(()) }
}

/// Whoever has met a generation obeys no older one.
fn invariant_no_older_generation_is_obeyed(machine: &Machine, met: u64, now: Option<Fence>) -> Result<(), Broken> {
    match now {
        Some(fence) if fence.generation < met => {
            Err(format!("{}: obeys {fence:?} although it has met generation {met}", machine.name))
        }
        Some(_) | None => Ok(()),
    }
}

/// A task that an agent left running is re-adopted and never started twice.
fn invariant_one_run_of_a_task(machine: &Machine, living: &[Living]) -> Result<(), Broken> {
    let mut runs = BTreeMap::new();
    for run in living {
        if let Some(other) = runs.insert(run.id.task(), &run.id) {
            return Err(format!("{}: {other} and {} run at once", machine.name, run.id));
        }
    }
    Ok(())
}

/// The end of a run is known to every later agent of its machine: a batch task that has succeeded is not begun once more
/// under the same placement, unless the cluster had to be recovered.
fn invariant_no_batch_task_succeeds_and_is_begun_again(machine: &Machine) -> Result<(), Broken> {
    match machine.tasks.begun_again() {
        Some(_) if machine.outdated => Ok(()), // its disk is an older one
        Some(run) => Err(format!("{}: {run} was begun although its task had succeeded", machine.name)),
        None => Ok(()),
    }
}

/// What a killed shim has left is killed by an agent that is there, or by the next one when it is started.
fn invariant_no_orphan_outlives_a_look(cluster: &Cluster, machine: &Machine) -> Result<(), Broken> {
    if !machine.runs() || machine.look(|_| ()).is_none() {
        return Ok(());
    }
    let known = calm_since(machine);
    let now = cluster.now();
    match machine.tasks.orphans().into_iter().find(|(_, since)| now.saturating_sub(known.max(*since)) > ORPHAN_MAX) {
        Some((run, since)) => {
            Err(format!("{}: {run} lost its shim {:?} ago, and something of it lives", machine.name, now - since))
        }
        None => Ok(()),
    }
}

/// No port is had by two tasks, and no more runs than the machine can bear.
fn invariant_no_port_twice(machine: &Machine, living: &[Living]) -> Result<(), Broken> {
    let mut ports = BTreeMap::new();
    for run in living {
        for port in &run.ports {
            if let Some(other) = ports.insert(*port, &run.id) {
                return Err(format!("{}: port {port} is had by {other} and {}", machine.name, run.id));
            }
        }
    }
    // What is on its way out still counts here and no more in the plan: hence twice.
    let cpus: u64 = living.iter().map(|run| run.cpus_milli).sum();
    let memory: u64 = living.iter().map(|run| run.memory).sum();
    if cpus > 2 * CAPACITY.cpus.0 || memory > 2 * CAPACITY.memory {
        return Err(format!("{}: more runs than it can bear", machine.name));
    }
    Ok(())
}
