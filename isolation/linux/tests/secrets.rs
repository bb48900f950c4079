//! Secrets of real processes: who sees them, and what is left of them.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use support::{Bench, guest, kill_9, lives, until};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{Executor, Memory, StartError, Stream, TaskSecrets, TaskSpec};
use taffeta_model::{Exit, Isolation, Measure, Profile, Secret, SecretName};

#[test]
fn the_same_holds_in_a_guest_with_cgroup_v2() {
    guest::run_tests(&["the_same_holds"]);
}

const FILE: &str = "value-of-the-file-5d1f";
const VARIABLE: &str = "value-of-the-variable-5d1f";

/// Shows what it has, and stays until it is told to go.
const SHOW: [&str; 3] = [
    "sh",
    "-c",
    "cat secrets/db 2>/dev/null || cat $TAFFETA_SECRETS/db; echo; echo $DB; stat -c %a $TAFFETA_SECRETS/db; \
     stat -f -c %T $TAFFETA_SECRETS/; echo ready; while [ ! -e go ]; do sleep 0.02; done",
];

fn spec(bench: &Bench, run_id: &str) -> TaskSpec {
    let secrets = TaskSecrets {
        files: [(SecretName::new("db").unwrap(), Secret::new(FILE.into()))].into(),
        env: [("DB".to_owned(), Secret::new(VARIABLE.into()))].into(),
    };
    let mut spec = TaskSpec { secrets, ..bench.spec(run_id, &SHOW) };
    spec.env.insert("TAFFETA_SECRETS".into(), spec.folder.join("secrets").display().to_string());
    spec
}

fn executor(bench: &Bench, memory: Option<Memory>) -> LinuxExecutor {
    LinuxExecutor::new(LinuxConfig { best_effort: true, memory, ..bench.config() }).unwrap()
}

/// Whether mounts are permitted here; says so if not.
fn private(bench: &Bench) -> bool {
    let memory = executor(bench, None).permitted().memory.clone();
    if memory != Memory::Private {
        eprintln!("SKIPPED: no tmpfs can be mounted here: {memory:?}");
    }
    memory == Memory::Private
}

async fn shown(executor: &LinuxExecutor, run_id: &str) -> String {
    let log = executor.log_path(run_id, Stream::Stdout);
    until("the task has shown its secrets", || fs::read_to_string(&log).is_ok_and(|text| text.contains("ready"))).await;
    fs::read_to_string(&log).unwrap()
}

/// Files below a folder that hold one of the values, links not followed; the tasks' own outputs apart.
fn leaks(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(leaks(&path));
        } else if kind.is_file() && !path.ends_with("stdout.log") {
            let bytes = fs::read(&path).unwrap();
            let holds = |value: &str| bytes.windows(value.len()).any(|window| window == value.as_bytes());
            if holds(FILE) || holds(VARIABLE) {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test]
async fn private_secrets_are_seen_by_the_task_alone_and_go_with_it() {
    let bench = Bench::new();
    if !private(&bench) {
        return;
    }
    let executor = executor(&bench, None);
    executor.start(spec(&bench, "r1")).await.unwrap();
    assert_eq!(shown(&executor, "r1").await, format!("{FILE}\n{VARIABLE}\n400\ntmpfs\nready\n"));
    let folder = bench.root.join("r1");
    assert_eq!(fs::read_dir(folder.join("secrets")).unwrap().count(), 0, "nothing is mounted in our own view");
    assert_eq!(leaks(&bench.root), Vec::<PathBuf>::new());
    // Not even kill -9 of everything leaves anything.
    let shim = bench.shim_pid("r1");
    kill_9(shim);
    assert_eq!(executor.wait("r1").await, Exit::Lost);
    until("the shim is gone", || !lives(shim)).await;
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&folder.display().to_string()), "{mounts}");
    executor.forget("r1").await.unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_command_beside_the_task_sees_its_secrets() {
    let bench = Bench::new();
    let here = [private(&bench).then_some(Memory::Private), Some(Memory::Folder("/dev/shm".into()))];
    for (n, memory) in here.into_iter().flatten().enumerate() {
        let (executor, run_id) = (executor(&bench, Some(memory.clone())), format!("r{n}"));
        executor.start(spec(&bench, &run_id)).await.unwrap();
        shown(&executor, &run_id).await;
        let script =
            format!("[ \"$(cat $TAFFETA_SECRETS/db)\" = {FILE} ] && [ \"$DB\" = {VARIABLE} ] && [ -d ../work ]");
        let check: Vec<String> = ["sh", "-c", &script].map(String::from).into();
        assert!(executor.run_check(&run_id, &check, Duration::from_secs(10)).await, "{memory:?}");
        let wrong: Vec<String> = ["sh", "-c", "[ -z \"$DB\" ]"].map(String::from).into();
        assert!(!executor.run_check(&run_id, &wrong, Duration::from_secs(10)).await, "{memory:?}");
        executor.kill(&run_id).await.unwrap();
    }
}

