//! Periodic comparison with a random member: a hash in a packet; if it differs, sums of parts in another; then facts of
//! the parts that differ on a stream, in both directions. In peace that is one small packet now and then.

use super::{Due, Effect, Swim};
use crate::{
    MemberFact, PacketError, digest,
    packet::{self, Kind},
};
use rand::RngExt;
use std::collections::BTreeMap;
use taffeta_model::{Liveness, Millis, NodeId};

/// Facts in one exchange; 40 bytes each at most. More differ only after a partition of a large ring, and wait for the
/// next exchanges.
pub const FACTS_MAX: usize = 4_000;

impl Swim {
    pub(super) fn compare_with_someone(&mut self, now: Millis) {
        self.schedule(now + self.config.push_pull_every, Due::PushPull);
        if self.alive == 0 || !self.takes_part() {
            return;
        }
        let chosen = self.rng.random_range(0..self.alive);
        let alive = self.table.values().filter(|m| m.liveness == Liveness::Alive);
        let to = alive.map(|m| m.identity).nth(chosen).expect("as many are alive as counted");
        self.compared = Some(to.id);
        let packet = packet::join(Kind::Digest, &self.digest.hash().to_le_bytes());
        self.effects.push(Effect::Send { to, packet });
    }

    pub(super) fn handle_digest(&mut self, from: NodeId, bytes: &[u8]) -> Result<(), PacketError> {
        let theirs = digest::hash(bytes)?;
        let known = self.table.get(&from).map(|m| m.identity);
        if let Some(to) = known.filter(|_| theirs != self.digest.hash() && self.takes_part()) {
            self.effects.push(Effect::Send { to, packet: packet::join(Kind::Parts, &self.digest.to_bytes()) });
        }
        Ok(())
    }

    pub(super) fn handle_parts(&mut self, from: NodeId, bytes: &[u8]) -> Result<(), PacketError> {
        let theirs = digest::parts(bytes)?;
        // Only from whom it was asked, and once: to look at all members is dear.
        if self.compared.take_if(|asked| *asked == from).is_none() {
            return Ok(());
        }
        let parts = self.digest.differing(&theirs);
        if parts != 0 && self.takes_part() {
            let facts = self.facts_in(parts);
            self.effects.push(Effect::Exchange { with: from, parts, facts });
        }
        Ok(())
    }

    /// What this node knows in these parts of the ring, itself included. If it is more than [`FACTS_MAX`], some parts whole:
    /// they are equal then on both sides, and the next exchange is about others.
    pub fn facts_in(&self, parts: u64) -> Vec<MemberFact> {
        let mut by_part: BTreeMap<usize, Vec<MemberFact>> = BTreeMap::new();
        for fact in self.all_facts() {
            let part = digest::part(fact.identity.id);
            if parts >> part & 1 == 1 {
                by_part.entry(part).or_default().push(fact);
            }
        }
        let mut room = FACTS_MAX;
        let fits = |facts: &Vec<MemberFact>| {
            let fits = facts.len() <= room;
            room -= facts.len().min(room);
            fits
        };
        by_part.into_values().take_while(fits).flatten().collect()
    }
}
