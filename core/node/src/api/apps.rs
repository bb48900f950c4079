//! JSON documents of what runs, as CONTRACT names their fields: apps, their jobs and the runs of these, tasks and
//! services.
//!
//! Left out: what users ask to be changed of it, which is `deploys`'.

use super::UsageView;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// An app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppView {
    /// Its name.
    pub app: String,
    /// 1 at first, raised by each deploy.
    pub version: u64,
    /// When this version was deployed, RFC 3339 in UTC.
    pub deployed_at: String,
    /// Whether every service has all its instances serving and every batch job has finished.
    pub healthy: bool,
    /// Whether its update is paused.
    #[serde(default)]
    pub paused: bool,
    /// Versions before it that `rollback` may go back to, the newest first.
    #[serde(default)]
    pub versions: Vec<u64>,
    /// Why this version came back, if it did.
    #[serde(default)]
    pub returned: Option<String>,
    /// Its jobs.
    pub jobs: Vec<JobView>,
}

/// A service or batch job of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// `service`, `batch`, `cron` or `daemon`.
    pub kind: String,
    /// Wanted instances.
    pub count: u32,
    /// Instances that serve, or batch instances that finished.
    pub ready: u32,
    /// Position in the log of the newest deploy or restart that changed it.
    #[serde(default)]
    pub revision: u64,
    /// When a cron job is due next, RFC 3339 in UTC.
    #[serde(default)]
    pub next: Option<String>,
    /// Fewest and most instances of a service that is scaled by its load.
    #[serde(default)]
    pub autoscale: Option<BoundsView>,
    /// Whether an instance of it never runs twice at once.
    #[serde(default)]
    pub exclusive: bool,
    /// How its tasks are kept apart.
    #[serde(default)]
    pub isolation: IsolationView,
    /// Runs of a batch or cron job, the newest first, the one under way included.
    #[serde(default)]
    pub runs: Vec<RunView>,
}

/// What an app says of how the tasks of a job are kept apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IsolationView {
    /// `none`, `standard` or `strict`; `null`: as each machine does by default.
    pub profile: Option<String>,
    /// Measures that are left out of it, as `pid-namespace`.
    #[serde(default)]
    pub without: Vec<String>,
}

/// Bounds of a count, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BoundsView {
    /// The least.
    pub min: u32,
    /// The most.
    pub max: u32,
}

/// A run of a batch or cron job, or slots that did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// What it ran for, as `due 2026-11-22T02:00:00Z`; of slots that did not run, which.
    pub what: String,
    /// When its first task was given a machine, RFC 3339 in UTC.
    pub started_at: Option<String>,
    /// When it was over.
    pub ended_at: Option<String>,
    /// `running`, `ok`, or how it failed or why it did not run, in words.
    pub result: String,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// `web.2`.
    pub task: String,
    /// The app.
    pub app: String,
    /// The service or batch job.
    pub service: String,
    /// Stable index from 1.
    pub index: u32,
    /// `service`, `batch`, `cron` or `daemon`.
    pub kind: String,
    /// `waiting`, `starting`, `running`, `healthy`, `unhealthy`, `stopping`, `finished`, `failed` or `lost`.
    pub state: String,
    /// Name of its machine.
    pub node: Option<String>,
    /// IP address on which it is reached.
    pub address: Option<String>,
    /// Ports by name.
    pub ports: BTreeMap<String, u16>,
    /// Process id on its machine.
    pub pid: Option<u32>,
    /// Restarts on its machine since it was placed there.
    pub restarts: u32,
    /// Start of the present process, RFC 3339 in UTC.
    pub started_at: Option<String>,
    /// Exit status of the last process that ended.
    pub exit_code: Option<i32>,
    /// Why it is in this state; may be empty.
    pub reason: String,
}

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyView {
    /// `shop/web.2`.
    pub task: String,
    /// Its state, as in `ps`.
    pub state: String,
    /// Its machine.
    pub node: Option<String>,
    /// The reasons, one a line.
    pub reasons: Vec<String>,
    /// What its newest process uses, or has used; `null` if there is none, or its machine does not answer.
    #[serde(default)]
    pub usage: Option<UsageView>,
}

/// A service as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// `web`.
    pub service: String,
    /// The app.
    pub app: String,
    /// Its name in DNS.
    pub name: String,
    /// Its instances.
    pub instances: Vec<ServiceInstanceView>,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceInstanceView {
    /// Its label in DNS: `2`, or the name of the node that publishes it itself.
    pub instance: String,
    /// Name of its machine.
    pub node: String,
    /// IP address.
    pub address: String,
    /// Ports by name.
    pub ports: BTreeMap<String, u16>,
    /// Its state.
    pub state: String,
    /// Whether DNS gives it out.
    pub serving: bool,
}
