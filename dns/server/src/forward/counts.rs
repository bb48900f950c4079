//! What the relay counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was done for names that are not ours since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardCounts {
    /// Questions answered from the cache, in time.
    pub hits: u64,
    /// Questions for which upstreams had to be asked, or an answer under way be waited for.
    pub misses: u64,
    /// Those of them that waited for what another question had set out for.
    pub shared: u64,
    /// Answers given beyond their time, as no upstream answered.
    pub stale: u64,
    /// Questions that no upstream answered.
    pub failures: u64,
    /// Questions answered with such a failure that is remembered.
    pub failures_remembered: u64,
    /// Attempts with one upstream that brought nothing: silence, errors, malformed replies, refusals.
    pub upstream_failures: u64,
    /// Attempts with another upstream because the one before took long.
    pub hedges: u64,
    /// Times an upstream was found to ask us in turn.
    pub loops: u64,
    /// Questions shed since too many were in flight.
    pub shed: u64,
    /// Questions about special names, answered here (RFC 6303, 6761 and others).
    pub special: u64,
    /// Replies kept now.
    pub entries: u64,
    /// What they take, in bytes.
    pub bytes: u64,
}

/// The counters behind it that change on the way of a miss.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) misses: Counter,
    pub(crate) shared: Counter,
    pub(crate) stale: Counter,
    pub(crate) failures: Counter,
    pub(crate) failures_remembered: Counter,
    pub(crate) upstream_failures: Counter,
    pub(crate) hedges: Counter,
    pub(crate) loops: Counter,
    pub(crate) shed: Counter,
    pub(crate) special: Counter,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self, hits: u64, (entries, bytes): (usize, usize)) -> ForwardCounts {
        ForwardCounts {
            hits,
            misses: self.misses.read(),
            shared: self.shared.read(),
            stale: self.stale.read(),
            failures: self.failures.read(),
            failures_remembered: self.failures_remembered.read(),
            upstream_failures: self.upstream_failures.read(),
            hedges: self.hedges.read(),
            loops: self.loops.read(),
            shed: self.shed.read(),
            special: self.special.read(),
            entries: entries as u64,
            bytes: bytes as u64,
        }
    }
}
