//! To whom what is sent: the catalogue's part of the gossip, as a machine.
//!
//! Each node has a few neighbours ([`crate::neighbours`]), and news takes a tree of links between them: see `tree.rs`.
//! What that misses is found by comparing hashes: see `mend.rs`.
//!
//! The driver gives input, then performs what [`Spread::take_effects`] gives, then waits until [`Spread::next_timeout`]
//! or the next input. Any message may be lost, late, or repeated. Equal seeds and inputs give equal effects.

mod link;
mod mend;
mod missing;
mod tree;

use crate::{
    Catalogue, FLOOD_PEERS_MAX, Head, Held, MergeError, Merged, Message, PublishError, Sign, SignedSet, Update, Verify,
    neighbours, update::size_of_encoded,
};
use link::Link;
use mend::Mending;
use missing::Missing;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taffeta_model::{Liveness, Millis, NodeId, NodeInfo, TaskRecord};

/// Most heads or owners in one message: some 50 kB.
const HEADS_MAX: usize = 2_500;

/// What fits into a datagram on every path, with what stands around it.
const DATAGRAM_BYTES_MAX: usize = 1_100;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// May be lost; at most 1,100 bytes.
    Datagram,
    /// Not lost as long as the connection lives.
    Stream,
}

/// What the driver is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpreadEffect {
    /// Send it; no answer is waited for.
    Send {
        /// To whom.
        to: NodeId,
        /// What; to be encoded with [`crate::encode`].
        message: Message,
        /// How.
        way: Way,
    },
    /// This owner's set was replaced or dropped: look into [`Spread::catalogue`].
    Changed(NodeId),
    /// An update was not taken.
    Refused {
        /// Who sent it; it need not be to blame.
        from: NodeId,
        /// Whose set it says it is, if that can be read.
        owner: Option<NodeId>,
        /// Why.
        error: MergeError,
    },
    /// There is a newer set of ours, proven by our signature: see [`MergeError::OwnIsNewer`].
    Outranked(Head),
}

/// Whom to believe.
struct Rules<'a> {
    verifier: &'a dyn Verify,
    known: &'a dyn Fn(NodeId) -> bool,
}

/// The catalogue, and to whom what is sent.
pub struct Spread {
    me: NodeId,
    catalogue: Catalogue,
    rng: SmallRng,
    /// All peers are neighbours, and none of them is ever lazy.
    is_flood: bool,
    /// By neighbour: at most [`FLOOD_PEERS_MAX`].
    links: BTreeMap<NodeId, Link>,
    missing: Missing,
    mending: Mending,
    effects: Vec<SpreadEffect>,
}

impl Spread {
    /// With an empty catalogue; `epoch` as for [`Catalogue::new`].
    pub fn new(me: NodeId, epoch: u64, seed: u64) -> Self {
        Self {
            me,
            catalogue: Catalogue::new(me, epoch),
            rng: SmallRng::seed_from_u64(seed),
            is_flood: true,
            links: BTreeMap::new(),
            missing: Missing::default(),
            mending: Mending::default(),
            effects: Vec::new(),
        }
    }

    /// The same with what another member holds.
    pub fn begin_with(me: NodeId, epoch: u64, seed: u64, known: &Catalogue) -> Self {
        Self { catalogue: known.copy_for(me, epoch), ..Self::new(me, epoch, seed) }
    }

    /// See [`Catalogue::share`].
    pub fn share(&mut self, held: &Arc<Held>) {
        self.catalogue.share(held);
    }

    /// What is held.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// What is to be done, in order.
    #[must_use]
    pub fn take_effects(&mut self) -> Vec<SpreadEffect> {
        std::mem::take(&mut self.effects)
    }

    /// The neighbours, and whether news goes to them at once.
    pub fn neighbours(&self) -> impl ExactSizeIterator<Item = (NodeId, bool)> {
        self.links.iter().map(|(peer, link)| (*peer, link.is_eager()))
    }

    /// Takes the live members but this one, ascending: whenever they change. New links are eager.
    pub fn set_peers(&mut self, now: Millis, alive: &[NodeId]) {
        let wanted = neighbours(self.me, alive);
        self.is_flood = alive.len() <= FLOOD_PEERS_MAX;
        let gone: Vec<NodeId> = self.links.keys().copied().filter(|peer| !wanted.contains(peer)).collect();
        for peer in gone {
            let link = self.links.remove(&peer).expect("just seen");
            if alive.binary_search(&peer).is_ok() {
                link.into_pushes().into_iter().for_each(|message| self.send(peer, message));
            }
        }
        for peer in wanted {
            if !self.links.contains_key(&peer) {
                let compare = (self.me < peer).then(|| mend::first_of_link(now, &mut self.rng));
                self.links.insert(peer, Link::new(compare));
            }
        }
        if self.is_flood {
            self.links.values_mut().for_each(Link::become_eager);
        }
        self.mending.set_partners(now, alive, &mut self.rng);
        self.flush(now);
    }

