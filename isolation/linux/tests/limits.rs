//! Limits that are in force, and what happens at them. Skipped, with the reason, where no cgroup can be made. All of it is
//! run once more on a machine with cgroups of version 2: see `support::guest`.

mod support;

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};
use support::{Bench, all_permitted, guest, kill_9, lives, number, process, unified, until};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor, harm};
use taffeta_isolation_plan::{Cgroups, Executor, StartError, Stream, TaskSpec, Usage};
use taffeta_model::Exit;

const FOR_EVER: [&str; 2] = ["sleep", "1000"];

/// How often a limit in time is measured at most: a first miss may be the machine's, so many are ours.
const TURNS: usize = 3;

/// Uses up what processor time it gets.
const SPIN: [&str; 3] = ["sh", "-c", "while :; do :; done"];

#[test]
fn the_same_holds_in_a_guest_with_cgroup_v2() {
    guest::run_tests(&["the_same_holds"]);
}

#[test]
fn the_same_holds_with_cgroup_v1_alone() {
    guest::run_tests_on_v1(&["the_same_holds", "ordinary_user", "without_root"]);
}

#[tokio::test]
async fn shares_memory_and_pids_are_in_force_and_no_quota_unless_asked() {
    let bench = Bench::new();
    let executor = LinuxExecutor::new(bench.config()).unwrap();
    if !all_permitted(&executor) {
        return;
    }
    let started = executor.start(bench.spec("plain", &FOR_EVER)).await.unwrap();
    assert_eq!(started.not_isolated, Vec::<String>::new());
    let limit = |run: &str, controller: &str, names| bench.limit(&executor, run, controller, names);
    let shares = limit("plain", "cpu", ["cpu.shares", "cpu.weight"]);
    assert!(["256", "10"].contains(&shares.as_str()), "{shares}");
    let quota = limit("plain", "cpu", ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["-1", "max 100000"].contains(&quota.as_str()), "{quota}");
    assert_eq!(limit("plain", "memory", ["memory.limit_in_bytes", "memory.max"]), (64 << 20).to_string());
    assert_eq!(limit("plain", "pids", ["pids.max", "pids.max"]), "50");
    for controller in ["cpu", "memory", "pids", "freezer", "unified"] {
        if bench.group(&executor, controller, "plain").is_none() {
            continue;
        }
        let procs = limit("plain", controller, ["cgroup.procs", "cgroup.procs"]);
        assert_eq!(procs, started.pid.to_string(), "the task, and not its shim, is in its {controller} group");
    }
    executor.start(TaskSpec { cpu_quota: true, ..bench.spec("quota", &FOR_EVER) }).await.unwrap();
    let quota = limit("quota", "cpu", ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["25000", "25000 100000"].contains(&quota.as_str()), "{quota}");
}

#[tokio::test]
async fn swap_does_not_stretch_the_memory_limit() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    executor.start(bench.spec("r1", &FOR_EVER)).await.unwrap();
    let memory = bench.group(&executor, "memory", "r1").unwrap();
    let swap =
        ["memory.memsw.limit_in_bytes", "memory.swap.max"].map(|name| fs::read_to_string(memory.join(name)).ok());
    match swap {
        // The first is the limit of both together.
        [Some(both), _] => assert_eq!(both.trim(), (64 << 20).to_string()),
        [None, Some(swap)] => assert_eq!(swap.trim(), "0"),
        [None, None] => eprintln!("SKIPPED: this kernel does not count swap"),
    }
}

