//! Which versions of the protocol a node speaks.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The oldest version that this binary speaks.
pub const VERSION_MIN: u32 = 1;
/// The present version. Version 2 packs large replies, and may write [`crate::Command::Started`] to the log.
pub const VERSION: u32 = 2;

/// A range of versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

impl Versions {
    /// What this binary speaks.
    pub const ALL: Self = Self { min: VERSION_MIN, max: VERSION };
}

impl Default for Versions {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{} to {}", self.min, self.max) }
    }
}
