//! Everything that is held, for a node that joins: a stream of compressed chunks.

use crate::{
    Catalogue, DecodeError, Sets, SignedSet,
    message::{pack, unpack},
};
use std::ops::Bound;
use taffeta_model::NodeId;

/// A chunk is closed once its sets take so many bytes, before compression: large enough to compress well, small enough
/// to be held many times at once. One that a large set ends is longer, by that set.
pub const CHUNK_BYTES: usize = 64 << 10;

/// What was held when it was asked for, in the order of owners. Keeps no lock and copies nothing ahead of time.
pub struct SnapshotChunks {
    sets: Sets,
    after: Bound<NodeId>,
}

impl Catalogue {
    /// All sets in chunks for [`decode_chunk`]: nothing if there are none.
    pub fn snapshot_chunks(&self) -> SnapshotChunks {
        SnapshotChunks { sets: self.sets().clone(), after: Bound::Unbounded }
    }
}

impl Iterator for SnapshotChunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = 0;
        let mut chunk = Vec::new();
        for (owner, held) in self.sets.range((self.after, Bound::Unbounded)) {
            chunk.push(held.signed());
            bytes += held.size();
            self.after = Bound::Excluded(*owner);
            if bytes >= CHUNK_BYTES {
                break;
            }
        }
        (!chunk.is_empty()).then(|| pack(&chunk, |_| true))
    }
}

/// Reads a chunk; each of its sets is still to be merged, which checks it.
pub fn decode_chunk(bytes: &[u8]) -> Result<Vec<SignedSet>, DecodeError> {
    unpack(bytes)
}