#[tokio::test]
async fn a_weight_is_a_share_beside_others_and_a_quota_a_limit_alone() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    // On one processor, so that they are in each other's way.
    let cpuset = (!guest::is_guest()).then(|| "0".parse().unwrap());
    let spec = |run_id, cpus_milli| TaskSpec { cpus_milli, cpuset: cpuset.clone(), ..bench.spec(run_id, &SPIN) };
    executor.start(spec("less", 200)).await.unwrap();
    executor.start(spec("more", 800)).await.unwrap();
    let cpu = async |run_id| executor.usage(run_id).await.unwrap().cpu;
    // Both as of one moment: the one has hardly gone on while the other was read.
    let both = async || {
        let begin = Instant::now();
        loop {
            let (less, more) = (cpu("less").await, cpu("more").await);
            if cpu("less").await - less < Duration::from_millis(10) {
                break (less, more);
            }
            assert!(begin.elapsed() < guest::allowed(support::PATIENCE), "they are never read at once");
        }
    };
    let before = both().await;
    let spent = async || {
        let (less, more) = both().await;
        (less - before.0, more - before.1)
    };
    until_usage(async || spent().await.0 > Duration::from_millis(400)).await;
    let (less, more) = spent().await;
    let ratio = more.as_secs_f64() / less.as_secs_f64();
    assert!((2.5..6.0).contains(&ratio), "{ratio}: four times the share");
    executor.kill("less").await.unwrap();
    executor.kill("more").await.unwrap();

    // So little that it comes to its quota also on a machine that is busy.
    executor.start(TaskSpec { cpu_quota: true, cpus_milli: 100, ..bench.spec("quota", &SPIN) }).await.unwrap();
    let throttled = async || executor.usage("quota").await.unwrap().throttled.filter(|held| held.throttled >= 4);
    until_usage(async || throttled().await.is_some()).await;
    let used = cpu("quota").await; // first: it grows
    let held = throttled().await.unwrap();
    assert!(held.time > Duration::from_millis(50), "{held:?}");
    let allowed = Duration::from_millis(10) * u32::try_from(held.periods + 3).unwrap();
    assert!(used < allowed + Duration::from_millis(60), "{used:?} in {held:?}");
    executor.start(bench.spec("none", &SPIN)).await.unwrap();
    assert_eq!(executor.usage("none").await.unwrap().throttled, None, "no quota holds it up");
}

#[tokio::test]
async fn a_task_runs_on_the_processors_it_asked_for_or_not_at_all() {
    let bench = Bench::new();
    let strict = LinuxExecutor::new(bench.config()).unwrap();
    if !all_permitted(&strict) {
        return;
    }
    let show = ["sh", "-c", "grep Cpus_allowed_list /proc/self/status; exec sleep 1000"];
    let spec = |run_id, set: &str| TaskSpec { cpuset: Some(set.parse().unwrap()), ..bench.spec(run_id, &show) };
    let refused = strict.start(spec("absent", "0,8000")).await.unwrap_err();
    let StartError::NotIsolated(gaps) = &refused else { panic!("{refused}") };
    assert!(gaps.len() == 1 && gaps[0].starts_with("cpuset: "), "{gaps:?}");
    assert!(!bench.root.join("absent").exists());
    let regardless = bench.executor().start(spec("regardless", "0,8000")).await.unwrap();
    assert_eq!(&regardless.not_isolated, gaps);
    if gaps[0].contains("cannot be used here") {
        return eprintln!("SKIPPED: this kernel has no cpuset");
    }
    assert!(gaps[0].contains("this machine has 0"), "{gaps:?}");
    let started = strict.start(spec("first", "0")).await.unwrap();
    assert_eq!(started.not_isolated, Vec::<String>::new());
    let said = || fs::read_to_string(strict.log_path("first", Stream::Stdout)).unwrap();
    until("it has shown them", || said().ends_with('\n')).await;
    assert_eq!(said(), "Cpus_allowed_list:\t0\n");
}

/// A disk of this test's own; gone with it.
struct Disk {
    device: PathBuf,
    scheduler: PathBuf,
    before: String,
}

