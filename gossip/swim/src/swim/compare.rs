//! How Foca's table, and who said farewell, become the table that others see.

use super::{Effect, Swim};
use crate::{
    Identity, Incarnation, MemberChange, MemberFact, MemberState, PacketError, codec::FAREWELL, digest::Digest,
};
use foca::{Member, State};
use std::collections::{BTreeMap, BTreeSet};
use taffeta_model::{Liveness, MEMBERS_MAX, Millis, NodeId};

impl Swim {
    /// Takes over what Foca has changed in its table: the only way to see suspicion.
    pub(super) fn take_over(&mut self, now: Millis) {
        let (applied, refutations) = {
            let mut notes = self.codec.notes();
            (std::mem::take(&mut notes.applied), notes.refutations)
        };
        if refutations > self.refuted {
            self.become_slower(1); // somebody waited in vain for this node
        }
        self.refuted = refutations;
        let me = self.me();
        for member in applied {
            let identity = *member.id();
            if identity.id == me.id {
                self.notice_another_me(&me, &identity);
            } else {
                if is_farewell(&member) {
                    self.note_left(identity.id, identity.incarnation);
                }
                self.settle(now, identity, liveness(&member, &self.left));
                self.passed.insert(identity.id, member);
            }
        }
    }

    /// Looks at these members in Foca's table: for changes that were not to be passed on, and so were not encoded.
    pub(super) fn settle_all(&mut self, now: Millis, ids: &BTreeSet<NodeId>) {
        let me = self.me().id;
        let held = self.foca.iter_membership_state().filter(|m| m.id().id != me && ids.contains(&m.id().id));
        let held: Vec<_> = held.map(|m| (*m.id(), liveness(m, &self.left))).collect();
        held.into_iter().for_each(|(identity, liveness)| self.settle(now, identity, liveness));
    }

    /// Adds up the table anew.
    pub(super) fn sum_up(&mut self) {
        (self.digest, self.alive, self.gone) = (Digest::new(), 0, 0);
        self.digest.add(&self.me(), Liveness::Alive);
        for member in self.table.clone().values() {
            self.count(member, true);
        }
        self.revision += 1;
    }

    /// Whether the facts tell of a later life of this node.
    pub(super) fn check_own(&mut self, me: &Identity, facts: &[MemberFact]) {
        let own = facts.iter().map(|f| f.identity).filter(|i| i.id == me.id);
        own.for_each(|seen| self.notice_another_me(me, &seen));
    }

    /// The member is as given now.
    fn settle(&mut self, now: Millis, identity: Identity, after: Liveness) {
        let before = self.table.get(&identity.id).copied();
        if before.is_some_and(|b| b.liveness == after && b.identity == identity) {
            return;
        }
        let next = MemberState::next(before.as_ref(), now, identity, after);
        if let Some(before) = &before {
            self.count(before, false);
        }
        self.count(&next, true);
        self.table.insert(identity.id, next);
        let before = before.map(|b| b.liveness);
        self.note_change(MemberChange { id: identity.id, before, after: Some(after), identity });
    }

    /// A member of whom a farewell was noted.
    pub(super) fn settle_farewell(&mut self, now: Millis, id: NodeId) {
        let Some(known) = self.table.get(&id).copied() else { return };
        if self.left.get(&id).is_some_and(|gone| *gone >= known.identity.incarnation) {
            self.settle(now, known.identity, Liveness::Left);
        }
    }

    /// Keeps the sums over the table.
    pub(super) fn count(&mut self, member: &MemberState, comes: bool) {
        let sum = match member.liveness {
            Liveness::Alive => Some(&mut self.alive),
            Liveness::Left => Some(&mut self.gone),
            Liveness::Suspect | Liveness::Down => None,
        };
        if comes {
            self.digest.add(&member.identity, member.liveness);
            sum.into_iter().for_each(|sum| *sum += 1);
        } else {
            self.digest.remove(&member.identity, member.liveness);
            sum.into_iter().for_each(|sum| *sum -= 1);
        }
    }

    /// The ring speaks of another life of this node. A later one cannot be an echo of the past; nor can one of the same
    /// start and renewal elsewhere, of which only one can win: the one that all nodes settle on.
    fn notice_another_me(&mut self, me: &Identity, seen: &Identity) {
        if (seen.incarnation, seen.address) > (me.incarnation, me.address) {
            self.report_outranked(seen.incarnation);
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

    pub(super) fn note_farewells(&mut self, me: &Identity, facts: &[MemberFact]) {
        for gone in facts.iter().filter(|f| f.liveness == Liveness::Left && f.identity.id != me.id) {
            self.note_left(gone.identity.id, gone.identity.incarnation);
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

fn is_farewell(member: &Member<Identity>) -> bool {
    member.state() == State::Down && member.incarnation() == FAREWELL
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
