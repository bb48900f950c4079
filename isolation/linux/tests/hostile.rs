//! Everything that a hostile task may try, beside a neighbour that goes on unharmed. Where a measure prevents it, the same is
//! shown to work without.
//!
//! More of the single measures: `sandbox` (views and namespaces), `limits.rs` (groups), `beside` (logs, files), and the unit
//! tests of `confine` (landlock, capabilities, system calls).

mod support;

use std::{collections::BTreeSet, fs, os::unix::net::UnixListener, path::PathBuf, process::Command};
use support::{Bench, lives, number, processes, until};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{Executor, FileAsk, FileError, Stream, TaskSpec, WORK_FOLDER};
use taffeta_model::{Exit, Isolation, Profile};

/// A machine with a task that does nothing but count, has a secret, and is to go on.
struct Town {
    executor: LinuxExecutor,
    neighbour: u32,
    bench: Bench,
}

const NEIGHBOUR: &str = "echo precious > file; n=0; trap 'echo hit >> hits' TERM HUP INT USR1; \
                         while :; do n=$((n+1)); echo $n > count.new; mv count.new count; sleep 0.02; done";

impl Town {
    /// `None`, and the reason told, where tasks cannot be set apart.
    async fn new() -> Option<Self> {
        let bench = Bench::new();
        let hidden = vec![bench.root.parent().unwrap().to_path_buf()];
        let config = LinuxConfig { best_effort: true, hidden, ..bench.config() };
        let executor = LinuxExecutor::new(config).unwrap();
        let gaps = bench.spec("probe", &["true"]).not_isolated(executor.permitted());
        if !gaps.is_empty() || Command::new("python3").arg("-V").output().is_err() {
            eprintln!("SKIPPED: needs python3 and a machine that can set tasks apart: {gaps:?}");
            return None;
        }
        let mut spec = bench.spec("neighbour", &["sh", "-c", NEIGHBOUR]);
        spec.env.insert("TOKEN".into(), "of-the-neighbour".into());
        let neighbour = executor.start(spec).await.unwrap().pid;
        let town = Self { executor, neighbour, bench };
        until("the neighbour counts", || town.count().is_some()).await;
        Some(town)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bench.work("neighbour").join(name)
    }

    fn count(&self) -> Option<u32> {
        number(&self.file("count"))
    }

    fn spec(&self, run_id: &str, profile: Profile, script: &str) -> TaskSpec {
        let isolation = Isolation { profile: Some(profile), without: BTreeSet::new() };
        TaskSpec { isolation, ..self.bench.spec(run_id, &["sh", "-c", script]) }
    }

    /// What it says, and how it ends.
    async fn run(&self, spec: TaskSpec) -> (String, Exit) {
        let run_id = spec.run_id.clone();
        self.executor.start(spec).await.unwrap();
        let exit = self.executor.wait(&run_id).await;
        (fs::read_to_string(self.executor.log_path(&run_id, Stream::Stdout)).unwrap(), exit)
    }

    /// The same act under `standard`, where it must achieve nothing, and without isolation, where it must achieve something:
    /// what it achieves it says.
    async fn prevents(&self, what: &str, act: &str) {
        let (said, _) = self.run(self.spec(&format!("{what}-standard"), Profile::Standard, act)).await;
        assert_eq!(said, "", "{what}");
        self.is_unharmed(what).await;
        let (said, _) = self.run(self.spec(&format!("{what}-none"), Profile::None, act)).await;
        assert_ne!(said, "", "{what}: it achieves nothing without isolation either");
    }

    /// The same process as at the beginning counts on, and nobody has touched it or what it has.
    async fn is_unharmed(&self, what: &str) {
        let before = self.count().unwrap();
        until(&format!("the neighbour counts on after `{what}`"), || self.count() > Some(before + 1)).await;
        assert!(lives(self.neighbour) && !self.file("hits").exists(), "{what}");
        assert_eq!(fs::read_to_string(self.file("file")).unwrap(), "precious\n", "{what}");
    }
}

#[tokio::test]
async fn it_reads_nothing_of_its_neighbours_folder_environment_and_memory() {
    let Some(town) = Town::new().await else { return };
    let (file, pid) = (town.file("file"), town.neighbour);
    town.prevents("folder", &format!("cat {}", file.display())).await;
    town.prevents("environment", &format!("tr '\\0' '\\n' < /proc/{pid}/environ | grep TOKEN")).await;
    town.prevents("memory", &format!("head -c 10 /proc/{pid}/maps")).await;
    let record = town.bench.root.join("neighbour/spec.json");
    town.prevents("record", &format!("head -c 10 {}", record.display())).await;
}

/// A system call by its number, and what to print if it succeeded.
fn call(number: i64, args: &str, said: &str) -> String {
    format!(
        "python3 -c 'import ctypes; c = ctypes.CDLL(None, use_errno=True); print(\"{said}\") if c.syscall({number}, {args}) >= 0 else 0' 2>&1"
    )
}