impl Disk {
    fn with_scheduler(image: &Path, scheduler: &str) -> Result<Self, String> {
        fs::File::create(image).unwrap().set_len(16 << 20).unwrap();
        let made = Command::new("losetup").args(["--find", "--show"]).arg(image).output();
        let made = made.map_err(|e| format!("losetup: {e}"))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned());
        }
        let device = PathBuf::from(String::from_utf8_lossy(&made.stdout).trim());
        let name = device.file_name().unwrap().to_str().unwrap();
        let file = PathBuf::from(format!("/sys/block/{name}/queue/scheduler"));
        let is = fs::read_to_string(&file).unwrap();
        let before = is.split(['[', ']']).nth(1).unwrap_or("none").to_owned();
        let disk = Self { device, scheduler: file, before };
        fs::write(&disk.scheduler, scheduler).map_err(|e| format!("{scheduler}: {e}"))?;
        Ok(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::write(&self.scheduler, &self.before); // it stays with the device, which others get after this
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

#[tokio::test]
async fn a_share_of_the_disks_is_refused_where_no_disk_heeds_it_and_set_where_one_does() {
    let bench = Bench::new();
    let strict = LinuxExecutor::new(bench.config()).unwrap();
    if !all_permitted(&strict) {
        return;
    }
    let spec = |run_id| TaskSpec { io_weight: Some(50), ..bench.spec(run_id, &FOR_EVER) };
    let is_bfq = |disk: &Path| {
        let says = |name: &str| fs::read_to_string(disk.join(name)).unwrap_or_default();
        says("queue/scheduler").contains("[bfq]") && says("size").trim() != "0"
    };
    let one_heeds = fs::read_dir("/sys/block").unwrap().flatten().any(|disk| is_bfq(&disk.path()));
    if !one_heeds {
        let refused = strict.start(spec("unheeded")).await.unwrap_err();
        assert!(refused.to_string().contains("io: the weight of 50 is not in force: no disk"), "{refused}");
    }
    let temporary = tempfile::tempdir().unwrap();
    let disk = match Disk::with_scheduler(&temporary.path().join("disk"), "bfq") {
        Ok(disk) => disk,
        Err(why) => return eprintln!("SKIPPED: no disk with the scheduler bfq can be made: {why}"),
    };
    assert_eq!(strict.start(spec("heeded")).await.unwrap().not_isolated, Vec::<String>::new());
    let weight = bench.limit(&strict, "heeded", "blkio", ["blkio.bfq.weight", "io.bfq.weight"]);
    assert_eq!(weight.trim_start_matches("default "), "50");
    drop(disk);
}

#[tokio::test]
async fn over_the_memory_limit_the_whole_task_goes_and_the_counter_says_why() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    // The main process itself; a child whose parent would go on; and a kill that has nothing to do with memory.
    let child = "tail /dev/zero; echo $? > survived; sleep 1000";
    executor.start(bench.spec("main", &["tail", "/dev/zero"])).await.unwrap();
    executor.start(bench.spec("child", &["sh", "-c", child])).await.unwrap();
    let killed = executor.start(bench.spec("killed", &FOR_EVER)).await.unwrap();
    kill_9(killed.pid);
    assert_eq!(executor.wait("killed").await, Exit::Signal(9));
    assert_eq!(executor.end_words("killed").await, None);
    for run_id in ["main", "child"] {
        assert_eq!(executor.wait(run_id).await, Exit::OutOfMemory);
        assert_eq!(executor.end_words(run_id).await.as_deref(), Some("its limit of 64 MiB was reached"));
        let kept = bench.record(run_id, "exit.json");
        assert_eq!((&kept["exhausted"], &kept["memory_max"]), (&"limit".into(), &(64 << 20).into()));
    }
}

#[tokio::test]
async fn a_task_that_dies_for_want_of_memory_elsewhere_is_not_blamed() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    // All tasks of this node together may have less than the one is allowed: as if the machine were full.
    let above = bench.group(&executor, "memory", "r1").unwrap().parent().unwrap().to_owned();
    let limit = ["memory.max", "memory.limit_in_bytes"].map(|name| above.join(name));
    fs::write(limit.iter().find(|file| file.exists()).unwrap(), (48 << 20).to_string()).unwrap();
    executor.start(bench.spec("r1", &["tail", "/dev/zero"])).await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::OutOfMemory);
    let words = executor.end_words("r1").await;
    let wanted = "the machine had no memory left; its own limit of 64 MiB was not reached";
    assert_eq!(words.as_deref(), Some(wanted));
}

