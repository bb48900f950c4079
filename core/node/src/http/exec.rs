//! A command beside a task, over a WebSocket (RFC 6455).
//!
//! Each binary message begins with a byte that says what it is: 0 input (an empty one ends it), 1 stdout, 2 stderr, 3 the end
//! as JSON, `{"code":0}`, `{"signal":9}` or `{"lost":"why"}`, 4 the terminal's size as JSON, `{"columns":80,"rows":24}`. A text
//! message is input as a whole, for clients that speak nothing else. The connection's end is the command's.

use super::body::{Segments, parse_query, parse_value};
use super::read::parse_task;
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{
    ApiError, ErrorBody, ErrorCode, ExecInput, ExecOutput, ExecRequest, ExecSession, ExecSize, ExecTerminal,
};
use crate::client::websocket;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::{SinkExt, StreamExt};
use hyper::header::{CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How long the last messages may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Size of a terminal of which nothing is said.
const SIZE_DEFAULT: ExecSize = ExecSize { columns: 80, rows: 24 };

/// Runs a command beside a task, inside of its group, in its working folder and with its environment. The request opens a
/// WebSocket; the answer is a plain error if the command is not started. It wants a bearer token, also with the cookie.
#[utoipa::path(get, path = "/v1/exec/{app}/{task}",
    params(("app" = String, Path, description = "`shop`"), ("task" = String, Path, description = "`web.2`"),
        ("arg" = Vec<String>, Query, description = "The program, and once more for each argument"),
        ("input" = Option<bool>, Query, description = "Whether it has an input; none by default"),
        ("terminal" = Option<String>, Query, description = "Kind of the terminal that it gets, as `xterm`; without it \
            stdout and stderr come apart"),
        ("columns" = Option<u16>, Query, description = "Size of the terminal; 80 by default"),
        ("rows" = Option<u16>, Query, description = "Size of the terminal; 24 by default")),
    responses((status = 101, description = "A WebSocket; binary messages with a channel in front: 0 input, 1 stdout, \
            2 stderr, 3 end, 4 size"),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 426, body = ErrorBody)))]
pub(super) async fn run(
    State(shared): State<Arc<Shared>>,
    Segments((app, task)): Segments<(String, String)>,
    mut request: Request,
) -> Result<Response, Refusal> {
    let task = parse_task(&app, &task)?;
    let command = parse_request(parse_query(request.uri())?)?;
    let accept = handshake(request.headers())?;
    let upgrade = hyper::upgrade::on(&mut request);
    let session = shared.backend.exec(task, command).await?;
    tokio::spawn(serve(shared, upgrade, session));
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept);
    let unsendable = |e: hyper::http::Error| ApiError::new(ErrorCode::Failed, e.to_string());
    Ok(answer.body(Body::empty()).map_err(unsendable)?)
}

fn parse_request(query: Vec<(String, String)>) -> Result<ExecRequest, Refusal> {
    let (mut kind, mut size) = (None, SIZE_DEFAULT);
    let mut request = ExecRequest { run: vec![], terminal: None, input: false };
    for (key, value) in query {
        match key.as_str() {
            "arg" => request.run.push(value),
            "input" => request.input = parse_value("input", &value)?,
            "terminal" => kind = Some(value),
            "columns" => size.columns = parse_value("columns", &value)?,
            "rows" => size.rows = parse_value("rows", &value)?,
            _ => {
                let message = format!("the query is wrong: unknown field `{key}`");
                return Err(ApiError::new(ErrorCode::Invalid, message).field(key).into());
            }
        }
    }
    request.terminal = kind.map(|kind| ExecTerminal { kind, size });
    request.check()?;
    Ok(request)
}

