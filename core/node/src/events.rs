//! What happened, as this node saw it: a bounded memory and a live stream.

use crate::api::Event;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};
use taffeta_model::UnixMillis;
use tokio::sync::broadcast;

/// Events that are remembered: what a person scrolls back through.
const REMEMBERED_MAX: usize = 1_000;
/// Events that a slow listener may be behind before it loses some.
const BEHIND_MAX: usize = 1_024;

/// Remembers and tells events.
pub(crate) struct Events {
    remembered: Mutex<(u64, VecDeque<Event>)>,
    live: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self { remembered: Mutex::default(), live: broadcast::Sender::new(BEHIND_MAX) }
    }
}

impl Events {
    /// Something happened.
    pub(crate) fn tell(&self, at: UnixMillis, kind: &str, subject: impl Into<String>, message: impl Into<String>) {
        let mut remembered = self.lock();
        remembered.0 += 1;
        let event = Event {
            id: remembered.0,
            at: rfc3339(at),
            kind: kind.into(),
            subject: subject.into(),
            message: message.into(),
        };
        if remembered.1.len() >= REMEMBERED_MAX {
            remembered.1.pop_front();
        }
        remembered.1.push_back(event.clone());
        let _ = self.live.send(event); // nobody listens: fine
    }

    /// The remembered ones, oldest first, and a receiver of those that follow, without a gap.
    pub(crate) fn follow(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let remembered = self.lock();
        (remembered.1.iter().cloned().collect(), self.live.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, (u64, VecDeque<Event>)> {
        self.remembered.lock().expect("no panic while it is held")
    }
}

/// A date as RFC 3339 in UTC, to the millisecond.
pub(crate) fn rfc3339(at: UnixMillis) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => at.to_string(), // beyond the year 9999
    }
}
