//! What upstreams said of others' names.

use super::{
    CacheConfig,
    answer::Answer,
    key::Key,
    shard::{Entry, Shard},
};
use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};
use tokio::time::Instant;

/// A part of its own is worth it from so many entries and bytes on; the latter is what the longest reply needs.
const SHARD_ENTRIES: usize = 512;
const SHARD_BYTES: usize = 512 * 1024;
/// More parts than this are of no use: threads that read share a part.
const SHARDS_MAX: usize = 64;

/// Bounded, and shared by threads that read without waiting for each other.
pub(crate) struct Cache {
    bounds: CacheConfig,
    seed: u64,
    shards: Box<[Part]>,
}

struct Part {
    shard: RwLock<Shard>,
    /// Fresh answers given from here.
    hits: AtomicU64,
}

impl Cache {
    pub(crate) fn new(bounds: CacheConfig, seed: u64) -> Self {
        let count = (bounds.entries / SHARD_ENTRIES).min(bounds.bytes / SHARD_BYTES).clamp(1, SHARDS_MAX);
        let count = 1 << count.ilog2();
        let part = |_| Part {
            shard: RwLock::new(Shard::new(bounds.entries / count, bounds.bytes / count)),
            hits: AtomicU64::new(0),
        };
        Self { bounds, seed, shards: (0..count).map(part).collect() }
    }

    pub(crate) fn bounds(&self) -> &CacheConfig {
        &self.bounds
    }

    /// Hands a fresh answer and its age in seconds to `read`, which runs under the lock and so must be quick.
    pub(crate) fn with_fresh<R>(
        &self,
        now: Instant,
        key: &Key,
        read: impl FnOnce(&Answer, u32) -> Option<R>,
    ) -> Option<R> {
        let hash = key.hash(self.seed);
        let part = self.part(hash);
        let shard = part.shard.read().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.find(hash, key).filter(|e| now < e.fresh_until)?;
        let age = now.saturating_duration_since(entry.stored_at).as_secs();
        let given = read(&entry.answer, u32::try_from(age).unwrap_or(u32::MAX))?;
        part.hits.fetch_add(1, Ordering::Relaxed);
        Some(given)
    }

    /// An answer that is beyond its time and not too old to be given in need.
    pub(crate) fn stale(&self, now: Instant, key: &Key) -> Option<Answer> {
        let hash = key.hash(self.seed);
        let shard = self.part(hash).shard.read().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.find(hash, key).filter(|e| e.fresh_until <= now && now < e.useful_until)?;
        Some(entry.answer.clone())
    }

    /// Keeps an answer if it may be kept; what was known before is true no more in any case.
    pub(crate) fn insert(&self, now: Instant, key: &Key, answer: Answer) {
        let hash = key.hash(self.seed);
        let mut shard = self.part(hash).shard.write().unwrap_or_else(PoisonError::into_inner);
        match Entry::new(now, hash, key, answer, self.bounds.stale_max) {
            Some(entry) => shard.insert(now, entry),
            None => shard.expire(now, hash, key.question(), key.flags()),
        }
    }

    pub(crate) fn hits(&self) -> u64 {
        self.shards.iter().map(|p| p.hits.load(Ordering::Relaxed)).sum()
    }

    /// Entries and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let sizes = self.shards.iter().map(|p| p.shard.read().unwrap_or_else(PoisonError::into_inner).size());
        sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
    }

    /// By the high bits, as the table uses the low ones.
    fn part(&self, hash: u64) -> &Part {
        &self.shards[(hash >> 48) as usize & (self.shards.len() - 1)]
    }
}
