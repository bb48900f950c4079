//! A task's output in pieces, and how to follow it from run to run and from machine to machine.

use serde::{Deserialize, Serialize};
use taffeta_model::UnixMillis;

/// Which piece of a task's output is wanted. Positions count the bytes that were kept since the start of the run: they stay as
/// they are when the oldest part of the output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRead {
    /// `true` for stderr.
    pub stderr: bool,
    /// Where to begin, in bytes; before all else.
    pub offset: Option<u64>,
    /// Bytes before the end at which to begin when nothing else says where.
    pub tail: u64,
    /// Most bytes to give; at most 256 KiB are.
    pub limit: u32,
    /// Lines before the end at which to begin.
    pub lines: Option<u32>,
    /// Begin with what was written then or later; before `lines`.
    pub since: Option<UnixMillis>,
    /// Whether each line begins with the time at which it was written.
    pub times: bool,
    /// The process start whose output is wanted: as in [`LogChunk::run`]. If that is not there any more, the newest one's is
    /// given, from its beginning. `None`: the newest one's.
    pub run: Option<String>,
}

/// A piece of a task's output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where the next read begins.
    pub next: u64,
    /// Identity of the process start that wrote it: when it changes, offsets begin anew. Empty while there has been none yet.
    pub run: String,
    /// Whether the task has ended and nothing will follow.
    pub ended: bool,
    /// Position of the first byte.
    pub from: u64,
    /// Bytes that were asked for and lie before `from`: they have made room for newer ones.
    pub gone: u64,
    /// Name of the machine.
    pub node: String,
    /// Whether the task was started again since: after `next` nothing follows in this run.
    pub over: bool,
}

/// A place in a task's output that goes on in the next run, here or elsewhere.
#[derive(Clone, Debug)]
pub struct LogCursor {
    read: LogRead,
    /// Run and machine of what was read last.
    last: Option<(String, String)>,
}

/// What a look has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStep {
    /// The bytes; none if there is nothing new.
    pub bytes: Vec<u8>,
    /// The output goes on in another run: on this machine, if it is another one than before.
    pub anew: Option<Option<String>>,
    /// Bytes before these that have made room for newer ones.
    pub gone: u64,
    /// Whether nothing will follow.
    pub ended: bool,
}

impl LogCursor {
    /// Begins there.
    pub fn new(read: LogRead) -> Self {
        Self { read, last: None }
    }

    /// What is to be read next.
    pub fn next_read(&self) -> LogRead {
        self.read.clone()
    }

    /// Whether something has been read, of which nothing may be left.
    pub fn has_begun(&self) -> bool {
        self.last.is_some()
    }

    /// Takes what was read.
    pub fn take(&mut self, chunk: LogChunk) -> LogStep {
        let LogChunk { bytes, next, run, ended, gone, node, over, from: _ } = chunk;
        if run.is_empty() {
            return LogStep { ended, ..LogStep::default() };
        }
        let anew = match &self.last {
            Some((last, at)) if *last != run => Some((*at != node).then(|| node.clone())),
            Some(_) | None => None,
        };
        let empty = bytes.is_empty();
        self.read.offset = Some(if empty && over { 0 } else { next });
        self.read.run = if empty && over { None } else { Some(run.clone()) };
        self.last = Some((run, node));
        LogStep { ended: ended && empty, bytes, anew, gone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(bytes: &str, next: u64, run: &str, node: &str) -> LogChunk {
        LogChunk { bytes: bytes.into(), next, run: run.into(), node: node.into(), ..LogChunk::default() }
    }

    #[test]
    fn an_output_is_read_to_its_end_before_the_next_run_and_on_another_machine_from_its_start() {
        let mut cursor = LogCursor::new(LogRead { tail: 10, ..LogRead::default() });
        assert_eq!(cursor.take(LogChunk::default()), LogStep::default(), "it has not begun");
        assert_eq!(cursor.next_read().offset, None);
        cursor.take(chunk("one", 3, "a", "n1"));
        let LogRead { offset, run, .. } = cursor.next_read();
        assert_eq!((offset, run.as_deref()), (Some(3), Some("a")));
        cursor.take(LogChunk { over: true, ..chunk("last words", 13, "a", "n1") });
        assert_eq!(cursor.next_read().run.as_deref(), Some("a"), "there may be more of them");
        cursor.take(LogChunk { over: true, ..chunk("", 13, "a", "n1") });
        let LogRead { offset, run, .. } = cursor.next_read();
        assert_eq!((offset, run), (Some(0), None));
        assert_eq!(cursor.take(chunk("two", 3, "b", "n1")).anew, Some(None), "the same machine");
        assert_eq!(cursor.take(chunk("three", 5, "c", "n2")).anew, Some(Some("n2".into())));
        assert!(!cursor.take(LogChunk { ended: true, ..chunk("four", 9, "c", "n2") }).ended);
        assert!(cursor.take(LogChunk { ended: true, ..chunk("", 9, "c", "n2") }).ended);
    }
}
