//! What a task has written, and what it writes.

use super::Client;
use crate::{
    args::{LogsArgs, Since, Tail},
    failure::{Failure, Outcome},
    output::{print_bytes, remark},
    units::bytes_in_words,
};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use taffeta_model::{TaskId, UnixMillis};
use taffeta_node::api::{ErrorCode, LogCursor, LogRead};
use tokio::time::sleep;

/// Most bytes of one piece: the most that a node gives.
const PIECE_BYTES: u32 = 256 << 10;

/// Between two looks at an output that is followed.
const POLL: Duration = Duration::from_millis(300);

/// How many looks in a row may fail: half a minute and more, enough for a machine's death and the task's return elsewhere.
const FAILURES_MAX: u32 = 100;

/// Length of the time in front of a line, and the space behind it.
const TIME_BYTES: usize = 25;

/// So much of a line is shown before its end has come: an output may have no lines.
const LINE_BYTES_MAX: usize = 1 << 20;

pub(super) async fn logs(client: Client, args: LogsArgs) -> Outcome {
    let read = |stderr| begin(&args, stderr);
    let (client, task) = (&client, &args.task);
    match (args.follow, args.both) {
        (true, true) => {
            let (out, err) = (follow(client, task, read(false), false), follow(client, task, read(true), true));
            tokio::try_join!(out, err).map(drop)
        }
        (true, false) => follow(client, task, read(args.stderr), false).await,
        (false, true) => merged(client, task, &args).await,
        (false, false) => {
            let mut whole = Whole::new(client, task, read(args.stderr));
            while let Some(bytes) = whole.next().await? {
                print_bytes(&bytes)?;
            }
            Ok(())
        }
    }
}

fn begin(args: &LogsArgs, stderr: bool) -> LogRead {
    let mut read = LogRead { stderr, limit: PIECE_BYTES, times: args.timestamps, ..LogRead::default() };
    match (args.since, args.tail) {
        (Some(Since::At(at)), _) => read.since = Some(at),
        (Some(Since::Ago(ago)), _) => {
            let date = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let at = date.saturating_sub(ago).as_millis();
            read.since = Some(UnixMillis(u64::try_from(at).unwrap_or(u64::MAX)));
        }
        (None, Tail::Lines(lines)) => read.lines = Some(lines),
        (None, Tail::Bytes(bytes)) => read.tail = bytes,
    }
    read
}

