//! Questions that are left without their answer on purpose, for an experiment.

use tokio::time::Instant;

/// Which questions fail, how, and until when: it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failing {
    /// How many of them, 0 to 1.
    pub fraction: f64,
    /// Whether they get SERVFAIL; else silence.
    pub servfail: bool,
    /// When it is over.
    pub until: Instant,
}

impl Failing {
    /// Whether the question strikes that has this number; of questions in a row about [`Self::fraction`] are struck.
    #[inline]
    pub(crate) fn strikes(&self, number: u64) -> bool {
        let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15); // SplitMix64
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64) < self.fraction
    }
}
