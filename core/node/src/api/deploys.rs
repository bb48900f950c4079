//! JSON documents of what users ask to be changed of apps, as CONTRACT names their fields: deploys, what they would
//! change, and each wish on the way from one version to the next.
//!
//! Left out: what is there then, which is `apps`'.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use taffeta_model::JobName;
use utoipa::ToSchema;

/// An app file with the files that it ships.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// Text of the app file (TOML).
    pub file: String,
    /// The shipped files by name.
    #[serde(default)]
    pub files: BTreeMap<String, ShippedFileBody>,
}

/// A small file beside the app file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShippedFileBody {
    /// Contents, base64 with padding.
    pub base64: String,
    /// Whether it is executable.
    #[serde(default)]
    pub executable: bool,
}

/// A deploy that was acknowledged: it is on the disks of a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployed {
    /// The app.
    pub app: String,
    /// Its new version.
    pub version: u64,
    /// Position of the deploy in the log: whatever is acknowledged later has a higher one.
    #[serde(default)]
    pub position: u64,
}

/// What a deploy would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// The app.
    pub app: String,
    /// Task by task.
    pub steps: Vec<PlanStep>,
    /// Jobs that no machine of the cluster could ever run, and why, in words. They would be accepted, and wait.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The field of the app file that each of these is about, as `service.web.constraints`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// What would happen to one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanStep {
    /// `web.2`.
    pub task: String,
    /// `create`, `keep`, `update`, `remove` or `wait`.
    pub action: String,
    /// The machine, where there is one.
    pub node: Option<String>,
    /// Why it would wait; may be empty.
    pub reason: String,
}

/// Another number of instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// The service or batch job.
    pub service: String,
    /// The wanted number.
    pub count: u32,
}

/// A restart of one job or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartRequest {
    /// The job; all of the app without it.
    #[serde(default)]
    pub service: Option<String>,
}

/// What is wished for an app between two versions, or for one of its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steer {
    /// Back to a version before.
    Rollback {
        /// Which; `None`: the newest that was not given up.
        to: Option<u64>,
    },
    /// No older instance is replaced for now.
    Pause,
    /// That is over.
    Resume,
    /// The newer version takes over.
    Promote {
        /// Of this job; `None`: of all.
        job: Option<JobName>,
    },
    /// A batch or cron job runs now.
    Run {
        /// The job.
        job: JobName,
        /// Appended to its own arguments.
        args: Vec<String>,
    },
}

/// The way back to a version before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The version; the newest that was not given up without it.
    #[serde(default)]
    pub version: Option<u64>,
}

/// A promotion of one job or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// The job; all of the app without it.
    #[serde(default)]
    pub service: Option<String>,
}

/// A run by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The batch or cron job.
    pub job: String,
    /// Appended to its own arguments, for this run.
    #[serde(default)]
    pub args: Vec<String>,
}