#[tokio::test]
async fn a_command_beside_a_task_without_mounts_of_its_own_sees_its_secrets() {
    let bench = Bench::new();
    if !private(&bench) {
        return;
    }
    let executor = executor(&bench, None);
    let without = [Measure::MountNamespace, Measure::PidNamespace, Measure::IpcNamespace, Measure::UtsNamespace];
    for (n, without) in [&without[..1], &without[..2], &without[..]].into_iter().enumerate() {
        let isolation = Isolation { profile: Some(Profile::Standard), without: without.iter().copied().collect() };
        let run_id = format!("r{n}");
        executor.start(TaskSpec { isolation, ..spec(&bench, &run_id) }).await.unwrap();
        shown(&executor, &run_id).await;
        let script = format!("[ \"$(cat $TAFFETA_SECRETS/db)\" = {FILE} ] && [ \"$DB\" = {VARIABLE} ]");
        let check: Vec<String> = ["sh", "-c", &script].map(String::from).into();
        assert!(executor.run_check(&run_id, &check, Duration::from_secs(10)).await, "{without:?}");
        executor.kill(&run_id).await.unwrap();
    }
}

#[tokio::test]
async fn secrets_of_others_in_a_folder_in_memory_are_not_seen() {
    let bench = Bench::new();
    let executor = executor(&bench, Some(Memory::Folder("/dev/shm".into())));
    if !executor.permitted().measures.lacking.keys().all(|measure| *measure == Measure::UserNamespace) {
        return eprintln!("SKIPPED: this machine cannot set tasks apart");
    }
    executor.start(spec(&bench, "theirs")).await.unwrap();
    shown(&executor, "theirs").await;
    let theirs = format!("/dev/shm/taffeta-{}-theirs", bench.node_id);
    assert!(Path::new(&theirs).join("db").exists());
    let look = format!(
        "cat {theirs}/db; ls {theirs}; cat {theirs}/.environment; cat $TAFFETA_SECRETS/db; echo > /dev/shm/x && echo own"
    );
    let loose = [Measure::PrivateTmp, Measure::HiddenFolders];
    let cases =
        [vec![], loose.to_vec(), [&loose[..], &[Measure::PrivateDevices]].concat(), vec![Measure::MountNamespace]];
    for (n, without) in cases.into_iter().enumerate() {
        let isolation = Isolation { profile: Some(Profile::Standard), without: without.iter().copied().collect() };
        let run_id = format!("r{n}");
        let alone = without.contains(&Measure::MountNamespace);
        let run = ["sh", "-c", &look].map(String::from).into();
        executor.start(TaskSpec { isolation, run, ..spec(&bench, &run_id) }).await.unwrap();
        executor.wait(&run_id).await;
        let said = fs::read_to_string(executor.log_path(&run_id, Stream::Stdout)).unwrap();
        assert_eq!(said, format!("{FILE}{}", if alone { "" } else { "own\n" }), "{without:?}");
    }
}

#[tokio::test]
async fn what_a_task_puts_in_the_place_of_its_variables_is_not_read() {
    let bench = Bench::new();
    let executor = executor(&bench, Some(Memory::Folder("/dev/shm".into())));
    executor.start(spec(&bench, "r1")).await.unwrap();
    shown(&executor, "r1").await;
    let file = PathBuf::from(format!("/dev/shm/taffeta-{}-r1/.environment", bench.node_id));
    let run: Vec<String> = ["sh", "-c", "true"].map(String::from).into();
    let check = || executor.run_check("r1", &run, Duration::from_secs(10));
    assert!(check().await);
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/proc/self/environ", &file).unwrap();
    assert!(!check().await, "a link");
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert!(!check().await, "a pipe, for which nobody waits");
}

