//! An exclusive task never runs twice at once, seen by what it writes: with real processes, agents that are stopped and
//! killed, updates and drains. A partition is the simulator's.

mod support;

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use support::{alone, binary};
use taffeta_harness::{Cluster, within};

/// How long a decision may take until it is seen where no lease is waited for: shorter than any lease.
const QUICK: Duration = Duration::from_secs(10);
/// The longest lease below with a tenth more, the ring's verdict, the start and a busy machine.
const AFTER_LEASE: Duration = Duration::from_secs(45);

/// The lease of the task below: 8 s and 2 s and its grace in seconds.
fn lease(grace: u64) -> Duration {
    Duration::from_secs(10 + grace)
}

/// The task appends a line about every 50 ms, to a file that all machines share, and does not end for SIGTERM.
fn app(cluster: &Cluster, version: u32, grace: u64) -> String {
    let path = cluster.root().join("vault.toml");
    let text = format!(
        "app = \"vault\"\n[service.one]\nexclusive = true\nisolation = \"none\"\ngrace = \"{grace}s\"\ncpus = 0.01\nenv = {{ VERSION = \"{version}\" }}\n\
         run = [\"sh\", \"-c\", 'trap \"\" TERM; while :; do echo \"$TAFFETA_NODE $TAFFETA_FENCE $VERSION\" >> {}; sleep 0.05; done']\n",
        written(cluster).display()
    );
    std::fs::write(&path, text).expect("a file");
    path.to_string_lossy().into_owned()
}

fn written(cluster: &Cluster) -> PathBuf {
    cluster.root().join("written")
}

/// A line of the task: machine, fence and version.
type Line = (String, Vec<u64>, u32);

fn lines(file: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let read = |line: &str| {
        let mut words = line.split(' ');
        let node = words.next().expect("a machine").to_owned();
        let fence = words.next().expect("a fence").split('.').map(|n| n.parse().expect("a number")).collect();
        (node, fence, words.next().expect("a version").parse().expect("a number"))
    };
    whole.lines().map(read).collect()
}

/// Nobody writes any more after somebody with a later fence has, so no two have run at once.
#[track_caller]
fn never_two(cluster: &Cluster) -> usize {
    let lines = lines(&written(cluster));
    for pair in lines.windows(2) {
        assert!(pair[0].1 <= pair[1].1, "{:?} after {:?}: two run at once", pair[1], pair[0]);
    }
    let mut fences: Vec<_> = lines.into_iter().map(|(_, fence, _)| fence).collect();
    fences.dedup();
    fences.len()
}

fn last(cluster: &Cluster) -> Option<Line> {
    lines(&written(cluster)).pop()
}

fn started(grace: u64) -> Cluster {
    let mut cluster = Cluster::new(binary());
    cluster.start_each(&[&[], &[], &[]]);
    cluster.wait_ready();
    cluster.wait_voters(3);
    cluster.machines[0].run(&["deploy", &app(&cluster, 1, grace)]).success();
    within(Duration::from_secs(20), "it runs", || last(&cluster).map(drop).ok_or_else(|| why(&cluster, 0)));
    let apps = cluster.machines[2].try_json(&["apps"]).expect("apps");
    let job = &apps[0]["jobs"][0];
    assert_eq!(job["exclusive"], true, "it is told: {apps}");
    assert_eq!(job["isolation"], serde_json::json!({"profile": "none", "without": []}), "{apps}");
    cluster
}

fn why(cluster: &Cluster, asked: usize) -> String {
    cluster.machines[asked].run(&["why", "vault/one.1"]).stdout
}

fn task(cluster: &Cluster, asked: usize) -> Result<Value, String> {
    cluster.machines[asked]
        .try_json(&["ps", "vault"])?
        .as_array()
        .and_then(|all| all.first().cloned())
        .ok_or_else(|| "none".into())
}

/// Its process, once the machine tells it.
fn process(cluster: &Cluster, asked: usize) -> u64 {
    let told = || task(cluster, asked)?["pid"].as_u64().ok_or_else(|| why(cluster, asked));
    within(QUICK, "its process is told", told).0
}

