//! What can happen, and in which order it does.

use crate::trace::Kind;
use std::{collections::BTreeMap, sync::Arc};
use taffeta_catalogue::{Digest, SignedSet};
use taffeta_model::{Millis, NodeId};

/// A head in a digest: an owner and a hash of 9 or 10 bytes each in postcard, and two small counters.
const HEAD_BYTES: usize = 22;
/// Beside the encoded set: its length, the owner's key and signature.
const SEAL_BYTES: usize = 99;
/// The lane or status, and which message it is.
const TAG_BYTES: usize = 2;

/// What a node tells another, as `taffeta-node` does.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// A packet of the ring, unreliable.
    Swim(Vec<u8>),
    /// A set that is news to the sender.
    Set(Arc<SignedSet>),
    /// Is this your hash too?
    Compare(u64),
    /// It is.
    Same,
    /// It is not: this is what I hold.
    Digest(Box<Digest>),
    /// Give me the sets of these.
    Fetch(Vec<NodeId>),
    /// Here they are.
    Sets(Vec<Arc<SignedSet>>),
}

/// Something that happens to one node.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The ring's machine may be due; stale if the node meanwhile waits for another time.
    Timer(u32),
    /// Time to compare catalogues.
    Tick(u32),
    /// A message arrives.
    Message { from: u32, to: u32, message: Message },
    /// The node has news about its tasks.
    Publish(u32),
    /// It ends without a farewell.
    Kill(u32),
    /// It stands still.
    Stall(u32),
    /// It goes on.
    Resume(u32),
}

impl Message {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Swim(_) => Kind::Swim,
            Self::Set(_) => Kind::Set,
            Self::Compare(_) => Kind::Compare,
            Self::Same => Kind::Same,
            Self::Digest(_) => Kind::Digest,
            Self::Fetch(_) => Kind::Fetch,
            Self::Sets(_) => Kind::Sets,
        }
    }

    /// Its encoded size in a ring of `nodes`. A digest is charged for all of them, as each has published something.
    pub(crate) fn bytes(&self, nodes: usize) -> usize {
        let sealed = |set: &Arc<SignedSet>| set.bytes.len() + SEAL_BYTES;
        match self {
            Self::Swim(packet) => packet.len(),
            Self::Set(set) => TAG_BYTES + sealed(set),
            Self::Compare(_) => TAG_BYTES + 10,
            Self::Same => TAG_BYTES,
            Self::Digest(_) => TAG_BYTES + 12 + HEAD_BYTES * nodes,
            Self::Fetch(owners) => TAG_BYTES + 2 + 10 * owners.len(),
            Self::Sets(sets) => TAG_BYTES + 2 + sets.iter().map(sealed).sum::<usize>(),
        }
    }
}

/// Events by virtual time; those of one millisecond in the order in which they were added.
#[derive(Default)]
pub(crate) struct Queue(BTreeMap<Millis, Vec<Event>>);

impl Queue {
    pub(crate) fn add(&mut self, at: Millis, event: Event) {
        self.0.entry(at).or_default().push(event);
    }

    /// The next millisecond in which something happens, `end` at most, and all that is known to happen then.
    pub(crate) fn take_next(&mut self, end: Millis) -> Option<(Millis, Vec<Event>)> {
        self.0.first_entry().filter(|first| *first.key() <= end).map(|first| first.remove_entry())
    }
}
