//! What the threads did, counted by each for itself and summed when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

/// Codes that fit into a header; extended ones are counted by their lower half.
const RCODES: usize = 16;

/// What became of the datagrams of a server since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsCounts {
    /// Datagrams that came.
    pub queries: u64,
    /// Replies of the fast path.
    pub fast: u64,
    /// Replies about others' names from the cache.
    pub cached: u64,
    /// Replies of the full path at once.
    pub full: u64,
    /// Queries handed to an upstream.
    pub relayed: u64,
    /// Packets that deserve silence.
    pub silent: u64,
    /// Dropped unread because their address takes more than its share while the socket loses queries.
    pub unfair: u64,
    /// Dropped because the full path had too much to do.
    pub shed: u64,
    /// Replies that the rate limit kept back.
    pub limited: u64,
    /// Replies that the rate limit cut short.
    pub slipped: u64,
    /// Replies that the system did not take.
    pub unsent: u64,
    /// Replies by response code, those of the fast and the full path, sent or not.
    pub by_rcode: [u64; RCODES],
}

/// The counts of one thread, which alone writes them. In cache lines of its own, so that no other thread's writing
/// slows it; two, as processors fetch them in pairs.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct Counters {
    counts: [AtomicU64; FIELDS],
}

const PLAIN: usize = 11;
const FIELDS: usize = PLAIN + RCODES;

impl DnsCounts {
    fn fields(&mut self) -> [&mut u64; FIELDS] {
        let Self { queries, fast, cached, full, relayed, silent, unfair, shed, limited, slipped, unsent, by_rcode } =
            self;
        let mut rcodes = by_rcode.iter_mut();
        let plain = [queries, fast, cached, full, relayed, silent, unfair, shed, limited, slipped, unsent];
        let mut plain = plain.into_iter();
        std::array::from_fn(|_| plain.next().or_else(|| rcodes.next()).expect("as many as fields"))
    }

    pub(crate) fn count_rcode(&mut self, reply: &[u8]) {
        if let Some(flags) = reply.get(3) {
            self.by_rcode[usize::from(flags & 0xf)] += 1;
        }
    }
}

impl Counters {
    /// Adds the counts of a batch.
    pub(crate) fn add(&self, mut batch: DnsCounts) {
        for (counter, more) in self.counts.iter().zip(batch.fields()) {
            if *more > 0 {
                // No other thread writes it.
                counter.store(counter.load(Ordering::Relaxed) + *more, Ordering::Relaxed);
            }
        }
    }

    /// Adds all to a sum.
    pub(crate) fn add_to(&self, sum: &mut DnsCounts) {
        for (counter, sum) in self.counts.iter().zip(sum.fields()) {
            *sum += counter.load(Ordering::Relaxed);
        }
    }
}