/// What goes on; `apart` says that it belongs on stderr here, too.
async fn follow(client: &Client, task: &TaskId, read: LogRead, apart: bool) -> Outcome {
    let mut cursor = LogCursor::new(read);
    let mut failures = 0;
    loop {
        let chunk = match client.logs(task.clone(), cursor.next_read()).await {
            Ok(chunk) => chunk,
            Err(e) if e.code == ErrorCode::NotFound && cursor.has_begun() => {
                remark(&format!("{task} is not there any more"));
                return Ok(());
            }
            Err(e) if e.code.may_pass() && cursor.has_begun() && failures < FAILURES_MAX => {
                failures += 1;
                sleep(POLL).await;
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        failures = 0;
        let step = cursor.take(chunk);
        match step.anew {
            Some(Some(node)) => remark(&format!("{task} goes on at {node}, from the beginning")),
            Some(None) => remark(&format!("{task} was started again")),
            None => {}
        }
        say_gone(step.gone);
        if step.ended {
            return Ok(());
        }
        if step.bytes.is_empty() {
            sleep(POLL).await;
        } else if apart {
            print_error_bytes(&step.bytes)?;
        } else {
            print_bytes(&step.bytes)?;
        }
    }
}

fn say_gone(bytes: u64) {
    if bytes > 0 {
        remark(&format!("{} before this have made room for newer output", bytes_in_words(bytes)));
    }
}

fn print_error_bytes(bytes: &[u8]) -> Outcome {
    let mut stderr = io::stderr().lock();
    stderr.write_all(bytes).and_then(|()| stderr.flush()).map_err(|e| match e.kind() {
        ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::failed(format!("cannot write to stderr: {e}")),
    })
}

/// What is there of one output at this moment, piece by piece.
struct Whole<'a> {
    client: &'a Client,
    task: &'a TaskId,
    cursor: LogCursor,
    /// Where the output ended just after the first piece was read: a task that writes on must not keep us here.
    end: Option<u64>,
    over: bool,
}

impl<'a> Whole<'a> {
    fn new(client: &'a Client, task: &'a TaskId, read: LogRead) -> Self {
        Self { client, task, cursor: LogCursor::new(read), end: None, over: false }
    }

    async fn next(&mut self) -> Outcome<Option<Vec<u8>>> {
        if self.over {
            return Ok(None);
        }
        let chunk = self.client.logs(self.task.clone(), self.cursor.next_read()).await?;
        let (run, next) = (chunk.run.clone(), chunk.next);
        let step = self.cursor.take(chunk);
        say_gone(step.gone);
        if step.anew.is_some() || step.bytes.is_empty() {
            self.over = true; // what the next run writes was not there at first
            return Ok(None);
        }
        let end = match self.end {
            Some(end) => end,
            None => self.end_of(&run).await?,
        };
        self.end = Some(end);
        self.over = next >= end;
        Ok(Some(step.bytes))
    }

    /// Where the output of a run ends now; at its beginning if that has gone meanwhile.
    async fn end_of(&self, run: &str) -> Outcome<u64> {
        let LogRead { stderr, .. } = self.cursor.next_read();
        let last = LogRead { stderr, tail: 0, limit: 1, run: Some(run.to_owned()), ..LogRead::default() };
        let chunk = self.client.logs(self.task.clone(), last).await?;
        Ok(if chunk.run == run { chunk.next } else { 0 })
    }
}

/// Both outputs, line by line in the order in which they were written, as far as that is known.
async fn merged(client: &Client, task: &TaskId, args: &LogsArgs) -> Outcome {
    let read = |stderr| LogRead { times: true, ..begin(args, stderr) };
    let (mut out, mut err) = (Lines::new(client, task, read(false)), Lines::new(client, task, read(true)));
    loop {
        out.fill().await?;
        err.fill().await?;
        let err_first = match (out.cut.ready.front(), err.cut.ready.front()) {
            (Some(out), Some(err)) => err.time < out.time,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => return Ok(()),
        };
        let side = if err_first { &mut err } else { &mut out };
        let shown = side.cut.ready.pop_front().unwrap_or_default().shown(args.timestamps);
        if err_first { print_error_bytes(&shown)? } else { print_bytes(&shown)? }
    }
}

/// The lines of one output.
struct Lines<'a> {
    whole: Whole<'a>,
    cut: Cut,
}

impl<'a> Lines<'a> {
    fn new(client: &'a Client, task: &'a TaskId, read: LogRead) -> Self {
        Self { whole: Whole::new(client, task, read), cut: Cut::default() }
    }

