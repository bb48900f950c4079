//! The task's outputs: read from its pipes, kept in files of bounded size and number, with notes of when what was written.
//!
//! A task is never held up for ever by its own output. It is slowed down if it writes more than [`RATE`] for long; what
//! cannot be stored, as on a full disk, is dropped, counted, and said in its place as soon as there is room.

use crate::log_files::{STAMP_BYTES, STAMP_EVERY_MS, Stamp, log_file, times_file};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{Errno, read},
    pipe::{PipeFlags, pipe_with},
    time::{ClockId, clock_gettime},
};
use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};
use taffeta_isolation_plan::Stream;
use taffeta_model::{LogBounds, UnixMillis};

/// Bytes a second that a task may write for long, both outputs together: what it costs the shim is a few hundredths of a core,
/// and a disk of the slow kind keeps up.
const RATE: u64 = 16 << 20;

/// What it may write at once, however fast.
const BURST: u64 = 16 << 20;

/// A pipe is not read for less than this while the task is slowed down: small reads cost as much as large ones.
const READ_MIN: u64 = 16 << 10;

/// Bytes read at once: as much as a pipe holds.
const READ_MAX: usize = 64 << 10;

/// Reads of one pipe in one round, so that the rest of the shim's work waits for a millisecond at most.
const READS_MAX: usize = 4;

/// Reads at the end, when nobody writes any more: as much as the largest pipe may hold.
const LAST_READS_MAX: usize = 64;

/// The two outputs of the task.
#[derive(Debug)]
pub(super) struct Logs {
    outputs: [Output; 2],
    allowance: Allowance,
    buffer: Vec<u8>,
}

/// Where the task writes.
pub(super) struct Writers {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

#[derive(Debug)]
struct Output {
    /// `None` once nobody can write to it any more.
    pipe: Option<OwnedFd>,
    log: Log,
}

impl Logs {
    /// Makes the pipes and the first files.
    pub(super) fn open(folder: &Path, bounds: LogBounds) -> io::Result<(Self, Writers)> {
        let output = |stream| {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            // The task's end stays as programs expect it: their writes wait.
            fcntl_setfl(&reader, fcntl_getfl(&reader)? | OFlags::NONBLOCK)?;
            let log = Log::open(folder, stream, bounds.clamped())?;
            Ok::<_, io::Error>((Output { pipe: Some(reader), log }, writer))
        };
        let ((stdout, out), (stderr, err)) = (output(Stream::Stdout)?, output(Stream::Stderr)?);
        let logs = Self { outputs: [stdout, stderr], allowance: Allowance::full(), buffer: vec![0; READ_MAX] };
        Ok((logs, Writers { stdout: out, stderr: err }))
    }

    /// The files to be watched: none while the task is slowed down.
    pub(super) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pipes = self.outputs.iter().filter_map(|output| output.pipe.as_ref().map(AsFd::as_fd));
        pipes.take(if self.is_slowed_down() { 0 } else { usize::MAX })
    }

    /// Whether the task has to wait before more of its output is read.
    pub(super) fn is_slowed_down(&self) -> bool {
        self.allowance.left < READ_MIN
    }

    /// Keeps some of what has been written.
    pub(super) fn pump(&mut self, now: UnixMillis) {
        self.allowance.refill();
        for output in &mut self.outputs {
            for _ in 0..READS_MAX {
                if self.allowance.left < READ_MIN {
                    return;
                }
                let most = usize::try_from(self.allowance.left).unwrap_or(READ_MAX).min(READ_MAX);
                match output.take(&mut self.buffer[..most], now) {
                    0 => break,
                    taken => self.allowance.left -= taken as u64,
                }
            }
        }
    }

    /// Keeps all that is left in the pipes: of a task of which nothing runs any more. What somebody else writes to them, who
    /// was handed an end, is not waited for.
    pub(super) fn drain(&mut self, now: UnixMillis) {
        for output in &mut self.outputs {
            for _ in 0..LAST_READS_MAX {
                if output.take(&mut self.buffer, now) == 0 {
                    break;
                }
            }
        }
        self.settle(now);
    }

    /// Says what was dropped, if there is room for it now.
    pub(super) fn settle(&mut self, now: UnixMillis) {
        for output in &mut self.outputs {
            output.log.tell_dropped(now);
        }
    }
}

impl Output {
    /// Keeps what is there now, as far as it fits into the buffer; how much that was.
    fn take(&mut self, buffer: &mut [u8], now: UnixMillis) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        match read(pipe, &mut *buffer) {
            Ok(0) => {
                self.pipe = None;
                0
            }
            Ok(taken) => {
                self.log.append(&buffer[..taken], now);
                taken
            }
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => {
                self.pipe = None; // no such error is known
                0
            }
        }
    }
}

/// How much may be read at this moment: a bucket that is filled at [`RATE`] and holds [`BURST`].
#[derive(Debug)]
struct Allowance {
    left: u64,
    /// Milliseconds of the clock that nobody sets.
    filled_at: u64,
}

impl Allowance {
    fn full() -> Self {
        Self { left: BURST, filled_at: monotonic_ms() }
    }

