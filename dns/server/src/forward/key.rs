//! What makes two questions the same.

use std::hash::{DefaultHasher, Hasher};

/// A name of 255 bytes, type and class.
const QUESTION_MAX: usize = 259;
/// Bytes of type and class.
const TAIL: usize = 4;

/// A question in lower case, with the two flags that change what upstreams say. Lives on the stack, so that a hit
/// allocates nothing.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    bytes: [u8; QUESTION_MAX + 1],
    len: usize,
}

impl Key {
    /// `question` is name, type and class as in a packet, without compression; `None` if that is too long for a name.
    pub(crate) fn new(question: &[u8], dnssec_ok: bool, checking_disabled: bool) -> Option<Self> {
        let mut bytes = [0; QUESTION_MAX + 1];
        let len = question.len();
        bytes.get_mut(..len).filter(|b| b.len() <= QUESTION_MAX)?.copy_from_slice(question);
        // Length bytes are at most 63 and so are no letters; those of the type may be.
        bytes[..len.checked_sub(TAIL)?].make_ascii_lowercase();
        bytes[len] = u8::from(dnssec_ok) | u8::from(checking_disabled) << 1;
        Some(Self { bytes, len: len + 1 })
    }

    /// As it is stored.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Name, type and class, in lower case.
    pub(crate) fn question(&self) -> &[u8] {
        &self.bytes[..self.len - 1]
    }

    /// The name alone, with the root's zero.
    pub(crate) fn name(&self) -> &[u8] {
        &self.bytes[..self.len - 1 - TAIL]
    }

    pub(crate) fn record_type(&self) -> u16 {
        let at = self.len - 1 - TAIL;
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    /// What changes the answer beside the question.
    pub(crate) fn flags(&self) -> u8 {
        self.bytes[self.len - 1]
    }

    pub(crate) fn dnssec_ok(&self) -> bool {
        self.flags() & 1 != 0
    }

    pub(crate) fn checking_disabled(&self) -> bool {
        self.flags() & 2 != 0
    }

    /// With a secret seed, so that nobody can choose names that collide.
    pub(crate) fn hash(&self, seed: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        hasher.write(self.as_bytes());
        hasher.finish()
    }
}