    /// Reads until there is a line, or no more.
    async fn fill(&mut self) -> Outcome {
        while self.cut.ready.is_empty() {
            match self.whole.next().await? {
                Some(bytes) => self.cut.take(&bytes),
                None => {
                    self.cut.end();
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Cuts what comes into lines.
#[derive(Default)]
struct Cut {
    ready: VecDeque<Line>,
    /// The beginning of a line whose rest is to come, with its time.
    part: Vec<u8>,
    /// The time of a line of which so much has come already that it was passed on.
    goes_on: Option<Vec<u8>>,
}

/// A line, or a part of a long one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    /// When it was written, as it stands in front of it; empty if that is not said.
    time: Vec<u8>,
    text: Vec<u8>,
    /// Whether its beginning came before.
    goes_on: bool,
}

impl Cut {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.part.extend_from_slice(piece);
            let whole = piece.ends_with(b"\n");
            if whole || self.part.len() >= LINE_BYTES_MAX {
                self.pass_on(whole);
            }
        }
    }

    /// Nothing more comes.
    fn end(&mut self) {
        if !self.part.is_empty() {
            self.pass_on(true);
        }
    }

    fn pass_on(&mut self, whole: bool) {
        let part = std::mem::take(&mut self.part);
        let line = match self.goes_on.take() {
            Some(time) => Line { time, text: part, goes_on: true },
            None => Line::read(part),
        };
        self.goes_on = (!whole).then(|| line.time.clone());
        self.ready.push_back(line);
    }
}

impl Line {
    fn read(mut line: Vec<u8>) -> Self {
        let text = if begins_with_time(&line) { line.split_off(TIME_BYTES) } else { std::mem::take(&mut line) };
        Self { time: line, text, goes_on: false }
    }

    fn shown(self, with_time: bool) -> Vec<u8> {
        if with_time && !self.goes_on { [self.time, self.text].concat() } else { self.text }
    }
}

/// Whether a time stands in front, or the `-` of one that is not known: nodes before this version left it out where an output
/// began inside of a line.
fn begins_with_time(line: &[u8]) -> bool {
    let Some((time, b" ")) = line.get(..TIME_BYTES).and_then(|front| front.split_at_checked(TIME_BYTES - 1)) else {
        return false;
    };
    let unknown = time[0] == b'-' && time[1..].iter().all(|byte| *byte == b' ');
    unknown || (time[4] == b'-' && time[10] == b'T' && time[TIME_BYTES - 2] == b'Z')
}

#[cfg(test)]
mod tests {
    use super::{Cut, LINE_BYTES_MAX, TIME_BYTES};

    const AT: &str = "1970-01-01T00:00:01.000Z ";

    fn shown(cut: &mut Cut, times: bool) -> String {
        let lines = cut.ready.drain(..).map(|line| line.shown(times));
        String::from_utf8(lines.collect::<Vec<_>>().concat()).expect("text")
    }

    #[test]
    fn lines_keep_all_their_text_with_and_without_a_time() {
        let unknown = format!("{:<24} ", "-");
        let text = format!("the end of a line of which nobody knows when\n{AT}two\n{unknown}three\n\n{AT}fo");
        for (times, wanted) in [
            (true, format!("{text}ur")),
            (false, "the end of a line of which nobody knows when\ntwo\nthree\n\nfour".to_owned()),
        ] {
            let mut cut = Cut::default();
            cut.take(text.as_bytes());
            cut.take(b"ur");
            cut.end();
            assert_eq!(shown(&mut cut, times), wanted);
        }
        let mut cut = Cut::default();
        cut.take(text.as_bytes());
        let times: Vec<usize> = cut.ready.iter().map(|line| line.time.len()).collect();
        assert_eq!(times, [0, TIME_BYTES, TIME_BYTES, 0]);
    }

    #[test]
    fn a_line_without_end_is_passed_on_in_parts_of_one_time() {
        let mut cut = Cut::default();
        cut.take(AT.as_bytes());
        for _ in 0..=2 * LINE_BYTES_MAX / 1_000 {
            cut.take(&[b'x'; 1_000]);
            assert!(cut.part.len() < LINE_BYTES_MAX);
        }
        cut.take(b"\n");
        assert_eq!(cut.ready.len(), 3);
        assert!(cut.ready.iter().all(|line| line.time == AT.as_bytes()));
        let text = shown(&mut cut, true);
        let length = (2 * LINE_BYTES_MAX / 1_000 + 1) * 1_000;
        assert_eq!((text.matches(AT).count(), text.len()), (1, AT.len() + length + 1));
        cut.take(format!("{AT}next\n").as_bytes());
        assert_eq!(shown(&mut cut, false), "next\n");
    }
}
