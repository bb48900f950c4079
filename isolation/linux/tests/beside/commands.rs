//! Commands beside a task.

use super::support::{Bench, lives, process, until};
use std::time::Duration;
use taffeta_isolation_linux::LinuxExecutor;
use taffeta_isolation_plan::{
    CommandError, CommandEvent, CommandSpec, Executor, Running, Stream, Terminal, TerminalSize,
};
use taffeta_model::Exit;
use tokio::time::timeout;

const IDLE: [&str; 3] = ["sh", "-c", ": > ready; while :; do sleep 1; done"];

const SIZE: TerminalSize = TerminalSize { columns: 91, rows: 17 };

fn command(run: &[&str], terminal: bool, input: bool) -> CommandSpec {
    let terminal = terminal.then(|| Terminal { kind: "vt100".into(), size: SIZE });
    CommandSpec { run: run.iter().map(|arg| (*arg).to_owned()).collect(), terminal, input }
}

async fn idle(bench: &Bench) -> LinuxExecutor {
    let executor = bench.executor();
    executor.start(bench.spec("r1", &IDLE)).await.unwrap();
    until("the task runs", || bench.work("r1").join("ready").exists()).await;
    executor
}

async fn next(running: &mut Running) -> CommandEvent {
    timeout(super::support::PATIENCE, running.output.next()).await.expect("it says something, or ends")
}

/// All that it says, and how it ends.
async fn all(mut running: Running) -> (String, String, Exit) {
    let (mut out, mut err) = (vec![], vec![]);
    loop {
        match next(&mut running).await {
            CommandEvent::Output(Stream::Stdout, bytes) => out.extend(bytes),
            CommandEvent::Output(Stream::Stderr, bytes) => err.extend(bytes),
            CommandEvent::Ended(exit) => {
                let text = |bytes| String::from_utf8(bytes).unwrap();
                return (text(out), text(err), exit);
            }
        }
    }
}

/// Waits until it has said this.
async fn said(running: &mut Running, words: &str) -> String {
    let mut all = String::new();
    while !all.contains(words) {
        match next(running).await {
            CommandEvent::Output(_, bytes) => all.push_str(&String::from_utf8_lossy(&bytes)),
            CommandEvent::Ended(exit) => panic!("it ended ({exit}) without {words:?}: {all:?}"),
        }
    }
    all
}

#[tokio::test]
async fn a_command_has_the_tasks_folder_environment_and_group_and_its_outputs_are_apart() {
    let bench = Bench::new();
    let executor = idle(&bench).await;
    let script = "pwd; echo $GREETING $1; cat /proc/self/cgroup > /tmp/cgroup.$$; echo $$ >&2; cat /proc/self/cgroup >&2; rm /tmp/cgroup.$$; exit 5";
    let running = executor.exec("r1", command(&["sh", "-c", script, "sh", "a b"], false, false)).await.unwrap();
    let (out, err, exit) = all(running).await;
    assert_eq!(out, format!("{}\nhello a b\n", bench.root.canonicalize().unwrap().join("r1/work").display()));
    assert_eq!(exit, Exit::Code(5));
    if bench.group(&executor, "memory", "r1").is_some() {
        assert!(err.contains(&format!("taffeta/{}/r1", bench.node_id)), "{err}");
    }
    assert_eq!(executor.wait_ended_not("r1").await, (), "the task itself runs on");
}

trait RunsOn {
    async fn wait_ended_not(&self, run_id: &str);
}

impl RunsOn for LinuxExecutor {
    async fn wait_ended_not(&self, run_id: &str) {
        assert!(timeout(Duration::from_millis(50), self.wait(run_id)).await.is_err(), "it has ended");
    }
}

#[tokio::test]
async fn input_goes_to_the_command_and_ends_and_large_outputs_come_whole() {
    let bench = Bench::new();
    let executor = idle(&bench).await;
    let mut running = executor.exec("r1", command(&["sh", "-c", "wc -c; cat"], false, true)).await.unwrap();
    running.input.write(b"hello\n").await.unwrap();
    running.input.end().await;
    assert_eq!(said(&mut running, "\n").await.trim(), "6");
    assert_eq!(all(running).await.2, Exit::Code(0));

    let mut running = executor.exec("r1", command(&["cat"], false, true)).await.unwrap();
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let Running { mut input, mut output } = running;
    let bytes = sent.clone();
    let feeding = tokio::spawn(async move {
        for piece in bytes.chunks(30_000) {
            input.write(piece).await.unwrap();
        }
        input.end().await;
    });
    let mut received = vec![];
    loop {
        match timeout(super::support::PATIENCE, output.next()).await.unwrap() {
            CommandEvent::Output(_, bytes) => received.extend(bytes),
            CommandEvent::Ended(exit) => break assert_eq!(exit, Exit::Code(0)),
        }
    }
    feeding.await.unwrap();
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    // Without an input it reads an end at once.
    running = executor.exec("r1", command(&["cat"], false, false)).await.unwrap();
    assert_eq!(all(running).await, (String::new(), String::new(), Exit::Code(0)));
}

