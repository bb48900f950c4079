//! How long an upstream takes to answer.

use std::time::Duration;

/// As many as the 95th of a hundred needs to mean something, and as few as follow a change soon.
const SAMPLES: usize = 32;
/// Fewer say little.
const SAMPLES_MIN: usize = 8;
/// When to ask another as long as that is not known.
const UNKNOWN: Duration = Duration::from_millis(100);
/// Bounds of it: waiting less would ask everybody about everything, waiting more would be felt.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(400);

/// The last round trips.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rtts {
    last: [Duration; SAMPLES],
    /// Ever added; the next goes to this place, modulo the number of places.
    added: usize,
}

impl Rtts {
    pub(crate) fn add(&mut self, rtt: Duration) {
        self.last[self.added % SAMPLES] = rtt;
        self.added += 1;
    }

    /// Half of the answers came within this; `None` as long as too few came.
    pub(crate) fn median(&self) -> Option<Duration> {
        self.quantile(2, 1)
    }

    /// How long to wait for it before another is asked as well: 19 of 20 answers came within this.
    pub(crate) fn patience(&self) -> Duration {
        self.quantile(20, 19).map_or(UNKNOWN, |p95| p95.clamp(SHORTEST, LONGEST))
    }

    fn quantile(&self, of: usize, part: usize) -> Option<Duration> {
        let known = self.added.min(SAMPLES);
        if known < SAMPLES_MIN {
            return None;
        }
        let mut sorted = self.last;
        sorted[..known].sort_unstable();
        Some(sorted[(known * part / of).min(known - 1)])
    }
}