#[tokio::test]
async fn at_the_pids_limit_a_fork_is_refused_and_the_failure_says_so() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    let forks = "i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); echo $i > count; done";
    executor.start(TaskSpec { pids_max: 8, ..bench.spec("r1", &["sh", "-c", forks]) }).await.unwrap();
    let exit = executor.wait("r1").await;
    assert!(matches!(exit, Exit::Code(code) if code != 0), "{exit}");
    let said = fs::read_to_string(executor.log_path("r1", Stream::Stderr)).unwrap();
    assert!(said.to_lowercase().contains("fork"), "{said}");
    assert!(number(&bench.work("r1").join("count")).unwrap() <= 7);
    let words = executor.end_words("r1").await.unwrap_or_default();
    assert!(words.ends_with("it could start no process, having the 8 that it may have"), "{words}");
    // One that copes with it has not failed.
    let copes = format!("({forks}) 2> /dev/null; exit 0");
    executor.start(TaskSpec { pids_max: 8, ..bench.spec("r2", &["sh", "-c", &copes]) }).await.unwrap();
    assert_eq!((executor.wait("r2").await, executor.end_words("r2").await), (Exit::Code(0), None));
}

#[tokio::test]
async fn a_fork_bomb_is_bounded_and_its_neighbour_goes_on() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    // Each turn starts a process; the longest turn is told.
    let neighbour = "import subprocess, time\nworst = 0\nfor turn in range(60):\n t = time.monotonic()\n \
                     subprocess.run(['true'])\n worst = max(worst, time.monotonic() - t)\nprint(worst, flush=True)\n";
    let bomb = "import os\nwhile True:\n try: os.fork()\n except OSError: pass\n";
    let mut missed = vec![];
    for turn in 1..=TURNS {
        let (bomber, beside) = (format!("bomb-{turn}"), format!("neighbour-{turn}"));
        executor.start(TaskSpec { cpus_milli: 100, ..bench.spec(&bomber, &["python3", "-c", bomb]) }).await.unwrap();
        let refused = async || executor.usage(&bomber).await.unwrap().forks_refused.unwrap_or_default();
        until_usage(async || refused().await > 100).await;
        executor.start(bench.spec(&beside, &["python3", "-c", neighbour])).await.unwrap();
        assert_eq!(executor.wait(&beside).await, Exit::Code(0));
        let worst: f64 =
            fs::read_to_string(executor.log_path(&beside, Stream::Stdout)).unwrap().trim().parse().unwrap();
        let usage = executor.usage(&bomber).await.unwrap();
        assert!(usage.pids <= Some(50) && usage.pids_max == Some(50), "{usage:?}");
        let begin = Instant::now();
        executor.kill(&bomber).await.unwrap();
        let took = begin.elapsed();
        let most = guest::allowed(Duration::from_secs(2)).as_secs_f64();
        if worst < most && took < guest::allowed(Duration::from_secs(5)) {
            return;
        }
        missed.push(format!("{worst} s for one process beside the bomb, {took:?} to end the bomb"));
    }
    panic!("{missed:?}");
}

#[tokio::test]
async fn a_hundred_daemons_that_forked_twice_are_gone_within_a_second() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    let script = "i=0; while [ $i -lt 100 ]; do (setsid sleep 1000 &); i=$((i+1)); done; exec sleep 1000";
    let mut missed = vec![];
    for turn in 1..=TURNS {
        let run = format!("r{turn}");
        executor.start(TaskSpec { pids_max: 400, ..bench.spec(&run, &["sh", "-c", script]) }).await.unwrap();
        let count = async || executor.usage(&run).await.unwrap().pids.unwrap_or_default();
        until_usage(async || count().await == 101).await;
        let procs = bench.group(&executor, "pids", &run).unwrap().join("cgroup.procs");
        let pids =
            || -> Vec<u32> { fs::read_to_string(&procs).unwrap().lines().map(|pid| pid.parse().unwrap()).collect() };
        until("none is but half there", || pids().len() == 101).await;
        let pids = pids();
        let begin = Instant::now();
        executor.kill(&run).await.unwrap();
        let took = begin.elapsed();
        let left: Vec<u32> = pids.into_iter().filter(|pid| lives(*pid)).collect();
        assert_eq!(left, Vec::<u32>::new());
        if took < guest::allowed(Duration::from_secs(1)) {
            return;
        }
        missed.push(took);
    }
    panic!("{missed:?}");
}

