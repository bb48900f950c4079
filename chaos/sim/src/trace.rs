//! All that happens, as one number: equal seeds must give equal traces.

use std::time::Duration;

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a, 64 bits.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    mix(FNV_BASIS, bytes)
}

/// A hash for much data: eight bytes at a time, and no secret.
pub(crate) fn hash_words(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    hash
}

fn mix(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Send = 1,
    Deliver,
    Drop,
    Write,
    Sync,
    File,
    Start,
    End,
    Ask,
    Answer,
    Fault,
    Heal,
    Leader,
    Dns,
    Life,
}

/// Hashes kinds, places, sizes and virtual times of all that happens, and the contents of datagrams: with seeded keys they
/// repeat to the byte.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    /// Every event in words, where a difference is looked for.
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(in_words: bool) -> Self {
        Self { hash: FNV_BASIS, events: 0, lines: in_words.then(Vec::new) }
    }

    /// Something happened at `at`: at place `place`, of this size, with this detail.
    pub(crate) fn note(&mut self, at: Duration, event: Event, place: u64, size: u64, detail: u64) {
        let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        for number in [at, event as u64, place, size, detail] {
            self.hash = (self.hash ^ number).wrapping_mul(FNV_PRIME).rotate_left(29);
        }
        self.events += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{at} {event:?} {place:x} {size} {detail:x}"));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn take_lines(&mut self) -> Option<Vec<String>> {
        self.lines.take()
    }
}

#[cfg(test)]
mod tests;
