//! Finding what was lost, by comparing hashes.
//!
//! Every five seconds or so a node sends the hash of all its heads to a random member, and every ten over each link,
//! by the end with the lower id. Who holds something else answers with its bucket hashes. The asker waits a second,
//! and sends its hashes of the buckets that differed and still do; who still finds them different answers with the
//! heads in them. Then both ask for what they lack, as for any head that was heard of.
//!
//! A change that is just under way makes the first hashes differ, but hardly the second ones: its own bucket agrees by
//! then, unless one more change fell into it. At 10,000 owners and 100 changes a second that take half a second to
//! spread, at most 100 of the 1,024 buckets differ at first, and of these about 10 after the second. A comparison is
//! then 12 bytes, 4.1 kB of hashes, 0.6 kB of those that differed and 2 kB of heads, whatever else happens; a node
//! begins one each two seconds and answers as many, so it sends and gets less than 4 kB/s. Measured with 300 nodes and
//! 100 changes a second: 0.9 kB/s; at rest 7 bytes/s.

use super::{HEADS_MAX, Spread};
use crate::{BUCKETS, Head, Message, ShortHash};
use rand::{RngExt, rngs::SmallRng, seq::IteratorRandom};
use std::{collections::BTreeMap, time::Duration};
use taffeta_model::{MEMBERS_MAX, Millis, NodeId};

/// Between two comparisons with random members: as long, and up to half as long again.
const COMPARE_EVERY: Duration = Duration::from_secs(4);

/// Between two comparisons over one link: as long, and up to half as long again; also keeps its connection from idling.
const COMPARE_LINK_EVERY: Duration = Duration::from_secs(8);

/// The first comparison over a new link comes sooner: after a partition heals, links are what is new.
const COMPARE_NEW_LINK_WITHIN: Duration = Duration::from_secs(1);

/// A difference that lasts so long is not under way any more.
const PURSUE_AFTER: Duration = Duration::from_secs(1);

/// Members of which one is taken at random to compare with. Any will do: a few dozen make all nodes one connected
/// graph, and keep the list from taking as much memory as the members.
const PARTNERS_MAX: usize = 32;

/// Members with whom differences are pursued at once; the next comparison finds the others.
const PURSUITS_MAX: usize = 4;

/// Buckets that are pursued at once with one member: their heads are some 50 kB in the largest ring. The next
/// comparison finds the others.
const PURSUED_BUCKETS_MAX: usize = 256;

/// Comparisons that are answered in one second: thirty times what a ring at rest asks, so that no peer can keep us busy.
const ANSWERS_PER_SECOND_MAX: u32 = 32;

/// Bucket hashes that fit into a datagram.
const DATAGRAM_HASHES_MAX: usize = 256;

/// Differences with one member.
struct Pursuit {
    due: Millis,
    /// The other's hashes; at most [`PURSUED_BUCKETS_MAX`].
    theirs: Vec<(u16, ShortHash)>,
}

/// What is being compared.
#[derive(Default)]
pub(super) struct Mending {
    /// At most [`PARTNERS_MAX`].
    partners: Vec<NodeId>,
    /// `None` until there were peers.
    compare_due: Option<Millis>,
    /// By member; at most [`PURSUITS_MAX`].
    pursuits: BTreeMap<NodeId, Pursuit>,
    /// The second in which was answered last, and how often.
    answers: (u64, u32),
}

impl Mending {
    pub(super) fn set_partners(&mut self, now: Millis, alive: &[NodeId], rng: &mut SmallRng) {
        self.partners = alive.iter().copied().sample(rng, PARTNERS_MAX);
        self.compare_due.get_or_insert_with(|| now + COMPARE_EVERY.mul_f64(rng.random_range(0.0..1.0)));
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.pursuits.values().map(|pursuit| pursuit.due).chain(self.compare_due).min()
    }

    fn may_answer(&mut self, now: Millis) -> bool {
        let second = now.0 / 1000;
        if self.answers.0 != second {
            self.answers = (second, 0);
        }
        self.answers.1 += 1;
        self.answers.1 <= ANSWERS_PER_SECOND_MAX
    }
}

/// When a new link is compared over first.
pub(super) fn first_of_link(now: Millis, rng: &mut SmallRng) -> Millis {
    now + COMPARE_NEW_LINK_WITHIN.mul_f64(rng.random_range(0.0..1.0))
}

