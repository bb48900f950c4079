//! What must hold after every step: each `invariant_*` is one promise of the design, with its sentence as its comment.
//!
//! The checks know the truth, which no node does: what runs on every machine, what was ever decided, what clients were
//! told. They look only where something has changed, so that they cost little. Promises that name a time hold for
//! machines that were left alone for that long: how long nothing was wrong is written down at each machine.

mod agent;
mod catalogue;
mod consensus;
mod exclusive;
mod names;
mod quorum;
mod removal;
mod ring;
mod schedule;
mod voting;
mod watch;

pub(crate) use consensus::{invariant_no_acknowledged_write_is_lost, serials};

use crate::{cluster::Cluster, machine::Machine, workload::History};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use taffeta_model::{Fence, NodeId, TaskId};
use taffeta_node::{LEFT_BEHIND, REMOVED, Sets};

/// A promise that was broken, in words.
pub(crate) type Broken = String;

/// The truth so far, and what each node was seen to believe.
#[derive(Default)]
pub(crate) struct Checker {
    /// Who led in which generation and term.
    leaders: BTreeMap<(u64, u64), NodeId>,
    /// What the state was after the entry of this generation and index: the term of the entry, and a hash.
    states: BTreeMap<(u64, u64), (u64, u64)>,
    /// Every placement that was ever committed.
    placements: BTreeSet<(TaskId, NodeId, Fence)>,
    /// By machine.
    seen: BTreeMap<usize, Seen>,
    /// Sets whose signature was checked: owner, epoch, number, content and signature.
    verified: BTreeSet<(NodeId, u64, u64, u64)>,
    /// Since when each machine's own set has given out the instance, by run.
    serving: BTreeMap<(usize, String), Duration>,
    /// Live runs that nobody wants, and since when.
    unwanted: BTreeMap<(usize, String), Duration>,
    names: names::Questions,
    views: ring::Views,
    watch: watch::Watch,
    voting: voting::Voting,
    quorum: quorum::Quorum,
    exclusive: exclusive::Exclusive,
    schedule: schedule::Schedule,
}

/// What was seen of one machine's node last.
#[derive(Default)]
struct Seen {
    life: Duration,
    applied: Fence,
    obeyed: Option<Fence>,
    /// The newest generation that it had met.
    generation: u64,
    /// With the life in which it was seen.
    directory: (Fence, Duration),
    term: u64,
    runs: (usize, u32),
    /// Kept, so that another one cannot come to lie in the same place.
    sets: Option<Arc<Sets>>,
    placed: BTreeMap<TaskId, (u32, u64, Option<NodeId>)>,
}

impl Checker {
    pub(crate) fn new(seed: u64, trusts_logs: bool) -> Self {
        let voting = voting::Voting::new(trusts_logs);
        Self { names: names::Questions::new(seed), voting, ..Self::default() }
    }

    /// Checks everything that may have changed in the last step.
    pub(crate) fn step(&mut self, cluster: &mut Cluster, history: &History) -> Result<(), Broken> {
        invariant_no_id_comes_twice(cluster)?;
        // What was decided is learnt from all before anybody's deeds are judged by it.
        for machine in cluster.machines.iter().filter(|machine| machine.runs() && !machine.is_copy) {
            let looked = machine.look(|inspect| self.check_consensus(cluster, machine, inspect, history));
            looked.unwrap_or(Ok(()))?;
        }
        for machine in &cluster.machines {
            self.check_deeds(cluster, machine)?;
        }
        self.exclusive.step(cluster)?;
        self.voting.step(cluster)?;
        self.quorum.step(cluster, history)?;
        self.schedule.step(cluster)?;
        invariant_a_full_disk_ends_no_process(cluster)?;
        removal::invariant_a_removed_machine_is_refused(cluster)?;
        cluster.ended.clear();
        self.names.step(cluster, &self.serving)?;
        self.views.step(cluster)?;
        self.watch.step(cluster);
        Ok(())
    }

    fn check_deeds(&mut self, cluster: &Cluster, machine: &Machine) -> Result<(), Broken> {
        self.check_runs(cluster, machine)?;
        if !machine.runs() {
            return Ok(());
        }
        let looked = machine.look(|inspect| {
            self.check_agent(machine, inspect)?;
            self.check_catalogue(cluster, machine, inspect)
        });
        looked.unwrap_or(Ok(()))
    }
}

/// A wiped disk makes a new identity, as consensus believes that who has an id has all that it ever acknowledged. Only a copy
/// has the id of another machine, and is refused.
fn invariant_no_id_comes_twice(cluster: &Cluster) -> Result<(), Broken> {
    let mut owners: BTreeMap<NodeId, &Machine> = BTreeMap::new();
    for machine in cluster.machines.iter().filter(|machine| !machine.is_copy) {
        let Some(id) = machine.id else { continue };
        if let Some(former) = owners.insert(id, machine) {
            return Err(format!("{} has the id of {}, {id}", machine.name, former.name));
        }
    }
    Ok(())
}

/// A node whose disk is full refuses writes and lives on.
fn invariant_a_full_disk_ends_no_process(cluster: &Cluster) -> Result<(), Broken> {
    for ended in &cluster.ended {
        let machine = &cluster.machines[ended.machine];
        // A process may learn that the power is gone a moment before it is gone itself; and copies, and whoever is no member
        // any more, are refused, room or not.
        let removed = ended.why == REMOVED && machine.id.is_some_and(|id| cluster.removed.contains(&id));
        let left_behind = ended.why == LEFT_BEHIND && cluster.generation > 0;
        let refused = voting::is_refused_copy(machine, &ended.why) || removed || left_behind;
        let other = machine.disk.is_dead() || refused;
        // One that starts may say that it cannot.
        if machine.condition().full && machine.was_up && !other {
            return Err(format!("{}: ended because its disk is full: {}", machine.name, ended.why));
        }
    }
    Ok(())
}

/// Since when a machine has been left alone.
pub(crate) fn calm_since(machine: &Machine) -> Duration {
    machine.started.max(machine.disturbed)
}
