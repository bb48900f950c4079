//! An app: what a user wants to run, as parsed and checked.

mod autoscale;
mod check;
mod cpuset;
mod dns;
mod fetch;
mod isolation;
mod logs;
mod mount;
mod path;
mod placement;
mod recurrence;
mod rlimit;
mod run_as;
mod update;
mod volume;

pub use autoscale::{Autoscale, DOWN_AFTER_MAX, Metric, TARGET_MAX};
pub use check::check_resource_name;
pub(crate) use check::is_plain_file_name;
pub use cpuset::{CpuSet, InvalidCpuSet};
pub use dns::{ANSWERS_MAX, DnsEmpty, DnsOrder, DnsPolicy, WEIGHT_DEFAULT, WEIGHT_MAX};
pub use fetch::{FETCHES_MAX, Fetch, Sha256};
pub use isolation::{Isolation, Measure, Profile};
pub use logs::LogBounds;
pub use mount::{HostMount, MOUNTS_MAX, Tmpfs};
pub use path::{AbsolutePath, InvalidPath};
pub use placement::{
    Constraint, JobRef, Operator, PREFERENCE_WEIGHT_MAX, PREFERENCES_MAX, PRIORITY_DEFAULT, PRIORITY_MAX,
    PlacementStrategy, Preference, whole,
};
pub use recurrence::{EPSILON_DEFAULT, HISTORY_MAX, MissedPolicy, Overlap, Recurrence};
pub use rlimit::{Rlimit, RlimitBounds};
pub use run_as::{Account, RunAs};
pub use update::UpdatePolicy;
pub use volume::Volume;

use crate::{AppName, Cpus, JobName, Resources, SecretName, TeamName};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};
use thiserror::Error;

/// Largest total size in bytes of the files that an app ships: they travel in the log, which is no artefact store.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Most jobs in one app: keeps one deploy command small enough for one log entry.
pub const JOBS_MAX: usize = 100;

/// Most countable resources that one job asks for, and that one machine offers.
pub const CUSTOM_MAX: usize = 32;

/// Most instances of one job: one on each machine of the largest ring.
pub const COUNT_MAX: u32 = 10_000;

/// Highest share of the disks that a job can ask for: the largest `io.weight` of Linux.
pub const IO_WEIGHT_MAX: u32 = 10_000;

/// An app as deployed: named jobs and the small files they need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Unique in the cluster.
    pub name: AppName,
    /// Whose quota its tasks count against; `None`: nobody's.
    pub team: Option<TeamName>,
    /// Its jobs; at most [`JOBS_MAX`]. Behind a pointer, as a node of the map has room for eleven and a job is large.
    pub jobs: BTreeMap<JobName, Arc<Job>>,
    /// Contents of the shipped files by file name (no directories); at most [`FILE_BYTES_MAX`] in total.
    pub files: BTreeMap<String, ShippedFile>,
}

/// A small file that travels with the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippedFile {
    /// The contents.
    pub body: Vec<u8>,
    /// Whether the file is executable.
    pub executable: bool,
}

/// How long a job's tasks live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobKind {
    /// Runs for ever; restarted when it ends.
    Service,
    /// Runs to its end.
    Batch {
        /// How often a failed run is tried again on the same machine before the task counts as failed.
        retries: u32,
    },
    /// One on each machine that matches, also on those that join later; restarted when it ends.
    Daemon,
    /// Runs to its end, again and again: at the slots of [`Job::cron`].
    Cron {
        /// As for a batch job.
        retries: u32,
    },
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// How long its tasks live.
    pub kind: JobKind,
    /// Number of instances; of one run, if it runs to an end.
    pub count: u32,
    /// Program and arguments; `$NAME` and `${NAME}` are replaced from the task's environment.
    pub run: Vec<String>,
    /// Additional environment of the task.
    pub env: BTreeMap<String, String>,
    /// Named ports in the order written; the first is the one that SRV of the bare service name gives.
    pub ports: Vec<PortSpec>,
    /// Resources of one instance; `ports` counts the allocated ones.
    pub resources: Resources,
    /// Whether `cpus` is also a hard upper limit (CFS quota). Off unless asked for.
    pub cpu_quota: bool,
    /// The only processors on which an instance runs; `None`: all of its machine.
    pub cpuset: Option<CpuSet>,
    /// Share of the disks beside others, 1 to [`IO_WEIGHT_MAX`], of which 100 is everybody's; `None`: as everybody.
    pub io_weight: Option<u32>,
    /// Most processes and threads of one instance.
    pub pids_max: u32,
    /// How to tell that an instance works; without it a running instance counts as working.
    pub health: Option<Health>,
    /// Countable resources that machines name themselves, as `gpu`, and how many of each one instance takes.
    pub custom: BTreeMap<String, u64>,
    /// Where instances may be placed.
    pub constraints: Vec<Constraint>,
    /// Where they should be placed if they may be; at most [`PREFERENCES_MAX`].
    pub prefer: Vec<Preference>,
    /// Which of the machines that are equally good so far is taken.
    pub strategy: PlacementStrategy,
    /// Jobs of which each machine that takes an instance must have one already.
    pub with: Vec<JobRef>,
    /// Jobs that no machine may have together with this one, whichever of the two is there first.
    pub apart: Vec<JobRef>,
    /// 0 to [`PRIORITY_MAX`]: when room is short, tasks of lower ones make way.
    pub priority: u8,
    /// How instances of an older version are replaced.
    pub update: UpdatePolicy,
    /// How its count follows its load; services only.
    pub autoscale: Option<Autoscale>,
    /// Whether it may run on processors that others have asked for, and makes way for any task that has not said so.
    pub revocable: bool,
    /// Jobs of this app that come first: services must be healthy, batch jobs finished.
    pub after: Vec<JobName>,
    /// Names of shipped files that are copied into the task's folder.
    pub files: Vec<String>,
    /// Free labels, published with the instance.
    pub tags: Vec<String>,
    /// How DNS answers for it; the default for a batch job.
    pub dns: DnsPolicy,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How long after the first suspicion of a machine its tasks are placed again.
    pub reschedule_after: Duration,
    /// Secrets that a task gets as files of these names; with [`Job::secret_env`] at most
    /// [`crate::JOB_SECRETS_MAX`].
    pub secrets: BTreeSet<SecretName>,
    /// Secrets that a task gets as variables of these names.
    pub secret_env: BTreeMap<String, SecretName>,
    /// When a cron job runs; `None` for all others.
    pub cron: Option<Recurrence>,
    /// A run that takes longer is ended, and has failed; it counts from the moment that the first of its tasks is given a
    /// machine. A second to a year; batch and cron jobs only.
    pub deadline: Option<Duration>,
    /// Most instances of a run that are on machines at once; batch and cron jobs only.
    pub parallel: Option<NonZeroU32>,
    /// How many runs are remembered, 1 to [`HISTORY_MAX`].
    pub history: u8,
    /// Whether an instance of it never runs twice at once, whatever happens: it stops when its machine hears of no leader
    /// for [`Job::lease`], and only then may another one start. Not for daemons.
    pub exclusive: bool,
    /// The volume of each instance; `None` for daemons.
    pub volume: Option<Volume>,
    /// Files and folders of its machine that each instance sees; with [`Job::tmpfs`] at most [`MOUNTS_MAX`].
    pub mounts: Vec<HostMount>,
    /// Files in memory of each instance.
    pub tmpfs: Vec<Tmpfs>,
    /// What its machine downloads for each instance; at most [`FETCHES_MAX`].
    pub fetch: Vec<Fetch>,
    /// How its tasks are kept apart.
    pub isolation: Isolation,
    /// Who they run as; `None`: as the node does.
    pub user: Option<RunAs>,
    /// What their processes may use, beyond what the machine gives every process.
    pub rlimits: BTreeMap<Rlimit, RlimitBounds>,
    /// How much of its output is kept.
    pub logs: LogBounds,
}