impl Spread {
    pub(super) fn compare_if_due(&mut self, now: Millis) {
        let due: Vec<NodeId> = self.mending.pursuits.iter().filter(|(_, p)| p.due <= now).map(|(p, _)| *p).collect();
        due.into_iter().for_each(|peer| self.pursue(peer));
        if self.mending.compare_due.is_some_and(|due| due <= now) {
            self.mending.compare_due = Some(now + self.jittered(COMPARE_EVERY));
            let partner = self.mending.partners.iter().copied().choose(&mut self.rng);
            partner.into_iter().for_each(|partner| self.send_summary(partner));
        }
        let due = |due: Option<Millis>| due.is_some_and(|due| due <= now);
        let links: Vec<NodeId> = self.links.iter().filter(|(_, l)| due(l.compare_due)).map(|(p, _)| *p).collect();
        for peer in links {
            let next = now + self.jittered(COMPARE_LINK_EVERY);
            self.links.entry(peer).and_modify(|link| link.compare_due = Some(next));
            self.send_summary(peer);
        }
    }

    fn send_summary(&mut self, to: NodeId) {
        let owners = u32::try_from(self.catalogue.sets().len()).expect("bounded");
        self.send(to, Message::Summary { hash: self.catalogue.digest_hash(), owners });
    }

    pub(super) fn handle_summary(&mut self, now: Millis, from: NodeId, hash: u64) {
        if hash == self.catalogue.digest_hash() || !self.mending.may_answer(now) {
            return;
        }
        let hashes: Vec<ShortHash> = (0..BUCKETS as u16).map(|bucket| self.catalogue.bucket_hash(bucket)).collect();
        let length = if self.links.contains_key(&from) { BUCKETS } else { DATAGRAM_HASHES_MAX };
        for (index, hashes) in hashes.chunks(length).enumerate() {
            self.send(from, Message::Buckets { first: (index * length) as u16, hashes: hashes.to_vec() });
        }
    }

    pub(super) fn handle_buckets(&mut self, now: Millis, from: NodeId, first: u16, hashes: &[ShortHash]) {
        let pursuits = &mut self.mending.pursuits;
        if pursuits.len() >= PURSUITS_MAX && !pursuits.contains_key(&from) {
            return;
        }
        let theirs = (first..BUCKETS as u16).zip(hashes.iter().copied());
        let differing = theirs.filter(|(bucket, hash)| self.catalogue.bucket_hash(*bucket) != *hash);
        let known = pursuits.get(&from).map_or(0, |pursuit| pursuit.theirs.len());
        let differing = differing.sample(&mut self.rng, PURSUED_BUCKETS_MAX - known);
        if !differing.is_empty() {
            let fresh = || Pursuit { due: now + PURSUE_AFTER, theirs: Vec::new() };
            pursuits.entry(from).or_insert_with(fresh).theirs.extend(differing);
        }
    }

    /// The second look at what differed.
    fn pursue(&mut self, peer: NodeId) {
        let Some(pursuit) = self.mending.pursuits.remove(&peer) else { return };
        let ours = pursuit.theirs.into_iter().map(|(bucket, hash)| (bucket, hash, self.catalogue.bucket_hash(bucket)));
        let still: Vec<_> = ours.filter(|(_, theirs, ours)| theirs != ours).map(|(b, _, ours)| (b, ours)).collect();
        if !still.is_empty() {
            self.send(peer, Message::Check(still));
        }
    }

    pub(super) fn handle_check(&mut self, now: Millis, from: NodeId, theirs: &[(u16, ShortHash)]) {
        let theirs = theirs.iter().take(PURSUED_BUCKETS_MAX);
        let differs = |(bucket, hash): &&(u16, ShortHash)| self.catalogue.bucket_hash(*bucket) != *hash;
        let buckets: Vec<u16> = theirs.filter(differs).map(|(bucket, _)| *bucket).collect();
        if buckets.is_empty() || !self.mending.may_answer(now) {
            return;
        }
        let held = buckets.iter().flat_map(|bucket| self.catalogue.heads_in(*bucket)).collect();
        let dropped = buckets.iter().flat_map(|bucket| self.catalogue.dropped_in(*bucket)).collect();
        self.send(from, Message::Heads { buckets, held, dropped });
    }

    /// Asks for what we lack, and tells of what the other lacks.
    pub(super) fn handle_heads(
        &mut self,
        now: Millis,
        from: NodeId,
        buckets: &[u16],
        held: &[Head],
        dropped: &[Head],
        known: &dyn Fn(NodeId) -> bool,
    ) {
        if !self.mending.may_answer(now) {
            return;
        }
        self.handle_have(now, from, held, known);
        let all = held.iter().take(MEMBERS_MAX).chain(dropped.iter().take(MEMBERS_MAX));
        let theirs: BTreeMap<NodeId, &Head> = all.map(|head| (head.owner, head)).collect();
        let is_news = |head: &Head| theirs.get(&head.owner).is_none_or(|theirs| head.is_newer_than(theirs));
        let buckets = buckets.iter().take(PURSUED_BUCKETS_MAX);
        let news: Vec<Head> = buckets.flat_map(|bucket| self.catalogue.heads_in(*bucket)).filter(is_news).collect();
        news.chunks(HEADS_MAX).for_each(|heads| self.send(from, Message::Have(heads.to_vec())));
    }
}