#[tokio::test]
async fn what_somebody_has_left_frozen_can_be_killed() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    executor.start(bench.spec("r1", &["sh", "-c", "sleep 1000 & exec sleep 1000"])).await.unwrap();
    let run = bench.root.join("r1");
    assert!(harm::can_freeze(&run));
    harm::freeze(&run).unwrap();
    // A kill that does not thaw gives up after ten seconds, or never ends.
    let limit = Duration::from_secs(8);
    let begin = Instant::now();
    executor.kill("r1").await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Signal(9));
    assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());

    // The same with its shim dead, when an agent has to end it.
    executor.start(bench.spec("r2", &["sh", "-c", "sleep 1000 & exec sleep 1000"])).await.unwrap();
    harm::freeze(&bench.root.join("r2")).unwrap();
    let begin = Instant::now();
    kill_9(bench.shim_pid("r2"));
    assert_eq!(executor.wait("r2").await, Exit::Lost);
    executor.forget("r2").await.unwrap();
    assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_shim_that_waits_for_its_group_to_empty_sleeps_and_hears_of_it() {
    let bench = Bench::new();
    let executor = bench.executor();
    let (Cgroups::Hybrid(_), Some(unified)) = (&executor.permitted().cgroups, unified()) else {
        return eprintln!("SKIPPED: only a freezer beside the group can hold a killed process here");
    };
    executor.start(bench.spec("r1", &["sh", "-c", "while [ ! -e go ]; do sleep 0.02; done"])).await.unwrap();
    // A process of the task that does not die while it is frozen in a group that is not the task's.
    let frozen = bench.group(&executor, "freezer", "frozen").unwrap();
    fs::create_dir(&frozen).unwrap();
    let mut stays = Stray(Command::new("sleep").arg("1000").process_group(0).spawn().unwrap());
    fs::write(frozen.join("cgroup.procs"), stays.0.id().to_string()).unwrap();
    fs::write(unified.join(format!("taffeta/{}/r1/cgroup.procs", bench.node_id)), stays.0.id().to_string()).unwrap();
    fs::write(frozen.join("freezer.state"), "FROZEN").unwrap();
    let thaw = Thaw(frozen.join("freezer.state"));

    let shim = bench.shim_pid("r1");
    fs::write(bench.work("r1").join("go"), "").unwrap();
    let main = bench.record("r1", "state.json")["task"]["pid"].as_u64().unwrap();
    until("the main process is gone", || !fs::exists(format!("/proc/{main}")).unwrap()).await;
    let turns = || {
        let status = fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
        let count = |line: &str| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok();
        status.lines().find_map(count).unwrap()
    };
    // Other things may wake it in one window or another; one that looks again and again wakes in each.
    let mut windows: Vec<u64> = vec![];
    while windows.last().is_none_or(|turned| *turned > 4) {
        assert!(windows.len() < 5, "{windows:?} turns of a shim that has nothing to do");
        let (before, begin) = (turns(), Instant::now());
        until("time has passed", || begin.elapsed() > Duration::from_millis(400)).await;
        windows.push(turns() - before);
    }
    assert!(!bench.root.join("r1/exit.json").exists());
    drop(thaw);
    assert_eq!(executor.wait("r1").await, Exit::Code(0));
    until("it was killed with the task", || stays.0.try_wait().unwrap().is_some()).await;
}

