//! Two kinds of time that must not be mixed up: a node's own monotonic time and the date.

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

impl Add<Duration> for Millis {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests;
