//! Outputs: bounded, in order, complete, whatever happens to the agent.

use super::support::{Bench, guest, lives, until};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use taffeta_isolation_linux::LinuxExecutor;
use taffeta_isolation_plan::{Executor, LogPiece, Piece, PieceStart, Stream, TaskSpec};
use taffeta_model::{Exit, LogBounds, UnixMillis};

const SMALL: LogBounds = LogBounds { size: 64 << 10, files: 3 };

fn at(offset: u64) -> Piece {
    Piece { from: PieceStart::At(offset), bytes_max: 256 << 10, times: false }
}

async fn read(executor: &LinuxExecutor, piece: Piece) -> LogPiece {
    executor.read_log("r1", Stream::Stdout, piece).await.unwrap()
}

/// All that is there from a position on.
async fn rest(executor: &LinuxExecutor, mut from: u64) -> (u64, Vec<u8>) {
    let first = read(executor, at(from)).await;
    let (begin, mut all) = (first.from, first.bytes);
    from = first.next;
    loop {
        let piece = read(executor, at(from)).await;
        if piece.bytes.is_empty() {
            return (begin, all);
        }
        assert_eq!((piece.from, piece.gone), (from, 0), "nothing goes of what an ended task has left");
        from = piece.next;
        all.extend(piece.bytes);
    }
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMillis(u64::try_from(since.as_millis()).unwrap())
}

/// Bytes of all files of an output, and how many there are.
fn on_disk(folder: &Path, what: &str) -> (u64, usize) {
    let entries = fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let sizes: Vec<u64> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(what))
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .collect();
    (sizes.iter().sum(), sizes.len())
}

#[tokio::test]
async fn files_turn_over_at_their_bounds_and_positions_stay() {
    let bench = Bench::new();
    let executor = bench.executor();
    // 40,000 lines of 12 bytes: 480,000, of which the last three files are kept.
    let spec = TaskSpec { logs: SMALL, ..bench.spec("r1", &["seq", "-f", "line %06g", "1", "40000"]) };
    executor.start(spec).await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Code(0));
    let (size, total) = (SMALL.size, 40_000 * 12);
    let piece = read(&executor, at(0)).await;
    let oldest = total / size * size - 2 * size;
    assert_eq!((piece.from, piece.gone), (oldest, oldest), "what has gone is said");
    let (begin, all) = rest(&executor, 0).await;
    assert_eq!((begin, begin + all.len() as u64), (oldest, total));
    let whole: String = (1..=40_000).map(|n| format!("line {n:06}\n")).collect();
    assert_eq!(all, &whole.as_bytes()[usize::try_from(oldest).unwrap()..], "each byte where it was written");
    let folder = bench.root.join("r1");
    assert_eq!(on_disk(&folder, "stdout.log").1, 3);
    assert!(!folder.join("stdout.log").exists() && folder.join(format!("stdout.log.{oldest}")).exists());
    let (bytes, _) = on_disk(&folder, "std");
    assert!(bytes <= SMALL.disk_max() / 2, "{bytes}");

    let middle = read(&executor, Piece { bytes_max: 24, ..at(oldest + size) }).await;
    assert_eq!(middle.bytes, &whole.as_bytes()[usize::try_from(oldest + size).unwrap()..][..24]);
    let end = read(&executor, at(total + 5)).await;
    assert_eq!((end.from, end.next, end.bytes.len()), (total, total, 0));
    let last = |lines| Piece { from: PieceStart::LinesBeforeEnd(lines), ..at(0) };
    assert_eq!(read(&executor, last(2)).await.bytes, b"line 039999\nline 040000\n");
    assert_eq!(read(&executor, last(0)).await.bytes, b"");
    assert_eq!(read(&executor, last(10_000)).await.from, total - 10_000 * 12, "across files");
    assert_eq!(read(&executor, last(1_000_000)).await.from, oldest);
    let tail = read(&executor, Piece { from: PieceStart::BeforeEnd(7), ..at(0) }).await;
    assert_eq!((tail.bytes.as_slice(), tail.at_line), (&b"040000\n"[..], false));
}

