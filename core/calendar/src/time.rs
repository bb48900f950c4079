//! The date, as the whole fabric counts it.

use serde::{Deserialize, Serialize};
use std::{fmt, ops::Add, time::Duration};

/// Milliseconds since 1970-01-01T00:00:00Z, for people and for expiry dates; never for ordering or time-outs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl Add<Duration> for UnixMillis {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s since 1970", self.0 / 1000, self.0 % 1000)
    }
}
