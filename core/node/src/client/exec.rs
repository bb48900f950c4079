//! A command beside a task, as its person's end has it.

use super::connect::Caller;
use super::websocket;
use crate::api::{ApiError, ErrorCode, ExecInput, ExecOutput};
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::SEC_WEBSOCKET_ACCEPT;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

type Socket = WebSocketStream<TokioIo<Upgraded>>;
type Sink = Arc<Mutex<SplitSink<Socket, Message>>>;

/// What goes to a command.
pub struct ExecSender(Sink);

/// What comes from a command. Dropping both ends the command.
pub struct ExecReceiver {
    caller: Caller,
    messages: SplitStream<Socket>,
    _alive: Alive,
}

/// Tells the node now and then that we are there, also while nobody reads what comes.
struct Alive(JoinHandle<()>);

impl Alive {
    fn begin(sink: Sink) -> Self {
        Self(tokio::spawn(async move {
            let first = tokio::time::Instant::now() + websocket::ALIVE_EVERY; // a short command needs none
            let mut due = tokio::time::interval_at(first, websocket::ALIVE_EVERY);
            loop {
                due.tick().await;
                if sink.lock().await.send(Message::Ping(Bytes::new())).await.is_err() {
                    return; // whoever reads is told
                }
            }
        }))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn begin(
    caller: Caller,
    key: &str,
    answer: Response<Incoming>,
) -> Result<(ExecSender, ExecReceiver), ApiError> {
    let proof = answer.headers().get(SEC_WEBSOCKET_ACCEPT).and_then(|proof| proof.to_str().ok());
    if proof != Some(websocket::accept(key).as_str()) {
        return Err(caller.stranger("it does not speak WebSocket"));
    }
    let upgraded = hyper::upgrade::on(answer).await;
    let upgraded = upgraded.map_err(|e| caller.failed("broke off", &e.to_string()))?;
    let (sink, messages) = websocket::client(TokioIo::new(upgraded)).await.split();
    let sink = Arc::new(Mutex::new(sink));
    let alive = Alive::begin(Arc::clone(&sink));
    Ok((ExecSender(sink), ExecReceiver { caller, messages, _alive: alive }))
}

impl ExecSender {
    /// Sends; returns when the connection has taken it. An error means that the command has ended, or the connection.
    pub async fn send(&mut self, input: &ExecInput) -> Result<(), ApiError> {
        let sent = self.0.lock().await.send(Message::Binary(input.encode())).await;
        sent.map_err(|e| ApiError::new(ErrorCode::Failed, format!("the command takes nothing any more: {e}")))
    }
}

impl ExecReceiver {
    /// What comes next. An error means that the connection has ended before the command, or that the node gave no sign of
    /// life for 30 s; the command ends by that. Safe to cancel.
    pub async fn next(&mut self) -> Result<ExecOutput, ApiError> {
        loop {
            let heard = websocket::hear(&mut self.messages).await;
            match heard.map_err(|why| self.caller.failed("broke off the command", &why))? {
                Message::Binary(bytes) => {
                    let bytes: Bytes = bytes;
                    return ExecOutput::decode(&bytes).map_err(|e| self.caller.stranger(&e));
                }
                Message::Close(_) => return Err(self.caller.failed("broke off the command", "the node stops")),
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
