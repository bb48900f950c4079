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
    over: bool,
    pieces: usize,
}

/// Pieces that are read at most: a task that writes without end must not keep us here. They hold more than an output's files.
const PIECES_MAX: usize = 100_000;

impl<'a> Whole<'a> {
    fn new(client: &'a Client, task: &'a TaskId, read: LogRead) -> Self {
        Self { client, task, cursor: LogCursor::new(read), over: false, pieces: 0 }
    }

    async fn next(&mut self) -> Outcome<Option<Vec<u8>>> {
        if self.over || self.pieces == PIECES_MAX {
            return Ok(None);
        }
        self.pieces += 1;
        let read = self.cursor.next_read();
        let chunk = self.client.logs(self.task.clone(), read.clone()).await?;
        let (asked, begun) = (read.limit as usize, self.cursor.has_begun());
        let step = self.cursor.take(chunk);
        say_gone(step.gone);
        if step.anew.is_some() || step.bytes.is_empty() {
            self.over = true; // what the next run writes was not there at first
            return Ok(None);
        }
        // A piece that is not full was the end when it was read.
        self.over = !read.times && step.bytes.len() < asked && begun;
        Ok(Some(step.bytes))
    }
}

/// Both outputs, line by line in the order in which they were written, as far as that is known.
async fn merged(client: &Client, task: &TaskId, args: &LogsArgs) -> Outcome {
    let read = |stderr| LogRead { times: true, ..begin(args, stderr) };
    let (mut out, mut err) = (Lines::new(client, task, read(false)), Lines::new(client, task, read(true)));
    loop {
        out.fill().await?;
        err.fill().await?;
        let err_first = match (out.ready.front(), err.ready.front()) {
            (Some(out), Some(err)) => time(err) < time(out),
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => return Ok(()),
        };
        let side = if err_first { &mut err } else { &mut out };
        let line = side.ready.pop_front().unwrap_or_default();
        let shown = if args.timestamps { &line[..] } else { line.get(TIME_BYTES..).unwrap_or_default() };
        if err_first { print_error_bytes(shown)? } else { print_bytes(shown)? }
    }
}

fn time(line: &[u8]) -> &[u8] {
    &line[..TIME_BYTES.min(line.len())]
}

/// The lines of one output, with their times.
struct Lines<'a> {
    whole: Whole<'a>,
    ready: VecDeque<Vec<u8>>,
    /// The beginning of a line whose rest is to come.
    part: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn new(client: &'a Client, task: &'a TaskId, read: LogRead) -> Self {
        Self { whole: Whole::new(client, task, read), ready: VecDeque::new(), part: vec![] }
    }

    /// Reads until there is a line, or no more.
    async fn fill(&mut self) -> Outcome {
        while self.ready.is_empty() {
            let Some(bytes) = self.whole.next().await? else {
                if !self.part.is_empty() {
                    self.ready.push_back(std::mem::take(&mut self.part));
                }
                return Ok(());
            };
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                self.part.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    self.ready.push_back(std::mem::take(&mut self.part));
                }
            }
        }
        Ok(())
    }
}
