//! A set as its owner writes it, and as it travels.

use crate::Head;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use taffeta_model::{NodeId, NodeInfo, TaskRecord, fnv1a};

/// Largest encoded set in bytes. A thousand ordinary records are about 200 KiB; a change sends what is different.
pub const SET_BYTES_MAX: usize = 512 << 10;

/// Stands before the bytes that are signed, so that a signature made for another purpose is worth nothing here.
const CONTEXT: &[u8] = b"taffeta catalogue set 1\0";

/// All that one node says about itself and its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerSet {
    /// Who says it. The first three fields come first on the wire too, so that they can be read without the rest.
    pub owner: NodeId,
    /// The owner's start counter.
    pub epoch: u64,
    /// Counts the sets of this epoch from 1.
    pub seq: u64,
    /// The machine.
    pub info: NodeInfo,
    /// Its tasks, ordered by id, each once; at most [`crate::RECORDS_MAX`]. That order is checked: deltas rest on it.
    pub records: Vec<Arc<TaskRecord>>,
}

/// A set with its owner's signature: relays pass it on unchanged and cannot forge it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedSet {
    /// The [`OwnerSet`] in postcard, in its only encoding; at most [`SET_BYTES_MAX`].
    pub bytes: Vec<u8>,
    /// The owner's Ed25519 key.
    pub public_key: [u8; 32],
    /// Over a fixed context and `bytes`.
    #[serde(with = "halves")]
    pub signature: [u8; 64],
}

/// Signs as this node.
pub trait Sign {
    /// Its Ed25519 public key.
    fn public_key(&self) -> [u8; 32];
    /// The signature of `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// Checks signatures of others.
pub trait Verify {
    /// Whether `public_key` is that of `owner` (whose id is the first 8 bytes of its SHA-256) and made `signature`.
    fn verify(&self, owner: NodeId, public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;
}

impl SignedSet {
    /// Most bytes on the wire besides the encoded set: kind, length, key and signature.
    pub(crate) const OVERHEAD: usize = 1 + 5 + 32 + 64;

    /// Reads who wrote the set and which one it is, without checking anything; `None` if that cannot be decoded.
    pub fn head(&self) -> Option<Head> {
        let ((owner, epoch, seq), _) = postcard::take_from_bytes(&self.bytes).ok()?;
        Some(Head { owner, epoch, seq, content: fnv1a(&self.bytes) })
    }

    /// Encodes and signs; the caller has checked the set.
    pub(crate) fn sign(bytes: Vec<u8>, signer: &dyn Sign) -> Self {
        let signature = signer.sign(&message(&bytes));
        Self { bytes, public_key: signer.public_key(), signature }
    }

    /// What the signature is over.
    pub fn signed_part(&self) -> Vec<u8> {
        message(&self.bytes)
    }

    pub(crate) fn is_signed_by(&self, owner: NodeId, verifier: &dyn Verify) -> bool {
        verifier.verify(owner, &self.public_key, &message(&self.bytes), &self.signature)
    }

    /// Decodes all of it; `None` if it is not exactly one set.
    pub(crate) fn decode(&self) -> Option<OwnerSet> {
        let (set, rest) = postcard::take_from_bytes(&self.bytes).ok()?;
        Some(set).filter(|_| rest.is_empty())
    }
}

/// The only encoding of a set that is taken: whoever holds the set can make the signed bytes again.
pub(crate) fn encode_set(set: &OwnerSet) -> Vec<u8> {
    postcard::to_stdvec(set).expect("plain data can be encoded")
}

fn message(bytes: &[u8]) -> Vec<u8> {
    [CONTEXT, bytes].concat()
}

/// serde knows arrays of up to 32 elements.
pub(crate) mod halves {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(signature: &[u8; 64], serializer: S) -> Result<S::Ok, S::Error> {
        let mut halves = [[0; 32]; 2];
        halves.as_flattened_mut().copy_from_slice(signature);
        halves.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 64], D::Error> {
        let halves = <[[u8; 32]; 2]>::deserialize(deserializer)?;
        let mut signature = [0; 64];
        signature.copy_from_slice(halves.as_flattened());
        Ok(signature)
    }
}
