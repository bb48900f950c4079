//! One part of the cache: a table, and two queues that decide who has to go (S3-FIFO, Yang et al., SOSP 2023).
//!
//! What is new waits in a small queue; only what is asked for again while it is there, or soon after, gets into the main
//! one. A flood of names that nobody asks for twice therefore costs the popular ones nothing. A hit moves nothing, it
//! only counts, so that readers share the lock.

use super::{
    answer::{Answer, Keep},
    ghosts::Ghosts,
    key::Key,
};
use hashbrown::HashTable;
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// The small queue is one of so many parts of all entries.
const SMALL_PART: usize = 10;
/// Uses beyond this are not told apart.
const USES_MAX: u8 = 3;
/// What an entry costs beyond its bytes: itself, its places in table and queues, its allocations.
const ENTRY_COST: usize = 224;

/// An answer and its times. At `fresh_until` it is no longer fresh, at `useful_until` of no use.
pub(crate) struct Entry {
    hash: u64,
    /// Those of the key; the question is the answer's.
    flags: u8,
    pub(crate) answer: Answer,
    pub(crate) stored_at: Instant,
    pub(crate) fresh_until: Instant,
    pub(crate) useful_until: Instant,
    uses: AtomicU8,
    /// Which queue it is in.
    in_small: bool,
}

impl Entry {
    /// `None` for what must not be kept.
    pub(crate) fn new(now: Instant, hash: u64, key: &Key, answer: Answer, stale_max: Duration) -> Option<Self> {
        let (fresh, stale) = match answer.keep {
            Keep::Not => return None,
            Keep::Negative(life) => (life, Duration::ZERO),
            Keep::Positive(life) => (life, stale_max),
        };
        let fresh_until = now + fresh;
        let uses = AtomicU8::new(0);
        let flags = key.flags();
        Some(Self {
            hash,
            flags,
            answer,
            stored_at: now,
            fresh_until,
            useful_until: fresh_until + stale,
            uses,
            in_small: true,
        })
    }

    fn cost(&self) -> usize {
        self.answer.size() + ENTRY_COST
    }

    /// Concurrent readers may count one use for two: it is a hint.
    fn used(&self) {
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < USES_MAX {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }
}

/// Bounded by entries and bytes; both hold after every call.
pub(crate) struct Shard {
    entries_max: usize,
    bytes_max: usize,
    bytes: usize,
    /// Those of them in the small queue.
    small_bytes: usize,
    /// Slots by key.
    table: HashTable<u32>,
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    /// Who had to go from the small queue, as many as there may be entries.
    ghosts: Ghosts,
}

impl Shard {
    pub(crate) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            entries_max,
            bytes_max,
            bytes: 0,
            small_bytes: 0,
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: Ghosts::new(entries_max),
        }
    }

    /// Whatever is kept under this key, fresh or not.
    pub(crate) fn find(&self, hash: u64, key: &Key) -> Option<&Entry> {
        let entry = self.slots[self.slot(hash, key.question(), key.flags())? as usize].as_ref()?;
        entry.used();
        Some(entry)
    }

    /// Keeps an entry in place of the one with its key. One that would take a quarter of all room is not kept.
    pub(crate) fn insert(&mut self, now: Instant, mut entry: Entry) {
        if entry.cost() > self.bytes_max / 4 || self.entries_max == 0 {
            self.expire(now, entry.hash, entry.answer.question(), entry.flags);
            return;
        }
        if let Some(slot) = self.slot(entry.hash, entry.answer.question(), entry.flags) {
            let old = self.slots[slot as usize].as_mut().expect("the table holds taken slots only");
            *entry.uses.get_mut() = *old.uses.get_mut();
            entry.in_small = old.in_small;
            let (small, new, old) = (entry.in_small, entry.cost(), std::mem::replace(old, entry).cost());
            self.bytes = self.bytes + new - old;
            if small {
                self.small_bytes = self.small_bytes + new - old;
            }
        } else {
            self.place(entry);
        }
        while self.table.len() > self.entries_max || self.bytes > self.bytes_max {
            self.evict(now);
        }
    }

    /// What is kept under this key is true no more, and what is true is not kept.
    pub(crate) fn expire(&mut self, now: Instant, hash: u64, question: &[u8], flags: u8) {
        if let Some(slot) = self.slot(hash, question, flags)
            && let Some(entry) = self.slots[slot as usize].as_mut()
        {
            (entry.fresh_until, entry.useful_until) = (now, now);
        }
    }

    /// Entries and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.table.len(), self.bytes)
    }

    fn slot(&self, hash: u64, question: &[u8], flags: u8) -> Option<u32> {
        let is_it = |e: &Entry| e.hash == hash && e.flags == flags && e.answer.question() == question;
        self.table.find(hash, |slot| self.slots[*slot as usize].as_ref().is_some_and(is_it)).copied()
    }

    fn place(&mut self, mut entry: Entry) {
        let (hash, cost) = (entry.hash, entry.cost());
        entry.in_small = !self.ghosts.forget(hash);
        let small = entry.in_small;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer entries than 2^32")
        });
        self.slots[slot as usize] = Some(entry);
        let slots = &self.slots;
        self.table.insert_unique(hash, slot, |s| slots[*s as usize].as_ref().map_or(0, |e| e.hash));
        self.bytes += cost;
        if small {
            self.small_bytes += cost;
            self.small.push_back(slot);
        } else {
            self.main.push_back(slot);
        }
    }

    /// Lets one entry go; there is one.
    fn evict(&mut self, now: Instant) {
        // Each turn moves an entry from the small queue to the main one or takes a use from it, so this ends.
        while !self.turn(now) {}
    }

    fn turn(&mut self, now: Instant) -> bool {
        let much = self.small.len() > self.entries_max / SMALL_PART || self.small_bytes > self.bytes_max / SMALL_PART;
        let from_small = self.main.is_empty() || much && !self.small.is_empty();
        let queue = if from_small { &mut self.small } else { &mut self.main };
        let Some(slot) = queue.pop_front() else { return true };
        let entry = self.slots[slot as usize].as_mut().expect("queues hold taken slots only");
        if from_small {
            self.small_bytes -= entry.cost();
        }
        let uses = *entry.uses.get_mut();
        if uses == 0 || entry.useful_until <= now {
            if from_small {
                self.ghosts.remember(entry.hash);
            }
            self.remove(slot);
            return true;
        }
        *entry.uses.get_mut() = if from_small { 0 } else { uses - 1 };
        entry.in_small = false;
        self.main.push_back(slot);
        false
    }

    /// Of an entry that is in no queue any more.
    fn remove(&mut self, slot: u32) {
        let entry = self.slots[slot as usize].take().expect("a taken slot");
        self.bytes -= entry.cost();
        self.free.push(slot);
        if let Ok(place) = self.table.find_entry(entry.hash, |s| *s == slot) {
            place.remove();
        }
    }
}