#[tokio::test]
async fn a_terminal_has_a_size_that_changes_and_passes_on_ctrl_c() {
    let bench = Bench::new();
    let executor = idle(&bench).await;
    let script = "trap 'stty size' WINCH; trap 'echo got it; exit 4' INT; stty size; echo $TERM; tty; echo set; \
                  while :; do sleep 0.02; done";
    let mut running = executor.exec("r1", command(&["bash", "-c", script], true, true)).await.unwrap();
    let begin = said(&mut running, "set\r\n").await;
    assert!(begin.starts_with("17 91\r\nvt100\r\n/dev/pts/"), "{begin:?}");
    running.input.resize(TerminalSize { columns: 120, rows: 40 });
    said(&mut running, "40 120").await;
    running.input.write(&[3]).await.unwrap();
    said(&mut running, "got it").await;
    assert_eq!(all(running).await.2, Exit::Code(4));
    // The end of the input ends a program that reads from the terminal.
    let mut running = executor.exec("r1", command(&["cat"], true, true)).await.unwrap();
    running.input.write(b"echo\n").await.unwrap();
    said(&mut running, "echo\r\necho\r\n").await;
    running.input.end().await;
    assert_eq!(all(running).await.2, Exit::Code(0));
}

#[tokio::test]
async fn a_command_whose_person_goes_is_killed_with_all_of_its_session() {
    let bench = Bench::new();
    let executor = idle(&bench).await;
    for (at, terminal) in [("a", false), ("b", true)] {
        let script = format!("trap '' HUP; echo $$ > {at}.main; sh -c 'echo $$ > {at}.child; sleep 1000; :' & wait");
        let mut running = executor.exec("r1", command(&["bash", "-c", &script], terminal, true)).await.unwrap();
        let pid = |name: &str| process(&bench.work("r1").join(format!("{at}.{name}")));
        until("both run", || pid("main").is_some() && pid("child").is_some()).await;
        let (main, child) = (pid("main").unwrap(), pid("child").unwrap());
        assert!(lives(main) && lives(child));
        running.input.resize(SIZE);
        drop(running);
        until("both are dead", || !lives(main) && !lives(child)).await;
    }
    executor.wait_ended_not("r1").await;
}

#[tokio::test]
async fn a_command_ends_with_its_task() {
    let bench = Bench::new();
    let executor = idle(&bench).await;
    let mut running =
        executor.exec("r1", command(&["sh", "-c", "echo on; exec sleep 1000"], false, false)).await.unwrap();
    said(&mut running, "on").await;
    executor.kill("r1").await.unwrap();
    assert_eq!(all(running).await.2, Exit::Signal(9));
    let late = executor.exec("r1", command(&["true"], false, false)).await.err().unwrap();
    assert_eq!(late, CommandError::Ended("r1".into()));
    let unknown = executor.exec("r2", command(&["true"], false, false)).await.err().unwrap();
    assert_eq!(unknown, CommandError::Unknown("r2".into()));
}

#[tokio::test]
async fn what_cannot_be_run_is_told_apart_and_commands_are_bounded() {
    let bench = Bench::new();
    let executor = idle(&bench).await;
    let refused = async |run: &[&str]| executor.exec("r1", command(run, false, false)).await.err().unwrap();
    assert!(
        matches!(refused(&["no-such-program"]).await, CommandError::NotFound(why) if why.contains("no-such-program"))
    );
    assert!(matches!(refused(&["./ready"]).await, CommandError::NotExecutable(_)));
    let mut held = vec![];
    for _ in 0..8 {
        held.push(executor.exec("r1", command(&["sleep", "1000"], false, false)).await.unwrap());
    }
    assert!(matches!(refused(&["true"]).await, CommandError::TooMany(why) if why.contains('8')));
    held.pop();
    assert_eq!(all(executor.exec("r1", command(&["true"], false, false)).await.unwrap()).await.2, Exit::Code(0));
}

#[tokio::test]
async fn what_a_command_leaves_behind_does_not_hold_up_its_end() {
    let bench = Bench::new();
    let executor = idle(&bench).await;
    for terminal in [false, true] {
        let script = "trap '' HUP; sleep 1000 & echo $! > left; echo done; exit 6";
        let running = executor.exec("r1", command(&["bash", "-c", script], terminal, false)).await.unwrap();
        let (out, _, exit) = all(running).await;
        assert_eq!((out.trim(), exit), ("done", Exit::Code(6)));
        let left = process(&bench.work("r1").join("left")).unwrap();
        assert!(lives(left), "it is not asked to end either");
        super::support::kill_9(left);
    }
}
