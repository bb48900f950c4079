//! Hashes of entries that had to go, so that one asked for again soon after is known.

use hashbrown::HashTable;
use std::collections::VecDeque;

/// The last `max` hashes.
pub(crate) struct Ghosts {
    max: usize,
    known: HashTable<u64>,
    /// Also holds those forgotten since, until their turn comes.
    order: VecDeque<u64>,
}

impl Ghosts {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, known: HashTable::new(), order: VecDeque::new() }
    }

    pub(crate) fn remember(&mut self, hash: u64) {
        while self.order.len() >= self.max {
            let Some(oldest) = self.order.pop_front() else { return };
            self.forget(oldest);
        }
        self.known.entry(hash, |h| *h == hash, |h| *h).or_insert(hash);
        self.order.push_back(hash);
    }

    /// Whether it was known.
    pub(crate) fn forget(&mut self, hash: u64) -> bool {
        self.known.find_entry(hash, |h| *h == hash).map(|place| place.remove()).is_ok()
    }
}
