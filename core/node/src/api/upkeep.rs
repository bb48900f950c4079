//! Volumes and maintenance windows as people see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VolumeView {
    /// Whose it is, as `shop/db.1`.
    pub task: String,
    /// Its name.
    pub name: String,
    /// The machine that has it; `null` if that was removed from the cluster.
    pub node: Option<String>,
    /// Bytes that are counted for it there.
    pub size: u64,
    /// Bytes that it takes on the disk; `null` if its machine does not answer, or it holds too many files to be counted.
    #[serde(default)]
    pub used: Option<u64>,
    /// Whether that is more than its size.
    #[serde(default)]
    pub over: bool,
    /// `quota` where the file system lets it grow no larger, `measured` where it is looked at now and then; `null` if its
    /// machine does not answer.
    #[serde(default)]
    pub limit: Option<String>,
    /// `used` by its task, `awaited` by a task that is nowhere now, or `kept` though no task uses it.
    pub state: String,
    /// Position of the placement that made it, which its folder is named after.
    pub born: String,
}

/// A maintenance window of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaintenanceView {
    /// The machine.
    pub node: String,
    /// When it begins: five cron fields, or an ISO 8601 repetition.
    pub schedule: String,
    /// The time zone that the schedule follows; `null` for UTC.
    pub zone: Option<String>,
    /// How long it is.
    pub seconds: u64,
    /// When the one that is open ends.
    pub open_until: Option<String>,
    /// When the next one begins.
    pub next: Option<String>,
}

/// A maintenance window that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// When it begins: five cron fields, or an ISO 8601 repetition.
    pub schedule: String,
    /// The time zone that the schedule follows; UTC if it is left out.
    #[serde(default)]
    pub zone: Option<String>,
    /// How long it is: a minute to a week.
    pub seconds: u64,
}
