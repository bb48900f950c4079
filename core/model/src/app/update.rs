//! How tasks of an older version are replaced.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a service gets from one version to the next. It never has fewer instances that serve than its count less
/// `max_unavailable`, also when a machine dies meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatePolicy {
    /// How many instances may be there besides its count.
    pub max_surge: u32,
    /// How many instances may be missing at a time by our own doing.
    pub max_unavailable: u32,
    /// How many instances get the newer version before it is promoted; 0: all.
    pub canary: u32,
    /// Whether as many instances as there are come beside them, unseen by DNS until the newer version is promoted.
    pub blue_green: bool,
    /// How long those that come first must work for the newer version to be promoted; `None`: by hand.
    pub promote: Option<Duration>,
    /// How long an instance of the newer version may take to work.
    pub healthy_within: Duration,
    /// Whether the version before comes back when one takes longer.
    pub rollback: bool,
}

impl Default for UpdatePolicy {
    /// One at a time in its place, and back if one does not work in five minutes.
    fn default() -> Self {
        Self {
            max_surge: 0,
            max_unavailable: 1,
            canary: 0,
            blue_green: false,
            promote: None,
            healthy_within: Duration::from_secs(300),
            rollback: true,
        }
    }
}