#[tokio::test]
async fn a_last_line_without_its_end_counts_as_a_line() {
    let bench = Bench::new();
    let executor = bench.executor();
    executor.start(bench.spec("r1", &["printf", "one\\ntwo\\nthree"])).await.unwrap();
    executor.wait("r1").await;
    let last = |lines| Piece { from: PieceStart::LinesBeforeEnd(lines), ..at(0) };
    assert_eq!(read(&executor, last(1)).await.bytes, b"three");
    assert_eq!(read(&executor, last(2)).await.bytes, b"two\nthree");
    assert_eq!(read(&executor, last(3)).await.bytes, b"one\ntwo\nthree");
    let unknown = executor.read_log("r2", Stream::Stdout, at(0)).await.unwrap();
    assert_eq!(unknown.bytes, b"", "of a run that is not there nothing is read");
}

#[tokio::test]
async fn no_line_is_lost_or_doubled_while_agents_come_and_go() {
    let bench = Bench::new();
    let script = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo $i; echo err $i >&2; \
                  [ $((i % 100)) = 0 ] && sleep 0.02; done; echo last words";
    // Agents in processes of their own, killed one after the other. Each finds the run, and reads.
    let mut agent = super::protocol::agent(&bench, &bench.spec("r1", &["sh", "-c", script]));
    until("the task runs", || bench.root.join("r1/state.json").exists()).await;
    let mut seen = 0;
    for _ in 0..5 {
        agent.kill().unwrap();
        agent.wait().unwrap();
        let before = seen;
        let executor = bench.executor();
        while seen == before && !bench.root.join("r1/exit.json").exists() {
            seen = read(&executor, at(seen)).await.next;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        agent = super::protocol::agent(&bench, &bench.spec("r1", &["sh", "-c", script]));
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    let executor = bench.executor();
    assert_eq!(executor.wait("r1").await, Exit::Code(0));
    let expected: String = (1..=4000).map(|n| format!("{n}\n")).chain(["last words\n".into()]).collect();
    assert_eq!(String::from_utf8(rest(&executor, 0).await.1).unwrap(), expected);
    let errors = executor.read_log("r1", Stream::Stderr, at(0)).await.unwrap();
    let expected: String = (1..=4000).map(|n| format!("err {n}\n")).collect();
    assert_eq!(String::from_utf8(errors.bytes).unwrap(), expected, "the two outputs are apart");
}

#[tokio::test]
async fn what_a_task_says_last_is_there_when_its_end_is_told() {
    let bench = Bench::new();
    let executor = bench.executor();
    // A grandchild in a session of its own holds the outputs open, and must not hold up the end.
    let script = "(setsid sleep 1000 &); head -c 60000 /dev/zero | tr '\\0' x; echo; echo bye >&2; exit 3";
    for run in ["r1", "r2", "r3"] {
        executor.start(bench.spec(run, &["sh", "-c", script])).await.unwrap();
    }
    for run in ["r1", "r2", "r3"] {
        assert_eq!(executor.wait(run).await, Exit::Code(3));
        let out = executor.read_log(run, Stream::Stdout, at(0)).await.unwrap();
        assert_eq!((out.bytes.len(), out.bytes.last()), (60_001, Some(&b'\n')));
        assert_eq!(executor.read_log(run, Stream::Stderr, at(0)).await.unwrap().bytes, b"bye\n");
    }
}

#[tokio::test]
async fn what_is_still_in_the_pipe_of_a_task_that_has_ended_is_kept() {
    if Command::new("python3").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: python3 is not there, which makes a pipe larger");
    }
    let bench = Bench::new();
    let executor = bench.executor();
    // F_SETPIPE_SZ: as much as any process may have, so that it ends before its shim has read anything.
    let script = "import fcntl, os, time\nfcntl.fcntl(1, 1031, 1 << 20)\nopen('ready', 'w')\n\
                  while not os.path.exists('go'): time.sleep(0.01)\nos.write(1, b'x' * ((1 << 20) - 3) + b'end')";
    let started = executor.start(bench.spec("r1", &["python3", "-c", script])).await.unwrap();
    until("it is ready", || bench.work("r1").join("ready").exists()).await;
    let shim = rustix::process::Pid::from_raw(i32::try_from(bench.shim_pid("r1")).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::STOP).unwrap();
    fs::write(bench.work("r1").join("go"), "").unwrap();
    until("it has ended", || !lives(started.pid)).await;
    rustix::process::kill_process(shim, rustix::process::Signal::CONT).unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Code(0));
    let last = Piece { from: PieceStart::BeforeEnd(4), ..at(0) };
    let out = read(&executor, last).await;
    assert_eq!((out.bytes.as_slice(), out.next), (&b"xend"[..], 1 << 20));
}

