//! One member: the two machines, driven as `taffeta-node` drives them.

use crate::{
    event::{Event, Message},
    records::{Seal, SealCheck, info, records},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{net::SocketAddr, sync::Arc};
use taffeta_catalogue::{Catalogue, Digest, Merged, SignedSet, forward};
use taffeta_model::{Liveness, Millis, NodeId};
use taffeta_swim::{Identity, Incarnation, Swim};

/// Tries to pick a live member at random; a node that sees one in ten alive misses its turn once in a thousand.
const PICKS_MAX: usize = 64;

/// Whether it takes part.
pub(crate) enum Condition {
    /// It does.
    Running,
    /// It neither reads nor acts; what waits for it, in order.
    Stalled(Vec<Event>),
    /// It was killed.
    Dead,
}

/// What a node wants sent.
pub(crate) struct Outgoing {
    pub(crate) to: u32,
    pub(crate) message: Message,
}

/// A set that was news to a node.
pub(crate) struct News {
    pub(crate) owner: u32,
}

/// One member.
pub(crate) struct Node {
    pub(crate) me: NodeId,
    pub(crate) swim: Swim,
    pub(crate) catalogue: Catalogue,
    pub(crate) condition: Condition,
    /// For when an [`Event::Timer`] was queued last; earlier queued ones are stale.
    pub(crate) armed: Option<Millis>,
    rng: SmallRng,
}

/// The address of a member; carries its index.
pub(crate) fn address(index: u32) -> SocketAddr {
    let [_, a, b, c] = index.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 7400))
}

/// A member as the ring knows it from the start.
pub(crate) fn identity(id: NodeId, index: u32) -> Identity {
    Identity { incarnation: Incarnation { start: 1, renewal: 0 }, ..Identity::seed(id, address(index)) }
}

/// The ids of all members, ascending.
pub(crate) struct Ids(pub(crate) Vec<NodeId>);

impl Ids {
    pub(crate) fn index(&self, id: NodeId) -> u32 {
        self.0.binary_search(&id).expect("a member") as u32
    }
}

impl Node {
    pub(crate) fn new(me: NodeId, swim: Swim, seed: u64) -> Self {
        let catalogue = Catalogue::new(me, 1);
        let rng = SmallRng::seed_from_u64(seed);
        Self { me, swim, catalogue, condition: Condition::Running, armed: None, rng }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.condition, Condition::Running)
    }

    /// Publishes its set; gives what is to be pushed.
    pub(crate) fn publish(&mut self, index: u32, healthy: bool, ids: &Ids) -> Vec<Outgoing> {
        let published = self.catalogue.publish(info(index), records(healthy), &Seal(self.me)).expect("valid records");
        published.map(|set| self.spread(&set, self.me, self.me, ids)).unwrap_or_default()
    }

    /// Takes a message; gives what is to be sent, and what was news.
    pub(crate) fn handle_message(
        &mut self,
        now: Millis,
        from: NodeId,
        message: Message,
        ids: &Ids,
    ) -> (Vec<Outgoing>, Vec<News>) {
        let answer = |message| (vec![Outgoing { to: ids.index(from), message }], Vec::new());
        match message {
            Message::Swim(packet) => {
                self.swim.handle_packet(now, from, &packet).expect("a good packet");
                (Vec::new(), Vec::new())
            }
            Message::Set(set) => self.merge(from, vec![set], ids),
            Message::Compare(hash) if hash == self.catalogue.digest_hash() => answer(Message::Same),
            Message::Compare(_) => answer(Message::Digest(Box::new(self.catalogue.digest()))),
            Message::Same => (Vec::new(), Vec::new()),
            Message::Digest(theirs) => (self.mend(from, &theirs, ids), Vec::new()),
            Message::Fetch(owners) => answer(Message::Sets(self.catalogue.sets_of(&owners, self.rng.random()))),
            Message::Sets(sets) => self.merge(from, sets, ids),
        }
    }

    /// Asks a random live member whether it holds the same.
    pub(crate) fn compare(&mut self, ids: &Ids) -> Option<Outgoing> {
        let to = (0..PICKS_MAX).map(|_| self.rng.random_range(0..ids.0.len())).find(|index| {
            let member = self.swim.members().get(&ids.0[*index]);
            member.is_some_and(|m| m.liveness == Liveness::Alive)
        })?;
        Some(Outgoing { to: to as u32, message: Message::Compare(self.catalogue.digest_hash()) })
    }

    fn mend(&mut self, from: NodeId, theirs: &Digest, ids: &Ids) -> Vec<Outgoing> {
        let missing = self.catalogue.missing_from(theirs, self.rng.random()).into_iter().map(Message::Set);
        let wanted = Some(self.catalogue.wants(theirs)).filter(|owners| !owners.is_empty()).map(Message::Fetch);
        let to = ids.index(from);
        missing.chain(wanted).map(|message| Outgoing { to, message }).collect()
    }

    fn merge(&mut self, from: NodeId, sets: Vec<Arc<SignedSet>>, ids: &Ids) -> (Vec<Outgoing>, Vec<News>) {
        let (mut outgoing, mut news) = (Vec::new(), Vec::new());
        for set in sets {
            if self.take(&set) {
                let owner = set.head().expect("it was taken").owner;
                outgoing.extend(self.spread(&set, owner, from, ids));
                news.push(News { owner: ids.index(owner) });
            }
        }
        (outgoing, news)
    }

    /// Takes a set; says whether it was news.
    pub(crate) fn take(&mut self, set: &Arc<SignedSet>) -> bool {
        let (me, members) = (self.me, self.swim.members());
        let known = |id| id == me || members.contains_key(&id);
        let merged = self.catalogue.merge(Arc::clone(set), &SealCheck, &known);
        merged.expect("a good set") == Merged::New
    }

    fn spread(&mut self, set: &Arc<SignedSet>, owner: NodeId, from: NodeId, ids: &Ids) -> Vec<Outgoing> {
        let alive = self.swim.members().iter().filter(|(_, m)| m.liveness == Liveness::Alive);
        let alive: Vec<NodeId> = alive.map(|(id, _)| *id).collect();
        let peers = forward(owner, from, &alive, self.rng.random()).into_iter();
        peers.map(|peer| Outgoing { to: ids.index(peer), message: Message::Set(Arc::clone(set)) }).collect()
    }
}
