//! The end of a lease, with real processes: the shim keeps to it alone.

mod support;

use std::{
    fs,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use support::{Bench, kill_9, lives, process, until};
use taffeta_isolation_plan::{Executor, Found, FoundState, StartError, TaskSpec};
use taffeta_model::{BootMillis, Exit};

/// A task that does not end for SIGTERM, and notes that it came; it has a child of its own.
const STUBBORN: &str = "echo $$ > main; trap 'echo told >> told' TERM; sh -c 'echo $$ > child; trap \"\" TERM; while :; do sleep 0.05; done' & \
                        while :; do sleep 0.05; done";

fn leased(bench: &Bench, executor: &dyn Executor, run: &[&str], ms: u64, grace_ms: u64) -> TaskSpec {
    let lease = Some(executor.boot_time() + Duration::from_millis(ms));
    TaskSpec { lease, grace: Duration::from_millis(grace_ms), ..bench.spec("r1", run) }
}

/// The date of a moment to come, in milliseconds since 1970.
fn date_of(executor: &dyn Executor, moment: BootMillis) -> u64 {
    let left = moment.left(executor.boot_time());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + left;
    u64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn a_task_is_told_at_its_grace_before_the_end_and_gone_at_the_end_with_its_children() {
    let bench = Bench::new();
    let executor = bench.executor();
    let spec = leased(&bench, &executor, &["sh", "-c", STUBBORN], 6_000, 1_000);
    let end = spec.lease.unwrap();
    let end_at = date_of(&executor, end);
    executor.start(spec).await.unwrap();
    let work = bench.work("r1");
    until("both are there", || process(&work.join("child")).is_some() && process(&work.join("main")).is_some()).await;
    let (main, child) = (process(&work.join("main")).unwrap(), process(&work.join("child")).unwrap());
    // Looked at first: what is there by then was told before this moment.
    let told = work.join("told").exists();
    let left = end.left(executor.boot_time());
    assert!(!told || left <= Duration::from_millis(1_000), "not before its time: {left:?}");
    until("it is told to end", || work.join("told").exists()).await;
    let left = end.left(executor.boot_time());
    assert!(left <= Duration::from_millis(1_000), "{left:?}");
    let live = lives(main) && lives(child);
    assert!(live || executor.boot_time() >= end, "not before the end");
    assert_eq!(executor.wait("r1").await, Exit::LeaseEnded);
    assert!(!lives(main) && !lives(child));
    assert!(executor.boot_time() >= end, "not before the end");
    // By the shim's own note: this test may be told late.
    let late = bench.record("r1", "exit.json")["at"].as_u64().unwrap().saturating_sub(end_at);
    assert!(late < 1_000, "{late} ms");
}

#[tokio::test]
async fn whoever_ends_when_told_ended_for_its_lease_whatever_its_status() {
    let bench = Bench::new();
    let executor = bench.executor();
    let polite = "trap 'exit 0' TERM; while :; do sleep 0.02; done";
    executor.start(leased(&bench, &executor, &["sh", "-c", polite], 5_000, 1_000)).await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::LeaseEnded);
    assert_eq!(bench.record("r1", "exit.json")["lost"], true, "as older agents understand it");
    let found = executor.recover().await;
    let [Found { state: FoundState::Exited { exit: Exit::LeaseEnded, .. }, .. }] = found.as_slice() else {
        panic!("{found:?}")
    };
}

#[tokio::test]
async fn an_extension_lets_it_run_on_and_an_earlier_end_changes_nothing() {
    let bench = Bench::new();
    let executor = bench.executor();
    let spec = leased(&bench, &executor, &["sleep", "1000"], 5_000, 200);
    let first = spec.lease.unwrap();
    executor.start(spec).await.unwrap();
    while executor.boot_time() < first + Duration::from_millis(500) {
        let end = executor.boot_time() + Duration::from_secs(5);
        executor.extend("r1", end).await.unwrap();
        executor.extend("r1", BootMillis(1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(executor.signal("r1", 0).await.is_err(), "no such signal, but a run");
    assert!(matches!(executor.recover().await[0].state, FoundState::Running { .. }));
    assert_eq!(executor.wait("r1").await, Exit::LeaseEnded, "without a further one it ends");
}

#[tokio::test]
async fn it_ends_while_no_agent_lives_and_with_its_shim() {
    let bench = Bench::new();
    let executor = bench.executor();
    executor
        .start(leased(&bench, &executor, &["sh", "-c", "echo $$ > main; exec sleep 1000"], 6_000, 200))
        .await
        .unwrap();
    drop(executor); // nobody is connected to the shim any more
    let file = bench.work("r1").join("main");
    until("it is there", || process(&file).is_some()).await;
    let main = process(&file).unwrap();
    until("its lease has ended it", || !lives(main)).await;
    let executor = bench.executor();
    assert_eq!(executor.wait("r1").await, Exit::LeaseEnded);
    executor.forget("r1").await.unwrap();
    executor
        .start(leased(&bench, &executor, &["sh", "-c", "echo $$ > main; exec sleep 1000"], 60_000, 200))
        .await
        .unwrap();
    until("it is there again", || process(&file).is_some()).await;
    let main = process(&file).unwrap();
    kill_9(bench.shim_pid("r1"));
    until("it has died with its shim", || !lives(main)).await;
}

#[tokio::test]
async fn what_has_no_lease_cannot_be_extended_and_what_has_none_left_is_not_started() {
    let bench = Bench::new();
    let executor = bench.executor();
    executor.start(bench.spec("plain", &["sleep", "1000"])).await.unwrap();
    let later = executor.boot_time() + Duration::from_secs(10);
    assert!(executor.extend("plain", later).await.unwrap_err().to_string().contains("has no lease"));
    assert!(executor.extend("absent", later).await.is_err());
    let late = leased(&bench, &executor, &["touch", "ran"], 900, 1_000);
    let refused = executor.start(late).await;
    assert!(matches!(&refused, Err(StartError::Failed(why)) if why.contains("its lease has ended")), "{refused:?}");
    assert!(!bench.work("r1").join("ran").exists());
}

#[tokio::test]
async fn a_stopped_shim_cannot_be_helped_and_kills_at_once_when_it_goes_on() {
    let bench = Bench::new();
    let executor = bench.executor();
    let spec = leased(&bench, &executor, &["sh", "-c", "echo $$ > main; exec sleep 1000"], 5_000, 100);
    let end = spec.lease.unwrap();
    executor.start(spec).await.unwrap();
    let file = bench.work("r1").join("main");
    until("it is there", || process(&file).is_some()).await;
    let main = process(&file).unwrap();
    let shim = bench.shim_pid("r1").to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &shim]).status().unwrap().success());
    signal("-STOP");
    until("its lease has passed", || executor.boot_time() >= end + Duration::from_millis(500)).await;
    assert!(lives(main), "this is what TAFFETA_FENCE is for");
    signal("-CONT");
    until("it is killed", || !lives(main)).await;
    assert!(
        fs::read_to_string(bench.root.join("r1/exit.json")).is_ok() || executor.wait("r1").await == Exit::LeaseEnded
    );
}
