//! The outputs of tasks: of those here, and through the machine that has them.

use crate::{
    api::{ApiError, ErrorCode, LogChunk, LogRead},
    asking::is_not_known,
    events::rfc3339,
    node::Core,
    view::records,
    wire::{Ask, LogChunkV1, LogReadV1, Told},
};
use std::time::Duration;
use taffeta_isolation_plan::{LogPiece, Piece, PieceStart, Stream};
use taffeta_model::{JobKind, Liveness, NodeId, Phase, TaskId, TaskRecord};
use taffeta_net::CallError;

/// How long another node may take to give a piece.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// Largest piece of output in one reply.
const BYTES_MAX: u32 = 256 << 10;
/// The same where each line is given its time, which is longer than the shortest line.
const TIMED_BYTES_MAX: u32 = 32 << 10;
/// Most lines before the end that are searched for.
const LINES_MAX: u32 = 1_000_000;

impl Core {
    /// The machine that has the newest run of a task. A dead one counts as long as the task is wanted: it may come back, or
    /// the task comes to another.
    pub(crate) fn owner_of(&self, task: &TaskId) -> Result<NodeId, ApiError> {
        let sets = self.gossip.sets();
        let wanted = self.is_wanted(task);
        let has_it = |(owner, r): &(NodeId, &TaskRecord)| r.task == *task && (wanted || self.may_answer(*owner));
        let newest = records(&sets).filter(has_it).max_by_key(|(_, r)| r.fence);
        newest.map(|(owner, _)| owner).ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("no machine has anything of `{task}`"))
                .help("`taffeta ps` lists the tasks; `taffeta why TASK` says why one waits")
        })
    }

    fn is_wanted(&self, task: &TaskId) -> bool {
        let directory = self.directory.borrow();
        let job = directory.apps.get(&task.app).and_then(|jobs| jobs.get(&task.job));
        job.is_some_and(|job| job.kind == JobKind::Daemon || task.index <= job.count)
    }

    fn may_answer(&self, node: NodeId) -> bool {
        node == self.me || !matches!(self.met(node), Some(Liveness::Down | Liveness::Left))
    }

    /// The refusal when the machine that has it cannot be asked.
    pub(crate) fn owner_silent(&self, owner: NodeId, e: &CallError) -> ApiError {
        let node = self.name_of(owner);
        match e {
            CallError::Refused(why) if is_not_known(why) => ApiError::new(
                ErrorCode::Failed,
                format!("its machine {node} runs an older version of taffeta, which cannot do this"),
            )
            .help("`taffeta nodes -o json` tells the versions; upgrade it"),
            CallError::Refused(_)
            | CallError::UnknownNode(_)
            | CallError::Unreachable(..)
            | CallError::Broken(_)
            | CallError::Timeout => {
                ApiError::new(ErrorCode::Failed, format!("its machine {node} does not answer: {e}"))
            }
        }
    }

    /// A piece of output, from wherever it is.
    pub(crate) async fn logs(&self, task: TaskId, read: LogRead) -> Result<LogChunk, ApiError> {
        let owner = self.owner_of(&task)?;
        if owner == self.me {
            return self.logs_here(&task, &read).await;
        }
        self.logs_of(owner, task, read).await
    }

    /// A piece of output of another node's task.
    pub(crate) async fn logs_of(&self, owner: NodeId, task: TaskId, read: LogRead) -> Result<LogChunk, ApiError> {
        match self.ask(owner, &Ask::Output(task.clone(), read.clone()), READ_LIMIT).await {
            Ok(Told::Output(chunk)) => chunk,
            Ok(_) => Err(ApiError::new(ErrorCode::Failed, "an unexpected reply")),
            Err(CallError::Refused(why)) if is_not_known(&why) => self.logs_of_older(owner, task, read).await,
            Err(e) => Err(self.owner_silent(owner, &e)),
        }
    }

    /// The same of a node that knows neither runs nor times.
    async fn logs_of_older(&self, owner: NodeId, task: TaskId, read: LogRead) -> Result<LogChunk, ApiError> {
        if let Some(what) = unknown_to_older(&read) {
            let node = self.name_of(owner);
            let message = format!("its machine {node} runs an older version of taffeta, which does not know {what}");
            return Err(ApiError::new(ErrorCode::Failed, message)
                .help("ask for so many bytes before the end, as `--tail 64KiB`, or upgrade that machine"));
        }
        let LogRead { stderr, mut offset, tail, limit, run, .. } = read;
        loop {
            let asked = LogReadV1 { stderr, offset, tail, limit };
            let chunk = match self.ask(owner, &Ask::Logs(task.clone(), asked), READ_LIMIT).await {
                Ok(Told::Logs(chunk)) => chunk?,
                Ok(_) => return Err(ApiError::new(ErrorCode::Failed, "an unexpected reply")),
                Err(e) => return Err(self.owner_silent(owner, &e)),
            };
            let other = run.as_ref().is_some_and(|run| *run != chunk.run);
            if other && offset.is_some_and(|offset| offset > 0) {
                offset = Some(0); // that was from the middle of another output
                continue;
            }
            let LogChunkV1 { bytes, next, run, ended } = chunk;
            let (from, node) = (next.saturating_sub(bytes.len() as u64), self.name_of(owner));
            return Ok(LogChunk { bytes, next, run, ended, from, gone: 0, node, over: false });
        }
    }

    /// A piece of output of a task of this node.
    pub(crate) async fn logs_here(&self, task: &TaskId, read: &LogRead) -> Result<LogChunk, ApiError> {
        let runs = self.tasks.runs_of(task.clone()).await;
        let sets = self.gossip.sets();
        let record = records(&sets).find(|(owner, r)| *owner == self.me && r.task == *task);
        let over = record.is_none_or(|(_, r)| matches!(r.phase, Phase::Finished | Phase::Failed));
        let node = self.name().to_string();
        let Some(newest) = runs.last() else {
            if over {
                return Err(ApiError::new(ErrorCode::NotFound, format!("`{task}` has no output here")));
            }
            return Ok(LogChunk { node, ..LogChunk::default() });
        };
        let asked = read.run.as_ref().map(|asked| runs.iter().find(|run| run.as_str() == asked));
        let (run, from) = match asked {
            Some(Some(run)) => (run, start(read)),
            Some(None) => (newest, PieceStart::At(0)),
            None => (newest, start(read)),
        };
        let most = if read.times { TIMED_BYTES_MAX } else { BYTES_MAX };
        let piece = Piece { from, bytes_max: read.limit.clamp(1, most) as usize, times: read.times };
        let stream = if read.stderr { Stream::Stderr } else { Stream::Stdout };
        let failed = |e| ApiError::new(ErrorCode::Failed, format!("the output cannot be read: {e}"));
        let read_piece = self.executor.read_log(run.as_str(), stream, piece).await.map_err(failed)?;
        let LogPiece { from, next, gone, .. } = read_piece;
        let bytes = if read.times { with_times(&read_piece, read.offset.is_none()) } else { read_piece.bytes };
        let replaced = run != newest;
        let run = run.as_str().to_owned();
        Ok(LogChunk { bytes, next, run, ended: over && !replaced, from, gone, node, over: replaced })
    }

    /// The same as older nodes ask for it.
    pub(crate) async fn logs_for_older(&self, task: &TaskId, read: LogReadV1) -> Result<LogChunkV1, ApiError> {
        let LogReadV1 { stderr, offset, tail, limit } = read;
        let read = LogRead { stderr, offset, tail, limit, ..LogRead::default() };
        let LogChunk { bytes, next, run, ended, .. } = self.logs_here(task, &read).await?;
        Ok(LogChunkV1 { bytes, next, run, ended })
    }
}

