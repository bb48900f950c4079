//! What happens, as server-sent events.
//!
//! Each is `id:`, `event:` with its kind, and `data:` with its JSON in one line. A browser's `EventSource` wants one
//! listener for each kind, so `?plain=true` leaves `event:` out and all come as plain messages.

use super::body::parse_query;
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{ErrorBody, Event};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::stream;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Uri};
use serde::Deserialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// Between two signs of life: well below the minute after which proxies cut a silent connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    #[serde(default = "yes")]
    follow: bool,
    #[serde(default)]
    plain: bool,
}

fn yes() -> bool {
    true
}

/// The recent events, then those that happen. `Last-Event-ID` leaves out what was already seen; an event `lagged` says
/// how many were lost on the way.
#[utoipa::path(get, path = "/v1/events",
    params(("follow" = Option<bool>, Query, description = "`false` ends after the recent events"),
        ("plain" = Option<bool>, Query, description = "`true` leaves out the kind in `event:`"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Id of the last event that was seen")),
    responses((status = 200, body = Event, content_type = "text/event-stream"), (status = 400, body = ErrorBody)))]
pub(super) async fn show(State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri) -> Result<Response, Refusal> {
    let query: EventsQuery = parse_query(&uri)?;
    // The standard has a client send back what it was given; anything else counts as nothing seen.
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let feed = Feed::new(shared, last, query.follow, query.plain);
    let body = stream::unfold(feed, |mut feed| async move {
        let piece = feed.next_piece().await?;
        Some((Ok::<_, Infallible>(piece), feed))
    });
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response())
}

/// One client's place in the events.
pub(super) struct Feed {
    shared: Arc<Shared>,
    ready: VecDeque<String>,
    /// `None` if only the recent ones are wanted.
    live: Option<Receiver<Event>>,
    /// Id of the last event that was sent, lest one that is both recent and live comes twice.
    sent: u64,
    plain: bool,
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>, last: Option<u64>, follow: bool, plain: bool) -> Self {
        let (recent, live) = shared.backend.events();
        let newest = recent.last().map_or(0, |e| e.id);
        // Ids begin anew when the node does: one from the future is from an earlier life, so nothing was seen.
        let seen = last.filter(|last| *last <= newest);
        let mut feed = Self { shared, ready: VecDeque::new(), live: None, sent: seen.unwrap_or(0), plain };
        // The first bytes come at once, so that the client knows that it is connected.
        feed.ready.push_back(": hello\n\n".into());
        let oldest = recent.first().map_or(0, |e| e.id);
        if let Some(missed) = seen.map(|seen| oldest.saturating_sub(seen + 1)).filter(|missed| *missed > 0) {
            feed.push_lagged(missed);
        }
        for event in &recent {
            feed.push(event);
        }
        feed.live = follow.then_some(live);
        feed
    }

    /// The next bytes, or nothing at the end.
    pub(super) async fn next_piece(&mut self) -> Option<String> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            let live = self.live.as_mut()?;
            tokio::select! {
                () = self.shared.ended() => return None,
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(": alive\n\n".into()),
                received = live.recv() => match received {
                    Ok(event) => self.push(&event),
                    Err(RecvError::Lagged(missed)) => self.push_lagged(missed),
                    Err(RecvError::Closed) => return None,
                }
            }
        }
    }

    fn push(&mut self, event: &Event) {
        if event.id <= self.sent {
            return;
        }
        self.sent = event.id;
        // JSON has no line feeds of its own, and a kind has none either.
        let Ok(data) = serde_json::to_string(event) else { return };
        let kind =
            if self.plain { String::new() } else { format!("event: {}\n", event.kind.replace(['\r', '\n'], " ")) };
        self.ready.push_back(format!("id: {}\n{kind}data: {data}\n\n", event.id));
    }

    fn push_lagged(&mut self, missed: u64) {
        let kind = if self.plain { "" } else { "event: lagged\n" };
        self.ready.push_back(format!("{kind}data: {{\"missed\":{missed}}}\n\n"));
    }
}
