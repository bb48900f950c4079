//! Nothing is left, whoever is killed at whatever instant: of agents, of what they start shims with, of shims, inits and
//! tasks, with real processes.
//!
//! Starts and seed can be set: TAFFETA_LEAK_STARTS, TAFFETA_SEED.

mod left;
mod rounds;
#[path = "../support/mod.rs"]
mod support;

use left::{groups, hierarchies, leftovers};
use rounds::{Rounds, Victim, lines};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use support::{
    Bench,
    dice::{Dice, from_environment},
    guest, orphans,
};
use taffeta_isolation_plan::{Cgroups, Executor};
use taffeta_model::Measure;

/// Starts, each with a kill; fewer where a system call costs fifty times as much.
fn starts() -> u64 {
    from_environment("TAFFETA_LEAK_STARTS", if guest::is_guest() { 96 } else { 1_000 })
}

/// However many starts there are.
const ROUNDS_MAX: u64 = 400;

#[test]
fn the_same_holds_in_a_guest_with_cgroup_v2() {
    // A guest boots anew: no test before this one can have left anything in it.
    guest::run_tests(&["the_same_holds", "what_a_killed_test_leaves"]);
}

#[test]
fn the_same_holds_with_cgroup_v1_alone() {
    guest::run_tests_on_v1(&["the_same_holds"]);
}

#[test]
fn nothing_leaks_when_agents_shims_and_tasks_are_killed_at_any_instant() {
    let bench = Bench::new();
    let mut rounds = Rounds::new(&bench, Dice::thrown("leaks"));
    let permitted = bench.executor().permitted().clone();
    rounds.hides = !matches!(permitted.cgroups, Cgroups::None { .. });
    rounds.strict = permitted.root && !permitted.measures.lacking.contains_key(&Measure::UserNamespace);
    let (mut last, mut littered, mut count) = (0, 0, 0);
    // Where a start takes long it is mostly starters that are met: then a few rounds more, until everybody was.
    while last < starts() || (count < ROUNDS_MAX && !everybody(&rounds)) {
        rounds.round();
        (last, count) = (rounds.killed.iter().filter(|(who, _)| who.is_some()).map(|(_, n)| n).sum(), count + 1);
        littered += u64::from(leftovers(&bench, &rounds.mark).len() > 1);
    }
    println!("{count} rounds, after {littered} of which something was left; killed: {:?}", rounds.killed);
    rounds.end();

    // A process that was told to end, or noticed that it is alone, may take a moment.
    let until = Instant::now() + Duration::from_secs(20);
    let mut left = leftovers(&bench, &rounds.mark);
    while !left.is_empty() && Instant::now() < until {
        sleep(Duration::from_millis(50));
        left = leftovers(&bench, &rounds.mark);
    }
    assert_eq!(left, Vec::<String>::new(), "after an agent that had only to clean up");
    let mut told = 0;
    for (run, said) in &rounds.said {
        let ends: Vec<_> = said.iter().filter(|(word, _)| word == "ended").collect();
        let strange = said.iter().filter(|(word, _)| matches!(word.as_str(), "alive" | "kept"));
        assert_eq!(strange.count(), 0, "{run}: {said:?}");
        assert!(ends.len() <= 1, "{run} has ended in two ways: {said:?}");
        told += ends.len();
    }
    let mut begun = 0;
    for entry in fs::read_dir(rounds.data().join("seen")).unwrap().flatten() {
        let run = entry.file_name().into_string().unwrap();
        // One that was killed over it has not come to write.
        let seen = lines(&rounds.seen(&run));
        assert!(seen.is_empty() || seen == ["begun"], "{run} is begun once, with all that it is to have: {seen:?}");
        let said = rounds.said.get(&run);
        let is_told = said.is_some_and(|said| said.iter().any(|(word, _)| word == "ended" || word == "failed"));
        assert!(is_told, "nobody has said how {run} ended: {said:?}");
        begun += 1;
    }
    println!("{begun} tasks have begun, of {told} runs it was told how they ended");
    // It was no easy time: everybody was killed, and most rounds left something to do.
    assert!(everybody(&rounds), "{:?}", rounds.killed);
    assert!(littered * 2 > count && begun * 4 > starts(), "{littered} of {count}, {begun}");
}

/// Whether everybody was killed who has to be.
fn everybody(rounds: &Rounds<'_>) -> bool {
    let victims = [None, Some(Victim::Starter), Some(Victim::Shim), Some(Victim::Task)];
    victims.iter().all(|who| rounds.killed.get(who).is_some_and(|n| *n > 0))
}