/// What of this a node cannot do that knows neither runs nor times: it would give something else, and not say so.
fn unknown_to_older(read: &LogRead) -> Option<&'static str> {
    match (read.offset, read.since, read.lines) {
        _ if read.times => Some("when a line was written (`--timestamps`, `--both`)"),
        (None, Some(_), _) => Some("when a line was written (`--since`)"),
        (None, None, Some(_)) => Some("lines before the end (`--tail LINES`)"),
        (Some(_), ..) | (None, None, None) => None,
    }
}

fn start(read: &LogRead) -> PieceStart {
    match (read.offset, read.since, read.lines) {
        (Some(offset), ..) => PieceStart::At(offset),
        (None, Some(since), _) => PieceStart::Since(since),
        (None, None, Some(lines)) => PieceStart::LinesBeforeEnd(lines.min(LINES_MAX)),
        (None, None, None) => PieceStart::BeforeEnd(read.tail),
    }
}

/// The piece with the time in front of each line that begins in it; `-` where that is not known. The `first` piece of a reader
/// has one at its very beginning, also if that is inside of a line: nobody has seen the beginning of that.
fn with_times(piece: &LogPiece, first: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.bytes.len() * 2);
    let mut times = piece.times.iter().peekable();
    let (mut at, mut position, mut begins) = (None, piece.from, piece.at_line || first);
    for line in piece.bytes.split_inclusive(|byte| *byte == b'\n') {
        while let Some((_, time)) = times.next_if(|(offset, _)| *offset <= position) {
            at = Some(*time);
        }
        if begins {
            let time = at.map_or_else(|| "-".into(), rfc3339);
            out.extend_from_slice(format!("{time:<24} ").as_bytes());
        }
        out.extend_from_slice(line);
        position += line.len() as u64;
        begins = true;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use taffeta_model::UnixMillis;

    #[test]
    fn each_line_has_the_time_of_its_first_byte() {
        let times = vec![(10, UnixMillis(1_000)), (15, UnixMillis(2_000)), (18, UnixMillis(61_000))];
        let piece =
            LogPiece { bytes: b"one\ntwo three\nfour".to_vec(), from: 8, next: 26, gone: 0, at_line: true, times };
        let said = String::from_utf8(with_times(&piece, true)).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "-                        one");
        assert_eq!(lines[1], "1970-01-01T00:00:01.000Z two three", "the rest of it came later");
        assert_eq!(lines[2], "1970-01-01T00:01:01.000Z four");
        let within = LogPiece { at_line: false, ..piece };
        assert!(with_times(&within, false).starts_with(b"one\n1970"), "the line began in the piece before");
        assert_eq!(with_times(&within, true), said.as_bytes(), "there was none before");
    }

    #[test]
    fn an_older_node_is_not_asked_for_what_it_would_not_give() {
        let read = LogRead { tail: 10, ..LogRead::default() };
        let (since, lines) = (Some(UnixMillis(1)), Some(100));
        assert_eq!(unknown_to_older(&read), None);
        assert!(unknown_to_older(&LogRead { lines, ..read.clone() }).unwrap().contains("--tail"));
        assert!(unknown_to_older(&LogRead { since, ..read.clone() }).unwrap().contains("--since"));
        assert_eq!(unknown_to_older(&LogRead { since, lines, offset: Some(7), ..read.clone() }), None, "it has begun");
        assert!(unknown_to_older(&LogRead { times: true, offset: Some(7), ..read }).unwrap().contains("--both"));
    }
}
