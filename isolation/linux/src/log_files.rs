//! Where the output of a run lies: the files, their names, and the notes of when what was written.
//!
//! The first file of stdout is `stdout.log`; the next one begins where that ended, at byte 8388608 say, and is called
//! `stdout.log.8388608`. So positions need no table, and a file is never renamed: whoever reads it goes on reading it.
//! Beside each lies `stdout.times` (`stdout.times.8388608`): pairs of little-endian 64 bit numbers, a position and the
//! milliseconds since 1970 at which what begins there was read from the task. A release before wrote one file without notes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};
use taffeta_isolation_plan::Stream;
use taffeta_model::UnixMillis;

/// Bytes of one note.
pub(crate) const STAMP_BYTES: usize = 16;

/// What was written within this time of a note has none of its own: times are exact to it.
pub(crate) const STAMP_EVERY_MS: u64 = 100;

/// From this position on what was written was written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) offset: u64,
    pub(crate) at: UnixMillis,
}

impl Stamp {
    pub(crate) fn encode(self) -> [u8; STAMP_BYTES] {
        (u128::from(self.offset) | u128::from(self.at.0) << 64).to_le_bytes()
    }

    pub(crate) fn decode(bytes: [u8; STAMP_BYTES]) -> Self {
        let both = u128::from_le_bytes(bytes);
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        Self { offset: half(both), at: UnixMillis(half(both >> 64)) }
    }
}

fn base(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

fn name(stream: Stream, kind: &str, start: u64) -> String {
    let base = base(stream);
    if start == 0 { format!("{base}.{kind}") } else { format!("{base}.{kind}.{start}") }
}

/// The file whose first byte has this position.
pub(crate) fn log_file(folder: &Path, stream: Stream, start: u64) -> PathBuf {
    folder.join(name(stream, "log", start))
}

/// The notes beside it.
pub(crate) fn times_file(folder: &Path, stream: Stream, start: u64) -> PathBuf {
    folder.join(name(stream, "times", start))
}

/// Where the files of an output begin that are there, oldest first.
pub(crate) fn starts(folder: &Path, stream: Stream) -> io::Result<Vec<u64>> {
    let first = name(stream, "log", 0);
    let mut starts = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?.file_name();
        let Some(rest) = entry.to_str().and_then(|entry| entry.strip_prefix(&first)) else { continue };
        match rest.strip_prefix('.').map(str::parse) {
            None if rest.is_empty() => starts.push(0),
            Some(Ok(start)) => starts.push(start),
            None | Some(Err(_)) => {} // not ours
        }
    }
    starts.sort_unstable();
    Ok(starts)
}
