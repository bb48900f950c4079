//! Whether the log's disk is full, and since when.

use crate::disk::Gauge;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// The file system is asked at most so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Shared by the writer, which finds out when it cannot write, and whoever wants to write.
pub(crate) struct Fullness {
    gauge: Arc<dyn Gauge>,
    seen: Mutex<Seen>,
    /// Whether the writer waits for room.
    stuck: watch::Sender<bool>,
    /// The store ends: nobody waits for room any more.
    closed: AtomicBool,
}

#[derive(Default)]
struct Seen {
    /// Whether the writer waits for room.
    stuck: bool,
    full: bool,
    looked: Option<Instant>,
    since: Option<Instant>,
}

impl Fullness {
    pub(crate) fn new(gauge: Arc<dyn Gauge>) -> Self {
        Self { gauge, seen: Mutex::default(), stuck: watch::Sender::new(false), closed: AtomicBool::new(false) }
    }

    /// Since when there has been no room.
    pub(crate) fn since(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut seen = self.seen.lock().expect("no panic while it is held");
        if seen.looked.is_none_or(|at| now.duration_since(at) >= LOOK_EVERY) {
            seen.full = self.gauge.is_full();
            seen.looked = Some(now);
        }
        seen.note(now)
    }

    /// The writer waits for room, or does not.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        let mut seen = self.seen.lock().expect("no panic while it is held");
        if seen.stuck == stuck {
            return;
        }
        if stuck {
            tracing::error!("the disk is full: the log waits for room");
        } else {
            tracing::info!("there is room on the disk again: the log goes on");
        }
        seen.stuck = stuck;
        seen.note(Instant::now());
        self.stuck.send_replace(stuck);
    }

    /// Whether the writer waits for room.
    pub(crate) fn stuck(&self) -> watch::Receiver<bool> {
        self.stuck.subscribe()
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl Seen {
    fn note(&mut self, now: Instant) -> Option<Instant> {
        self.since = if self.stuck || self.full { self.since.or(Some(now)) } else { None };
        self.since
    }
}
