//! What a node holds, in short: two nodes compare it and send each other only what is missing.
//!
//! Owners fall into [`BUCKETS`] buckets by a mix of their id. A bucket's hash is the sum of its heads' hashes, and the
//! hash of all is the sum over the buckets, so that a change costs two additions, however many owners there are. Sums
//! are not against malice: whoever makes two of them collide harms only the spreading of sets that it signed itself.

use imbl::OrdSet;
use serde::{Deserialize, Serialize};
use taffeta_model::{NodeId, mix};

/// Buckets of owners: ten owners in each in the largest ring, so that what a difference costs is about ten heads.
pub const BUCKETS: usize = 1024;

/// Which set of which owner. The one with the higher `(epoch, seq, content)` replaces the other. About 19 bytes on the
/// wire: what looks random is written in full, since a variable length would only make it longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose.
    #[serde(with = "fixed_id")]
    pub owner: NodeId,
    /// Its start counter.
    pub epoch: u64,
    /// Number of the set within the epoch.
    pub seq: u64,
    /// Hash of the encoded set. An honest owner never writes two sets with one number; should one do so (a disk was
    /// restored, a folder copied), this lets all nodes settle on the same.
    #[serde(with = "postcard::fixint::le")]
    pub content: u64,
}

impl Head {
    /// Whether this set replaces `other` of the same owner.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.epoch, self.seq, self.content) > (other.epoch, other.seq, other.content)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { owner: self.owner, epoch: self.epoch, seq: self.seq }
    }
}

/// A head as far as it is known before a delta has been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) owner: NodeId,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

impl Mark {
    /// Whether whoever has this set needs `head` no more.
    pub(crate) fn covers(&self, head: &Head) -> bool {
        self.owner == head.owner && (self.epoch, self.seq) >= (head.epoch, head.seq)
    }
}

/// One bucket and the hash of what is in it, shortened: one difference in four thousand million is overlooked until
/// the bucket changes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortHash(#[serde(with = "postcard::fixint::le")] pub u32);

/// The hashes of all buckets, and who is in them.
#[derive(Clone)]
pub(crate) struct Buckets {
    /// [`BUCKETS`] sums over the heads of the sets that are held.
    hashes: Vec<u64>,
    total: u64,
    /// Owners of whom a head is known, dropped ones included. Persistent, as the sets are.
    owners: OrdSet<(u16, NodeId)>,
}

impl Buckets {
    pub(crate) fn new() -> Self {
        let hashes = vec![0; BUCKETS];
        let total = (0..BUCKETS).fold(0u64, |total, bucket| total.wrapping_add(share_of(bucket, 0)));
        Self { hashes, total, owners: OrdSet::new() }
    }

    /// Counts a set that is held from now on.
    pub(crate) fn add(&mut self, head: &Head) {
        let place = (bucket_of(head.owner), head.owner);
        if !self.owners.contains(&place) {
            self.owners.insert(place); // copies what is shared with others
        }
        self.change(head, u64::wrapping_add);
    }

    /// Counts a set no more; its owner stays in the bucket until [`Self::forget`].
    pub(crate) fn remove(&mut self, head: &Head) {
        self.change(head, u64::wrapping_sub);
    }

    pub(crate) fn forget(&mut self, owner: NodeId) {
        self.owners.remove(&(bucket_of(owner), owner));
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The hash of a bucket; nothing hashes to 0.
    pub(crate) fn hash(&self, bucket: u16) -> ShortHash {
        let hash = self.hashes.get(usize::from(bucket)).copied().unwrap_or_default();
        ShortHash((hash ^ hash >> 32) as u32)
    }

    pub(crate) fn owners(&self, bucket: u16) -> impl Iterator<Item = NodeId> {
        let range = (bucket, NodeId(0))..=(bucket, NodeId(u64::MAX));
        self.owners.range(range).map(|(_, owner)| *owner)
    }

    fn change(&mut self, head: &Head, with: fn(u64, u64) -> u64) {
        let bucket = usize::from(bucket_of(head.owner));
        let before = self.hashes[bucket];
        self.hashes[bucket] = with(before, head_hash(head));
        let total = self.total.wrapping_sub(share_of(bucket, before));
        self.total = total.wrapping_add(share_of(bucket, self.hashes[bucket]));
    }
}

fn bucket_of(owner: NodeId) -> u16 {
    (mix(owner.0) % BUCKETS as u64) as u16
}

fn head_hash(head: &Head) -> u64 {
    [head.epoch, head.seq, head.content].into_iter().fold(mix(head.owner.0), |hash, number| mix(hash ^ mix(number)))
}

/// What a bucket adds to the hash of all.
fn share_of(bucket: usize, hash: u64) -> u64 {
    mix(hash ^ mix(bucket as u64))
}

/// Eight bytes for what looks random.
mod fixed_id {
    use serde::{Deserializer, Serializer};
    use taffeta_model::NodeId;

    pub(super) fn serialize<S: Serializer>(id: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
        postcard::fixint::le::serialize(&id.0, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeId, D::Error> {
        postcard::fixint::le::deserialize(deserializer).map(NodeId)
    }
}
