//! Answers that go on: events and followed logs.

use super::connect::{Caller, Driver};
use crate::api::{ApiError, ErrorCode, Event};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::time::Duration;

/// A node sends a comment each 10 s when nothing happens: three missed ones mean that it or the way to it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Most bytes of one event. Ours have some hundred; more is no node.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// What an event stream brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Something happened.
    Event(Event),
    /// So many events were lost between the one before and the one after: look at the state itself.
    Lagged(u64),
}

/// The events of a node. Dropping it ends the connection.
pub struct EventStream {
    caller: Caller,
    body: Incoming,
    _driver: Driver,
    buffer: Vec<u8>,
    ready: VecDeque<Received>,
}

impl EventStream {
    pub(super) fn new(caller: Caller, body: Incoming, driver: Driver) -> Self {
        Self { caller, body, _driver: driver, buffer: Vec::new(), ready: VecDeque::new() }
    }

    /// The next event. An error means that the stream has ended: the node stopped (code `failed`) or fell silent for
    /// 30 s (code `timeout`); open another after the last event's id. Safe to cancel.
    pub async fn next_event(&mut self) -> Result<Received, ApiError> {
        match self.next_received().await? {
            Some(received) => Ok(received),
            None => Err(self.caller.failed("ended its events", "the node stops")),
        }
    }

    /// The next event of a stream that ends after the recent ones.
    pub(super) async fn next_event_of_finite(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            match self.next_received().await? {
                Some(Received::Event(event)) => return Ok(Some(event)),
                Some(Received::Lagged(_)) => {}
                None => return Ok(None),
            }
        }
    }

    async fn next_received(&mut self) -> Result<Option<Received>, ApiError> {
        loop {
            if let Some(received) = self.ready.pop_front() {
                return Ok(Some(received));
            }
            let frame = tokio::time::timeout(SILENCE_MAX, self.body.frame()).await;
            let Ok(frame) = frame else {
                let message = format!("{} sent no sign of life for {SILENCE_MAX:?}", self.caller.target);
                return Err(ApiError::new(ErrorCode::Timeout, message).help("ask again, or ask another node"));
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|e| self.caller.failed("broke off its events", &e.to_string()))?;
            if let Some(data) = frame.data_ref() {
                self.take_bytes(data)?;
            }
        }
    }

    /// Cuts what has come into blocks at empty lines. Our nodes end lines with a line feed alone.
    fn take_bytes(&mut self, data: &[u8]) -> Result<(), ApiError> {
        // The end of a block may straddle two pieces.
        let mut searched = self.buffer.len().saturating_sub(1);
        self.buffer.extend_from_slice(data);
        let mut begin = 0;
        while let Some(end) = self.buffer[searched..].windows(2).position(|w| w == b"\n\n") {
            let end = searched + end;
            if let Some(received) = parse_block(&self.buffer[begin..end]).map_err(|e| self.caller.stranger(&e))? {
                self.ready.push_back(received);
            }
            begin = end + 2;
            searched = begin;
        }
        self.buffer.drain(..begin);
        if self.buffer.len() > EVENT_BYTES_MAX {
            return Err(self.caller.stranger("an event has no end"));
        }
        Ok(())
    }
}

/// One block of <https://html.spec.whatwg.org/multipage/server-sent-events.html>, or nothing if it is only a comment.
fn parse_block(block: &[u8]) -> Result<Option<Received>, String> {
    let text = std::str::from_utf8(block).map_err(|e| e.to_string())?;
    let (mut kind, mut data) = ("", None);
    for line in text.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => kind = value,
            "data" => data = Some(value),
            _ => {} // comments, `id`, `retry` and what may be added
        }
    }
    let Some(data) = data else { return Ok(None) };
    if kind == "lagged" {
        #[derive(serde::Deserialize)]
        struct Lagged {
            missed: u64,
        }
        let lagged: Lagged = serde_json::from_str(data).map_err(|e| e.to_string())?;
        return Ok(Some(Received::Lagged(lagged.missed)));
    }
    serde_json::from_str(data).map(|event| Some(Received::Event(event))).map_err(|e| e.to_string())
}

/// The output of a task as it comes. Dropping it ends the connection.
pub struct LogStream {
    caller: Caller,
    body: Incoming,
    _driver: Driver,
}

impl LogStream {
    pub(super) fn new(caller: Caller, body: Incoming, driver: Driver) -> Self {
        Self { caller, body, _driver: driver }
    }

    /// The next bytes, as they come; nothing once the task has ended. An error means that the output goes on but can no
    /// longer be read here. Safe to cancel.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, ApiError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|e| self.caller.failed("broke off the output", &e.to_string()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// A file of a task as it comes. Dropping it ends the connection.
pub struct ByteStream {
    caller: Caller,
    body: Incoming,
    _driver: Driver,
}

impl ByteStream {
    pub(super) fn new(caller: Caller, body: Incoming, driver: Driver) -> Self {
        Self { caller, body, _driver: driver }
    }

    /// The next bytes; nothing at the end. An error means that these are not all. Safe to cancel.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, ApiError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|e| self.caller.failed("broke off the file", &e.to_string()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}
