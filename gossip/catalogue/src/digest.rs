//! What a node holds, in short: two nodes compare it and send each other only what is missing.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use taffeta_model::{MEMBERS_MAX, NodeId};

/// Which set of which owner. The one with the higher `(epoch, seq, content)` replaces the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose.
    pub owner: NodeId,
    /// Its start counter.
    pub epoch: u64,
    /// Number of the set within the epoch.
    pub seq: u64,
    /// Hash of the encoded set. An honest owner never writes two sets with one number; should one do so (a disk was
    /// restored, a folder copied), this lets all nodes settle on the same.
    pub content: u64,
}

impl Head {
    /// Whether this set replaces `other` of the same owner.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.epoch, self.seq, self.content) > (other.epoch, other.seq, other.content)
    }
}

/// All heads of a catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Hash of the heads: equal hashes need no more.
    pub hash: u64,
    /// In the order of owners.
    pub heads: Vec<Head>,
}

impl Digest {
    pub(crate) fn of(heads: impl Iterator<Item = Head>) -> Self {
        let heads: Vec<Head> = heads.collect();
        Self { hash: hash(heads.iter()), heads }
    }

    /// By owner. A digest from a faulty peer may hold anything, so no more than a ring's worth is looked at.
    pub(crate) fn by_owner(&self) -> BTreeMap<NodeId, Head> {
        self.heads.iter().take(MEMBERS_MAX).map(|head| (head.owner, *head)).collect()
    }
}

/// Hash of heads given in the order of owners; 0 if there are none.
pub(crate) fn hash<'a>(heads: impl Iterator<Item = &'a Head>) -> u64 {
    let mut bytes = Vec::new();
    for head in heads {
        for number in [head.owner.0, head.epoch, head.seq, head.content] {
            bytes.extend(number.to_le_bytes());
        }
    }
    if bytes.is_empty() { 0 } else { fnv1a(&bytes) }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): the same on every machine and in every version. Not against malice: whoever
/// makes two sets collide harms only the spreading of the sets that it has signed itself.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
