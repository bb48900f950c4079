//! How a newcomer comes to know all: one stream from one member, first the members, then the sets in chunks.

use super::{Condition, Ids, Node, Turn};
use crate::{event::Message, records::SealCheck, trace::Kind};
use taffeta_catalogue::{SignedSet, decode_chunk};
use taffeta_model::{Millis, NodeId};

/// Facts in one message, so that packets are answered in between: what [`taffeta_swim::Swim::merge`] advises.
const FACTS: usize = 200;

impl Node {
    /// Comes into the ring: publishes its tasks, and asks the one whom it knows for the rest.
    pub(super) fn join(&mut self, now: Millis, seed: u32, ids: &Ids, turns: &mut Vec<Turn>) {
        self.condition = Condition::Running;
        self.publish(now);
        self.swim.join(now, &[super::identity(ids.0[seed as usize], seed)]);
        let mut turn = Turn::of(Kind::Join);
        turn.sends.push((seed, Message::Join));
        turns.push(self.end(now, ids, turn));
    }

    pub(super) fn tell_newcomer(&self, newcomer: u32) -> Vec<(u32, Message)> {
        let facts = self.swim.facts();
        let members = facts.chunks(FACTS).map(|facts| Message::Members(facts.into()));
        let chunks = self.spread.catalogue().snapshot_chunks().map(|chunk| {
            let sets = decode_chunk(&chunk).expect("just encoded");
            Message::Chunk(sets.into(), chunk.len())
        });
        members.chain(chunks).map(|message| (newcomer, message)).collect()
    }

    pub(super) fn take_chunk(&mut self, from: NodeId, sets: &[SignedSet]) {
        let (me, members) = (self.swim.me().id, self.swim.members());
        let known = |id| id == me || members.contains_key(&id);
        self.spread.handle_snapshot(from, sets.to_vec(), &SealCheck, &known);
    }

    /// Whether it knows so many members and sets, itself included.
    pub(crate) fn knows_all(&self, nodes: usize) -> bool {
        self.swim.members().len() + 1 == nodes && self.spread.catalogue().sets().len() == nodes
    }
}
