//! Two releases meet: an earlier one's agent and today's shim, and today's agent and an earlier one's shim.
//!
//! The fixtures are what those releases have said and written, line by line and file by file. How the next one is recorded:
//! see the last test.

use super::support::{Bench, PATIENCE, until};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::OpenOptionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use taffeta_isolation_linux::LinuxExecutor;
use taffeta_isolation_plan::{ActError, Executor, Found, FoundState, Piece, PieceStart, Stream, TaskSecrets, TaskSpec};
use taffeta_model::{BootMillis, Exit, Isolation, Measure, Profile, Secret, SecretName, UnixMillis};

/// What was recorded of a release.
struct Release {
    dialogue: &'static str,
    spec: &'static str,
    launch: &'static str,
    state: &'static str,
    /// Whether the task that was recorded has a lease, secrets, an init, and something that is not in force.
    whole: bool,
}

const RELEASES: [Release; 2] = [
    // As tasks were before they were set apart in namespaces.
    Release {
        dialogue: include_str!("../fixtures/shim-1/dialogue.jsonl"),
        spec: include_str!("../fixtures/shim-1/spec.json"),
        launch: include_str!("../fixtures/shim-1/launch.json"),
        state: include_str!("../fixtures/shim-1/state.json"),
        whole: false,
    },
    Release {
        dialogue: include_str!("../fixtures/shim-2/dialogue.jsonl"),
        spec: include_str!("../fixtures/shim-2/spec.json"),
        launch: include_str!("../fixtures/shim-2/launch.json"),
        state: include_str!("../fixtures/shim-2/state.json"),
        whole: true,
    },
];

/// An agent in a process of its own, to be killed; today's.
pub(crate) fn agent(bench: &Bench, spec: &TaskSpec) -> Child {
    agent_of(Path::new(env!("CARGO_BIN_EXE_taffeta-shim-test")), bench, spec)
}

/// The same of another program.
pub(crate) fn agent_of(program: &Path, bench: &Bench, spec: &TaskSpec) -> Child {
    let mut command = Command::new(program);
    command.arg("agent").arg(&bench.root).arg(&bench.node_id);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(spec).unwrap()).unwrap();
    child
}

/// What was asked and answered. In the answers numbers and texts differ from time to time, their names and kinds do not.
fn dialogue(release: &Release) -> Vec<(String, Value)> {
    let line = |line: &str| {
        let both: Value = serde_json::from_str(line).unwrap();
        (both["ask"].as_str().unwrap().to_owned(), both["answer"].clone())
    };
    release.dialogue.lines().map(line).collect()
}

/// A task that can be signalled; a whole one with all that a release writes down of one.
fn spec(bench: &Bench, executor: &LinuxExecutor, whole: bool) -> TaskSpec {
    let spec = bench.spec("r1", &["sh", "-c", "trap : USR1; : > ready; while :; do sleep 0.02; done"]);
    if !whole {
        return spec;
    }
    let lease = Some(executor.boot_time() + Duration::from_secs(600));
    let secrets = TaskSecrets {
        files: [(SecretName::new("db").unwrap(), Secret::new(b"value".to_vec()))].into(),
        ..TaskSecrets::default()
    };
    // What is hidden is so by landlock alone then, which is told once it is.
    let isolation = Isolation { profile: Some(Profile::Standard), without: [Measure::MountNamespace].into() };
    TaskSpec { lease, secrets, isolation, ..spec }
}

/// The names and kinds of an answer.
fn shape(answer: &Value) -> BTreeMap<String, String> {
    let kind = |value: &Value| match value {
        Value::Object(_) => format!("{:?}", shape(value)),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
        other => other.to_string(),
    };
    answer.as_object().unwrap().iter().map(|(key, value)| (key.clone(), kind(value))).collect()
}

struct Line(BufReader<UnixStream>);