/// What proves that the request was understood as a WebSocket's.
fn handshake(headers: &HeaderMap) -> Result<String, Refusal> {
    let says = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let asked = says(CONNECTION, "upgrade") && says(UPGRADE, "websocket") && says(SEC_WEBSOCKET_VERSION, "13");
    match key.filter(|_| asked) {
        Some(key) => Ok(websocket::accept(key)),
        None => Err(Refusal::invalid(StatusCode::UPGRADE_REQUIRED, "a command speaks over a WebSocket of version 13")
            .help("use `taffeta exec`, or a WebSocket client, as websocat")),
    }
}

async fn serve(shared: Arc<Shared>, upgrade: OnUpgrade, session: ExecSession) {
    match upgrade.await {
        Ok(upgraded) => {
            let socket = websocket::server(TokioIo::new(upgraded)).await;
            tokio::select! {
                () = speak(socket, session) => {}
                () = shared.ended() => {} // the command ends with the session
            }
        }
        Err(error) => tracing::debug!(%error, "the client of a command has gone before it began"),
    }
}

/// Lets client and command speak until either ends, or nothing is heard of the client for too long.
async fn speak<S: AsyncRead + AsyncWrite + Unpin>(socket: WebSocketStream<S>, session: ExecSession) {
    let (mut out, mut messages) = socket.split();
    let ExecSession { input, mut output } = session;
    let listens = async {
        // Only while something could be heard: a command that takes no input for long is no fault of the client.
        while let Ok(message) = websocket::hear(&mut messages).await {
            let next = match message {
                Message::Binary(bytes) => match ExecInput::decode(&bytes) {
                    Ok(next) => next,
                    Err(_) => return,
                },
                Message::Text(text) => ExecInput::Bytes(text.into()),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
                Message::Close(_) => return,
            };
            if input.send(next).await.is_err() {
                return std::future::pending().await; // its end is on the way
            }
        }
    };
    let speaks = async {
        let first = tokio::time::Instant::now() + websocket::ALIVE_EVERY; // a short command needs none
        let mut alive = tokio::time::interval_at(first, websocket::ALIVE_EVERY);
        loop {
            let message = tokio::select! {
                next = output.recv() => match next {
                    Some(next) => next,
                    None => return true,
                },
                _ = alive.tick() => {
                    if out.send(Message::Ping(bytes::Bytes::new())).await.is_err() {
                        return false;
                    }
                    continue;
                }
            };
            let last = matches!(message, ExecOutput::Ended(_));
            if out.send(Message::Binary(message.encode())).await.is_err() {
                return false;
            }
            if last {
                return true;
            }
        }
    };
    let ended = tokio::select! {
        () = listens => false,
        ended = speaks => ended,
    };
    if ended {
        let _ = tokio::time::timeout(LAST_WORDS, out.close()).await; // nobody waits for it
    }
}

#[cfg(test)]
mod tests {
    use super::{ExecInput, ExecOutput, ExecSession, speak, websocket};
    use futures::StreamExt;
    use std::time::Duration;
    use tokio::{sync::mpsc, time::timeout};

    const HOUR: Duration = Duration::from_secs(3600);

    /// A command that says nothing, as long as its other end is kept.
    fn quiet() -> (ExecSession, (mpsc::Receiver<ExecInput>, mpsc::Sender<ExecOutput>)) {
        let ((input, asked), (told, output)) = (mpsc::channel(4), mpsc::channel(4));
        (ExecSession { input, output }, (asked, told))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_gives_no_sign_of_life_is_gone() {
        let (near, _far) = tokio::io::duplex(1 << 16);
        let (session, _command) = quiet();
        let node = websocket::server(near).await;
        timeout(HOUR, speak(node, session)).await.expect("it is given up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_only_answers_pings_is_there() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (session, _command) = quiet();
        let (node, mut client) = (websocket::server(near).await, websocket::client(far).await);
        let listens = async { while client.next().await.is_some() {} };
        tokio::select! {
            spoken = timeout(HOUR, speak(node, session)) => assert!(spoken.is_err(), "it was given up"),
            () = listens => panic!("the node has ended it"),
        }
    }
}
