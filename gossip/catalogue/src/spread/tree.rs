//! News along a tree that prunes and mends itself (Plumtree: Leitão, Pereira, Rodrigues 2007).
//!
//! News goes at once along *eager* links, and along *lazy* ones only its head does, a little later. A neighbour that
//! pushes what is known already is asked to be lazy, so that the eager links thin out to about a tree, one for all
//! owners. One whose head was heard of and whose set did not come is asked for it and is eager again: that mends the
//! tree when a node of it dies, and shortens it where it is slow. Two ends may disagree for a while: who pushes too much
//! is asked again, who says too little is asked for the set.

use super::{Rules, Spread, SpreadEffect, link::batches};
use crate::{EXCHANGE_BYTES_MAX, Head, MergeError, Merged, Message, Update};
use rand::RngExt;
use std::{collections::BTreeSet, time::Duration};
use taffeta_model::{MEMBERS_MAX, Millis, NodeId};

/// Duplicates in a row, without news between them, until a neighbour is asked to be lazy. Fewer would cut links that a
/// single race has lost; with more the eager links are a tree later.
const PRUNE_AFTER: u32 = 3;

/// A set that was heard of is waited for so long, and up to half as long again: an update passes a tree of thirty hops
/// in less. The spread lets one node ask first, and its answer reach the others before they ask too.
const WANT_AFTER: Duration = Duration::from_millis(200);

impl Spread {
    pub(super) fn handle_push(&mut self, now: Millis, from: NodeId, updates: &[Update], rules: &Rules<'_>) {
        let (mut news, mut duplicates) = (0, 0);
        for update in updates {
            let (merged, mark) = (self.merge(from, update, rules), update.mark());
            let (Some(merged), Some(mark)) = (merged, mark) else { continue };
            match merged {
                Merged::New => {
                    news += 1;
                    self.take_news(now, update, from);
                }
                Merged::Old | Merged::Same => {
                    // An owner's own link is the shortest way for its sets, whatever another way has won once.
                    duplicates += u32::from(mark.owner != from && mark.owner != self.me);
                    self.links.entry(from).and_modify(|link| link.forget(mark));
                }
                Merged::Gap => {
                    let head = Head { owner: mark.owner, epoch: mark.epoch, seq: mark.seq, content: 0 };
                    self.missing.note(now, head, from);
                }
            }
        }
        self.judge(from, news, duplicates);
    }

    /// Merges, and tells of what was refused.
    pub(super) fn merge(&mut self, from: NodeId, update: &Update, rules: &Rules<'_>) -> Option<Merged> {
        match self.catalogue.merge(update, rules.verifier, rules.known) {
            Ok(merged) => Some(merged),
            Err(MergeError::OwnIsNewer(head)) => {
                self.missing.settle(&head); // the proof is here
                self.effects.push(SpreadEffect::Outranked(head));
                None
            }
            Err(error) => {
                self.effects.push(SpreadEffect::Refused { from, owner: update.owner(), error });
                None
            }
        }
    }

    /// A set was replaced: tells the reader, and all neighbours but those who have it.
    pub(super) fn take_news(&mut self, now: Millis, update: &Update, from: NodeId) {
        let Some(head) = update.owner().and_then(|owner| self.catalogue.get(owner)).map(|held| held.head) else {
            return;
        };
        self.effects.push(SpreadEffect::Changed(head.owner));
        self.missing.settle(&head);
        let size = update.size();
        for (peer, link) in &mut self.links {
            if *peer == from {
                link.forget(head.mark());
            } else if *peer != head.owner {
                link.tell(now, head, update, size);
            }
        }
    }

    /// Asks a neighbour to be lazy that pushed too much that was known.
    fn judge(&mut self, from: NodeId, news: u32, duplicates: u32) {
        if self.is_flood {
            return;
        }
        let eager = self.links.values().filter(|link| link.is_eager()).count();
        let Some(link) = self.links.get_mut(&from) else {
            if news == 0 && duplicates > 0 {
                self.send(from, Message::Prune); // it takes us for a neighbour, or we have asked twice
            }
            return;
        };
        link.count(news, duplicates);
        let is_spare = eager > 1 || !link.is_eager();
        if link.duplicates() >= PRUNE_AFTER && is_spare {
            link.become_lazy();
            self.send(from, Message::Prune);
        }
    }

    pub(super) fn handle_prune(&mut self, now: Millis, from: NodeId) {
        if let Some(link) = self.links.get_mut(&from).filter(|_| !self.is_flood) {
            link.become_lazy();
            link.queue_heads(now);
        }
    }

    pub(super) fn handle_have(&mut self, now: Millis, from: NodeId, heads: &[Head], known: &dyn Fn(NodeId) -> bool) {
        let due = now + self.jittered(WANT_AFTER);
        for head in heads.iter().take(MEMBERS_MAX) {
            self.links.entry(from).and_modify(|link| link.forget(head.mark()));
            let is_member = head.owner == self.me || known(head.owner);
            if is_member && self.catalogue.lacks(head) {
                self.missing.note(due, *head, from);
            }
        }
    }

    pub(super) fn handle_want(&mut self, from: NodeId, owners: &[NodeId]) {
        let owners: Vec<NodeId> = BTreeSet::from_iter(owners.iter().take(MEMBERS_MAX).copied()).into_iter().collect();
        let sets = self.catalogue.sets_of(&owners, self.rng.random());
        debug_assert!(sets.iter().map(|set| set.bytes.len()).sum::<usize>() <= EXCHANGE_BYTES_MAX);
        if let Some(link) = self.links.get_mut(&from) {
            link.become_eager();
            sets.iter().filter_map(|set| set.head()).for_each(|head| link.forget(head.mark()));
        }
        let updates = sets.into_iter().map(Update::from).map(|update| (update.size(), update));
        batches(updates).into_iter().for_each(|updates| self.send(from, Message::Push(updates)));
    }
}
