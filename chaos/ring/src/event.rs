//! What can happen, and in which order it does.

use crate::{tally::Phase, trace::Kind};
use std::{collections::BTreeMap, sync::Arc};
use taffeta_catalogue::{SignedSet, Way};
use taffeta_model::Millis;
use taffeta_swim::MemberFact;

/// The lane or status, and which message it is.
const TAG_BYTES: usize = 2;
/// A fact about a member in postcard: id, address, counters, verdict.
const FACT_BYTES: usize = 24;
/// What reading and checking one set takes of the processor, most of it the signature; see the crate's documentation.
const SET_US: u64 = 100;
/// What the ring's library takes for one fact about a member when all of a large ring come at once.
const FACT_US: u64 = 10;

/// What a node tells another, as `taffeta-node` does.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// A packet of the ring, unreliable.
    Swim(Vec<u8>),
    /// What the sender believes of these parts of the ring; it wants the same back.
    Exchange { parts: u64, facts: Arc<[MemberFact]> },
    /// What was wanted.
    Facts(Arc<[MemberFact]>),
    /// Are you there? On a live connection.
    Ask,
    /// Yes.
    Answer,
    /// A message of the catalogue, and its bytes on the wire.
    Spread(Arc<taffeta_catalogue::Message>, usize, Way),
    /// A newcomer wants all members and all sets.
    Join,
    /// Some of the members, for a newcomer.
    Members(Arc<[MemberFact]>),
    /// A chunk of the sets, for a newcomer, and its bytes on the wire.
    Chunk(Arc<[SignedSet]>, usize),
}

/// Something that happens to one node.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: u32,
    pub(crate) what: What,
}

/// What happens to it.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// One of its machines may be due; stale if the node meanwhile waits for another time.
    Timer,
    /// A message arrives.
    Message { from: u32, message: Message },
    /// The node has news about its tasks.
    Publish(Phase),
    /// It ends without a farewell.
    Kill,
    /// It stands still.
    Stall,
    /// It goes on.
    Resume,
    /// It comes into the ring, of which it knows one member.
    Join { seed: u32 },
}

impl Message {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Swim(_) => Kind::Swim,
            Self::Exchange { .. } | Self::Facts(_) => Kind::Facts,
            Self::Ask | Self::Answer => Kind::Ask,
            Self::Spread(..) => Kind::Spread,
            Self::Join | Self::Members(_) | Self::Chunk(..) => Kind::Told,
        }
    }

    /// Its encoded size.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Swim(packet) => packet.len(),
            Self::Exchange { facts, .. } => TAG_BYTES + 9 + FACT_BYTES * facts.len(),
            Self::Facts(facts) | Self::Members(facts) => TAG_BYTES + FACT_BYTES * facts.len(),
            Self::Ask | Self::Answer | Self::Join => TAG_BYTES,
            Self::Spread(_, bytes, _) | Self::Chunk(_, bytes) => TAG_BYTES + bytes,
        }
    }
}

impl Message {
    /// Whether it is part of the one stream that a newcomer reads.
    pub(crate) fn is_for_newcomer(&self) -> bool {
        matches!(self, Self::Members(_) | Self::Chunk(..))
    }

    /// What it takes of the receiver's processor besides its packets, in microseconds.
    pub(crate) fn work_us(&self) -> u64 {
        match self {
            Self::Swim(_) | Self::Ask | Self::Answer | Self::Join => 0,
            Self::Exchange { facts, .. } | Self::Facts(facts) | Self::Members(facts) => FACT_US * facts.len() as u64,
            Self::Spread(message, _, _) => SET_US * updates(message) as u64,
            Self::Chunk(sets, _) => SET_US * sets.len() as u64,
        }
    }
}

/// Sets that the message brings.
pub(crate) fn updates(message: &taffeta_catalogue::Message) -> usize {
    match message {
        taffeta_catalogue::Message::Push(updates) => updates.len(),
        taffeta_catalogue::Message::Have(_)
        | taffeta_catalogue::Message::Want(_)
        | taffeta_catalogue::Message::Prune
        | taffeta_catalogue::Message::Summary { .. }
        | taffeta_catalogue::Message::Buckets { .. }
        | taffeta_catalogue::Message::Check(_)
        | taffeta_catalogue::Message::Heads { .. } => 0,
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
