//! Two releases meet: the last one's agent and today's shim, and today's agent and the last one's shim.
//!
//! The fixtures are what the last release has said and written, line by line and file by file.

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
};
use taffeta_isolation_plan::{ActError, Executor, Found, FoundState, Piece, PieceStart, Stream, TaskSpec};
use taffeta_model::{BootMillis, Exit, UnixMillis};

const DIALOGUE: &str = include_str!("../fixtures/shim-1/dialogue.jsonl");
const SPEC: &str = include_str!("../fixtures/shim-1/spec.json");
const LAUNCH: &str = include_str!("../fixtures/shim-1/launch.json");
const STATE: &str = include_str!("../fixtures/shim-1/state.json");

/// An agent in a process of its own, to be killed; today's.
pub(crate) fn agent(bench: &Bench, spec: &TaskSpec) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taffeta-shim-test"));
    command.arg("agent").arg(&bench.root).arg(&bench.node_id);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(spec).unwrap()).unwrap();
    child
}

/// What was asked and answered. In the answers numbers and texts differ from time to time, their names and kinds do not.
fn dialogue() -> Vec<(String, Value)> {
    let line = |line: &str| {
        let both: Value = serde_json::from_str(line).unwrap();
        (both["ask"].as_str().unwrap().to_owned(), both["answer"].clone())
    };
    DIALOGUE.lines().map(line).collect()
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
async fn the_last_releases_agent_is_understood_by_todays_shim() {
    let bench = Bench::new();
    let executor = bench.executor();
    executor
        .start(bench.spec("r1", &["sh", "-c", "trap : USR1; : > ready; while :; do sleep 0.02; done"]))
        .await
        .unwrap();
    until("it can be signalled", || bench.work("r1").join("ready").exists()).await;
    let mut line = Line::open(&bench.root.join("r1"));
    for (ask, expected) in dialogue() {
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

/// A shim of the last release: its files, its lock, and its answers.
fn old_shim(bench: &Bench, dialogue: Vec<(String, Value)>) -> (PathBuf, File) {
    fs::create_dir_all(bench.root.join("r1/work")).unwrap();
    let folder = bench.root.canonicalize().unwrap().join("r1");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let fill = |text: &str| {
        text.replace("@FOLDER@", &folder.display().to_string())
            .replace("@BOOT@", boot.trim())
            .replace("@PID@", &std::process::id().to_string())
    };
    for (name, text) in [("spec.json", SPEC), ("launch.json", LAUNCH), ("state.json", STATE)] {
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
                let answer = known
                    .map_or_else(|| panic!("the last release's shim was never asked {line}"), |(_, answer)| answer);
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
async fn todays_agent_understands_the_last_releases_shim_and_reads_its_output() {
    let bench = Bench::new();
    let (folder, lock) = old_shim(&bench, dialogue());
    let executor = bench.executor();
    let found = executor.recover().await;
    let [Found { run_id, spec, state: FoundState::Running { pid, started_at } }] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((run_id.as_str(), *pid), ("r1", std::process::id()));
    assert_eq!((spec.task.as_str(), spec.logs), ("test/task.1", taffeta_model::LogBounds::default()));
    assert_eq!(*started_at, UnixMillis(1_795_000_000_000));
    executor.signal("r1", 10).await.unwrap();
    let extended = executor.extend("r1", BootMillis(99_000)).await.unwrap_err();
    assert!(matches!(&extended, ActError::Failed(why) if why.contains("the task has no lease")), "{extended}");
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
    let (folder, lock) = old_shim(&bench, vec![(ask, answer)]);
    let executor = bench.executor();
    let refused = executor.extend("r1", BootMillis(99_000)).await.unwrap_err().to_string();
    assert!(refused.contains("not understood") && refused.contains("its shim is of an older release"), "{refused}");
    fs::write(folder.join("exit.json"), "{\"version\":1,\"at\":1,\"code\":0}").unwrap();
    drop(lock);
    until("it is over", || folder.join("exit.json").exists()).await;
}