/// A named port of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Name, given to the task as `PORT_<NAME>`; a DNS label.
    pub name: String,
    /// A fixed port number; `None` lets the machine allocate one.
    pub fixed: Option<u16>,
}

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is tried.
    pub probe: HealthProbe,
    /// Time from one check to the next.
    pub every: Duration,
    /// Time after which one check has failed.
    pub timeout: Duration,
    /// Consecutive failures that make a healthy instance unhealthy.
    pub failures: u32,
}

/// What a health check tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthProbe {
    /// GET of a path on a named port; 200 to 399 passes.
    Http {
        /// Path, beginning with `/`.
        path: String,
        /// Name of the port.
        port: String,
    },
    /// A TCP connection to a named port.
    Tcp {
        /// Name of the port.
        port: String,
    },
    /// A program run in the task's folder with the task's environment; exit status 0 passes.
    Run {
        /// Program and arguments.
        run: Vec<String>,
    },
}

/// Why an app is not valid, with the place inside it. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {message}")]
pub struct InvalidApp {
    /// The field, as `service.web.after`.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Job {
    /// A job about which nothing was said; it runs nothing yet.
    pub fn new(kind: JobKind) -> Self {
        Self {
            kind,
            count: 1,
            run: vec![],
            env: BTreeMap::new(),
            ports: vec![],
            resources: Resources { cpus: Cpus(100), memory: 128 << 20, disk: 0, ports: 0 },
            cpu_quota: false,
            cpuset: None,
            io_weight: None,
            pids_max: 512,
            health: None,
            custom: BTreeMap::new(),
            constraints: vec![],
            prefer: vec![],
            strategy: match kind {
                JobKind::Service | JobKind::Daemon => PlacementStrategy::Spread,
                JobKind::Batch { .. } | JobKind::Cron { .. } => PlacementStrategy::Pack,
            },
            with: vec![],
            apart: vec![],
            priority: PRIORITY_DEFAULT,
            update: UpdatePolicy::default(),
            autoscale: None,
            revocable: false,
            after: vec![],
            files: vec![],
            tags: vec![],
            dns: DnsPolicy::default(),
            grace: Duration::from_secs(10),
            reschedule_after: Duration::from_secs(5),
            secrets: BTreeSet::new(),
            secret_env: BTreeMap::new(),
            cron: None,
            deadline: None,
            parallel: None,
            history: HISTORY_MAX,
            exclusive: false,
            volume: None,
            mounts: vec![],
            tmpfs: vec![],
            fetch: vec![],
            isolation: Isolation::default(),
            user: None,
            rlimits: BTreeMap::new(),
            logs: LogBounds::default(),
        }
    }
}

impl JobKind {
    /// Whether it runs to an end, and serves nobody.
    pub fn is_batch(&self) -> bool {
        match self {
            Self::Batch { .. } | Self::Cron { .. } => true,
            Self::Service | Self::Daemon => false,
        }
    }

    /// Name of the app file's table: `service`, `batch`, `cron` or `daemon`.
    pub fn table(&self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch { .. } => "batch",
            Self::Daemon => "daemon",
            Self::Cron { .. } => "cron",
        }
    }
}

#[cfg(test)]
mod tests;
