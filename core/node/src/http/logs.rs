//! A task's output: a piece of it, or all that comes.

use super::body::{Segments, parse_query};
use super::read::parse_task;
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{ApiError, ErrorBody, ErrorCode, LogChunk, LogRead};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::stream;
use hyper::Uri;
use hyper::header::{CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use taffeta_model::TaskId;

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
#[utoipa::path(get, path = "/v1/logs/{app}/{task}",
    params(("app" = String, Path, description = "`shop`"), ("task" = String, Path, description = "`web.2`"),
        ("stream" = Option<String>, Query, description = "`stdout` (default) or `stderr`"),
        ("tail" = Option<u64>, Query, description = "Begin so many bytes before the end; 65536 by default"),
        ("offset" = Option<u64>, Query, description = "Begin here, in bytes from the start"),
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
    };
    if query.follow {
        return follow(shared, task, LogRead { limit: PIECE_BYTES_MAX, ..read }).await;
    }
    let chunk = shared.backend.logs(task, read).await?;
    let mut answer = ([TEXT], chunk.bytes).into_response();
    let headers = answer.headers_mut();
    headers.insert("x-taffeta-next", chunk.next.into());
    headers.insert("x-taffeta-ended", if chunk.ended { "true" } else { "false" }.parse().map_err(unsendable)?);
    headers.insert("x-taffeta-run", chunk.run.parse().map_err(unsendable)?);
    Ok(answer)
}

fn unsendable(e: hyper::header::InvalidHeaderValue) -> Refusal {
    ApiError::new(ErrorCode::Failed, format!("the identity of the task's run cannot be sent: {e}")).into()
}

/// The first look is made before the answer begins, so that a wrong task still gets a status.
async fn follow(shared: Arc<Shared>, task: TaskId, read: LogRead) -> Result<Response, Refusal> {
    let first = shared.backend.logs(task.clone(), read.clone()).await?;
    let mut follower = Follower { shared, task, read, run: first.run.clone(), ended: false, ready: None };
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
    read: LogRead,
    run: String,
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
                looked = self.shared.backend.logs(self.task.clone(), self.read.clone()) => looked,
            };
            match looked {
                Ok(chunk) if chunk.run != self.run => {
                    self.begin_anew(chunk.run);
                    self.pause().await;
                }
                Ok(chunk) => {
                    failures = 0;
                    if !self.take_chunk(chunk) {
                        self.pause().await;
                    }
                }
                Err(e) if is_passing(e.code) && failures < FAILURES_MAX => {
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

    /// The task was started again: what was just read is from the middle of another output.
    fn begin_anew(&mut self, run: String) {
        self.run = run;
        self.read.offset = Some(0);
    }

    /// Whether there was something in it.
    fn take_chunk(&mut self, chunk: LogChunk) -> bool {
        self.read.offset = Some(chunk.next);
        let some = !chunk.bytes.is_empty();
        self.ended = chunk.ended && !some;
        self.ready = some.then_some(chunk.bytes);
        some
    }
}

/// Whether a failure may be over at the next look. A task that is gone stays gone.
fn is_passing(code: ErrorCode) -> bool {
    match code {
        ErrorCode::NoQuorum | ErrorCode::DiskFull | ErrorCode::Timeout | ErrorCode::Failed => true,
        ErrorCode::Invalid
        | ErrorCode::Unauthorized
        | ErrorCode::Forbidden
        | ErrorCode::NotFound
        | ErrorCode::Conflict => false,
    }
}
