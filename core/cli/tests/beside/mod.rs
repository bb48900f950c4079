//! Looking inside of tasks on three machines: outputs that go on, commands beside them, their files.

use crate::support::{alone, binary};
use std::{
    fs,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use taffeta_harness::{Cluster, within};

const SOON: Duration = Duration::from_secs(30);

/// A service that says where it is and then, in two halves, what it is told to, and a batch task that ends.
const APP: &str = r#"
app = "box"

[service.talk]
run = ["sh", "-c", "echo started at $TAFFETA_NODE; : > ready; i=0; for half in 1500 3000; do while [ ! -e go$half ]; do sleep 0.05; done; while [ $i -lt $half ]; do i=$((i+1)); printf 'line %040d\n' $i; [ $((i % 100)) = 0 ] && sleep 0.1; done; done; while :; do sleep 1; done"]
files = ["given.txt"]
logs = { size = "64KiB", files = 2 }
cpus = 0.05

[batch.once]
run = ["sh", "-c", "echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three; printf kept > kept"]
cpus = 0.05
"#;

/// Three machines with the app, and which of them has the service.
fn start() -> (Cluster, usize) {
    let mut cluster = Cluster::new(binary());
    cluster.start(3);
    cluster.wait_ready();
    cluster.wait_voters(3);
    let file = cluster.root().join("box.toml");
    fs::write(&file, APP).expect("a file");
    fs::write(cluster.root().join("given.txt"), "given").expect("a file");
    cluster.machines[0].run(&["deploy", &file.to_string_lossy(), "--wait"]).success();
    within(SOON, "the batch task has ended", || {
        let tasks = cluster.machines[0].try_json(&["ps", "box"])?;
        let once = tasks.as_array().into_iter().flatten().find(|t| t["task"] == "once.1").cloned();
        if once.is_some_and(|t| t["state"] == "finished") { Ok(()) } else { Err(tasks.to_string()) }
    });
    for machine in &cluster.machines {
        within(SOON, &format!("{} gives the outputs of both", machine.name), || {
            let [talk, once] = ["box/talk.1", "box/once.1"].map(|task| machine.run(&["logs", task]));
            let there = talk.code == 0 && talk.stdout.contains("started at ") && once.code == 0;
            if there { Ok(()) } else { Err(format!("{talk:?}, {once:?}")) }
        });
    }
    let on = owner(&cluster, 0, "talk.1");
    (cluster, on)
}

fn owner(cluster: &Cluster, asked: usize, task: &str) -> usize {
    let (name, _) = within(SOON, &format!("{task} is somewhere"), || {
        let tasks = cluster.machines[asked].try_json(&["ps", "box"])?;
        let found = tasks.as_array().into_iter().flatten().find(|t| t["task"] == task).cloned();
        found.and_then(|t| t["node"].as_str().map(str::to_owned)).ok_or_else(|| tasks.to_string())
    });
    cluster.index(&name)
}

/// A verb that goes on, and what it has said so far.
struct Verb {
    child: Child,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
}

impl Verb {
    fn begin(cluster: &Cluster, machine: usize, args: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(args).env("TAFFETA_API", format!("http://{}", cluster.machines[machine].http()));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let (out, err) = (heard(child.stdout.take()), heard(child.stderr.take()));
        Self { child, out, err }
    }

    fn out(&self) -> String {
        self.out.lock().expect("text").clone()
    }

    fn err(&self) -> String {
        self.err.lock().expect("text").clone()
    }

    fn says(&self, what: &str, is: impl Fn(&Self) -> bool) {
        within(Duration::from_secs(60), what, || {
            let tail =
                |text: String| text.chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect::<String>();
            if is(self) { Ok(()) } else { Err(format!("{:?} {:?}", tail(self.out()), tail(self.err()))) }
        });
    }

    fn ends(&mut self) -> i32 {
        within(SOON, "the verb ends", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status.code().unwrap_or(128)),
            other => Err(format!("{other:?}")),
        })
        .0
    }
}

