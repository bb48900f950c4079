//! The plan as a whole, and how one line of it reads.

use crate::{fault::Fault, millis, target::Target};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

#[cfg(test)]
mod tests;

/// Everything that is to be broken in one run. Faults may overlap, also on one node. A plan from a file or another
/// program is only to be performed after [`FaultPlan::check`].
///
/// As JSON: `{"faults": [{"at_ms": 12500, "lasts_ms": 8000, "target": "leader", "fault": "kill-machine"},
/// {"at_ms": 15000, "target": "n2", "fault": {"loss": {"fraction": 0.2}}}]}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Ordered by `at`, at most [`crate::FAULTS_MAX`].
    pub faults: Vec<Planned>,
}

/// One fault with its place and time. Shown as one line of a timeline: `12.500 s: kill-machine at leader for 8 s`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// When it begins, from the start of the run; in whole milliseconds, at most [`crate::AT_MAX`].
    #[serde(rename = "at_ms", with = "millis")]
    pub at: Duration,
    /// How long it stays, in whole milliseconds, at most [`crate::LASTS_MAX`]. `None`: an instant where [`Fault`] says
    /// so, else until the end of the run.
    #[serde(rename = "lasts_ms", with = "millis::option", default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    /// Where; looked up when the fault begins, and then kept until it ends.
    pub target: Target,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s: {} at {}", self.at.as_secs_f64(), self.fault, self.target)?;
        match self.lasts {
            Some(lasts) => write!(f, " for {} s", lasts.as_secs_f64()),
            None => Ok(()),
        }
    }
}