impl Line {
    fn open(folder: &Path) -> Self {
        let stream = UnixStream::connect(folder.join("ctl.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, line: &str) -> Value {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

#[tokio::test]
async fn an_earlier_releases_agent_is_understood_by_todays_shim() {
    for release in &RELEASES {
        is_understood_by_todays_shim(release).await;
    }
}

async fn is_understood_by_todays_shim(release: &Release) {
    let bench = Bench::new();
    let executor = bench.executor();
    executor.start(spec(&bench, &executor, release.whole)).await.unwrap();
    until("it can be signalled", || bench.work("r1").join("ready").exists()).await;
    let mut line = Line::open(&bench.root.join("r1"));
    for (ask, expected) in dialogue(release) {
        let answer = line.ask(&ask);
        assert_eq!(shape(&answer), shape(&expected), "{ask}: {answer}");
        if let Some(error) = expected.get("error") {
            let word = |value: &Value| value.as_str().unwrap().split(' ').next().unwrap().to_owned();
            assert_eq!(word(&answer["error"]), word(error), "{ask}");
        }
    }
    // The last word to whoever watches: the end.
    let mut watch = Line::open(&bench.root.join("r1"));
    watch.ask("{\"v\":1,\"do\":\"watch\"}");
    line.ask("{\"v\":1,\"do\":\"kill\"}");
    assert_eq!(watch.answer()["exit"]["signal"], 9);
}

/// A shim of an earlier release: its files, its lock, and its answers.
fn old_shim(bench: &Bench, release: &Release, dialogue: Vec<(String, Value)>) -> (PathBuf, File) {
    fs::create_dir_all(bench.root.join("r1/work")).unwrap();
    let folder = bench.root.canonicalize().unwrap().join("r1");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let fill = |text: &str| {
        text.replace("@FOLDER@", &folder.display().to_string())
            .replace("@DATA@", &folder.ancestors().nth(2).unwrap().display().to_string())
            .replace("@NODE@", &bench.node_id)
            .replace("@PROGRAM@", env!("CARGO_BIN_EXE_taffeta-shim-test"))
            .replace("@BOOT@", boot.trim())
            .replace("@PID@", &std::process::id().to_string())
    };
    for (name, text) in [("spec.json", release.spec), ("launch.json", release.launch), ("state.json", release.state)] {
        fs::write(folder.join(name), fill(text)).unwrap();
    }
    fs::write(folder.join("stdout.log"), "one\ntwo\n").unwrap();
    fs::write(folder.join("stderr.log"), "").unwrap();
    let lock = File::options().create(true).truncate(true).write(true).mode(0o600).open(folder.join("lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let listener = UnixListener::bind(folder.join("ctl.sock")).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
                let asked: Value = serde_json::from_str(&line).unwrap();
                let known = dialogue.iter().find(|(ask, _)| serde_json::from_str::<Value>(ask).unwrap() == asked);
                let answer =
                    known.map_or_else(|| panic!("that release's shim was never asked {line}"), |(_, answer)| answer);
                if stream.write_all(format!("{answer}\n").as_bytes()).is_err() {
                    break;
                }
                line.clear();
            }
        }
    });
    (folder, lock)
}

#[tokio::test]
async fn todays_agent_understands_an_earlier_releases_shim_and_reads_its_output() {
    for release in &RELEASES {
        todays_agent_understands(release).await;
    }
}

async fn todays_agent_understands(release: &Release) {
    let bench = Bench::new();
    let (folder, lock) = old_shim(&bench, release, dialogue(release));
    let executor = bench.executor();
    let found = executor.recover().await;
    let [Found { run_id, spec, state: FoundState::Running { pid, started_at } }] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((run_id.as_str(), *pid), ("r1", std::process::id()));
    assert_eq!((spec.task.as_str(), spec.logs), ("test/task.1", taffeta_model::LogBounds::default()));
    assert_eq!(*started_at, UnixMillis(1_795_000_000_000));
    let told = executor.start(spec.clone()).await.unwrap().not_isolated;
    assert_eq!(told.iter().any(|gap| gap.starts_with("hidden-folders: ")), release.whole, "{told:?}");
    executor.signal("r1", 10).await.unwrap();
    match executor.extend("r1", BootMillis(99_000)).await {
        Ok(()) => assert!(release.whole && spec.lease.is_some()),
        Err(ActError::Failed(why)) => assert!(!release.whole && why.contains("the task has no lease"), "{why}"),
        Err(other) => panic!("{other}"),
    }
    let piece = Piece { from: PieceStart::Since(UnixMillis(1)), bytes_max: 100, times: true };
    let read = executor.read_log("r1", Stream::Stdout, piece).await.unwrap();
    assert_eq!(
        (read.bytes.as_slice(), read.times.as_slice()),
        (&b"one\ntwo\n"[..], &[][..]),
        "its times are not known"
    );
    let last = Piece { from: PieceStart::LinesBeforeEnd(1), ..piece };
    assert_eq!(executor.read_log("r1", Stream::Stdout, last).await.unwrap().bytes, b"two\n");
    // Its last word, as it wrote it.
    fs::write(folder.join("exit.json"), "{\"version\":1,\"at\":1795000005000,\"code\":7}").unwrap();
    drop(lock);
    assert_eq!(executor.wait("r1").await, Exit::Code(7));
    executor.forget("r1").await.unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_shim_that_does_not_know_what_it_is_asked_is_said_to_be_old() {
    let bench = Bench::new();
    // As shims answered before there were leases.
    let ask = "{\"v\":1,\"do\":\"extend\",\"until\":99000}".to_owned();
    let answer = serde_json::json!({"v": 1, "error": "not understood: unknown variant `extend`, expected one of `status`, `signal`, `kill`, `watch`"});
    let (folder, lock) = old_shim(&bench, &RELEASES[0], vec![(ask, answer)]);
    let executor = bench.executor();
    let refused = executor.extend("r1", BootMillis(99_000)).await.unwrap_err().to_string();
    assert!(refused.contains("not understood") && refused.contains("its shim is of an older release"), "{refused}");
    fs::write(folder.join("exit.json"), "{\"version\":1,\"at\":1,\"code\":0}").unwrap();
    drop(lock);
    until("it is over", || folder.join("exit.json").exists()).await;
}

const RECORD: &str = "TAFFETA_TEST_RECORD";

/// Writes what today's shim says and writes down into a folder. To be run before a release, as root on a machine that can set
/// tasks apart; what it gives becomes one of the fixtures, and is never changed after.
#[tokio::test]
#[ignore = "records a release: TAFFETA_TEST_RECORD=FOLDER"]
async fn a_release_is_recorded() {
    let Some(into) = std::env::var_os(RECORD).map(PathBuf::from) else { return };
    let bench = Bench::new();
    let executor = bench.executor();
    executor.start(spec(&bench, &executor, true)).await.unwrap();
    until("it can be signalled", || bench.work("r1").join("ready").exists()).await;
    let folder = bench.root.canonicalize().unwrap().join("r1");
    let mut line = Line::open(&folder);
    let said = |(ask, _): (String, Value)| format!("{}\n", serde_json::json!({ "answer": line.ask(&ask), "ask": ask }));
    fs::write(into.join("dialogue.jsonl"), dialogue(&RELEASES[0]).into_iter().map(said).collect::<String>()).unwrap();
    let state = bench.record("r1", "state.json");
    for name in ["spec.json", "launch.json", "state.json"] {
        let mut text = fs::read_to_string(folder.join(name)).unwrap();
        for process in ["shim", "task", "init"] {
            text = text.replace(&format!("\"pid\":{}", state[process]["pid"]), "\"pid\":@PID@");
        }
        let text = text
            .replace(&folder.ancestors().nth(2).unwrap().display().to_string(), "@DATA@")
            .replace(&bench.node_id, "@NODE@")
            .replace(env!("CARGO_BIN_EXE_taffeta-shim-test"), "@PROGRAM@")
            .replace(state["boot_id"].as_str().unwrap(), "@BOOT@")
            .replace(&state["started_at"].to_string(), "1795000000000");
        fs::write(into.join(name), text).unwrap();
    }
}
