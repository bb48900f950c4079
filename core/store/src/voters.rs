//! Who should vote: a pure function of the members and of what the log says, to at most one change.
//!
//! One voter for one and two machines, three from three machines on, in one step. Existing voters are kept, and no
//! change ever makes the set smaller: death never shrinks it. Left out: replacing dead voters, zones, five voters.

use std::collections::BTreeSet;
use taffeta_model::NodeId;

/// Most voters that this rule makes.
pub const VOTERS: usize = 3;

/// A machine that may vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The machine.
    pub id: NodeId,
    /// Whether the ring sees it alive.
    pub alive: bool,
}

/// The one change to make now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Let a machine follow the log, so that it can vote later.
    AddLearner(NodeId),
    /// Let exactly these vote, by one joint change.
    SetVoters(BTreeSet<NodeId>),
}

/// The next change, if any. `members` are in the order of their joining; `caught_up` are those whose log is complete.
pub fn plan(
    members: &[Candidate],
    voters: &BTreeSet<NodeId>,
    learners: &BTreeSet<NodeId>,
    caught_up: &BTreeSet<NodeId>,
) -> Option<Change> {
    if voters.is_empty() || voters.len() >= VOTERS {
        return None;
    }
    // With two machines the second one follows the log already: the growth to three then waits for one only.
    let wanted = members.len().min(VOTERS).saturating_sub(voters.len());
    let fresh = members.iter().filter(|m| m.alive && !voters.contains(&m.id)).map(|m| m.id);
    let (known, new): (Vec<_>, Vec<_>) = fresh.partition(|id| learners.contains(id));
    let chosen: Vec<NodeId> = known.into_iter().chain(new).take(wanted).collect();
    if let Some(id) = chosen.iter().find(|id| !learners.contains(id)) {
        return Some(Change::AddLearner(*id));
    }
    let complete = chosen.iter().all(|id| caught_up.contains(id));
    let grown: BTreeSet<NodeId> = voters.iter().copied().chain(chosen).collect();
    (grown.len() == VOTERS && complete).then_some(Change::SetVoters(grown))
}

#[cfg(test)]
mod tests;
