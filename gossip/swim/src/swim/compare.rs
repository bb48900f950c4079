//! How Foca's table, and who said farewell, become the table that others see.

use super::{Effect, Swim};
use crate::{Identity, Incarnation, MemberChange, MemberState, PacketError};
use foca::{Member, State};
use std::collections::BTreeMap;
use taffeta_model::{Liveness, MEMBERS_MAX, Millis, NodeId};

impl Swim {
    /// Compares Foca's table with the last known one: the only way to see suspicion.
    pub(super) fn compare(&mut self, now: Millis) {
        let me = self.me();
        let mut changes = Vec::new();
        let mut outranked = None;
        for member in self.foca.iter_membership_state() {
            let identity = *member.id();
            if identity.id == me.id {
                outranked = Some(identity.incarnation).filter(|seen| *seen > me.incarnation);
                continue;
            }
            let after = liveness(member, &self.left);
            let before = self.table.get(&identity.id);
            if before.is_none_or(|b| b.liveness != after || b.identity != identity) {
                let next = MemberState::next(before, now, identity, after);
                let before = before.map(|b| b.liveness);
                changes.push(MemberChange { id: identity.id, before, after: Some(after), identity });
                self.table.insert(identity.id, next);
            }
        }
        changes.into_iter().for_each(|change| self.note_change(change));
        if let Some(incarnation) = outranked {
            self.report_outranked(incarnation);
        }
    }

    pub(super) fn note_change(&mut self, change: MemberChange) {
        self.revision += 1;
        self.effects.push(Effect::Changed(change));
    }

    pub(super) fn note_left(&mut self, id: NodeId, incarnation: Incarnation) {
        if self.left.contains_key(&id) || self.left.len() < MEMBERS_MAX {
            let newest = self.left.entry(id).or_insert(incarnation);
            *newest = incarnation.max(*newest);
        }
    }

    pub(super) fn report_outranked(&mut self, seen: Incarnation) {
        if self.outranked.is_none_or(|reported| reported < seen) {
            self.outranked = Some(seen);
            self.effects.push(Effect::Outranked(seen));
        }
    }

    /// Refuses what would make the table larger than a ring may be.
    pub(super) fn check_room(&self, ids: impl Iterator<Item = NodeId>) -> Result<(), PacketError> {
        let strangers = ids.filter(|id| !self.table.contains_key(id)).count();
        let full = self.table.len() + strangers > MEMBERS_MAX && strangers > 0;
        if full { Err(PacketError::TooManyMembers(MEMBERS_MAX)) } else { Ok(()) }
    }
}

/// What the ring thinks of a member, given who said farewell. The member's own word counts more than stale news of it.
pub(super) fn liveness(member: &Member<Identity>, left: &BTreeMap<NodeId, Incarnation>) -> Liveness {
    let identity = member.id();
    if left.get(&identity.id).is_some_and(|gone| *gone >= identity.incarnation) {
        return Liveness::Left;
    }
    match member.state() {
        State::Alive => Liveness::Alive,
        State::Suspect => Liveness::Suspect,
        State::Down => Liveness::Down,
    }
}
