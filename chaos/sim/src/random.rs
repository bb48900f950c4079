//! Random numbers: every part draws from a stream of its own, so that a change in one does not move the others.

use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::sync::{Mutex, PoisonError};
use taffeta_net::Entropy;

/// The stream of this name within the run of this seed.
pub(crate) fn stream(seed: u64, name: &str) -> SmallRng {
    SmallRng::seed_from_u64(seed ^ crate::trace::fnv(name.as_bytes()))
}

/// What a node takes for the kernel's randomness.
#[derive(Debug)]
pub(crate) struct SeededEntropy(Mutex<SmallRng>);

impl SeededEntropy {
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        Self(Mutex::new(stream(seed, name)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buffer);
    }
}