struct Thaw(PathBuf);

impl Drop for Thaw {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, "THAWED");
    }
}

/// A process that ends with its test.
struct Stray(Child);

impl Drop for Stray {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn what_is_counted_is_told() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    let spins = "head -c 20000000 /dev/zero | tail -c 1 > /dev/null; dd if=/dev/zero of=f bs=64k count=16 oflag=direct \
                 2> /dev/null; sync f; : > done; while :; do :; done & while :; do :; done & while :; do :; done";
    executor.start(bench.spec("r1", &["sh", "-c", spins])).await.unwrap();
    until("it has used something", || bench.work("r1").join("done").exists()).await;
    let busy = |usage: Usage| usage.cpu > Duration::from_millis(100) && usage.pids == Some(3);
    until_usage(async || busy(executor.usage("r1").await.unwrap())).await;
    let usage = executor.usage("r1").await.unwrap();
    let Usage { memory, memory_peak, memory_max, pids, pids_max, forks_refused, oom_kills, disks, .. } = usage;
    assert!((1..64 << 20).contains(&memory), "{usage:?}");
    let no_peak = guest::is_guest() && memory_peak.is_none();
    assert!(no_peak || memory_peak.is_some_and(|peak| (memory..=64 << 20).contains(&peak)), "{usage:?}");
    assert_eq!((memory_max, pids, pids_max), (Some(64 << 20), Some(3), Some(50)));
    assert_eq!((forks_refused, oom_kills), (Some(0), Some(0)));
    match disks {
        // On a tmpfs nothing is written to a disk.
        Some(disks) if disks.written == 0 => eprintln!("SKIPPED: this folder lies on no disk that is counted"),
        Some(disks) => assert!(disks.written >= 1 << 20, "{usage:?}"),
        None => panic!("{usage:?}"),
    }
    if !fs::exists("/proc/pressure").unwrap() || matches!(executor.permitted().cgroups, Cgroups::V1(_)) {
        assert_eq!(usage.pressures, None);
        return eprintln!("SKIPPED: this kernel does not count pressure, or not by group");
    }
    // Three that want the whole of two processors, or of fewer.
    until_usage(async || executor.usage("r1").await.unwrap().pressures.unwrap().cpu.some.total > Duration::ZERO).await;
}

#[tokio::test]
async fn a_group_without_a_run_is_swept_from_every_hierarchy_with_what_is_in_it() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    let mut strays = vec![];
    for controller in ["cpu", "cpuacct", "memory", "pids", "freezer", "blkio", "unified"] {
        let Some(group) = bench.group(&executor, controller, &format!("stray-{controller}")) else { continue };
        fs::create_dir(&group).unwrap();
        let stray = Stray(Command::new("sleep").arg("1000").process_group(0).spawn().unwrap());
        fs::write(group.join("cgroup.procs"), stray.0.id().to_string()).unwrap();
        strays.push((group, stray));
    }
    assert!(strays.len() > 1);
    executor.start(bench.spec("kept", &FOR_EVER)).await.unwrap();
    executor.recover().await;
    for (group, stray) in &mut strays {
        until("it is dead", || stray.0.try_wait().unwrap().is_some()).await;
        assert!(!group.exists(), "{}", group.display());
    }
    assert!(executor.usage("kept").await.is_some_and(|usage| usage.memory > 0), "what has a run stays");
}

#[tokio::test]
async fn a_task_that_makes_groups_of_its_own_is_killed_and_removed_with_them() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    // Also in one hierarchy alone, out of those that kill and count.
    for controller in ["unified", "freezer", "pids"] {
        let Some(group) = bench.group(&executor, controller, controller) else { continue };
        executor.start(bench.spec(controller, &FOR_EVER)).await.unwrap();
        let inner = group.join("inner");
        fs::create_dir(&inner).unwrap();
        let mut child = Stray(Command::new("sleep").arg("1000").process_group(0).spawn().unwrap());
        fs::write(inner.join("cgroup.procs"), child.0.id().to_string()).unwrap();
        executor.kill(controller).await.unwrap();
        until("it was killed with the task", || child.0.try_wait().unwrap().is_some()).await;
        executor.forget(controller).await.unwrap();
        assert!(!inner.exists());
    }
}

