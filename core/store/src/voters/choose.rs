//! Who is fit, and whom to prefer: judgements on one look of the leader.

use super::{DEAD_AFTER, Evidence, FRESH, LEARN_PATIENCE, Observation, majority};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{Bug, Liveness, Millis, NodeId, planted};

/// One look: what is seen now, and what was seen before.
pub(super) struct Look<'a> {
    pub(super) now: Millis,
    pub(super) seen: &'a Observation,
    pub(super) evidence: &'a Evidence,
    pub(super) voters: &'a BTreeSet<NodeId>,
    members: BTreeMap<NodeId, (&'a str, Liveness)>,
}

impl<'a> Look<'a> {
    pub(super) fn new(
        now: Millis,
        seen: &'a Observation,
        evidence: &'a Evidence,
        voters: &'a BTreeSet<NodeId>,
    ) -> Self {
        let members = seen.members.iter().map(|m| (m.id, (m.zone.as_str(), m.liveness))).collect();
        Self { now, seen, evidence, voters, members }
    }

    pub(super) fn is_member(&self, id: NodeId) -> bool {
        self.members.contains_key(&id)
    }

    pub(super) fn is_alive(&self, id: NodeId) -> bool {
        let seen = self.members.get(&id).map(|(_, liveness)| *liveness);
        seen.is_some() && (id == self.seen.me || seen == Some(Liveness::Alive))
    }

    /// Whether more than half of the members are alive.
    pub(super) fn sees_majority(&self) -> bool {
        let alive = self.members.keys().filter(|id| self.is_alive(**id)).count();
        alive * 2 > self.members.len()
    }

    /// Zone of a member; of another node the empty one.
    pub(super) fn zone(&self, id: NodeId) -> &'a str {
        let member = self.members.get(&id).filter(|_| !planted(Bug::IgnoreZones));
        member.map_or("", |(zone, _)| zone)
    }

    /// In how many zones the members are.
    pub(super) fn zones(&self) -> usize {
        self.members.values().map(|(zone, _)| zone).collect::<BTreeSet<_>>().len()
    }

    /// Whether it is alive and has acknowledged something just now.
    pub(super) fn answers(&self, id: NodeId) -> bool {
        self.is_alive(id) && (id == self.seen.me || self.silent_for(id) < FRESH)
    }

    /// How long ago a follower acknowledged something.
    pub(super) fn silent_for(&self, id: NodeId) -> Duration {
        self.seen.silence.get(&id).copied().unwrap_or(Duration::MAX)
    }

    /// Whether a voter is to be replaced.
    pub(super) fn is_dead(&self, id: NodeId) -> bool {
        self.is_lost(id) && self.evidence.silent_for(self.now, id) >= DEAD_AFTER
    }

    /// Whether it has been down for long.
    pub(super) fn is_lost(&self, id: NodeId) -> bool {
        self.evidence.down_for(self.now, id) >= DEAD_AFTER
    }

    pub(super) fn is_leaving(&self, id: NodeId) -> bool {
        self.evidence.is_leaving(id)
    }

    /// Whether a learner may vote: it answers, and its log has been complete for so long.
    pub(super) fn is_fit(&self, id: NodeId, complete_for: Duration) -> bool {
        let complete = self.evidence.caught_up_for(self.now, id).is_some_and(|long| long >= complete_for);
        self.seen.learners.contains(&id) && self.answers(id) && complete && !self.is_leaving(id)
    }

    /// Whether it may soon be fit, so that waiting for it is better than taking another.
    pub(super) fn is_hopeful(&self, id: NodeId) -> bool {
        let caught_up = self.evidence.caught_up_for(self.now, id).is_some();
        let patient = caught_up || self.evidence.learner_for(self.now, id) < LEARN_PATIENCE;
        self.is_alive(id) && !self.is_leaving(id) && patient
    }

    /// Whether these, should they vote, have a majority that answers.
    pub(super) fn is_safe(&self, voters: &BTreeSet<NodeId>) -> bool {
        self.is_safe_without(voters, voters.len())
    }

    /// Whether enough of these answer to be a majority of so many voters, whoever the others are.
    pub(super) fn is_safe_without(&self, these: &BTreeSet<NodeId>, of: usize) -> bool {
        these.iter().filter(|id| self.answers(**id)).count() >= majority(of)
    }

    /// Up to so many non-voters that pass, to stand beside `keep`.
    pub(super) fn choose(&self, keep: &BTreeSet<NodeId>, count: usize, fit: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let pool: BTreeSet<NodeId> =
            self.members.keys().copied().filter(|id| !self.voters.contains(id) && fit(*id)).collect();
        self.spread(keep, count, &pool, |_| true)
    }

    /// Up to so many of the pool, to stand beside `keep`; those who are preferred first.
    pub(super) fn choose_among(
        &self,
        keep: &BTreeSet<NodeId>,
        count: usize,
        pool: &BTreeSet<NodeId>,
        preferred: impl Fn(NodeId) -> bool,
    ) -> Vec<NodeId> {
        let pool = pool.iter().copied().filter(|id| !keep.contains(id)).collect();
        self.spread(keep, count, &pool, preferred)
    }

    /// One after the other the one in the emptiest zone; of equals, who follows the log, then who joined first.
    fn spread(
        &self,
        keep: &BTreeSet<NodeId>,
        count: usize,
        pool: &BTreeSet<NodeId>,
        preferred: impl Fn(NodeId) -> bool,
    ) -> Vec<NodeId> {
        let mut crowd: BTreeMap<&str, usize> = BTreeMap::new();
        keep.iter().for_each(|id| *crowd.entry(self.zone(*id)).or_default() += 1);
        let mut left: Vec<NodeId> = self.seen.members.iter().map(|m| m.id).filter(|id| pool.contains(id)).collect();
        let mut chosen = vec![];
        while chosen.len() < count && !left.is_empty() {
            let rank = |id: &NodeId| {
                let in_zone = crowd.get(self.zone(*id)).copied().unwrap_or(0);
                (!preferred(*id), in_zone, !self.seen.learners.contains(id))
            };
            let Some(best) = (0..left.len()).min_by_key(|index| rank(&left[*index])) else { break };
            let best = left.remove(best);
            *crowd.entry(self.zone(best)).or_default() += 1;
            chosen.push(best);
        }
        chosen
    }
}