    fn refill(&mut self) {
        let now = monotonic_ms();
        let passed = now.saturating_sub(self.filled_at).min(1_000 * BURST / RATE);
        self.left = (self.left + passed * RATE / 1_000).min(BURST);
        self.filled_at = now;
    }
}

fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000 + now.tv_nsec / 1_000_000).unwrap_or_default()
}

/// The files of one output.
#[derive(Debug)]
struct Log {
    folder: PathBuf,
    stream: Stream,
    bounds: LogBounds,
    /// Where the files begin that are there, oldest first; the last is the one that is written to.
    starts: VecDeque<u64>,
    file: File,
    /// Bytes in it.
    length: u64,
    /// Its notes, from the first one on.
    times: Option<File>,
    times_length: u64,
    /// When the last note was made; `None`: none in this file.
    noted: Option<UnixMillis>,
    /// Whether the last byte ended a line, or there is none.
    at_line: bool,
    /// Bytes that were dropped since it was said last, and why.
    dropped: u64,
    why: String,
}

impl Log {
    fn open(folder: &Path, stream: Stream, bounds: LogBounds) -> io::Result<Self> {
        Ok(Self {
            folder: folder.to_path_buf(),
            stream,
            bounds,
            starts: VecDeque::from([0]),
            file: create(&log_file(folder, stream, 0))?,
            length: 0,
            times: None,
            times_length: 0,
            noted: None,
            at_line: true,
            dropped: 0,
            why: String::new(),
        })
    }

    fn append(&mut self, mut bytes: &[u8], now: UnixMillis) {
        if !self.tell_dropped(now) {
            self.dropped += bytes.len() as u64;
            return;
        }
        while !bytes.is_empty() {
            match self.write(bytes, now) {
                Ok(written) => bytes = &bytes[written..],
                Err(e) => {
                    self.why = e.to_string();
                    self.dropped += bytes.len() as u64;
                    return;
                }
            }
        }
    }

    /// Writes as much as fits into the present file.
    fn write(&mut self, bytes: &[u8], now: UnixMillis) -> io::Result<usize> {
        if self.length >= self.bounds.size || self.times_length >= self.bounds.times_max() {
            self.turn_over()?;
        }
        let room = usize::try_from(self.bounds.size - self.length).unwrap_or(usize::MAX);
        let written = match self.file.write_at(&bytes[..bytes.len().min(room)], self.length) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            result => result?,
        };
        self.note_time(now);
        self.length += written as u64;
        self.at_line = bytes[written - 1] == b'\n';
        Ok(written)
    }

    /// Notes when the bytes at the end were written, unless a note says nearly the same. A disk without room for it costs the
    /// note only.
    fn note_time(&mut self, now: UnixMillis) {
        let passed = |noted: UnixMillis| now.0 < noted.0 || now.0 - noted.0 >= STAMP_EVERY_MS;
        if !self.noted.is_none_or(passed) {
            return;
        }
        let start = self.starts.back().copied().unwrap_or_default();
        if self.times.is_none() {
            self.times = create(&times_file(&self.folder, self.stream, start)).ok();
        }
        let stamp = Stamp { offset: start + self.length, at: now }.encode();
        let Some(times) = &self.times else { return };
        if times.write_all_at(&stamp, self.times_length).is_ok() {
            self.times_length += STAMP_BYTES as u64;
            self.noted = Some(now);
        }
    }

    /// Begins the next file and removes what is too old then.
    fn turn_over(&mut self) -> io::Result<()> {
        let start = self.starts.back().copied().unwrap_or_default() + self.length;
        self.file = create(&log_file(&self.folder, self.stream, start))?;
        self.starts.push_back(start);
        (self.length, self.times, self.times_length, self.noted) = (0, None, 0, None);
        while self.starts.len() > usize::from(self.bounds.files) {
            let Some(oldest) = self.starts.pop_front() else { break };
            // The notes first: without them the output can be read, but not the other way round.
            let _ = fs::remove_file(times_file(&self.folder, self.stream, oldest));
            let _ = fs::remove_file(log_file(&self.folder, self.stream, oldest));
        }
        Ok(())
    }

    /// Says in a line of its own how much was dropped, if anything was; whether that is told.
    fn tell_dropped(&mut self, now: UnixMillis) -> bool {
        if self.dropped == 0 {
            return true;
        }
        let begin = if self.at_line { "" } else { "\n" };
        let line = format!("{begin}[taffeta: {} bytes dropped: {}]\n", self.dropped, self.why);
        let before = self.length;
        let fits = before + line.len() as u64 <= self.bounds.size;
        if !fits && self.turn_over().is_err() {
            return false;
        }
        let at = self.length;
        match self.file.write_all_at(line.as_bytes(), at) {
            Ok(()) => {
                self.note_time(now);
                self.length = at + line.len() as u64;
                (self.at_line, self.dropped) = (true, 0);
                true
            }
            Err(_) => {
                let _ = self.file.set_len(at); // half a line is none
                false
            }
        }
    }
}

/// Makes a file that is not there. Whatever lies in its place, as a link, is not ours and is removed.
fn create(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    match open() {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            open()
        }
        other => other,
    }
}
