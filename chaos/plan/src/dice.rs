//! Randomness that is the same on every machine.

use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Draws from a seed. The generator is named, as `SmallRng` is another one on 32 bits, and nothing is computed but by
/// operations that IEEE 754 rounds exactly: `ln` and `exp` differ between platforms in their last digit.
pub(crate) struct Dice(Xoshiro256PlusPlus);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A seed for dice that shall not depend on how often these are thrown.
    pub(crate) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 0 to just below 1, evenly.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 // as many bits as an f64 holds
    }

    /// True in that fraction of throws.
    pub(crate) fn chance(&mut self, fraction: f64) -> bool {
        self.unit() < fraction
    }

    /// 0 to `n - 1`, evenly; 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// `low` to `high`, evenly.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// `low` to `high`, so that each doubling in between is equally likely. Halves the range at its geometric middle,
    /// 32 times: to nine digits.
    pub(crate) fn log_between(&mut self, mut low: f64, mut high: f64) -> f64 {
        let choices = self.0.next_u64();
        for bit in 0..32 {
            let middle = (low * high).sqrt();
            if choices >> bit & 1 == 0 { high = middle } else { low = middle }
        }
        low
    }

    /// Exponential with mean 1, by comparisons alone: J. von Neumann, "Various techniques used in connection with
    /// random digits", 1951. A round fails with a chance of 1/e, so 40 rounds never do.
    pub(crate) fn exponential(&mut self) -> f64 {
        for whole in 0..40 {
            let first = self.unit();
            let (mut last, mut falls) = (first, 0);
            loop {
                let next = self.unit();
                if next >= last {
                    break; // after n falls the chance to go on is 1/(n + 2)
                }
                last = next;
                falls += 1;
            }
            if falls % 2 == 0 {
                return f64::from(whole) + first;
            }
        }
        40.0
    }

    /// Exponential with that mean, in whole milliseconds.
    pub(crate) fn exponential_duration(&mut self, mean: Duration) -> Duration {
        Duration::from_millis((mean.as_millis() as f64 * self.exponential()).round() as u64)
    }
}
