//! An app: what a user wants to run, as parsed and checked.

mod check;
mod dns;

pub(crate) use check::is_plain_file_name;
pub use dns::{ANSWERS_MAX, DnsEmpty, DnsOrder, DnsPolicy, WEIGHT_DEFAULT, WEIGHT_MAX};

use crate::{AppName, JobName, Resources, SecretName};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use thiserror::Error;

/// Largest total size in bytes of the files that an app ships: they travel in the log, which is no artefact store.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Most jobs in one app: keeps one deploy command small enough for one log entry.
pub const JOBS_MAX: usize = 100;

/// Most instances of one job: one on each machine of the largest ring.
pub const COUNT_MAX: u32 = 10_000;

/// An app as deployed: named jobs and the small files they need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Unique in the cluster.
    pub name: AppName,
    /// Services and batch jobs; at most [`JOBS_MAX`].
    pub jobs: BTreeMap<JobName, Job>,
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
}

/// One service or batch job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Service or batch.
    pub kind: JobKind,
    /// Number of instances.
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
    /// Most processes and threads of one instance.
    pub pids_max: u32,
    /// How to tell that an instance works; without it a running instance counts as working.
    pub health: Option<Health>,
    /// Where instances may be placed.
    pub constraints: Vec<Constraint>,
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

/// A placement rule in Marathon's terms: `FIELD OPERATOR [VALUE]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// `hostname`, `zone` or the name of an attribute.
    pub field: String,
    /// The rule.
    pub operator: Operator,
}

/// Marathon's constraint operators that this version knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// No two instances of the job where the field has the same value.
    Unique,
    /// Only where the field has this value.
    Is(String),
    /// At most this many instances for each value of the field.
    MaxPer(u32),
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

impl JobKind {
    /// Name of the app file's table: `service` or `batch`.
    pub fn table(&self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch { .. } => "batch",
        }
    }
}

#[cfg(test)]
mod tests;