#[tokio::test]
async fn secrets_in_a_folder_in_memory_go_at_the_end_of_the_task() {
    let bench = Bench::new();
    let memory = Memory::Folder("/dev/shm".into());
    let executor = executor(&bench, Some(memory.clone()));
    let folder = PathBuf::from(format!("/dev/shm/taffeta-{}-r1", bench.node_id));
    let spec = spec(&bench, "r1");
    let work = spec.work();
    executor.start(spec).await.unwrap();
    assert!(shown(&executor, "r1").await.starts_with(&format!("{FILE}\n{VARIABLE}\n400\ntmpfs\n")));
    assert_eq!(leaks(&bench.root), Vec::<PathBuf>::new(), "only a link lies on the disk");
    assert!(folder.join("db").exists());
    fs::write(work.join("go"), "").unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Code(0));
    assert!(!folder.exists(), "the shim has removed it");
}

#[tokio::test]
async fn secrets_that_a_killed_shim_left_are_removed() {
    let bench = Bench::new();
    let memory = Memory::Folder("/dev/shm".into());
    let at = |run_id: &str| PathBuf::from(format!("/dev/shm/taffeta-{}-{run_id}", bench.node_id));
    let first = executor(&bench, Some(memory.clone()));
    for run_id in ["r1", "r2"] {
        first.start(spec(&bench, run_id)).await.unwrap();
        shown(&first, run_id).await;
        kill_9(bench.shim_pid(run_id));
    }
    assert_eq!(first.wait("r1").await, Exit::Lost);
    assert!(!at("r1").exists());
    // A machine whose data was wiped.
    until("its lock is free", || fs::remove_dir_all(bench.root.join("r2")).is_ok()).await;
    executor(&bench, Some(memory)).recover().await;
    assert!(!at("r2").exists());
}

#[tokio::test]
async fn without_memory_a_task_with_secret_files_is_refused_unless_told_otherwise() {
    let bench = Bench::new();
    let memory = Some(Memory::Nowhere { why: "no tmpfs".into() });
    let strict = LinuxExecutor::new(LinuxConfig { memory: memory.clone(), ..bench.config() }).unwrap();
    let refused = strict.start(spec(&bench, "r1")).await.unwrap_err();
    let StartError::NotIsolated(gaps) = &refused else { panic!("{refused:?}") };
    assert!(gaps.contains(&"secrets: they would lie on the disk (no tmpfs)".to_owned()), "{gaps:?}");
    let executor = executor(&bench, memory);
    let spec = spec(&bench, "r2");
    let work = spec.work();
    let started = executor.start(spec).await.unwrap();
    assert!(started.not_isolated.iter().any(|gap| gap.starts_with("secrets:")), "{:?}", started.not_isolated);
    assert!(shown(&executor, "r2").await.starts_with(&format!("{FILE}\n{VARIABLE}\n400\n")));
    fs::write(work.join("go"), "").unwrap();
    assert_eq!(executor.wait("r2").await, Exit::Code(0));
    assert!(!bench.root.join("r2/secrets").exists(), "not longer than needed");
}

#[tokio::test]
async fn many_large_secrets_go_through() {
    let bench = Bench::new();
    let executor = executor(&bench, None);
    let large = Secret::new(vec![b'x'; 64 << 10]);
    let mut spec = bench.spec("r1", &["sh", "-c", "cat $TAFFETA_SECRETS/* | wc -c"]);
    spec.env.insert("TAFFETA_SECRETS".into(), spec.folder.join("secrets").display().to_string());
    spec.secrets.files = (0..32).map(|n| (SecretName::new(format!("s{n}")).unwrap(), large.clone())).collect();
    executor.start(spec).await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Code(0));
    let out = fs::read_to_string(executor.log_path("r1", Stream::Stdout)).unwrap();
    assert_eq!(out.trim(), (32 * (64 << 10)).to_string());
}
