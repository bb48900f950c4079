//! Who votes in the end.

use crate::{cluster::Cluster, machine::Machine};
use std::collections::BTreeSet;
use taffeta_model::{NodeId, State};
use taffeta_store::Leadership;

/// Machines that follow the log without a vote, if there are as many.
const STAND_BYS: usize = 2;

/// What is wrong with who votes, in words. Three from three machines on, five above four in three zones; those that are
/// dead have been replaced as long as there is anybody to do so; zones are kept apart; and two more stand by.
pub(super) fn missing(cluster: &Cluster, state: &State, leadership: &Leadership) -> Option<String> {
    if let Some(chore) = cluster.chores.front() {
        return Some(format!("this has not been done yet: {chore:?}"));
    }
    if let Some(id) = cluster.removed.iter().find(|id| takes_part(state, leadership, **id)) {
        return Some(format!("{id} was removed, and still takes part"));
    }
    if leadership.configs.len() > 1 {
        return Some("a change of who votes is half done".into());
    }
    let alive: Vec<&Machine> =
        cluster.present().filter(|m| m.id.is_some_and(|id| state.members.contains_key(&id))).collect();
    let zones = |machines: &mut dyn Iterator<Item = &&Machine>| {
        machines.map(|m| m.zone.as_str()).collect::<BTreeSet<_>>().len()
    };
    let in_set = |m: &&&Machine, set: &BTreeSet<NodeId>| m.id.is_some_and(|id| set.contains(&id));
    let voting = alive.iter().filter(|m| in_set(m, &leadership.voters)).count();
    let (votes, members) = (leadership.voters.len(), state.members.len());
    let least = match members.min(alive.len()) {
        0..=2 => 1,
        3..=4 => 3,
        _ if zones(&mut alive.iter()) >= 3 => 5,
        _ => 3,
    };
    if votes < least || votes > 5 || votes.is_multiple_of(2) {
        return Some(format!("{votes} of {members} members vote, {} of which live", alive.len()));
    }
    if alive.len() * 2 <= members {
        return None; // a leader that sees no more than half of the ring replaces nobody
    }
    if voting < votes.min(alive.len()) {
        return Some(format!("only {voting} of {votes} voters live, and there are {} machines", alive.len()));
    }
    let apart = zones(&mut alive.iter().filter(|m| in_set(m, &leadership.voters)));
    if voting == votes && apart < votes.min(zones(&mut alive.iter())) {
        return Some(format!("the voters are in {apart} zones only"));
    }
    let standing_by = alive.iter().filter(|m| in_set(m, &leadership.learners)).count();
    let spare = alive.len() - voting;
    (standing_by < spare.min(STAND_BYS)).then(|| format!("{standing_by} machines stand by, of {spare} that could"))
}

fn takes_part(state: &State, leadership: &Leadership, id: NodeId) -> bool {
    state.members.contains_key(&id) || leadership.voters.contains(&id) || leadership.learners.contains(&id)
}
