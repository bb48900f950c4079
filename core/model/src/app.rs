//! An app: what a user wants to run, as parsed and checked.

use crate::{AppName, JobName, Resources};
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
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How long after the first suspicion of a machine its tasks are placed again.
    pub reschedule_after: Duration,
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

impl App {
    /// Checks what holds between fields: known names in `after`, `files` and `health.port`, no cycle, sizes, ranges.
    /// A node calls it again on every deploy, as the command may not come from our own parser.
    pub fn check(&self) -> Result<(), InvalidApp> {
        if self.jobs.is_empty() {
            return Err(invalid("app", "the app has no [service.NAME] and no [batch.NAME]"));
        }
        if self.jobs.len() > JOBS_MAX {
            return Err(invalid("app", format!("{} jobs; at most {JOBS_MAX} are allowed", self.jobs.len())));
        }
        let bytes: usize = self.files.values().map(|f| f.body.len()).sum();
        if bytes > FILE_BYTES_MAX {
            return Err(invalid("files", format!("{bytes} bytes of files; at most {FILE_BYTES_MAX} are shipped")));
        }
        for (name, job) in &self.jobs {
            self.check_job(name, job)?;
        }
        self.check_order()
    }

    fn check_job(&self, name: &JobName, job: &Job) -> Result<(), InvalidApp> {
        let at = |field: &str| format!("{}.{name}.{field}", job.kind.table());
        if job.run.first().is_none_or(String::is_empty) {
            return Err(invalid(at("run"), "expected a program and its arguments, as [\"./server\", \"--flag\"]"));
        }
        if job.count > 10_000 {
            return Err(invalid(at("count"), format!("{} instances; at most 10000 are allowed", job.count)));
        }
        let mut names = BTreeSet::new();
        let mut numbers = BTreeSet::new();
        for port in &job.ports {
            if JobName::new(port.name.clone()).is_err() {
                return Err(invalid(at("ports"), format!("`{}` is not a port name: use a-z, 0-9 and `-`", port.name)));
            }
            if !names.insert(&port.name) || port.fixed.is_some_and(|n| !numbers.insert(n)) {
                return Err(invalid(at("ports"), format!("`{}` is given twice", port.name)));
            }
            if port.fixed == Some(0) {
                return Err(invalid(at("ports"), "0 is not a port; leave the number out to have one allocated"));
            }
        }
        if job.resources.ports as usize != job.ports.iter().filter(|p| p.fixed.is_none()).count() {
            return Err(invalid(at("ports"), "the number of allocated ports does not match"));
        }
        for file in &job.files {
            if !self.files.contains_key(file) {
                return Err(invalid(at("files"), format!("`{file}` was not shipped with the app")));
            }
        }
        if let Some(health) = &job.health {
            health.check(job).map_err(|message| invalid(at("health"), message))?;
        }
        if job.pids_max < 2 {
            return Err(invalid(at("pids"), "at least 2 processes are needed"));
        }
        if matches!(job.kind, JobKind::Batch { .. }) && job.health.is_some() {
            return Err(invalid(at("health"), "a batch job has no health check: it is done when it ends with 0"));
        }
        Ok(())
    }

    /// Refuses unknown names and cycles in `after`.
    fn check_order(&self) -> Result<(), InvalidApp> {
        for (name, job) in &self.jobs {
            let at = format!("{}.{name}.after", job.kind.table());
            for earlier in &job.after {
                if !self.jobs.contains_key(earlier) {
                    return Err(invalid(at, format!("`{earlier}` is not a job of this app")));
                }
            }
            let mut seen = BTreeSet::new();
            if let Some(cycle) = self.find_cycle(&mut vec![name], &mut seen) {
                return Err(invalid(at, format!("a cycle: {cycle}")));
            }
        }
        Ok(())
    }

    /// Follows `after` from the last of `path`; gives `a after b after a` when it comes back to its start. `seen` keeps
    /// the walk linear: a job from which the start was not reached once is not walked again.
    fn find_cycle<'a>(&'a self, path: &mut Vec<&'a JobName>, seen: &mut BTreeSet<&'a JobName>) -> Option<String> {
        for earlier in &self.jobs.get(path[path.len() - 1])?.after {
            if earlier == path[0] {
                let names: Vec<&str> = path.iter().map(|n| n.as_str()).chain([path[0].as_str()]).collect();
                return Some(names.join(" after "));
            }
            if !seen.insert(earlier) {
                continue;
            }
            path.push(earlier);
            let found = self.find_cycle(path, seen);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl Health {
    fn check(&self, job: &Job) -> Result<(), String> {
        let known = |port: &str| {
            let ok = job.ports.iter().any(|p| p.name == port);
            if ok { Ok(()) } else { Err(format!("`{port}` is not one of the job's ports")) }
        };
        match &self.probe {
            HealthProbe::Http { path, port } => {
                if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
                    return Err(format!("`{path}` is not a path: it begins with `/` and has no spaces"));
                }
                known(port)?;
            }
            HealthProbe::Tcp { port } => known(port)?,
            HealthProbe::Run { run } if run.is_empty() => return Err("`run` is empty".into()),
            HealthProbe::Run { .. } => {}
        }
        if self.every < Duration::from_millis(100) || self.timeout < Duration::from_millis(10) {
            return Err("`every` is at least 100ms and `timeout` at least 10ms".into());
        }
        if self.failures == 0 {
            return Err("`failures` is at least 1".into());
        }
        Ok(())
    }
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

fn invalid(field: impl Into<String>, message: impl Into<String>) -> InvalidApp {
    InvalidApp { field: field.into(), message: message.into() }
}