/// Their numbers on x86-64; elsewhere there is nothing to show that the lists by name do not.
#[cfg(target_arch = "x86_64")]
mod calls {
    pub(crate) const PTRACE: i64 = 101;
    pub(crate) const INIT_MODULE: i64 = 175;
    pub(crate) const FINIT_MODULE: i64 = 313;
    pub(crate) const KEXEC_LOAD: i64 = 246;
    pub(crate) const BPF: i64 = 321;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn it_traces_and_signals_nobody_else() {
    let Some(town) = Town::new().await else { return };
    let pid = town.neighbour;
    // Attached, seized (PTRACE_SEIZE, which does not stop it), then its end frees it.
    town.prevents("trace", &call(calls::PTRACE, &format!("0x4206, {pid}, 0, 0"), "seized")).await;
    town.prevents("signal", &format!("kill -0 {pid} && echo reached")).await;
    let (_, exit) =
        town.run(town.spec("kill", Profile::Standard, &format!("kill -9 {pid}; kill -9 -1; kill -9 1; exit 4"))).await;
    assert_eq!(exit, Exit::Code(4));
    town.is_unharmed("kill").await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn it_loads_no_module_and_no_kernel_nor_program_into_it() {
    let Some(town) = Town::new().await else { return };
    // Each is answered before the kernel looks at what it was given: with EPERM, where without isolation root hears that the
    // file or the image is none.
    let errno = |number, args: &str| {
        format!(
            "python3 -c 'import ctypes; c = ctypes.CDLL(None, use_errno=True); c.syscall({number}, {args}); print(ctypes.get_errno())'"
        )
    };
    for (what, number, args) in [
        ("init-module", calls::INIT_MODULE, "0, 0, 0"),
        ("finit-module", calls::FINIT_MODULE, "-1, 0, 0"),
        ("kexec", calls::KEXEC_LOAD, "0, 0, 0, 0"),
        ("bpf", calls::BPF, "0, 0, 0"),
    ] {
        let (said, _) = town.run(town.spec(what, Profile::Standard, &errno(number, args))).await;
        assert_eq!(said, "1\n", "{what}: not EPERM");
    }
    town.is_unharmed("modules").await;
}

#[tokio::test]
async fn it_writes_nowhere_outside_and_mounts_nothing() {
    let Some(town) = Town::new().await else { return };
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    let target = outside.path().join("x");
    town.prevents("write", &format!("echo x > {0} && echo wrote; rm -f {0}", target.display())).await;
    let logs = town.bench.root.join("neighbour/stdout.log");
    town.prevents("log", &format!("echo x >> {} && echo wrote", logs.display())).await;
    let (file, into) = (town.file("file"), town.file("taken"));
    let (said, _) = town
        .run(town.spec(
            "overwrite",
            Profile::Standard,
            &format!("echo x > {}; ln -s /etc {} && echo made", file.display(), into.display()),
        ))
        .await;
    assert_eq!(said, "");
    let mounts = "mount -t tmpfs none /mnt && echo mounted; mount --bind / /mnt && echo bound; umount -l /tmp && echo unmounted; \
                  unshare -m true && echo apart; unshare -Ur true && echo root";
    let (said, _) = town.run(town.spec("mount", Profile::Standard, mounts)).await;
    assert_eq!(said, "");
    town.is_unharmed("write").await;
}

#[tokio::test]
async fn it_eats_its_own_memory_and_starts_its_own_processes_alone() {
    let Some(town) = Town::new().await else { return };
    let hungry = town.spec("hungry", Profile::Standard, "exec tail /dev/zero");
    town.executor.start(hungry).await.unwrap();
    assert_eq!(town.executor.wait("hungry").await, Exit::OutOfMemory);
    town.is_unharmed("memory").await;
    let bomb = "exec python3 -c 'import os\nwhile True:\n try: os.fork()\n except OSError: pass'";
    town.executor.start(TaskSpec { cpus_milli: 100, ..town.spec("bomb", Profile::Standard, bomb) }).await.unwrap();
    town.is_unharmed("a bomb of forks").await;
    town.executor.kill("bomb").await.unwrap();
    assert_eq!(town.executor.wait("bomb").await, Exit::Signal(9));
    town.is_unharmed("its end").await;
}

#[tokio::test]
async fn it_opens_no_raw_socket() {
    let Some(town) = Town::new().await else { return };
    for (what, socket) in
        [("raw", "socket.AF_INET, socket.SOCK_RAW, 1"), ("packet", "socket.AF_PACKET, socket.SOCK_RAW, 0")]
    {
        let script = format!("python3 -c 'import socket; socket.socket({socket}); print(\"open\")' 2>/dev/null");
        if rustix::process::geteuid().is_root() {
            town.prevents(what, &script).await;
        } else {
            assert_eq!(town.run(town.spec(what, Profile::Standard, &script)).await.0, "");
        }
    }
}

#[tokio::test]
async fn it_reaches_neither_the_agents_socket_nor_a_shims() {
    let Some(town) = Town::new().await else { return };
    let api = town.bench.root.parent().unwrap().join("api.sock");
    let _api = UnixListener::bind(&api).unwrap();
    let connect = |path: &PathBuf| {
        let path = path.display();
        format!(
            "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{path}\"); print(\"connected\")' 2>/dev/null"
        )
    };
    town.prevents("api", &connect(&api)).await;
    town.prevents("shim", &connect(&town.bench.root.join("neighbour/ctl.sock"))).await;
    let own = town.bench.root.join("own/ctl.sock");
    assert_eq!(town.run(town.spec("own", Profile::Standard, &connect(&own))).await.0, "", "nor its own shim's");
}

#[tokio::test]
async fn its_links_lead_nobody_who_looks_at_its_files_out_of_its_folder() {
    let Some(town) = Town::new().await else { return };
    let volume = town.bench.root.parent().unwrap().join("volumes/v");
    fs::create_dir_all(&volume).unwrap();
    let up = format!("../neighbour/{WORK_FOLDER}/file");
    let script =
        format!("ln -s {0} mine; ln -s /etc/passwd v/out; mkdir d; ln -s ../../{up} d/up", town.file("file").display());
    let mut spec = town.spec("links", Profile::Standard, &script);
    spec.links = [("v".to_owned(), volume)].into();
    assert_eq!(town.run(spec).await.1, Exit::Code(0));
    for path in ["mine", "v/out", "d/up", &up] {
        let ask = FileAsk { path: path.into(), offset: 0, bytes_max: 100 };
        assert_eq!(town.executor.look("links", ask).await, Err(FileError::Outside(path.into())));
    }
    town.is_unharmed("links").await;
}

#[tokio::test]
async fn its_flood_of_words_fills_its_own_bounds_alone() {
    let Some(town) = Town::new().await else { return };
    town.executor.start(town.spec("flood", Profile::Standard, "exec yes flood")).await.unwrap();
    let bounds = town.bench.spec("flood", &["yes"]).logs.clamped();
    let folder = town.bench.root.join("flood");
    let written = || {
        let files = fs::read_dir(&folder).unwrap().flatten();
        let logs = files.filter(|entry| entry.file_name().to_string_lossy().starts_with("stdout"));
        logs.filter_map(|entry| entry.metadata().ok()).map(|about| about.len()).sum::<u64>()
    };
    until("it has written much", || written() > bounds.size).await;
    town.is_unharmed("a flood").await;
    // One file more than are kept, for the moment of turning over, and the notes of when.
    let most = bounds.size * (u64::from(bounds.files) + 1) + (8 << 20);
    assert!(written() <= most, "{} of {most}", written());
    town.executor.kill("flood").await.unwrap();
}

#[tokio::test]
async fn it_neither_ignores_its_end_nor_leaves_anything_that_forked_away() {
    let Some(town) = Town::new().await else { return };
    let mark = format!("9000.{}", std::process::id());
    let deaf = format!("trap '' TERM; (env -i setsid setsid sleep {mark} &); : > ready; while :; do sleep 0.05; done");
    town.executor.start(town.spec("deaf", Profile::Standard, &deaf)).await.unwrap();
    until("all run", || town.bench.work("deaf").join("ready").exists() && processes(&mark) == 1).await;
    town.executor.signal("deaf", 15).await.unwrap();
    town.is_unharmed("SIGTERM").await;
    assert_eq!(processes(&mark), 1, "it is deaf");
    town.executor.kill("deaf").await.unwrap();
    assert_eq!((town.executor.wait("deaf").await, processes(&mark)), (Exit::Signal(9), 0));
    town.is_unharmed("SIGKILL").await;
}

/// Set for the agent below: the folder of its tasks, and the name of its node.
const REMOVER: [&str; 2] = ["TAFFETA_TEST_REMOVER_ROOT", "TAFFETA_TEST_REMOVER_NODE"];

#[tokio::test]
async fn no_depth_of_its_folders_ends_the_agent_that_removes_them() {
    let Some(town) = Town::new().await else { return };
    let dig = "exec python3 -c 'import os\nfor _ in range(8000):\n os.mkdir(\"d\"); os.chdir(\"d\")'";
    let spec = TaskSpec { memory_bytes: 256 << 20, ..town.spec("deep", Profile::Standard, dig) };
    assert_eq!(town.run(spec).await.1, Exit::Code(0));
    // In an agent of its own: one that has no stack left is gone, and few have so many open files.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256 && exec \"$@\"", "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "an_agent_with_few_open_files_forgets", "--ignored", "--nocapture"]);
    let output = command.env(REMOVER[0], &town.bench.root).env(REMOVER[1], &town.bench.node_id).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{}: {said}", output.status);
    assert!(!town.bench.root.join("deep").exists());
    town.is_unharmed("depth").await;
}

#[tokio::test]
#[ignore = "run by no_depth_of_its_folders_ends_the_agent_that_removes_them"]
async fn an_agent_with_few_open_files_forgets() {
    let [Some(root), Some(node_id)] = REMOVER.map(std::env::var_os) else { return };
    // Its machine is the other's: it is left as it is at the end.
    let bench = std::mem::ManuallyDrop::new(Bench::left(root.into(), node_id.into_string().unwrap()));
    bench.executor().forget("deep").await.unwrap();
}