#[test]
fn what_a_killed_test_leaves_is_swept_by_the_next() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_test_that_is_killed", "--ignored", "--nocapture"]).env(TO_BE_KILLED, "yes");
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said = said.filter_map(|line| line.strip_prefix("left: ").map(str::to_owned)).next().unwrap();
    let (node_id, root) = said.split_once(' ').unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let bench = std::mem::ManuallyDrop::new(Bench::left(root.into(), node_id.into()));
    let found = leftovers(&bench, "5000");
    assert!(found.len() >= 2, "its task runs on: {found:?}");
    orphans::sweep();
    assert_eq!(leftovers(&bench, "5000"), Vec::<String>::new());
    assert!(!Path::new(root).parent().unwrap().exists());
}

const TO_BE_KILLED: &str = "TAFFETA_TEST_TO_BE_KILLED";

#[test]
#[ignore = "run by what_a_killed_test_leaves_is_swept_by_the_next"]
fn a_test_that_is_killed() {
    if std::env::var_os(TO_BE_KILLED).is_none() {
        return;
    }
    let bench = Bench::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let executor = bench.executor();
        executor.start(bench.spec("r1", &["sleep", "1000"])).await.unwrap();
        println!("left: {} {}", bench.node_id, bench.root.display());
        std::future::pending::<()>().await;
    });
}

/// The check above can fail: each kind of leak is planted, and seen.
#[test]
fn each_kind_of_leak_is_seen() {
    let bench = Bench::new();
    let (mark, data) = (format!("4000.{}", std::process::id()), bench.root.parent().unwrap());
    fs::create_dir_all(&bench.root).unwrap();
    let seen = |what: &str| {
        // A program that was just started may not have its arguments yet.
        let end = Instant::now() + support::PATIENCE;
        loop {
            let found = leftovers(&bench, &mark);
            if found.len() == 1 && found[0].starts_with(what) {
                return;
            }
            assert!(Instant::now() < end, "{what}: {found:?}");
        }
    };
    assert_eq!(leftovers(&bench, &mark), Vec::<String>::new());

    for marked in [true, false] {
        let mut command = Command::new("sleep");
        command.arg(if marked { &mark } else { "1000" }).stdin(Stdio::null());
        if !marked {
            command.env("TAFFETA_TASK_DIR", bench.work("r1"));
        }
        let mut child = command.spawn().unwrap();
        seen("process");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for hierarchy in hierarchies() {
        let group = hierarchy.join("taffeta").join(&bench.node_id);
        if let Err(e) = fs::create_dir_all(&group) {
            eprintln!("SKIPPED: {}: {e}", group.display());
            continue;
        }
        seen("group");
        fs::remove_dir(&group).unwrap();
        assert!(groups(&bench.node_id).is_empty());
        let _ = fs::remove_dir(hierarchy.join("taffeta")); // stays while another test uses it
    }
    fs::create_dir(bench.root.join("r1")).unwrap();
    seen("folder");
    fs::remove_dir(bench.root.join("r1")).unwrap();
    let secrets = format!("/dev/shm/taffeta-{}-r1", bench.node_id);
    fs::create_dir(&secrets).unwrap();
    seen("secrets");
    fs::remove_dir(&secrets).unwrap();

    match mount("none", data, "tmpfs", MountFlags::empty(), c"size=4k") {
        Ok(()) => {
            let found = leftovers(&bench, &mark);
            unmount(data, UnmountFlags::DETACH).unwrap();
            assert!(found.iter().any(|line| line.starts_with("mount")), "{found:?}");
        }
        Err(e) => eprintln!("SKIPPED: nothing can be mounted here: {e}"),
    }
    loop_device(data, || seen("loop device"));
    assert_eq!(leftovers(&bench, &mark), Vec::<String>::new());
}

/// Does something while there is a loop device of ours; says why where that cannot be.
fn loop_device(data: &Path, act: impl FnOnce()) {
    let image = data.join("image");
    File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let made = Command::new("losetup").args(["--find", "--show"]).arg(&image).output();
    match made {
        Ok(made) if made.status.success() => {
            struct Detached(String);
            impl Drop for Detached {
                fn drop(&mut self) {
                    let _ = Command::new("losetup").args(["--detach", &self.0]).status();
                }
            }
            let _device = Detached(String::from_utf8_lossy(&made.stdout).trim().to_owned());
            act();
        }
        Ok(made) => eprintln!("SKIPPED: losetup: {}", String::from_utf8_lossy(&made.stderr).trim()),
        Err(e) => eprintln!("SKIPPED: losetup: {e}"),
    }
}