    /// Publishes all records of this node as [`Catalogue::publish`] does; says whether they were new.
    pub fn publish(
        &mut self,
        now: Millis,
        info: NodeInfo,
        records: Vec<TaskRecord>,
        signer: &dyn Sign,
    ) -> Result<bool, PublishError> {
        let Some(update) = self.catalogue.publish(info, records, signer)? else { return Ok(false) };
        self.take_news(now, &update, self.me);
        self.flush(now);
        Ok(true)
    }

    /// Takes a message. `known` says who is a member; the sender has been made sure of.
    pub fn handle(
        &mut self,
        now: Millis,
        from: NodeId,
        message: Message,
        verifier: &dyn Verify,
        known: &dyn Fn(NodeId) -> bool,
    ) {
        match message {
            Message::Push(updates) => self.handle_push(now, from, &updates, &Rules { verifier, known }),
            Message::Have(heads) => self.handle_have(now, from, &heads, known),
            Message::Want(owners) => self.handle_want(from, &owners),
            Message::Prune => self.handle_prune(now, from),
            Message::Summary { hash, owners: _ } => self.handle_summary(now, from, hash),
            Message::Buckets { first, hashes } => self.handle_buckets(now, from, first, &hashes),
            Message::Check(theirs) => self.handle_check(now, from, &theirs),
            Message::Heads { buckets, held, dropped } => {
                self.handle_heads(now, from, &buckets, &held, &dropped, known);
            }
        }
        self.flush(now);
    }

    /// Takes sets of a snapshot, see [`crate::decode_chunk`]. They are news to this node only, so nobody is told.
    pub fn handle_snapshot(
        &mut self,
        from: NodeId,
        sets: Vec<SignedSet>,
        verifier: &dyn Verify,
        known: &dyn Fn(NodeId) -> bool,
    ) {
        let rules = Rules { verifier, known };
        for update in sets.into_iter().map(Update::from) {
            if self.merge(from, &update, &rules) == Some(Merged::New) {
                self.effects.extend(update.owner().map(SpreadEffect::Changed));
            }
        }
    }

    /// Drops sets as [`Catalogue::expire`] does.
    pub fn expire(
        &mut self,
        now: Millis,
        verdict: &dyn Fn(NodeId) -> Option<(Liveness, Millis)>,
        known: &dyn Fn(NodeId) -> bool,
    ) {
        let gone = self.catalogue.expire(now, verdict, known);
        self.effects.extend(gone.into_iter().map(SpreadEffect::Changed));
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Millis) {
        self.compare_if_due(now);
        self.flush(now);
    }

    /// When [`Self::handle_timeout`] is to be called, if nothing comes before. It may have passed.
    pub fn next_timeout(&self) -> Option<Millis> {
        let links = self.links.values().filter_map(Link::next_timeout);
        links.chain(self.missing.next_due()).chain(self.mending.next_due()).min()
    }

    /// Sends what is due.
    fn flush(&mut self, now: Millis) {
        for (source, owners) in self.missing.take_due(now) {
            self.links.entry(source).and_modify(Link::become_eager);
            owners.chunks(HEADS_MAX).for_each(|owners| self.send(source, Message::Want(owners.to_vec())));
        }
        let due: Vec<(NodeId, Vec<Message>)> =
            self.links.iter_mut().map(|(peer, link)| (*peer, link.take_due(now))).collect();
        for (peer, messages) in due {
            messages.into_iter().for_each(|message| self.send(peer, message));
        }
    }

    fn send(&mut self, to: NodeId, message: Message) {
        let fits = !matches!(message, Message::Push(_)) && size_of_encoded(&message) <= DATAGRAM_BYTES_MAX;
        let way = match self.links.get_mut(&to) {
            None if fits => Way::Datagram,
            None => Way::Stream,
            Some(link) => link.way_of(&message),
        };
        self.effects.push(SpreadEffect::Send { to, message, way });
    }

    /// As long, and up to half as long again.
    fn jittered(&mut self, least: Duration) -> Duration {
        least + least.mul_f64(self.rng.random_range(0.0..0.5))
    }
}