impl Drop for Verb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn heard(pipe: Option<impl Read + Send + 'static>) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let (said, mut pipe) = (Arc::clone(&text), pipe.expect("a pipe"));
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            said.lock().expect("text").push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    });
    text
}

#[test]
fn logs_follow_a_task_across_its_files_and_to_another_machine() {
    let _alone = alone();
    let (mut cluster, on) = start();
    let other = (on + 1) % 3;
    let mut follower = Verb::begin(&cluster, other, &["logs", "-f", "box/talk.1"]);
    let first = format!("started at {}\n", cluster.machines[on].name);
    follower.says("what was there", |f| f.out() == first);
    // One half is less than its files hold: nothing makes room before it was followed.
    for half in [1500, 3000] {
        cluster.machines[other].run(&["exec", "box/talk.1", "--", "touch", &format!("go{half}")]).success();
        follower.says("all lines so far", |f| f.out().ends_with(&format!("line {half:040}\n")));
    }
    let lines: String = (1..=3000).map(|n| format!("line {n:040}\n")).collect();
    assert!(follower.out() == first + &lines, "each line once, in order, over files that have gone");
    let gone = cluster.machines[other].run(&["logs", "box/talk.1", "--tail", "10MiB"]).success();
    assert!(gone.stderr.contains("before this have made room for newer output"), "{gone:?}");
    let last = cluster.machines[other].run(&["logs", "box/talk.1", "--tail", "2"]).success();
    assert_eq!(last.stdout, format!("line {:040}\nline {:040}\n", 2999, 3000));
    // What is shown by default begins inside of a line: 64 KiB are 1424 lines and 32 bytes.
    let shown = cluster.machines[other].run(&["logs", "box/talk.1"]).success().stdout;
    assert!(shown.starts_with("000"), "{} bytes: {}", shown.len(), &shown[..100]);
    let both = cluster.machines[other].run(&["logs", "--both", "box/talk.1"]).success();
    assert_eq!((both.stdout == shown, both.stderr.as_str()), (true, ""), "nothing is lost of it");

    cluster.machines[on].kill();
    follower.says("it goes on elsewhere", |f| f.out().matches("started at ").count() == 2);
    let now = owner(&cluster, other, "talk.1");
    assert_ne!(now, on);
    let name = &cluster.machines[now].name;
    let goes_on = format!("box/talk.1 goes on at {name}, from the beginning\n");
    follower.says("where it goes on", |f| f.err().contains(&goes_on));
    follower.says("what it says there", |f| f.out().ends_with(&format!("started at {name}\n")));
    // It crashes, and is started again where it is.
    let (pid, _) = within(SOON, "its process is known", || {
        let tasks = cluster.machines[other].try_json(&["ps", "box"])?;
        let talk = tasks.as_array().into_iter().flatten().find(|t| t["task"] == "talk.1" && t["node"] == *name);
        talk.and_then(|t| t["pid"].as_i64()).ok_or_else(|| tasks.to_string())
    });
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    follower.says("it was started again", |f| f.err().contains("box/talk.1 was started again\n"));
    follower.says("its next run", |f| f.out().matches("started at ").count() == 3);
    cluster.machines[other].run(&["stop", "box"]).success();
    assert_eq!(follower.ends(), 0, "{}", follower.err());
    follower.says("that it has gone", |f| f.err().contains("box/talk.1 is not there any more\n"));
}

