//! How a run that is set apart ends, what is beside it, and what is left of it and found again.
//!
//! Left out: the life of a run in general, which is `life`'s.

use super::{
    ended, executor, script,
    support::{self, Bench, kill_9, lives, processes, until},
};
use std::fs;
use taffeta_isolation_plan::{Executor, FoundState};
use taffeta_model::Exit;

#[tokio::test]
async fn exit_codes_and_signals_are_told_as_they_were() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    for (run_id, end, exit) in [
        ("zero", "exit 0", Exit::Code(0)),
        ("code", "exit 42", Exit::Code(42)),
        ("like-a-signal", "exit 137", Exit::Code(137)),
        ("kill", "kill -KILL $$", Exit::Signal(9)),
        ("segv", "kill -SEGV $$", Exit::Signal(11)),
        ("term", "kill -TERM $$", Exit::Signal(15)),
        ("realtime", "kill -40 $$", Exit::Signal(40)),
    ] {
        assert_eq!(ended(&executor, script(&bench, run_id, end)).await.0, exit, "{run_id}");
    }
}

#[tokio::test]
async fn a_task_that_ignores_sigterm_is_killed() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let pid = executor
        .start(script(&bench, "r1", "trap '' TERM; : > ready; while :; do sleep 0.05; done"))
        .await
        .unwrap()
        .pid;
    until("it is deaf", || bench.work("r1").join("ready").exists()).await;
    executor.signal("r1", 15).await.unwrap();
    assert!(lives(pid));
    executor.kill("r1").await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Signal(9));
    assert!(!lives(pid));
}

#[tokio::test]
async fn what_a_task_leaves_behind_is_reaped_and_dies_with_it() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let mark = format!("1000.{}", std::process::id());
    let orphans = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10; do (setsid sh -c 'exit 1' &); done; (env -i setsid sleep {mark} &); \
         for i in 1 2 3 4 5 6 7 8 9 10; do grep -l '^State:.Z' /proc/[0-9]*/status > zombies 2>/dev/null; [ -s zombies ] || break; sleep 0.1; done; \
         wc -l < zombies; echo done"
    );
    // Without cgroups nothing but the namespace finds a process that has hidden what it was started by.
    let (exit, said) = ended(&executor, script(&bench, "r1", &orphans)).await;
    assert_eq!((exit, said.as_str()), (Exit::Code(0), "0\ndone\n"));
    assert_eq!(processes(&mark), 0);

    let stays = format!("(env -i setsid sleep {mark} &); : > ready; exec sleep 1000");
    executor.start(script(&bench, "r2", &stays)).await.unwrap();
    until("both run", || bench.work("r2").join("ready").exists() && processes(&mark) == 1).await;
    kill_9(bench.shim_pid("r2"));
    until("all died with the shim, without any agent", || processes(&mark) == 0).await;
    assert_eq!(executor.wait("r2").await, Exit::Lost);
}

#[tokio::test]
async fn a_command_beside_the_task_is_inside_with_it() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    executor
        .start(script(&bench, "r1", "echo here > /tmp/file; echo $$ > main; : > ready; exec sleep 1000"))
        .await
        .unwrap();
    until("it runs", || bench.work("r1").join("ready").exists()).await;
    let check = async |script: &str| {
        let run = ["sh", "-c", script].map(str::to_owned);
        executor.run_check("r1", &run, support::PATIENCE).await
    };
    assert!(check("grep -q here /tmp/file && [ $(cat /proc/1/comm) = taffeta-init ] && kill -0 $(cat main)").await);
    assert!(check("[ $PWD = $HOME ] && [ $GREETING = hello ]").await);
    assert!(!check("kill -9 $$").await && !check("exit 1").await && check("exit 0").await);
    assert!(!check("mount -t tmpfs none /mnt").await && !check("echo > /etc/x").await);
    let groups = "for g in memory pids freezer; do grep -q \"$g:/taffeta/.*/r1\" /proc/self/cgroup || exit 1; done";
    if bench.group(&executor, "memory", "r1").is_some_and(|group| group.starts_with("/sys/fs/cgroup/memory")) {
        assert!(check(groups).await);
    }
}

