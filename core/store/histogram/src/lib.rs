//! Counts values by their order of magnitude, in half a kilobyte: what openraft counts its batches with.
//!
//! The published crate of this name has tables for sixteen resolutions made at the first use, 25 MiB that stay resident
//! though openraft uses one of them and, without its statistics feature, shows none. A node is to fit 40 MiB, so the
//! workspace puts this in its place; only what openraft calls is here. Values are kept to the next power of two.

use std::{fmt, marker::PhantomData};

/// How many values fell between one power of two and the next.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// Bucket `b` counts the values of `b` significant bits.
    buckets: [u64; 65],
    data: PhantomData<T>,
}

impl<T> Histogram<T> {
    /// One that has counted nothing.
    pub fn new() -> Self {
        Self { buckets: [0; 65], data: PhantomData }
    }

    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value several times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        let bucket = &mut self.buckets[(u64::BITS - value.leading_zeros()) as usize];
        *bucket = bucket.saturating_add(count);
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The largest value of the bucket that holds the given share (0 to 1) of the values; 0 if nothing was counted.
    pub fn percentile(&self, share: f64) -> u64 {
        let rank = (self.total() as f64 * share).ceil().max(1.0);
        let mut seen = 0.0;
        for (bits, count) in self.buckets.iter().enumerate() {
            seen += *count as f64;
            if *count > 0 && seen >= rank {
                return u64::MAX.checked_shr(u64::BITS - bits as u32).unwrap_or(0);
            }
        }
        0
    }

    /// The percentiles that are commonly shown.
    pub fn percentile_stats(&self) -> PercentileStats {
        let at = |share| self.percentile(share);
        PercentileStats {
            samples: self.total(),
            p0_1: at(0.001),
            p1: at(0.01),
            p5: at(0.05),
            p10: at(0.1),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
        }
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Histogram<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.percentile_stats().fmt(f)
    }
}

/// Percentiles of what a [`Histogram`] counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many values were counted.
    pub samples: u64,
    /// A thousandth of the values is at most this.
    pub p0_1: u64,
    /// A hundredth is.
    pub p1: u64,
    /// A twentieth is.
    pub p5: u64,
    /// A tenth is.
    pub p10: u64,
    /// Half of them is.
    pub p50: u64,
    /// Nine tenths are.
    pub p90: u64,
    /// 99 of 100 are.
    pub p99: u64,
    /// 999 of 1,000 are.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n={} p50={} p90={} p99={}", self.samples, self.p50, self.p90, self.p99)
    }
}

/// Several histograms as text, one a line.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart {
    lines: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more line.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.lines.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests;