#[tokio::test]
async fn a_flood_fills_no_disk_and_holds_up_neither_its_shim_nor_its_neighbour() {
    let bench = Bench::new();
    let executor = bench.executor();
    let flood = "yes this goes on and on | tee -a /dev/stderr; :";
    let spec = TaskSpec { logs: SMALL, ..bench.spec("r1", &["sh", "-c", flood]) };
    let shim_was = executor.start(spec).await.map(|_| bench.shim_pid("r1")).unwrap();
    let neighbour = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo $i; sleep 0.01; done";
    let begun = Instant::now();
    executor.start(bench.spec("r2", &["sh", "-c", neighbour])).await.unwrap();
    let folder = bench.root.join("r1");
    // The burst has gone by then: what follows is slowed down.
    until("a lot has been written", || {
        let newest = fs::read_dir(&folder)
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("stdout.log.")?.parse::<u64>().ok());
        newest.max().is_some_and(|at| at > 24 << 20)
    })
    .await;
    let mut slow = vec![];
    for _ in 0..20 {
        let asked = Instant::now();
        executor.signal("r1", rustix::process::Signal::CONT.as_raw()).await.unwrap();
        let took = asked.elapsed();
        slow.extend((took >= guest::allowed(Duration::from_secs(1))).then_some(took));
        let (bytes, _) = on_disk(&folder, "std");
        let most = SMALL.disk_max() + 2 * SMALL.size; // one file more for a moment
        assert!(bytes <= most, "{bytes} of {most}");
    }
    // One or two may be the machine's.
    assert!(slow.len() <= 2, "the shim took {slow:?} to answer");
    let cpu = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<u64> =
            stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2).map(|n| n.parse().unwrap()).collect();
        Duration::from_millis(10 * (fields[0] + fields[1]))
    };
    println!("the shim of a flood has used {:?} in {:?}", cpu(shim_was), begun.elapsed());
    assert_eq!(executor.wait("r2").await, Exit::Code(0));
    println!("the neighbour took {:?}", begun.elapsed());
    let said = executor.read_log("r2", Stream::Stdout, at(0)).await.unwrap();
    assert_eq!(said.bytes.iter().filter(|byte| **byte == b'\n').count(), 50);
    let maps = fs::read_to_string(format!("/proc/{shim_was}/smaps_rollup")).unwrap();
    let size = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    // Not Private_Dirty: that counts pages of a freshly linked program that are merely not on disk yet.
    let own: u64 = maps.lines().filter(|line| line.starts_with("Anonymous:")).filter_map(size).sum();
    println!("its shim has {own} KiB of its own");
    assert!(own > 0 && own <= 1_024, "{own} KiB");
    executor.kill("r1").await.unwrap();
}

#[tokio::test]
async fn lines_have_their_times_and_since_finds_them() {
    let bench = Bench::new();
    let executor = bench.executor();
    let script = "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; echo three";
    let before = now();
    executor.start(bench.spec("r1", &["sh", "-c", script])).await.unwrap();
    let log = executor.log_path("r1", Stream::Stdout);
    until("it has begun", || fs::metadata(&log).is_ok_and(|about| about.len() == 4)).await;
    let first = now();
    // Times are exact to a tenth of a second.
    until("some time has passed", || now().0 > first.0 + 300).await;
    let between = now();
    fs::write(bench.work("r1").join("go"), "").unwrap();
    executor.wait("r1").await;
    let after = now();
    let LogPiece { times, bytes, .. } = read(&executor, Piece { times: true, ..at(0) }).await;
    assert_eq!(bytes, b"one\ntwo\nthree\n");
    assert!(
        matches!(times.as_slice(), [(0, one), (4, two), ..]
        if before <= *one && *one <= first && between <= *two && *two <= after),
        "{before:?} {first:?} {between:?} {times:?}"
    );
    let since = |at_| Piece { from: PieceStart::Since(at_), ..at(0) };
    assert_eq!(read(&executor, since(before)).await.from, 0);
    assert_eq!(read(&executor, since(between)).await.bytes, b"two\nthree\n");
    assert_eq!(read(&executor, since(UnixMillis(after.0 + 1))).await.bytes, b"");
    let part = read(&executor, Piece { times: true, ..at(6) }).await;
    assert_eq!((part.bytes.as_slice(), part.at_line), (&b"o\nthree\n"[..], false));
    assert!(part.times.first().is_some_and(|(offset, _)| *offset == 4), "{:?}", part.times);
    let line = read(&executor, Piece { times: true, ..at(4) }).await;
    assert!(line.at_line);
}

