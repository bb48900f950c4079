//! What one process start needs, complete: nothing is looked up later.

use crate::{Controller, Fetched, Memory, MountPoint, Permitted, TaskSecrets, WORK_FOLDER};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    time::Duration,
};
use taffeta_model::{BootMillis, CpuSet, Isolation, LogBounds, Rlimit, RlimitBounds, RunAs, ShippedFile};
use thiserror::Error;

/// The search path of a task whose environment gives none.
pub const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest run id in bytes: it names a folder and a cgroup, whose names end at 255, and leaves room for a suffix.
pub const RUN_ID_BYTES_MAX: usize = 200;

/// One process start of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task for people, as `shop/web.2`.
    pub task: String,
    /// Unique for each process start, as `shop.web.2-1.4.77-0`; letters, digits, `.`, `_` and `-`, not beginning with
    /// a dot, at most [`RUN_ID_BYTES_MAX`] bytes.
    pub run_id: String,
    /// Program and arguments, variables already replaced. A program without a slash is searched in the task's `PATH`,
    /// a relative one begins at the working folder.
    pub run: Vec<String>,
    /// The task's environment. Nothing is inherited; [`TaskSpec::environment`] adds what is missing of `PATH`, `HOME`
    /// and `TAFFETA_TASK_DIR`.
    pub env: BTreeMap<String, String>,
    /// The folder of the run, absolute; its last component is the run id. Gone after the run is forgotten.
    pub folder: PathBuf,
    /// Files that lie in the working folder before the program starts, by name. Empty in a spec that was found again
    /// after a restart: the bodies are on disk.
    pub files: BTreeMap<String, ShippedFile>,
    /// Links that lie in the working folder beside them, by name, and where they lead: to what outlives the run.
    #[serde(default)]
    pub links: BTreeMap<String, PathBuf>,
    /// What else it sees of the machine, in the order in which it is mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountPoint>,
    /// What is written into [`crate::RESOLV_FILE`], which one of its mounts brings to `/etc/resolv.conf`; `None`: it sees
    /// the machine's own one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolv_conf: Option<String>,
    /// What was downloaded for it, and how it comes into the working folder. Empty in a spec that was found again.
    #[serde(skip)]
    pub fetched: Vec<Fetched>,
    /// Share of the processors in thousandths of a core.
    pub cpus_milli: u64,
    /// Whether `cpus_milli` is also a hard upper limit.
    pub cpu_quota: bool,
    /// The only processors on which it runs; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<CpuSet>,
    /// Its share of the disks beside others, 1 to 10000, of which 100 is everybody's; `None`: as everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u32>,
    /// Most memory in bytes, swap included where that can be limited.
    pub memory_bytes: u64,
    /// Most processes and threads.
    pub pids_max: u32,
    /// Time between SIGTERM and SIGKILL; kept here for whoever finds the run again, as the sender does the waiting.
    pub grace: Duration,
    /// How much of its output is kept.
    #[serde(default)]
    pub logs: LogBounds,
    /// When the lease of an exclusive task ends, unless it is extended: by then nothing of it may run. `None` for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<BootMillis>,
    /// How it is kept apart, as far as its app says so.
    #[serde(default, skip_serializing_if = "Isolation::is_default")]
    pub isolation: Isolation,
    /// Who it runs as; `None`: as the shim does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<RunAs>,
    /// What its processes may use of the machine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rlimits: BTreeMap<Rlimit, RlimitBounds>,
    /// Whether it was given a port below 1024, which not every process may listen on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub low_port: bool,
    /// The values of its secrets. Not stored: empty in a spec that was found again after a restart.
    #[serde(skip)]
    pub secrets: TaskSecrets,
}

/// Why a spec cannot be run anywhere. Nothing was changed; the caller built it wrongly.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidSpec {
    /// Not usable as the name of a folder and a cgroup.
    #[error(
        "`{0}` is no run id: use 1 to {RUN_ID_BYTES_MAX} of a-z, A-Z, 0-9, `.`, `_` and `-`, not beginning with `.`"
    )]
    RunId(String),
    /// No program was given.
    #[error("no program is given")]
    NoProgram,
    /// An argument or variable that no process can be given.
    #[error("{0} holds a zero byte, or is a variable name with `=` or without letters")]
    Unrepresentable(String),
    /// The folder is relative or not named like the run.
    #[error("the folder `{0}` is not absolute or does not end in the run id")]
    Folder(PathBuf),
    /// A link that leads to different places from different folders.
    #[error("the link to `{0}` is not absolute")]
    Link(PathBuf),
    /// A mount whose ends are not both absolute and in their shortest spelling.
    #[error("`{0}` cannot be mounted, or mounted at: an absolute path without `..` is needed")]
    Mount(PathBuf),
    /// A file that would lie outside of the working folder, or two of one name.
    #[error("`{0}` is not a plain file name")]
    FileName(String),
    /// More memory than can be counted, or none at all.
    #[error("{0} bytes of memory cannot be given")]
    Memory(u64),
}