#[tokio::test]
async fn tidy_removes_the_nodes_groups_but_none_with_a_task() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    executor.start(bench.spec("r1", &FOR_EVER)).await.unwrap();
    executor.tidy().await;
    let group = bench.group(&executor, "memory", "r1").unwrap();
    assert!(group.exists());
    executor.kill("r1").await.unwrap();
    executor.forget("r1").await.unwrap();
    executor.tidy().await;
    for controller in ["cpu", "memory", "cpuset", "blkio", "unified"] {
        let node = bench.group(&executor, controller, "r1").and_then(|group| Some(group.parent()?.to_owned()));
        assert!(node.is_none_or(|node| !node.exists()), "{controller}");
    }
}

/// Waits until what is counted is so.
async fn until_usage(is: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    while !is().await {
        assert!(begin.elapsed() < guest::allowed(support::PATIENCE), "it never came about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs the test below as an ordinary user.
#[test]
fn without_root_the_gaps_are_named_and_best_effort_runs() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root to become an ordinary user");
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(temporary.path(), Some(65534), Some(65534)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "as_an_ordinary_user", "--ignored", "--nocapture"]);
    let output = match command.env("TAFFETA_TEST_ROOT", temporary.path()).output() {
        Ok(output) => output,
        Err(e) => return eprintln!("SKIPPED: setpriv: {e}"),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "run by without_root_the_gaps_are_named_and_best_effort_runs"]
async fn as_an_ordinary_user() {
    let root = std::env::var_os("TAFFETA_TEST_ROOT").expect("the folder to use");
    let bench = Bench::at(PathBuf::from(root).join("tasks"));
    let strict = LinuxExecutor::new(bench.config()).unwrap();
    let Err(StartError::NotIsolated(gaps)) = strict.start(bench.spec("r1", &["true"])).await else { panic!() };
    let all = gaps.join("\n");
    assert!(["cpu", "memory", "pids", "not root"].iter().all(|word| all.contains(word)), "{all}");
    assert!(!bench.root.join("r1").exists());

    let executor = LinuxExecutor::new(LinuxConfig { best_effort: true, ..bench.config() }).unwrap();
    // A daemon that forked twice, once with its shim alive and once without.
    let daemon = "(setsid sh -c 'echo $$ > daemon; sleep 1000' &); sleep 1000";
    for run_id in ["killed", "lost"] {
        let started = executor.start(bench.spec(run_id, &["sh", "-c", daemon])).await.unwrap();
        assert_eq!(started.not_isolated, gaps);
        let daemon = || process(&bench.work(run_id).join("daemon"));
        until("the daemon runs", || daemon().is_some()).await;
        let daemon = daemon().unwrap();
        if run_id == "killed" {
            executor.kill(run_id).await.unwrap();
            assert_eq!(executor.wait(run_id).await, Exit::Signal(9));
        } else {
            kill_9(bench.shim_pid(run_id));
            assert_eq!(executor.wait(run_id).await, Exit::Lost);
        }
        assert!(!lives(started.pid) && !lives(daemon), "{run_id}");
        executor.forget(run_id).await.unwrap();
        assert!(!bench.root.join(run_id).exists());
    }

    // Who is not root has to allow itself again what a task has forbidden, to remove it.
    let forbids = "mkdir -p a/b/c/d closed; : > a/b/file; chmod 0 a/b/c closed; chmod 500 a/b; chmod 0 a; chmod 400 .";
    executor.start(bench.spec("forbids", &["sh", "-c", forbids])).await.unwrap();
    assert_eq!(executor.wait("forbids").await, Exit::Code(0));
    executor.forget("forbids").await.unwrap();
    assert!(!bench.root.join("forbids").exists());
}