/// Waits until it writes on another machine.
fn wait_elsewhere(cluster: &Cluster, from: &str, limit: Duration) -> Duration {
    let begun = Instant::now();
    let asked = (cluster.index(from) + 1) % 3;
    within(limit, "it runs elsewhere", || match last(cluster) {
        Some((node, ..)) if node != from => Ok(()),
        other => Err(format!("{other:?}; {}", why(cluster, asked))),
    });
    begun.elapsed()
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().expect("kill").success());
}

fn lives(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn a_stopped_or_killed_agent_holds_no_task_longer_than_its_lease() {
    let _alone = alone();
    // Long enough that the task still lives when the others tell why they wait for it.
    let grace = 6;
    let mut cluster = started(grace);
    // Its agent gets no turn any more; the shim does.
    let first = last(&cluster).expect("it writes").0;
    let stopped = cluster.index(&first);
    let pid = process(&cluster, stopped);
    let node = cluster.machines[stopped].pid().expect("its node runs");
    signal(node, "-STOP");
    let asked = (stopped + 1) % 3;
    within(AFTER_LEASE, "the reason is told", || {
        let why = why(&cluster, asked);
        if why.contains(&format!("may still run on {first} until its lease ends")) { Ok(()) } else { Err(why) }
    });
    assert!(lives(pid), "it is waited for");
    let took = wait_elsewhere(&cluster, &first, AFTER_LEASE);
    assert!(!lives(pid), "the shim has ended it, after {took:?}");
    assert_eq!(never_two(&cluster), 2);
    signal(node, "-CONT");
    let second = last(&cluster).expect("it writes").0;
    thread::sleep(Duration::from_secs(3));
    assert_eq!(never_two(&cluster), 2, "the one that is back has nothing to start");
    // The agent dies, and what it started lives on under its shim for a while.
    let killed = cluster.index(&second);
    let pid = process(&cluster, killed);
    cluster.machines[killed].kill_agent();
    assert!(lives(pid));
    wait_elsewhere(&cluster, &second, AFTER_LEASE);
    assert!(!lives(pid));
    cluster.machines[killed].up_again();
    cluster.wait_ready();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(never_two(&cluster), 3);
    // One that is back soon takes it up again, and nothing is interrupted.
    let third = last(&cluster).expect("it writes").0;
    let restarted = cluster.index(&third);
    let pid = process(&cluster, restarted);
    cluster.machines[restarted].kill_agent();
    cluster.machines[restarted].up_again();
    cluster.wait_ready();
    thread::sleep(lease(grace) + Duration::from_secs(3));
    assert!(lives(pid), "its lease was renewed by the new agent");
    assert_eq!(never_two(&cluster), 3);
}

#[test]
fn an_update_and_a_drain_wait_for_the_task_and_for_no_lease() {
    let _alone = alone();
    let grace = 1;
    let cluster = started(grace);
    let begun = Instant::now();
    cluster.machines[1].run(&["deploy", &app(&cluster, 2, grace)]).success();
    within(QUICK, "the newer version runs", || match last(&cluster) {
        Some((_, _, 2)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let updated = begun.elapsed();
    let from = last(&cluster).expect("it writes").0;
    let drain = cluster.machines[2].run(&["drain", &from]);
    assert_eq!(drain.code, 0, "{drain:?}");
    let drained = wait_elsewhere(&cluster, &from, QUICK);
    // SIGTERM is ignored, so each takes the time out of DNS, the grace of a second, and the start.
    assert!(updated < lease(grace) && drained < lease(grace), "{updated:?}, {drained:?}");
    assert_eq!(never_two(&cluster), 3);
    cluster.machines[0].run(&["stop", "vault"]).success();
    cluster.machines[0].run(&["deploy", &app(&cluster, 3, grace)]).success();
    within(QUICK, "the one that was deployed again runs", || match last(&cluster) {
        Some((_, _, 3)) => Ok(()),
        other => Err(format!("{other:?}; {}", why(&cluster, 0))),
    });
    assert_eq!(never_two(&cluster), 4);
}
