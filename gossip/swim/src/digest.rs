//! All that a node believes of the members in a few numbers, so that two nodes find out cheaply where they differ.

use crate::{Identity, packet::PacketError};
use taffeta_model::{Liveness, NodeId, mix};

/// In how many parts members are compared: at 10,000 members one holds about 156, some four kilobytes of facts.
pub(crate) const PARTS: usize = 64;

/// A sum over the members of each part. Suspicion is left out: it passes by itself.
#[derive(Clone, Debug)]
pub(crate) struct Digest([u64; PARTS]);

impl Digest {
    pub(crate) fn new() -> Self {
        Self([0; PARTS])
    }

    pub(crate) fn add(&mut self, identity: &Identity, liveness: Liveness) {
        let part = &mut self.0[part(identity.id)];
        *part = part.wrapping_add(weight(identity, liveness));
    }

    pub(crate) fn remove(&mut self, identity: &Identity, liveness: Liveness) {
        let part = &mut self.0[part(identity.id)];
        *part = part.wrapping_sub(weight(identity, liveness));
    }

    pub(crate) fn hash(&self) -> u64 {
        self.0.iter().fold(0, |hash, part| mix(hash ^ part))
    }

    /// The parts in which the other believes something else, as bits.
    pub(crate) fn differing(&self, theirs: &[u64; PARTS]) -> u64 {
        let differs = |at: &usize| self.0[*at] != theirs[*at];
        (0..PARTS).filter(differs).fold(0, |bits, at| bits | 1 << at)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|part| part.to_le_bytes()).collect()
    }
}

/// Reads the parts of another's digest.
pub(crate) fn parts(bytes: &[u8]) -> Result<[u64; PARTS], PacketError> {
    let (words, []) = bytes.as_chunks::<8>() else { return Err(MALFORMED) };
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    words.try_into().map_err(|_| MALFORMED)
}

/// Reads the hash of another's digest.
pub(crate) fn hash(bytes: &[u8]) -> Result<u64, PacketError> {
    bytes.try_into().map(u64::from_le_bytes).map_err(|_| MALFORMED)
}

const MALFORMED: PacketError = PacketError::Malformed("a digest of another length");

/// In which part a member is counted.
pub(crate) fn part(id: NodeId) -> usize {
    (mix(id.0) >> 58) as usize // the upper 6 bits
}

fn weight(identity: &Identity, liveness: Liveness) -> u64 {
    let verdict = match liveness {
        Liveness::Alive | Liveness::Suspect => 0,
        Liveness::Down => 1,
        Liveness::Left => 2,
    };
    let life = [identity.incarnation.start, identity.incarnation.renewal.into(), verdict];
    life.into_iter().fold(mix(identity.id.0), |hash, number| mix(hash ^ number))
}
