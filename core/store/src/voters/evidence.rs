//! What the leader has seen over time. Kept by the leader, lost with it: a new one waits anew.

use super::{Change, DEAD_AFTER, LEAVING_FOR, Observation, WELL_FOR, Why};
use crate::voters::FRESH;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{Liveness, Millis, NodeId};

/// A leader that looked at nothing for this long was paused, and what it remembers proves nothing.
const GAP_MAX: Duration = Duration::from_secs(5);

/// When things were first seen as they are now. Each table holds members and followers only.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    looked: Option<Millis>,
    /// Members that the ring holds for down or left, or has not met.
    down: BTreeMap<NodeId, Millis>,
    /// When each follower last acknowledged something; at first, when it was first looked at.
    heard: BTreeMap<NodeId, Millis>,
    /// Followers whose log is complete.
    caught_up: BTreeMap<NodeId, Millis>,
    learners: BTreeMap<NodeId, Millis>,
    /// Since when all who take part are well.
    well: Option<Millis>,
    replaced: Option<Millis>,
    /// Who said that it stops, when, and whether it has gone since.
    leaving: BTreeMap<NodeId, (Millis, bool)>,
}

impl Evidence {
    /// Takes in what is seen at this moment; before each plan.
    pub fn observe(&mut self, now: Millis, seen: &Observation) {
        if self.looked.is_some_and(|at| now.since(at) > GAP_MAX) {
            *self = Self { leaving: std::mem::take(&mut self.leaving), replaced: self.replaced, ..Self::default() };
        }
        self.looked = Some(now);
        let gone = |l: Liveness| matches!(l, Liveness::Down | Liveness::Left);
        let down = seen.members.iter().filter(|m| m.id != seen.me && gone(m.liveness)).map(|m| m.id);
        keep_since(&mut self.down, now, down);
        let followers: BTreeSet<NodeId> =
            seen.configs.iter().flatten().chain(&seen.learners).copied().filter(|id| *id != seen.me).collect();
        self.heard.retain(|id, _| followers.contains(id));
        for id in &followers {
            let before = self.heard.get(id).copied().unwrap_or(now);
            let newest = seen.silence.get(id).map(|silence| earlier(now, *silence));
            self.heard.insert(*id, newest.map_or(before, |newest| newest.max(before)));
        }
        let fresh = |id: &NodeId| seen.silence.get(id).is_some_and(|silence| *silence < FRESH);
        let complete = seen.caught_up.iter().copied().filter(|id| followers.contains(id) && fresh(id));
        keep_since(&mut self.caught_up, now, complete);
        keep_since(&mut self.learners, now, seen.learners.iter().copied());
        // A dead stand-by that nobody can take the place of is not waited for.
        let voters = seen.configs.first();
        let matters = |id: &NodeId| voters.is_some_and(|v| v.contains(id)) || self.down_for(now, *id) < DEAD_AFTER;
        let is_well = seen.lease
            && seen.committed
            && seen.configs.len() == 1
            && followers
                .iter()
                .all(|id| !matters(id) || self.caught_up.contains_key(id) && !self.down.contains_key(id));
        self.well = if is_well { self.well.or(Some(now)) } else { None };
        self.leaving.retain(|id, (since, gone)| {
            let down = self.down.contains_key(id);
            let back = *gone && !down;
            *gone |= down;
            !back && now.since(*since) < LEAVING_FOR
        });
    }

    /// A member said that it is about to stop.
    pub fn note_leaving(&mut self, now: Millis, node: NodeId) {
        self.leaving.insert(node, (now, false)); // bounded by the number of members, who alone can say it
    }

    /// A change was begun.
    pub fn note_change(&mut self, now: Millis, change: &Change) {
        match change {
            Change::SetVoters { why, .. } => {
                self.well = None;
                match why {
                    Why::Replacement => self.replaced = Some(now),
                    Why::Growth | Why::Removal | Why::Spread | Why::Departure => {}
                }
            }
            Change::Finish(_) => self.well = None,
            Change::AddLearner(_) | Change::RemoveLearner(_) => {}
        }
    }

    pub(super) fn replaced(&self) -> Option<Millis> {
        self.replaced
    }

    pub(super) fn is_well(&self, now: Millis) -> bool {
        self.well.is_some_and(|since| now.since(since) >= WELL_FOR)
    }

    /// For how long the ring has held it for down; zero if it does not.
    pub(super) fn down_for(&self, now: Millis, id: NodeId) -> Duration {
        since(&self.down, now, id)
    }

    /// For how long it has acknowledged nothing; zero if it is not waited for.
    pub(super) fn silent_for(&self, now: Millis, id: NodeId) -> Duration {
        since(&self.heard, now, id)
    }

    /// For how long its log has been complete; `None` if it is not.
    pub(super) fn caught_up_for(&self, now: Millis, id: NodeId) -> Option<Duration> {
        self.caught_up.get(&id).map(|since| now.since(*since))
    }

    /// For how long it has followed the log without a vote.
    pub(super) fn learner_for(&self, now: Millis, id: NodeId) -> Duration {
        since(&self.learners, now, id)
    }

    pub(super) fn is_leaving(&self, id: NodeId) -> bool {
        self.leaving.contains_key(&id)
    }
}

fn since(table: &BTreeMap<NodeId, Millis>, now: Millis, id: NodeId) -> Duration {
    table.get(&id).map_or(Duration::ZERO, |since| now.since(*since))
}

fn earlier(now: Millis, by: Duration) -> Millis {
    Millis(now.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

/// Keeps the times of those that are still of the kind, and begins those of new ones.
fn keep_since(table: &mut BTreeMap<NodeId, Millis>, now: Millis, of_the_kind: impl Iterator<Item = NodeId>) {
    *table = of_the_kind.map(|id| (id, table.get(&id).copied().unwrap_or(now))).collect();
}
