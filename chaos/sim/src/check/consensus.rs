//! Leaders, the one history, writes, and what the history says about machines.

use super::{Broken, Checker, calm_since};
use crate::{
    cluster::Cluster,
    machine::Machine,
    trace::hash_words,
    workload::{Fate, History},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{Cause, NodeId, Place, Resources, State};
use taffeta_node::Inspect;

/// A task may leave a machine with which something was wrong this long ago, or if something was with the leader: the
/// delay of 5 s, the verdict before it, and what a leader that has just begun does not know yet.
const MOVE_BLAME: Duration = Duration::from_secs(40);

/// The version from which on nodes have lives, teams quotas, and members are drained.
const NEWER: u32 = 2;

impl Checker {
    pub(super) fn check_consensus(
        &mut self,
        cluster: &Cluster,
        machine: &Machine,
        inspect: &Inspect,
        history: &History,
    ) -> Result<(), Broken> {
        let leadership = inspect.leadership();
        let (applied, generation) = inspect.state(|state| (state.applied, state.generation));
        if leadership.is_leader {
            self.invariant_one_leader_a_term(machine, (generation, leadership.term))?;
        }
        let seen = self.seen.entry(machine.number).or_default();
        let restarted = seen.life != machine.started;
        if !restarted && applied < seen.applied {
            return Err(format!("{}: applied {applied} after {} in one life", machine.name, seen.applied));
        }
        // Only in one life: a term that could not be stored was told to nobody.
        if !restarted && leadership.term < seen.term {
            let (term, before) = (leadership.term, seen.term);
            return Err(format!("{}: in term {term} after it was in term {before}", machine.name));
        }
        seen.term = leadership.term;
        seen.life = machine.started;
        if applied == seen.applied {
            return Ok(());
        }
        let several = applied.index > seen.applied.index + 1;
        seen.applied = applied;
        inspect.state(|state| {
            self.invariant_one_history(machine, state)?;
            let there: BTreeSet<u32> = serials(state).collect();
            invariant_no_write_is_invented(machine, &there, history)?;
            // What an older generation has is not what the cluster went on with.
            if generation >= cluster.generation {
                invariant_writes_keep_their_order(machine, &there, history)?;
            }
            if leadership.is_leader && generation >= cluster.generation {
                invariant_no_acknowledged_write_is_lost(machine, state, history, cluster.now())?;
            }
            invariant_no_machine_is_over_committed(machine, state)?;
            invariant_all_members_speak_what_is_written(cluster, machine, state)?;
            self.learn_placements(state);
            self.invariant_no_task_moves_without_need(cluster, machine, state, several)
        })
    }

    /// Only a leader with a quorum places tasks: so there is one at most in each term.
    fn invariant_one_leader_a_term(&mut self, machine: &Machine, term: (u64, u64)) -> Result<(), Broken> {
        let Some(id) = machine.id else { return Ok(()) };
        match *self.leaders.entry(term).or_insert(id) {
            known if known == id => Ok(()),
            known => Err(format!("two leaders in generation {} and term {}: {known} and {id}", term.0, term.1)),
        }
    }

    /// Every node that applies the log has the same state after the same entry, in every life.
    fn invariant_one_history(&mut self, machine: &Machine, state: &State) -> Result<(), Broken> {
        let (at, hash) = (state.applied, hash(state));
        match *self.states.entry((at.generation, at.index)).or_insert((at.term, hash)) {
            known if known == (at.term, hash) => Ok(()),
            (term, _) if term != at.term => {
                Err(format!("{}: entry {} is of term {} here and of {term} elsewhere", machine.name, at.index, at.term))
            }
            _ => Err(format!("{}: another state than elsewhere after entry {}", machine.name, at.index)),
        }
    }

    fn learn_placements(&mut self, state: &State) {
        for (id, task) in &state.tasks {
            if let Place::On { node, fence } | Place::Ended { node, fence, .. } = task.place {
                self.placements.insert((id.clone(), node, fence));
            }
        }
    }

    /// A suspected machine's tasks are replaced only later, and are not if it comes back: so no task leaves a machine
    /// that was well all the time, unless it makes way for a newer version of itself or another task, or is drained. Where
    /// `several` entries were applied at once, one that made way may have a new place already.
    fn invariant_no_task_moves_without_need(
        &mut self,
        cluster: &Cluster,
        machine: &Machine,
        state: &State,
        several: bool,
    ) -> Result<(), Broken> {
        let now = cluster.now();
        let seen = self.seen.entry(machine.number).or_default();
        let placed: BTreeMap<_, _> =
            state.tasks.iter().map(|(id, task)| (id.clone(), (task.attempt, task.revision, task.node()))).collect();
        let before = std::mem::replace(&mut seen.placed, placed);
        for (id, (attempt, revision, node)) in &seen.placed {
            let Some((was_attempt, was_revision, Some(was_on))) = before.get(id) else { continue };
            let moved = attempt > was_attempt || node.is_none();
            let ended = state.tasks.get(id).is_some_and(|task| matches!(task.place, Place::Ended { .. }));
            let wanted = state.apps.get(&id.app).and_then(|app| app.revisions.get(&id.job)).copied();
            let cause = state.tasks.get(id).map(|task| &task.cause);
            let by_intent = match cause {
                Some(Cause::Outdated | Cause::Drained | Cause::Preempted { .. } | Cause::Surplus) => true,
                Some(Cause::Waited) => several,
                Some(Cause::MachineLost | Cause::MachineRemoved) | None => false,
            };
            if by_intent || !moved || ended || revision != was_revision || wanted != Some(*revision) {
                continue;
            }
            let well = |id: NodeId| cluster.machine_of(id).is_some_and(|m| now - calm_since(m) > MOVE_BLAME);
            if cluster.present().all(|m| now - calm_since(m) > MOVE_BLAME) && well(*was_on) {
                let (to, from) = (node.map_or("nowhere".into(), |n| n.to_string()), was_on);
                return Err(format!("{id} was moved from {from} to {to}, and nothing was wrong with any machine"));
            }
        }
        Ok(())
    }
}

/// An acknowledged write is never lost: whoever leads has all that were acknowledged, and followers those that were
/// acknowledged a while before.
pub(crate) fn invariant_no_acknowledged_write_is_lost(
    machine: &Machine,
    state: &State,
    history: &History,
    before: Duration,
) -> Result<(), Broken> {
    let there: BTreeSet<u32> = serials(state).collect();
    match history
        .all(|fate| matches!(fate, Fate::Acknowledged(at) if at <= before))
        .find(|serial| !there.contains(serial))
    {
        Some(serial) => Err(format!("{}: the acknowledged write {serial} is lost", machine.name)),
        None => Ok(()),
    }
}

/// Writes keep their order: whoever has one has all that were acknowledged before that one was asked for.
fn invariant_writes_keep_their_order(
    machine: &Machine,
    there: &BTreeSet<u32>,
    history: &History,
) -> Result<(), Broken> {
    let newest = there.iter().filter_map(|serial| Some((history.began(*serial)?, *serial))).max();
    let Some((began, newest)) = newest else { return Ok(()) };
    match history
        .all(|fate| matches!(fate, Fate::Acknowledged(at) if at < began))
        .find(|serial| !there.contains(serial))
    {
        Some(serial) => {
            Err(format!("{}: the write {newest} came before {serial}, which was acknowledged first", machine.name))
        }
        None => Ok(()),
    }
}

/// No write appears that was not made, or that was refused.
fn invariant_no_write_is_invented(machine: &Machine, there: &BTreeSet<u32>, history: &History) -> Result<(), Broken> {
    for serial in there {
        match history.fate(*serial) {
            Some(Fate::UnderWay | Fate::Acknowledged(_) | Fate::Unknown) => {}
            Some(Fate::Refused) => {
                return Err(format!("{}: the write {serial} was refused and took effect", machine.name));
            }
            None => return Err(format!("{}: the write {serial} was never made", machine.name)),
        }
    }
    Ok(())
}

/// No entry is written that a member cannot read: the level is raised only when all members speak it, and nothing of a higher
/// one is written before.
fn invariant_all_members_speak_what_is_written(
    cluster: &Cluster,
    machine: &Machine,
    state: &State,
) -> Result<(), Broken> {
    if state.spoken_level() < NEWER {
        let drained = state.members.values().any(|member| member.draining);
        let above = [(!state.lives.is_empty(), "lives"), (!state.quotas.is_empty(), "quotas"), (drained, "drains")];
        return match above.iter().find(|(there, _)| *there) {
            Some((_, what)) => {
                Err(format!("{}: {what} were written, although not all members speak version {NEWER}", machine.name))
            }
            None => Ok(()),
        };
    }
    let older = |machine: &&Machine| !machine.newer && !machine.is_copy;
    let member = |machine: &&Machine| machine.id.is_some_and(|id| state.members.contains_key(&id));
    match cluster.machines.iter().filter(older).find(member) {
        Some(older) => Err(format!(
            "{}: the level is {NEWER}; {} is a member, and is of the older version",
            machine.name, older.name
        )),
        None => Ok(()),
    }
}

/// What was given of a machine.
#[derive(Default)]
struct Given {
    used: Resources,
    /// Index of the newest placement on it.
    placed: u64,
    /// Index of the newest entry that has changed what a task on it asks for.
    changed: u64,
}

/// No machine is given more than it has, and no fixed port twice, each task counted as what its version asks for. A version
/// that is not kept any more counts as the present one, which may ask for more; nothing is placed there any more then.
fn invariant_no_machine_is_over_committed(machine: &Machine, state: &State) -> Result<(), Broken> {
    let mut given: BTreeMap<NodeId, Given> = BTreeMap::new();
    let mut fixed = BTreeSet::new();
    for (id, task) in &state.tasks {
        let (Place::On { node, fence }, Some(job)) = (&task.place, state.job_of(id)) else { continue };
        let changed = state.apps.get(&id.app).and_then(|app| app.revisions.get(&id.job)).copied().unwrap_or_default();
        let given = given.entry(*node).or_default();
        given.used += job.resources;
        given.placed = given.placed.max(fence.index);
        given.changed = given.changed.max(changed);
        for port in job.ports.iter().filter_map(|port| port.fixed) {
            if !fixed.insert((*node, port)) {
                return Err(format!("{}: port {port} of {node} was given twice", machine.name));
            }
        }
    }
    for (node, Given { used, placed, changed }) in given {
        if placed > changed && state.members.get(&node).is_some_and(|member| !member.capacity.fits(&used)) {
            return Err(format!("{}: {node} was given more than it has: {used:?}", machine.name));
        }
    }
    Ok(())
}

/// The serials of all writes in a state.
pub(crate) fn serials(state: &State) -> impl Iterator<Item = u32> {
    state.tokens.values().filter_map(|token| token.uses)
}

/// A hash of what matters of a state. Of the tokens, which are many, only their number.
fn hash(state: &State) -> u64 {
    let parts =
        (&state.members, &state.apps, &state.tasks, state.tokens.len(), state.generation, state.directory_fence);
    let bytes = postcard::to_stdvec(&parts).expect("plain data can be encoded");
    hash_words(&bytes)
}
