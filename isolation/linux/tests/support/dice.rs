//! Random numbers that can be had again.

use std::time::Duration;

/// Draws from a seed: the same again from the same one.
pub struct Dice(u64);

impl Dice {
    /// From `TAFFETA_SEED`, else from a fixed one; it is printed.
    pub fn thrown(what: &str) -> Self {
        let seed = from_environment("TAFFETA_SEED", 1);
        println!("{what}: TAFFETA_SEED={seed}");
        Self(seed)
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // splitmix64 (Steele, Lea, Flood 2014)
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// A time below so many milliseconds.
    pub fn millis_below(&mut self, end: u64) -> Duration {
        Duration::from_micros(self.below(end * 1_000))
    }
}

/// A number from the environment, or the usual one.
pub fn from_environment(name: &str, usual: u64) -> u64 {
    let Some(text) = std::env::var_os(name) else { return usual };
    let text = text.to_string_lossy();
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number"))
}
