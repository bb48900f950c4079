//! Kinds of time that must not be mixed up: a node's own monotonic time, that of its machine, and the date.

mod beat;

pub use beat::{BEAT, beat_until, next_beat, pulse_until};
use serde::{Deserialize, Serialize};
use std::{ops::Add, time::Duration};
pub use taffeta_calendar::UnixMillis;

/// Milliseconds on one node's own monotonic clock since the node started. Never sent to another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The time that passed since `earlier`; zero if `earlier` lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Milliseconds since a machine was booted, by a clock that goes on while it is suspended (CLOCK_BOOTTIME). Means nothing
/// on any other machine, nor after another boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootMillis(pub u64);

impl BootMillis {
    /// The time that is left until then; zero if it is past.
    pub fn left(self, now: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(now.0))
    }
}

impl Add<Duration> for BootMillis {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Add<Duration> for Millis {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests;