impl TaskSpec {
    /// The folder in which the program starts and where its files lie.
    pub fn work(&self) -> PathBuf {
        self.folder.join(WORK_FOLDER)
    }

    /// The complete environment: what was asked for, and `PATH` and `HOME` if they were not. `TAFFETA_TASK_DIR` is
    /// always this run's own working folder, because leftovers of a run are recognised by it where there are no cgroups.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let work = self.work().display().to_string();
        let mut env = self.env.clone();
        env.entry("PATH".into()).or_insert_with(|| PATH_DEFAULT.into());
        env.entry("HOME".into()).or_insert_with(|| work.clone());
        env.insert("TAFFETA_TASK_DIR".into(), work);
        env
    }

    /// Checks what every machine would refuse.
    pub fn check(&self) -> Result<(), InvalidSpec> {
        check_name(&self.run_id)?;
        let named = self.folder.file_name().is_some_and(|name| name == self.run_id.as_str());
        if !self.folder.is_absolute() || !named {
            return Err(InvalidSpec::Folder(self.folder.clone()));
        }
        if self.run.first().is_none_or(String::is_empty) {
            return Err(InvalidSpec::NoProgram);
        }
        if let Some(arg) = self.run.iter().find(|arg| arg.contains('\0')) {
            return Err(InvalidSpec::Unrepresentable(format!("the argument {arg:?}")));
        }
        let unfit =
            |(key, value): &(&String, &String)| key.is_empty() || key.contains(['=', '\0']) || value.contains('\0');
        if let Some((key, _)) = self.env.iter().find(unfit) {
            return Err(InvalidSpec::Unrepresentable(format!("the variable {key:?}")));
        }
        let unfit = |(key, value): &(&String, &taffeta_model::Secret)| {
            key.is_empty() || key.contains(['=', '\0']) || value.expose().contains(&0)
        };
        if let Some((key, _)) = self.secrets.env.iter().find(unfit) {
            return Err(InvalidSpec::Unrepresentable(format!("the secret for the variable {key:?}")));
        }
        if let Some(name) = self.files.keys().find(|name| !is_file_name(name)) {
            return Err(InvalidSpec::FileName(name.clone()));
        }
        if let Some(name) = self.links.keys().find(|name| !is_file_name(name) || self.files.contains_key(*name)) {
            return Err(InvalidSpec::FileName(name.clone()));
        }
        if let Some(path) = self.links.values().find(|path| !path.is_absolute()) {
            return Err(InvalidSpec::Link(path.clone()));
        }
        if let Some(name) = self.fetched.iter().filter_map(Fetched::name).find(|name| !is_file_name(name)) {
            return Err(InvalidSpec::FileName(name.into()));
        }
        if let Some(path) = self.mounts.iter().find_map(MountPoint::unfit) {
            return Err(InvalidSpec::Mount(path.into()));
        }
        if self.memory_bytes == 0 || i64::try_from(self.memory_bytes).is_err() {
            return Err(InvalidSpec::Memory(self.memory_bytes));
        }
        Ok(())
    }

    /// What this machine cannot isolate, in words; empty if all is in force.
    pub fn not_isolated(&self, permitted: &Permitted) -> Vec<String> {
        let mut gaps = permitted.not_limited();
        gaps.extend(permitted.measures.gaps(&self.isolation));
        let have = permitted.cgroups.controllers();
        let lacks = |controller| have.is_none_or(|have| !have.contains(&controller));
        if let (Memory::Nowhere { why }, false) = (&permitted.memory, self.secrets.files.is_empty()) {
            gaps.push(format!("secrets: they would lie on the disk ({why})"));
        }
        let asked = [
            (self.cpu_quota, Controller::Cpu, "cpu: the quota"),
            (self.cpuset.is_some(), Controller::CpuSet, "cpuset: the choice of processors"),
            (self.io_weight.is_some(), Controller::Io, "io: the weight"),
        ];
        let missing = asked.into_iter().filter(|(asked, controller, _)| *asked && lacks(*controller));
        gaps.extend(missing.map(|(_, controller, what)| {
            format!(
                "{what} that was asked for is not in force (the cgroup controller `{controller}` cannot be used here)"
            )
        }));
        gaps
    }
}

/// Refuses what cannot name a folder and a cgroup: run ids and node ids must.
pub fn check_name(name: &str) -> Result<(), InvalidSpec> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let whole = (1..=RUN_ID_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain);
    if whole { Ok(()) } else { Err(InvalidSpec::RunId(name.into())) }
}

fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let one = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    one && !name.contains(['/', '\0'])
}
