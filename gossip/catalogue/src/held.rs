//! A set as it is kept.

use crate::{Head, OwnerSet, SignedSet, set::encode_set, update::find};
use std::{ops::Deref, sync::Arc};
use taffeta_model::{NodeId, TaskRecord};

/// Everything that is held, by owner. A clone is one pointer, and shares what later changes leave as it is.
pub type Sets = imbl::OrdMap<NodeId, Arc<Held>>;

/// A set that was checked, with all that is needed to pass it on. What it was decoded from is not kept: an encoding is
/// the only one of its set, so it can be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What its owner says.
    pub set: OwnerSet,
    /// Which one it is.
    pub head: Head,
    /// The owner's Ed25519 key.
    pub public_key: [u8; 32],
    /// As in [`SignedSet`].
    pub signature: [u8; 64],
    /// Bytes of its encoding; at most [`crate::SET_BYTES_MAX`], so that four bytes do.
    size: u32,
}

impl Held {
    /// `signed` is the encoding of `set`, which was checked.
    pub(crate) fn new(set: OwnerSet, head: Head, signed: &SignedSet) -> Self {
        let size = u32::try_from(signed.bytes.len()).expect("checked");
        Self { set, head, public_key: signed.public_key, signature: signed.signature, size }
    }

    /// A set that nobody has checked or signed: for tests of those who read sets.
    #[doc(hidden)]
    pub fn of(set: OwnerSet) -> Self {
        let head = Head { owner: set.owner, epoch: set.epoch, seq: set.seq, content: 0 };
        Self { set, head, public_key: [0; 32], signature: [0; 64], size: 0 }
    }

    /// The set as it travels.
    pub fn signed(&self) -> SignedSet {
        SignedSet { bytes: encode_set(&self.set), public_key: self.public_key, signature: self.signature }
    }

    /// Bytes of the encoded set.
    pub fn size(&self) -> usize {
        self.size as usize
    }
}

impl Deref for Held {
    type Target = OwnerSet;
    fn deref(&self) -> &OwnerSet {
        &self.set
    }
}

/// Records that are as they were are the very ones of before: readers tell by the pointer what has changed, and a ring's
/// worth of records is in memory once.
pub(crate) fn share(records: &mut [Arc<TaskRecord>], before: &[Arc<TaskRecord>]) {
    for record in records {
        if let Some(known) = find(before, &record.task).filter(|known| *known == record) {
            *record = Arc::clone(known);
        }
    }
}
