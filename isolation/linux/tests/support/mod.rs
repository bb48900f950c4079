//! A machine for one test: its own folder and cgroups, all of which are gone afterwards.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod dice;
pub mod guest;
pub mod orphans;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{Cgroups, Controller, Executor, TaskSecrets, TaskSpec};
use taffeta_model::{Isolation, Measure, Profile};

/// How long a condition may take to become true on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One test's machine.
pub struct Bench {
    pub root: PathBuf,
    pub node_id: String,
    temporary: Option<tempfile::TempDir>,
}

impl Bench {
    pub fn new() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(orphans::sweep);
        let mut bench = Self::at(PathBuf::new());
        // Named so that whoever finds it knows whose it is.
        let temporary = tempfile::Builder::new().prefix(&format!("{}{}.", orphans::FOLDER, bench.node_id)).tempdir();
        let temporary = temporary.unwrap();
        bench.root = temporary.path().join("tasks");
        bench.temporary = Some(temporary);
        bench
    }

    pub fn at(root: PathBuf) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { root, node_id: format!("test-{}-{count}", std::process::id()), temporary: None }
    }

    /// What another test has left.
    pub fn left(root: PathBuf, node_id: String) -> Self {
        Self { root, node_id, temporary: None }
    }

    pub fn config(&self) -> LinuxConfig {
        // Elsewhere for tests that run as a user who cannot reach it where it was built.
        let shim =
            std::env::var_os("TAFFETA_TEST_SHIM").unwrap_or_else(|| env!("CARGO_BIN_EXE_taffeta-shim-test").into());
        let shim = shim.into();
        LinuxConfig { shim, ..LinuxConfig::new(&self.root, &self.node_id) }
    }

    /// A fresh agent; it runs tasks whatever can be isolated, so that most tests need no root.
    pub fn executor(&self) -> LinuxExecutor {
        LinuxExecutor::new(LinuxConfig { best_effort: true, ..self.config() }).unwrap()
    }

    pub fn spec(&self, run_id: &str, run: &[&str]) -> TaskSpec {
        TaskSpec {
            task: "test/task.1".into(),
            run_id: run_id.into(),
            run: run.iter().map(|s| (*s).to_owned()).collect(),
            env: BTreeMap::from([("GREETING".into(), "hello".into())]),
            folder: fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone()).join(run_id),
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            mounts: vec![],
            resolv_conf: None,
            fetched: vec![],
            cpus_milli: 250,
            cpu_quota: false,
            cpuset: None,
            io_weight: None,
            memory_bytes: 64 << 20,
            pids_max: 50,
            grace: Duration::from_secs(1),
            logs: Default::default(),
            lease: None,
            isolation: usual(),
            user: None,
            rlimits: BTreeMap::new(),
            low_port: false,
            secrets: TaskSecrets::default(),
        }
    }

    pub fn work(&self, run_id: &str) -> PathBuf {
        self.root.join(run_id).join("work")
    }

    pub fn record(&self, run_id: &str, file: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.root.join(run_id).join(file)).unwrap()).unwrap()
    }

    pub fn shim_pid(&self, run_id: &str) -> u32 {
        u32::try_from(self.record(run_id, "state.json")["shim"]["pid"].as_u64().unwrap()).unwrap()
    }

    /// The folder of a run's group for one controller, on either version.
    pub fn group(&self, executor: &LinuxExecutor, controller: &str, run_id: &str) -> Option<PathBuf> {
        let path = format!("taffeta/{}/{run_id}", self.node_id);
        match executor.permitted().cgroups {
            Cgroups::None { .. } => None,
            Cgroups::V1(_) if controller == "unified" => None,
            Cgroups::Hybrid(_) if controller == "unified" => Some(unified()?.join(path)),
            Cgroups::V1(_) | Cgroups::Hybrid(_) => Some(Path::new("/sys/fs/cgroup").join(controller).join(path)),
            Cgroups::V2(_) => Some(Path::new("/sys/fs/cgroup").join(path)),
        }
    }

    /// The first of a file's names that exists (v1, then v2), read.
    pub fn limit(&self, executor: &LinuxExecutor, run_id: &str, controller: &str, names: [&str; 2]) -> String {
        let group = self.group(executor, controller, run_id).unwrap();
        let read = names.iter().find_map(|name| fs::read_to_string(group.join(name)).ok());
        read.expect("one of the files").trim().to_owned()
    }
}

/// What a task is given that says nothing; in the guest but for what its kernel does not have, so that strict agents run it.
fn usual() -> Isolation {
    match guest::is_guest() {
        true => Isolation { profile: Some(Profile::Standard), without: [Measure::Landlock].into() },
        false => Isolation::default(),
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let executor = self.executor();
        let clean = async {
            for found in executor.recover().await {
                let _ = executor.kill(&found.run_id).await;
                let _ = executor.forget(&found.run_id).await;
            }
            executor.tidy().await;
        };
        // A runtime of its own, in a thread of its own: the test's may be unwinding.
        std::thread::scope(|scope| {
            scope.spawn(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(clean));
        });
    }
}

/// Where the hierarchy of version 2 is mounted.
pub fn unified() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    mount.split(' ').nth(1).map(PathBuf::from)
}

/// Waits until it is so.
pub async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < PATIENCE, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process exists and is not merely unreaped.
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Copies a program that is to be run. Done by another process: this one may fork meanwhile, and a file that anybody has open
/// for writing cannot be run (ETXTBSY).
pub fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

pub fn number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The process whose number a task has written to a file in its working folder, while it lives: to the task it has another
/// number than on the machine.
pub fn process(path: &Path) -> Option<u32> {
    let inside = number(path)?;
    let state = fs::read(path.parent()?.parent()?.join("state.json")).ok()?;
    let state: serde_json::Value = serde_json::from_slice(&state).ok()?;
    let Some(init) = state["init"]["pid"].as_u64() else { return Some(inside) };
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let home = namespace(&init.to_string())?;
    let numbers = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_it = |pid: &String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
        line.split_whitespace().last() == Some(&inside.to_string()) && namespace(pid).as_ref() == Some(&home)
    };
    numbers.filter(|name| name.parse::<u32>().is_ok()).find(is_it)?.parse().ok()
}

/// How many processes of the machine have this among their arguments.
pub fn processes(mark: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let marked = |path: PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|arg| arg == mark.as_bytes())
    };
    numbers.filter(|entry| marked(entry.path())).count()
}

pub fn kill_9(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// What is said where a limit cannot be tested; never said by a guest.
pub const NOT_PERMITTED: &str = "this machine does not permit it";

/// Whether all limits can be tested here; says why not. Whatever else sets tasks apart is nothing to them.
pub fn all_permitted(executor: &LinuxExecutor) -> bool {
    let have = executor.permitted().cgroups.controllers().cloned().unwrap_or_default();
    let lacking: Vec<_> =
        [Controller::Cpu, Controller::Memory, Controller::Pids].into_iter().filter(|c| !have.contains(c)).collect();
    if !lacking.is_empty() {
        eprintln!("SKIPPED: {NOT_PERMITTED}: no limits of {lacking:?}");
    }
    lacking.is_empty()
}