#[tokio::test]
async fn times_are_bounded_and_since_crosses_files() {
    let bench = Bench::new();
    let executor = bench.executor();
    let script = "seq -w 1 10000; while [ ! -e go ]; do sleep 0.01; done; seq -w 10001 20000";
    let spec = TaskSpec { logs: SMALL, ..bench.spec("r1", &["sh", "-c", script]) };
    executor.start(spec).await.unwrap();
    let folder = bench.root.join("r1");
    until("the first part is there", || on_disk(&folder, "stdout.log").0 == 60_000).await;
    let written = now();
    until("some time has passed", || now().0 > written.0 + 300).await;
    let between = now();
    fs::write(bench.work("r1").join("go"), "").unwrap();
    executor.wait("r1").await;
    let piece = read(&executor, Piece { from: PieceStart::Since(between), times: true, bytes_max: 12 }).await;
    assert_eq!((piece.from, piece.bytes.as_slice()), (60_000, &b"10001\n10002\n"[..]));
    let times = on_disk(&folder, "stdout.times");
    assert!(times.1 == 2 && times.0 <= 2 * SMALL.times_max(), "{times:?}");
}

/// A small file system, and gone with the test.
struct Tmpfs(std::path::PathBuf);

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn what_a_full_disk_does_not_take_is_counted_and_said_and_the_task_goes_on() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("small");
    fs::create_dir(&root).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&root).output();
    if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
        return eprintln!("SKIPPED: no tmpfs can be mounted here: {mounted:?}");
    }
    let _tmpfs = Tmpfs(root.clone());
    let bench = Bench::at(root.join("tasks"));
    let executor = bench.executor();
    let script = "echo begin; while [ ! -e full ]; do sleep 0.01; done; seq -w 1 20000; printf 'half a line'; \
                  : > said; while [ ! -e go ]; do sleep 0.01; done; echo; echo end";
    executor.start(bench.spec("r1", &["sh", "-c", script])).await.unwrap();
    until("it has begun", || executor.log_path("r1", Stream::Stdout).metadata().is_ok_and(|about| about.len() > 0))
        .await;
    let filler = root.join("filler");
    // As full as can be: the last bytes one by one.
    let fill = || {
        use std::io::Write;
        let mut file = fs::File::options().create(true).append(true).open(&filler).unwrap();
        while file.write(&[0; 4096]).is_ok_and(|n| n > 0) {}
    };
    fill();
    fs::write(bench.work("r1").join("full"), "").unwrap(); // an empty file takes no room
    until("the task has said all", || {
        fill();
        bench.work("r1").join("said").exists()
    })
    .await;
    fs::remove_file(&filler).unwrap();
    fs::write(bench.work("r1").join("go"), "").unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Code(0), "it was not held up");
    let text = String::from_utf8(rest(&executor, 0).await.1).unwrap();
    assert!(text.starts_with("begin\n") && text.ends_with("\nend\n"), "{text}");
    let markers: Vec<&str> = text.lines().filter(|line| line.starts_with("[taffeta: ")).collect();
    assert!(
        !markers.is_empty()
            && markers.iter().all(|line| line.ends_with(" bytes dropped: No space left on device (os error 28)]")),
        "{markers:?}"
    );
    let dropped: usize = markers.iter().map(|line| line.split(' ').nth(1).unwrap().parse::<usize>().unwrap()).sum();
    let said = 6 + 20_000 * 6 + 11 + 1 + 4;
    let kept: usize = text.len() - markers.iter().map(|line| line.len() + 1).sum::<usize>();
    let mended = (kept + dropped).checked_sub(said);
    assert!(
        mended.is_some_and(|mended| mended <= markers.len()),
        "{kept} kept, {dropped} dropped of {said}; a line that was cut is ended"
    );
}
