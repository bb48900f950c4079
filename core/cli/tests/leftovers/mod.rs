//! What is left of a machine's groups and processes: nothing after a clean stop or a sweep, whatever became of its data and of
//! the test.

use crate::support::{alone, binary};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use taffeta_harness::{Cluster, groups_of, sweep_orphans, within};

const SOON: Duration = Duration::from_secs(60);

/// Set for the test that is killed.
const TO_BE_KILLED: &str = "TAFFETA_TEST_TO_BE_KILLED";

/// A machine with a task that has started a program which carries nothing of what it came from; the id of its node.
fn machine(mark: &str) -> (Cluster, String) {
    let mut cluster = Cluster::new(binary());
    cluster.start(1);
    cluster.wait_ready();
    let file = cluster.root().join("left.toml");
    let text = format!(
        "app = \"left\"\n[service.one]\nrun = [\"sh\", \"-c\", \"(env -i setsid sleep {mark} &); : > ready; exec sleep 600\"]\n\
         grace = \"1s\"\ncpus = 0.01\n"
    );
    fs::write(&file, text).expect("a file");
    cluster.machines[0].run(&["deploy", &file.to_string_lossy(), "--wait"]).success();
    within(SOON, "both run", || if marked(mark) == 1 { Ok(()) } else { Err(format!("{} of {mark}", marked(mark))) });
    let node = cluster.machines[0].node_id().expect("a node has an id");
    (cluster, node)
}

/// How many processes have this among their arguments.
fn marked(mark: &str) -> usize {
    let numbers = fs::read_dir("/proc").expect("there is one").flatten();
    let line = |path: PathBuf| fs::read(path.join("cmdline")).unwrap_or_default();
    let has = |line: Vec<u8>| line.split(|byte| *byte == 0).any(|arg| arg == mark.as_bytes());
    numbers.filter(|entry| has(line(entry.path()))).count()
}

/// The node's groups that are there, in any hierarchy.
fn groups(node: &str) -> Vec<PathBuf> {
    groups_of(node).filter(|group| group.exists()).collect()
}

/// Waits until none is there: the kernel lets go of the dead a little late.
fn is_gone(node: &str) {
    within(SOON, "its groups are gone", || match groups(node) {
        none if none.is_empty() => Ok(()),
        some => Err(format!("{some:?}")),
    });
}

/// Says so if there are none to lose.
fn has_groups(node: &str) -> bool {
    let any = !groups(node).is_empty();
    if !any {
        eprintln!("SKIPPED: no cgroups can be made here");
    }
    any
}

#[test]
fn a_machine_whose_data_burnt_leaves_no_group_and_no_process() {
    let _alone = alone();
    let mark = format!("6000.{}", std::process::id());
    let (mut cluster, node) = machine(&mark);
    if !has_groups(&node) {
        return;
    }
    // What names the node goes before it does, and what it was told by: its task's group alone is known by its processes.
    fs::remove_file(cluster.machines[0].data.join("node.id")).expect("it was there");
    cluster.machines[0].kill();
    fs::remove_dir_all(&cluster.machines[0].data).expect("it was there");
    drop(cluster);
    is_gone(&node);
    assert_eq!(marked(&mark), 0);
}

#[test]
fn a_node_that_is_stopped_cleanly_leaves_its_tasks_groups_and_then_none() {
    let _alone = alone();
    let mark = format!("7000.{}", std::process::id());
    let (mut cluster, node) = machine(&mark);
    if !has_groups(&node) {
        return;
    }
    assert_eq!(cluster.machines[0].terminate(), 0);
    assert_eq!(marked(&mark), 1, "its task runs on");
    assert!(
        groups(&node).iter().all(|group| fs::read_dir(group).is_ok_and(|inner| {
            inner.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("left.one.1"))
        })),
        "{:?}",
        groups(&node)
    );
    cluster.machines[0].up_again();
    cluster.wait_ready();
    cluster.machines[0].run(&["stop", "left"]).success();
    within(SOON, "its task has ended", || if marked(&mark) == 0 { Ok(()) } else { Err("it runs".into()) });
    within(SOON, "its folder is gone", || {
        let tasks = fs::read_dir(cluster.machines[0].data.join("tasks")).map_err(|e| e.to_string())?;
        let left: Vec<_> = tasks.flatten().map(|entry| entry.file_name()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert_eq!(cluster.machines[0].terminate(), 0);
    assert_eq!(groups(&node), Vec::<PathBuf>::new());
}

#[test]
fn what_a_killed_test_leaves_is_swept_by_the_next() {
    let _alone = alone();
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "leftovers::a_test_that_is_killed", "--ignored", "--nocapture"]);
    let mut child =
        command.env(TO_BE_KILLED, "yes").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it runs");
    let said = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let said = said.filter_map(|line| line.strip_prefix("left: ").map(str::to_owned)).next().expect("it gets so far");
    child.kill().expect("it lives");
    child.wait().expect("it is ours");
    let [node, mark, root] = said.split(' ').collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(marked(mark) == 1 && Path::new(root).exists(), "its node and its task run on");
    sweep_orphans();
    is_gone(node);
    assert!(marked(mark) == 0 && !Path::new(root).exists());
}

#[test]
#[ignore = "run by what_a_killed_test_leaves_is_swept_by_the_next"]
fn a_test_that_is_killed() {
    if std::env::var_os(TO_BE_KILLED).is_none() {
        return;
    }
    let mark = format!("8000.{}", std::process::id());
    let (cluster, node) = machine(&mark);
    println!("left: {node} {mark} {}", cluster.root().display());
    loop {
        std::thread::park();
    }
}