#[tokio::test]
async fn nothing_is_mounted_on_the_machine_and_nothing_is_left() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let before = fs::read_to_string("/proc/self/mounts").unwrap();
    executor.start(bench.spec("r1", &["sleep", "1000"])).await.unwrap();
    assert_eq!(fs::read_to_string("/proc/self/mounts").unwrap(), before);
    let init = u32::try_from(bench.record("r1", "state.json")["init"]["pid"].as_u64().unwrap()).unwrap();
    executor.kill("r1").await.unwrap();
    until("init has gone", || !lives(init)).await;
    executor.forget("r1").await.unwrap();
    assert_eq!(fs::read_dir(&bench.root).unwrap().count(), 0);
}

#[tokio::test]
async fn shim_and_init_are_small_together() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    executor.start(bench.spec("r1", &["sleep", "1000"])).await.unwrap();
    let init = bench.record("r1", "state.json")["init"]["pid"].as_u64().unwrap();
    let own = |pid: u64| {
        let maps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let size = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
        // Each gets its share of what both have: the sum counts it once.
        maps.lines().filter(|line| line.starts_with("Pss_Anon:")).filter_map(size).sum::<u64>()
    };
    let together = own(init) + own(bench.shim_pid("r1").into());
    assert!(together > 0 && together <= 1024, "{together} KiB of their own");
}

#[tokio::test]
async fn a_run_whose_spec_cannot_be_read_is_left_alone() {
    let bench = Bench::new();
    let agent = bench.executor();
    let pid = agent.start(bench.spec("r1", &["sleep", "1000"])).await.unwrap().pid;
    let path = bench.root.join("r1/spec.json");
    let spec = fs::read(&path).unwrap();
    fs::write(&path, "{\"of\": \"another release\"}").unwrap();
    assert!(bench.executor().recover().await.is_empty() && lives(pid));
    fs::remove_file(&path).unwrap();
    assert!(bench.executor().recover().await.is_empty() && lives(pid), "its shim lives");
    fs::write(&path, spec).unwrap();
    let found = bench.executor().recover().await;
    assert!(matches!(found[0].state, FoundState::Running { pid: again, .. } if again == pid), "{found:?}");
}

#[tokio::test]
async fn what_a_power_cut_tore_never_ran_and_what_ended_before_is_known() {
    let bench = Bench::new();
    let executor = bench.executor();
    for run_id in ["state", "launch", "spec", "ended", "draft", "half"] {
        executor.start(bench.spec(run_id, &["sh", "-c", "exit 5"])).await.unwrap();
        assert_eq!(executor.wait(run_id).await, Exit::Code(5));
    }
    let other_boot = |run_id: &str| {
        let folder = bench.root.join(run_id);
        // What is synced under this name is known, and its own name is not synced.
        fs::rename(folder.join("exit.json"), folder.join(".exit.json.new")).unwrap();
        let mut state = bench.record(run_id, "state.json");
        state["boot_id"] = "another".into();
        fs::write(folder.join("state.json"), state.to_string()).unwrap();
    };
    ["state", "launch", "spec", "draft", "half"].into_iter().for_each(other_boot);
    ["state", "launch", "spec"].iter().for_each(|run_id| {
        fs::remove_file(bench.root.join(run_id).join(".exit.json.new")).unwrap();
    });
    let tear = |path: &str, length: usize| {
        let path = bench.root.join(path);
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..length]).unwrap();
    };
    tear("state/state.json", 0);
    tear("launch/state.json", 20);
    tear("launch/launch.json", 7);
    fs::write(bench.root.join("spec/spec.json"), vec![0; 300]).unwrap(); // blocks that were never written
    tear("half/.exit.json.new", 20);
    tear("ended/spec.json", 0);
    tear("ended/state.json", 3);
    let found = bench.executor().recover().await;
    let [draft, ended, half] = found.as_slice() else { panic!("{found:?}") };
    for found in [draft, ended] {
        assert_eq!(found.spec.task, "test/task.1");
        assert!(matches!(found.state, FoundState::Exited { exit: Exit::Code(5), .. }), "{found:?}");
    }
    assert_eq!([&*draft.run_id, &*ended.run_id, &*half.run_id], ["draft", "ended", "half"]);
    assert_eq!(half.state, FoundState::Lost);
    assert_eq!(fs::read_dir(&bench.root).unwrap().count(), 3, "what never ran is gone");
}
