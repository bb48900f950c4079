//! Limits that are in force, and what happens at them. Skipped, with the reason, where no cgroup can be made.

mod support;

use std::{fs, os::unix::process::CommandExt, process::Command};
use support::{Bench, all_permitted, kill_9, number, process, until};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{Executor, StartError, Stream, TaskSpec};
use taffeta_model::Exit;

const FOR_EVER: [&str; 2] = ["sleep", "1000"];

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
    for controller in ["cpu", "memory", "pids", "freezer"] {
        let procs = limit("plain", controller, ["cgroup.procs", "cgroup.procs"]);
        assert_eq!(procs, started.pid.to_string(), "the task, and not its shim, is in its {controller} group");
    }
    executor.start(TaskSpec { cpu_quota: true, ..bench.spec("quota", &FOR_EVER) }).await.unwrap();
    let quota = limit("quota", "cpu", ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["25000", "25000 100000"].contains(&quota.as_str()), "{quota}");
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
    assert_eq!(executor.wait("main").await, Exit::OutOfMemory);
    assert_eq!(executor.wait("child").await, Exit::OutOfMemory);
}

#[tokio::test]
async fn at_the_pids_limit_a_fork_is_refused() {
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
}

#[tokio::test]
async fn a_group_without_a_run_is_swept_with_what_is_in_it() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    let group = bench.group(&executor, "freezer", "stray").unwrap();
    fs::create_dir(&group).unwrap();
    let mut stray = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
    fs::write(group.join("cgroup.procs"), stray.id().to_string()).unwrap();
    executor.recover().await;
    until("it is dead", || stray.try_wait().unwrap().is_some()).await;
    assert!(!group.exists());
}

#[tokio::test]
async fn a_task_that_makes_groups_of_its_own_is_killed_and_removed_with_them() {
    let bench = Bench::new();
    let executor = bench.executor();
    if !all_permitted(&executor) {
        return;
    }
    executor.start(bench.spec("r1", &FOR_EVER)).await.unwrap();
    let inner = bench.group(&executor, "freezer", "r1").unwrap().join("inner");
    fs::create_dir(&inner).unwrap();
    let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
    fs::write(inner.join("cgroup.procs"), child.id().to_string()).unwrap();
    executor.kill("r1").await.unwrap();
    assert!(child.try_wait().unwrap().is_some(), "killed with the task");
    executor.forget("r1").await.unwrap();
    assert!(!inner.exists());
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
    assert!(!group.parent().unwrap().exists());
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
    let bench = Bench::at(std::path::PathBuf::from(root).join("tasks"));
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
        assert!(!support::lives(started.pid) && !support::lives(daemon), "{run_id}");
        executor.forget(run_id).await.unwrap();
        assert!(!bench.root.join(run_id).exists());
    }
}
