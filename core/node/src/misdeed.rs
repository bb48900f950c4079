//! Wrong changes of who votes, made only where a simulator plants them to prove that it sees them.

use std::collections::BTreeSet;
use taffeta_model::{Bug, Liveness, NodeId, planted};
use taffeta_store::voters::{Change, Observation, Why};

/// The change that a planted bug makes; `None` in the product.
pub(crate) fn wrong_change(seen: &Observation) -> Option<Change> {
    let bugs = [Bug::ReplaceWithoutEvidence, Bug::ShrinkOnDeath, Bug::TwoChangesAtOnce];
    let bug = bugs.into_iter().find(|bug| planted(*bug))?;
    let [voters] = seen.configs.as_slice() else { return None };
    let is_alive = |id: &NodeId| seen.members.iter().any(|m| m.id == *id && m.liveness == Liveness::Alive);
    let dead = *voters.iter().find(|id| !is_alive(id))?;
    let also = voters.iter().find(|id| **id != dead && **id != seen.me).filter(|_| bug == Bug::TwoChangesAtOnce);
    let left = voters.iter().copied().filter(|id| *id != dead && Some(id) != also);
    let needed = if bug == Bug::ShrinkOnDeath { 0 } else { 1 + usize::from(also.is_some()) };
    let fresh = seen.members.iter().map(|m| m.id).filter(|id| is_alive(id) && !voters.contains(id));
    let new: Vec<NodeId> = fresh.take(needed).collect();
    if new.len() < needed {
        return None;
    }
    if let Some(id) = new.iter().find(|id| !seen.learners.contains(id)) {
        return Some(Change::AddLearner(*id));
    }
    let voters: BTreeSet<NodeId> = left.chain(new).collect();
    Some(Change::SetVoters { voters, stay: false, why: Why::Replacement })
}
