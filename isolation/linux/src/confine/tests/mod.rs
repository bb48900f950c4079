//! What a confined process can still do, tried by real processes.
//!
//! Each attempt is also made with the measure loosened, where this process has the rights for it: what is refused then,
//! too, would prove nothing.

mod accounts;
mod files;
mod filter;
mod limits;
mod programs;
mod rights;
mod system_calls;

use super::{Calls, Confinement, resolve};
use rustix::{
    process::geteuid,
    thread::{CapabilitySet, capabilities},
};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};
use taffeta_isolation_plan::{Confine, InForce, TaskSecrets, TaskSpec};
use taffeta_model::{Isolation, Measure, Profile};
use tempfile::TempDir;

/// A node's data folder with the folders of two tasks, where no program may write anyway.
struct Place {
    data: PathBuf,
    _temporary: TempDir,
}

impl Place {
    /// `None`, with the reason on stderr, where there is nowhere to write but in the folders for all.
    fn new() -> Option<Self> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let candidates = [Some(PathBuf::from("/run")), std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), home];
        let fits = |path: &PathBuf| !["/tmp", "/var/tmp", "/dev/shm"].iter().any(|scratch| path.starts_with(scratch));
        let made = candidates.into_iter().flatten().filter(fits).find_map(|at| tempfile::tempdir_in(at).ok());
        let Some(temporary) = made else {
            eprintln!("SKIPPED: this user has no folder outside of /tmp");
            return None;
        };
        // Whoever a task runs as has to be able to come as far as its folder.
        fs::set_permissions(temporary.path(), Permissions::from_mode(0o755)).unwrap();
        let data = temporary.path().canonicalize().unwrap();
        for run in ["own", "other"] {
            let work = data.join("tasks").join(run).join("work");
            DirBuilder::new().recursive(true).mode(0o755).create(work).unwrap();
        }
        Some(Self { data, _temporary: temporary })
    }

    fn work(&self) -> PathBuf {
        self.data.join("tasks/own/work")
    }

    fn others_work(&self) -> PathBuf {
        self.data.join("tasks/other/work")
    }

    fn spec(&self, profile: Profile, without: &[Measure]) -> TaskSpec {
        TaskSpec {
            task: "test/own.1".into(),
            run_id: "own".into(),
            run: vec!["true".into()],
            env: BTreeMap::new(),
            folder: self.data.join("tasks/own"),
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            mounts: vec![],
            fetched: vec![],
            resolv_conf: None,
            logs: taffeta_model::LogBounds::default(),
            cpus_milli: 100,
            cpu_quota: false,
            cpuset: None,
            io_weight: None,
            memory_bytes: 64 << 20,
            pids_max: 50,
            grace: Duration::from_secs(1),
            lease: None,
            isolation: Isolation { profile: Some(profile), without: without.iter().copied().collect() },
            user: None,
            rlimits: BTreeMap::new(),
            low_port: false,
            secrets: TaskSecrets::default(),
        }
    }

    /// A machine without views of files of one's own: what is not held by the process's own confinement is not held.
    fn machine(&self) -> InForce {
        let missing = [Measure::PidNamespace, Measure::MountNamespace].into();
        InForce { default: Profile::Standard, missing, hidden: vec![self.data.clone()] }
    }

    /// Runs a program under such a profile; what it says, and how it ends.
    fn run(&self, profile: Profile, without: &[Measure], program: &[&str]) -> Ran {
        self.run_spec(&self.spec(profile, without), program)
    }

    fn run_spec(&self, spec: &TaskSpec, program: &[&str]) -> Ran {
        self.start(&Confine::of(spec, &self.machine()), program)
    }

    fn start(&self, confine: &Confine, program: &[&str]) -> Ran {
        let output = confined(confine, program).current_dir(self.work()).output();
        Ran::from(output.unwrap_or_else(|e| panic!("{program:?}: {e}")))
    }
}

/// All that is done before a process gives anything up.
fn prepare(confine: &Confine) -> io::Result<(Confinement, Vec<String>)> {
    let ids = confine.user.as_ref().map(resolve).transpose()?;
    Confinement::prepare(confine, ids.as_ref(), Calls::compile(confine)?)
}

/// A program that is confined when it starts. What it is to be confined to has to be possible here.
#[expect(unsafe_code, reason = "what runs between fork and exec is unsafe to the standard library")]
fn confined(confine: &Confine, program: &[&str]) -> Command {
    let (confinement, _) = prepare(confine).unwrap();
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).stdin(Stdio::null()).env_clear().env("PATH", taffeta_isolation_plan::PATH_DEFAULT);
    // SAFETY: `apply` makes system calls only; that it does is what it promises.
    unsafe { command.pre_exec(move || confinement.apply().map_err(io::Error::from)) };
    command
}

/// How a program ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    #[track_caller]
    fn passed(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    #[track_caller]
    fn refused(&self, word: &str) {
        assert_ne!(self.code, Some(0), "{self:?}");
        assert!(self.err.contains(word), "{self:?}");
    }
}

/// Whether this process has all that root has but for what this machine keeps from it; says why not.
fn is_root() -> bool {
    let held = capabilities(None).unwrap().effective;
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::SETUID | CapabilitySet::SETPCAP | CapabilitySet::NET_RAW;
    let root = geteuid().is_root() && held.contains(needed);
    if !root {
        eprintln!("SKIPPED: only root has rights that could be taken from it");
    }
    root
}

/// Whether the programs are there; says which is not.
fn has(programs: &[&str]) -> bool {
    let there =
        |name: &str| taffeta_isolation_plan::PATH_DEFAULT.split(':').any(|dir| Path::new(dir).join(name).exists());
    let missing: Vec<&&str> = programs.iter().filter(|name| !there(name)).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: not installed: {missing:?}");
    }
    missing.is_empty()
}

/// Whether the kernel has landlock with all that is asked of it; says what it lacks.
fn has_landlock() -> bool {
    let lacks: Vec<String> = super::landlock::probe().err().into_iter().chain(super::landlock::missing()).collect();
    if !lacks.is_empty() {
        eprintln!("SKIPPED: landlock: {}", lacks.join("; "));
    }
    lacks.is_empty()
}