#[test]
fn logs_of_a_batch_task_end_with_it_and_both_outputs_come_in_their_order() {
    let _alone = alone();
    let (cluster, _) = start();
    let on = owner(&cluster, 0, "once.1");
    let other = (on + 1) % 3;
    let mut follower = Verb::begin(&cluster, other, &["logs", "-f", "--both", "box/once.1"]);
    assert_eq!(follower.ends(), 0, "{}", follower.err());
    follower.says("all that it has written", |f| f.out() == "one\nthree\n" && f.err() == "two\n");
    let late = cluster.root().join("late.toml");
    let text = "app = \"late\"\n[batch.slow]\nrun = [\"sh\", \"-c\", \"echo one; sleep 1; echo two\"]\ncpus = 0.05\n";
    fs::write(&late, text).expect("a file");
    cluster.machines[0].run(&["deploy", &late.to_string_lossy()]).success();
    within(SOON, "a task is followed to its end", || {
        let said = cluster.machines[other].run(&["logs", "-f", "late/slow.1"]);
        let whole = said.code == 0 && said.stdout == "one\ntwo\n";
        if whole { Ok(()) } else { Err(format!("{said:?}")) }
    });
    in_its_time(&cluster);
    for machine in &cluster.machines {
        let (both, _) = within(SOON, "both outputs with their times", || {
            let both = machine.run(&["logs", "--both", "--timestamps", "timed/slow.1"]);
            let count = both.stdout.lines().chain(both.stderr.lines()).count();
            if both.code == 0 && count == 3 { Ok(both) } else { Err(format!("{both:?}")) }
        });
        let lines: Vec<&str> = both.stdout.lines().chain(both.stderr.lines()).collect();
        let mut timed: Vec<(&str, &str)> = lines.iter().map(|line| line.split_at(25)).collect();
        timed.sort_unstable();
        assert_eq!(timed.iter().map(|(_, text)| *text).collect::<Vec<_>>(), ["one", "two", "three"], "{lines:?}");
        assert!(timed.iter().all(|(time, _)| time.starts_with("20") && time.ends_with("Z ")), "{lines:?}");
        assert_eq!(machine.run(&["logs", "box/once.1", "--since", "1h"]).success().stdout, "one\nthree\n");
        assert_eq!(machine.run(&["logs", "box/once.1", "--stderr"]).success().stdout, "two\n");
        assert_eq!(machine.run(&["logs", "box/once.1", "--since", "2100-01-01T00:00:00Z"]).success().stdout, "");
        assert_eq!(machine.run(&["logs", "box/once.1", "--tail", "1"]).success().stdout, "three\n");
    }
    // One that writes on and on: what is there at first is shown, and no more.
    let flood = cluster.root().join("flood.toml");
    let text = "app = \"flood\"\n[service.yes]\nrun = [\"yes\"]\ncpus = 0.05\nlogs = { size = \"1MiB\", files = 2 }\n";
    fs::write(&flood, text).expect("a file");
    cluster.machines[0].run(&["deploy", &flood.to_string_lossy()]).success();
    within(SOON, "an output without end is shown to its present end", || {
        let said = cluster.machines[other].run(&["logs", "--tail", "8MiB", "flood/yes.1"]);
        match said.stdout.len() {
            1..=4_000_000 if said.code == 0 => Ok(()),
            length => Err(format!("{length} bytes, {}: {}", said.code, said.stderr)),
        }
    });
    cluster.machines[0].run(&["stop", "flood"]).success();
    let unknown = cluster.machines[0].run(&["logs", "-f", "box/nobody.1"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
}

/// A task that writes to both outputs in turn, each line when the one before has been stored for a while.
fn in_its_time(cluster: &Cluster) {
    let file = cluster.root().join("timed.toml");
    let wait = |name: &str| format!("while [ ! -e {name} ]; do sleep 0.05; done");
    let script = format!("echo one; {}; echo two >&2; {}; echo three", wait("two"), wait("three"));
    let text = format!("app = \"timed\"\n[batch.slow]\nrun = [\"sh\", \"-c\", {script:?}]\ncpus = 0.05\n");
    fs::write(&file, text).expect("a file");
    let machine = &cluster.machines[0];
    machine.run(&["deploy", &file.to_string_lossy()]).success();
    for (before, output, next) in [("one\n", "", "two"), ("two\n", "--stderr", "three")] {
        let args = ["logs", "timed/slow.1", output];
        let args = if output.is_empty() { &args[..2] } else { &args[..] };
        within(SOON, &format!("{before:?} is there"), || {
            let said = machine.run(args);
            if said.code == 0 && said.stdout == before { Ok(()) } else { Err(format!("{said:?}")) }
        });
        thread::sleep(Duration::from_millis(300)); // times are exact to a tenth of a second
        machine.run(&["exec", "timed/slow.1", "--", "touch", next]).success();
    }
}

#[test]
fn a_command_runs_beside_its_task_from_any_machine() {
    let _alone = alone();
    let (cluster, on) = start();
    for machine in &cluster.machines {
        let said = machine.run(&[
            "exec",
            "box/talk.1",
            "--",
            "sh",
            "-c",
            "echo $TAFFETA_TASK; cat given.txt; echo no >&2; exit 7",
        ]);
        assert_eq!(
            (said.code, said.stdout.as_str(), said.stderr.as_str()),
            (7, "box/talk.1\ngiven", "no\n"),
            "{said:?}"
        );
        let said = machine.run(&["exec", "box/talk.1", "--", "no-such-program"]);
        assert_eq!(said.code, 127, "{said:?}");
        assert!(said.stderr.contains("no-such-program"), "{said:?}");
        let said = machine.run(&["exec", "box/talk.1", "--", "sh", "-c", "kill -9 $$"]);
        assert_eq!(said.code, 128 + 9, "{said:?}");
        let ended = machine.run(&["exec", "box/once.1", "--", "true"]);
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(ended.stderr.contains("error: `box/once.1` does not run: "), "{ended:?}");
        assert_eq!(machine.run(&["exec", "box/nobody.1", "--", "true"]).code, 1);
    }
    let other = (on + 1) % 3;
    let mut counter = Verb::begin(&cluster, other, &["exec", "-i", "box/talk.1", "--", "wc", "-c"]);
    let mut input = counter.child.stdin.take().expect("its stdin");
    input.write_all(&vec![b'x'; 1 << 20]).expect("it reads");
    drop(input);
    assert_eq!(counter.ends(), 0);
    counter.says("what it has counted", |f| f.out().trim() == "1048576");
    // Much in both directions at once, through two machines.
    let mut echo = Verb::begin(&cluster, other, &["exec", "-i", "box/talk.1", "--", "cat"]);
    let mut input = echo.child.stdin.take().expect("its stdin");
    let feeding = thread::spawn(move || {
        (0..20_000).try_for_each(|n| writeln!(input, "a line with a number: {n:060}")).expect("it reads");
    });
    assert_eq!(echo.ends(), 0);
    feeding.join().expect("it was fed");
    echo.says("all of it", |f| f.out().lines().count() == 20_000 && f.out().ends_with(&format!("{:060}\n", 19_999)));
}

#[test]
fn a_command_ends_when_its_client_is_killed() {
    let _alone = alone();
    let (cluster, on) = start();
    for (n, machine) in [on, (on + 1) % 3].into_iter().enumerate() {
        // By what they were started with: to the task their numbers are others than here.
        let (main, child) = (format!("main-{}-{n}", std::process::id()), format!("1000.{}{n}", std::process::id()));
        let script = format!("sleep {child} & wait");
        let mut client = Verb::begin(&cluster, machine, &["exec", "box/talk.1", "--", "sh", "-c", &script, &main]);
        let runs = |mark: &String| {
            let numbers = fs::read_dir("/proc").expect("processes").flatten();
            let marked = numbers.filter(|entry| {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                line.split(|byte| *byte == 0).any(|arg| arg == mark.as_bytes())
            });
            marked.count()
        };
        within(SOON, "the command runs", || if runs(&child) == 1 { Ok(()) } else { Err("it does not".into()) });
        client.child.kill().expect("killed");
        client.child.wait().expect("its end");
        within(SOON, "the command is dead", || {
            if runs(&main) + runs(&child) > 0 { Err("it lives".into()) } else { Ok(()) }
        });
    }
}

/// A person at a terminal.
const PERSON: &str = r#"
import fcntl, os, pty, select, struct, sys, termios, time
binary, task = sys.argv[1:]
ours, theirs = os.pipe()
pid, fd = pty.fork()
if pid == 0:
    os.read(ours, 1)  # until the size is set
    os.execv(binary, ["taffeta", "exec", "-t", "-i", task, "--", "sh"])
def size(rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
size(33, 101)
before = termios.tcgetattr(fd)
os.write(theirs, b"x")
text = b""
def until(words):
    "What came before these words."
    global text
    end = time.time() + 40
    while words not in text:
        if time.time() > end:
            sys.exit("no %r in %r" % (words, text))
        if select.select([fd], [], [], 0.1)[0]:
            try:
                text += os.read(fd, 4096)
            except OSError:
                sys.exit("it ended without %r: %r" % (words, text))
    said, text = text.split(words, 1)
    return said
def say(line):
    os.write(fd, line)
# What is typed is echoed, so the words that are waited for are not typed as they are.
say(b"echo be''gun $TERM\n"); until(b"begun vt100")
say(b"stty size; echo si''zed\n")
if b"33 101" not in until(b"sized"): sys.exit("it has another size")
size(50, 120)
end = time.time() + 40
while True:
    say(b"stty size; echo si''zed\n")
    if b"50 120" in until(b"sized"): break
    if time.time() > end: sys.exit("its size stays")
# Said by the program itself, when the keys go to it.
say(b"sh -c 'echo slee\"\"ping; exec sleep 1000'\n"); until(b"sleeping")
say(b"\x03"); say(b"echo co''de $?\n"); until(b"code 130")
say(b"exit 9\n")
_, status = os.waitpid(pid, 0)
if os.waitstatus_to_exitcode(status) != 9: sys.exit("exit code %r" % status)
if termios.tcgetattr(fd) != before: sys.exit("the terminal is not as it was")
"#;

#[test]
fn a_terminal_is_resized_interrupted_and_left_as_it_was() {
    let _alone = alone();
    let (cluster, on) = start();
    if Command::new("python3").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: python3 is not there, which plays the person");
    }
    for machine in [on, (on + 1) % 3] {
        let mut person = Command::new("python3");
        person.arg("-c").arg(PERSON).arg(binary()).arg("box/talk.1");
        person.env("TAFFETA_API", format!("http://{}", cluster.machines[machine].http())).env("TERM", "vt100");
        let said = person.output().expect("python3 runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
}

#[test]
fn files_are_listed_and_fetched_from_any_machine_and_nothing_else_is() {
    let _alone = alone();
    let (cluster, on) = start();
    cluster.machines[on]
        .run(&[
            "exec",
            "box/talk.1",
            "--",
            "sh",
            "-c",
            "while [ ! -e ready ]; do sleep 0.05; done; ln -s /etc out; mkdir sub; seq 1 200000 > sub/numbers",
        ])
        .success();
    let numbers: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    for machine in &cluster.machines {
        let list = machine.run(&["files", "box/talk.1", "-o", "json"]).success().json();
        let names: Vec<&str> =
            list["entries"].as_array().expect("entries").iter().filter_map(|e| e["name"].as_str()).collect();
        assert_eq!(names, ["given.txt", "out", "ready", "sub"], "{list}");
        let table = machine.run(&["files", "box/talk.1", "sub"]).success();
        assert!(table.stdout.contains("KIND") && table.stdout.contains("numbers"), "{table:?}");
        assert_eq!(machine.run(&["files", "box/talk.1", "given.txt"]).success().stdout, "given");
        let to = cluster.root().join("fetched");
        machine.run(&["files", "box/talk.1", "sub/numbers", "-o", &to.to_string_lossy()]).success();
        assert!(fs::read_to_string(&to).expect("the file") == numbers);
        assert_eq!(machine.run(&["files", "box/once.1", "kept"]).success().stdout, "kept", "of a task that has ended");
        for (path, code, word) in [
            ("../spec.json", 3, "leads out"),
            ("out/passwd", 3, "leads out"),
            ("/etc/passwd", 3, "leads out"),
            ("absent", 1, "there is no `absent`"),
        ] {
            let refused = machine.run(&["files", "box/talk.1", path]);
            assert_eq!((refused.code, refused.stdout.as_str()), (code, ""), "{refused:?}");
            assert!(refused.stderr.contains(word), "{refused:?}");
        }
        let folder = machine.run(&["files", "box/talk.1", "sub", "-o", &to.to_string_lossy()]);
        assert_eq!(folder.code, 2, "{folder:?}");
    }
}
