//! A task's output: a piece of it, or all that comes.

use super::body::{Segments, parse_query};
use super::read::parse_task;
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{ApiError, ErrorBody, ErrorCode, LogChunk, LogCursor, LogRead, LogStep};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::stream;
use hyper::Uri;
use hyper::header::{CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use taffeta_model::{TaskId, UnixMillis};

/// Between two looks at a followed output: quick for a person, cheap for the node that has it.
const POLL: Duration = Duration::from_millis(300);

/// How many looks in a row may fail before a followed output breaks off: half a minute, enough for a machine's death
/// and the task's return elsewhere.
const FAILURES_MAX: u32 = 100;

/// Most bytes of one piece, as of [`LogRead::limit`].
const PIECE_BYTES_MAX: u32 = 256 << 10;

/// Where to begin if the client does not say: the last screens.
const TAIL_BYTES_DEFAULT: u64 = 64 << 10;

const TEXT: (HeaderName, &str) = (CONTENT_TYPE, "text/plain; charset=utf-8");

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stream {
    Stdout,
    Stderr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogsQuery {
    #[serde(default = "stdout")]
    stream: Stream,
    #[serde(default = "tail")]
    tail: u64,
    offset: Option<u64>,
    #[serde(default = "limit")]
    limit: u32,
    #[serde(default)]
    follow: bool,
    lines: Option<u32>,
    since: Option<String>,
    #[serde(default)]
    times: bool,
    run: Option<String>,
}

fn stdout() -> Stream {
    Stream::Stdout
}

fn tail() -> u64 {
    TAIL_BYTES_DEFAULT
}

fn limit() -> u32 {
    PIECE_BYTES_MAX
}

/// A task's output as text. At most 256 KiB at once, with the next offset in `X-Taffeta-Next`, the identity of the
/// process start in `X-Taffeta-Run` and whether more may come in `X-Taffeta-Ended`; or all that comes, with `follow`.
/// `X-Taffeta-Gone` counts the bytes that were asked for and have made room for newer ones, `X-Taffeta-From` says where these
/// begin, `X-Taffeta-Node` on which machine they lie, `X-Taffeta-Over` whether the task was started anew since.
#[utoipa::path(get, path = "/v1/logs/{app}/{task}",
    params(("app" = String, Path, description = "`shop`"), ("task" = String, Path, description = "`web.2`"),
        ("stream" = Option<String>, Query, description = "`stdout` (default) or `stderr`"),
        ("tail" = Option<u64>, Query, description = "Begin so many bytes before the end; 65536 by default"),
        ("lines" = Option<u32>, Query, description = "Begin so many lines before the end"),
        ("since" = Option<String>, Query, description = "Begin with what was written then or later: RFC 3339, or \
            milliseconds since 1970"),
        ("offset" = Option<u64>, Query, description = "Begin here, in bytes from the start"),
        ("run" = Option<String>, Query, description = "Of this process start, if its output is still there"),
        ("times" = Option<bool>, Query, description = "Put the time in front of each line"),
        ("limit" = Option<u32>, Query, description = "Most bytes to give, if not following"),
        ("follow" = Option<bool>, Query, description = "Go on until the task ends")),
    responses((status = 200, body = String, content_type = "text/plain",
        headers(("X-Taffeta-Next" = u64, description = "Offset of the next read"))),
        (status = 404, body = ErrorBody)))]
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Segments((app, task)): Segments<(String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let task = parse_task(&app, &task)?;
    let query: LogsQuery = parse_query(&uri)?;
    let read = LogRead {
        stderr: matches!(query.stream, Stream::Stderr),
        offset: query.offset,
        tail: query.tail,
        limit: query.limit.min(PIECE_BYTES_MAX),
        lines: query.lines,
        since: query.since.as_deref().map(parse_since).transpose()?,
        times: query.times,
        run: query.run,
    };
    if query.follow {
        return follow(shared, task, LogRead { limit: PIECE_BYTES_MAX, ..read }).await;
    }
    let chunk = shared.backend.logs(task, read).await?;
    let mut answer = ([TEXT], chunk.bytes).into_response();
    let headers = answer.headers_mut();
    for (name, number) in
        [("x-taffeta-next", chunk.next), ("x-taffeta-from", chunk.from), ("x-taffeta-gone", chunk.gone)]
    {
        headers.insert(name, number.into());
    }
    for (name, is) in [("x-taffeta-ended", chunk.ended), ("x-taffeta-over", chunk.over)] {
        headers.insert(name, if is { "true" } else { "false" }.parse().map_err(unsendable)?);
    }
    for (name, text) in [("x-taffeta-run", &chunk.run), ("x-taffeta-node", &chunk.node)] {
        headers.insert(name, text.parse().map_err(unsendable)?);
    }
    Ok(answer)
}

fn parse_since(text: &str) -> Result<UnixMillis, Refusal> {
    if let Ok(millis) = text.parse() {
        return Ok(UnixMillis(millis));
    }
    let at = text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    let wrong =
        || ApiError::new(ErrorCode::Invalid, format!("`{text}` is no time, as 2026-11-25T01:30:00Z")).field("since");
    Ok(at.map(UnixMillis).ok_or_else(wrong)?)
}

fn unsendable(e: hyper::header::InvalidHeaderValue) -> Refusal {
    ApiError::new(ErrorCode::Failed, format!("the identity of the task's run cannot be sent: {e}")).into()
}

/// The first look is made before the answer begins, so that a wrong task still gets a status.
async fn follow(shared: Arc<Shared>, task: TaskId, read: LogRead) -> Result<Response, Refusal> {
    let first = shared.backend.logs(task.clone(), read.clone()).await?;
    let mut follower = Follower { shared, task, cursor: LogCursor::new(read), ended: false, ready: None };
    follower.take_chunk(first);
    let body = stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next_bytes().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(follower))),
            Ok(None) => None,
            // The status is long sent: breaking the body off is what is left to say that this is not the end.
            Err(e) => Some((Err(e), None)),
        }
    });
    Ok(([TEXT], Body::from_stream(body)).into_response())
}

/// One client's place in a task's output.
struct Follower {
    shared: Arc<Shared>,
    task: TaskId,
    cursor: LogCursor,
    ended: bool,
    ready: Option<Vec<u8>>,
}

impl Follower {
    async fn next_bytes(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        let mut failures = 0;
        loop {
            if let Some(bytes) = self.ready.take() {
                return Ok(Some(bytes));
            }
            if self.ended {
                return Ok(None);
            }
            // A full piece is followed by the next at once: only at the end is there something to wait for.
            let looked = tokio::select! {
                () = self.shared.ended() => return Ok(None),
                looked = self.shared.backend.logs(self.task.clone(), self.cursor.next_read()) => looked,
            };
            match looked {
                Ok(chunk) => {
                    failures = 0;
                    if !self.take_chunk(chunk) {
                        self.pause().await;
                    }
                }
                Err(e) if e.code.may_pass() && failures < FAILURES_MAX => {
                    failures += 1;
                    self.pause().await;
                }
                Err(e) => {
                    // Breaking off throws away what is not yet on the wire: let the last bytes leave first.
                    self.pause().await;
                    return Err(e);
                }
            }
        }
    }

    async fn pause(&self) {
        tokio::select! {
            () = self.shared.ended() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }

    /// Whether there was something in it.
    fn take_chunk(&mut self, chunk: LogChunk) -> bool {
        let LogStep { bytes, ended, .. } = self.cursor.take(chunk);
        let some = !bytes.is_empty();
        self.ended = ended;
        self.ready = some.then_some(bytes);
        some
    }
}
