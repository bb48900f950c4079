//! Where time and randomness enter.

use std::{
    fmt::Debug,
    time::{SystemTime, UNIX_EPOCH},
};
use taffeta_model::UnixMillis;

/// The date. Monotonic time is `tokio::time`, which a simulator can pause.
pub trait Clock: Send + Sync + Debug + 'static {
    /// The present date.
    fn date(&self) -> UnixMillis;

    /// The date by the machine's own clock, where [`Clock::date`] also heeds what others say.
    fn own_date(&self) -> UnixMillis {
        self.date()
    }
}

/// Randomness for keys, secrets and seeds.
pub trait Entropy: Send + Sync + Debug + 'static {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);

    /// A random number, for seeding.
    fn seed(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn date(&self) -> UnixMillis {
        #[expect(clippy::disallowed_methods, reason = "the real clock behind the seam")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The kernel's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        use ring::rand::{SecureRandom, SystemRandom};
        #[expect(clippy::disallowed_methods, reason = "the real randomness behind the seam")]
        SystemRandom::new().fill(buffer).expect("the kernel gives randomness");
    }
}
