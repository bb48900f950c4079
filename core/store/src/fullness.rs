//! Whether the log's disk is full, and since when.

use crate::{disk::Gauge, types::Raft};
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

    /// Stops openraft's clock while the writer waits for room, for ever.
    ///
    /// openraft's core waits inside of a write of its vote. Meanwhile each tick is a notice in the bounded channel to the
    /// core, and when the vote is written at last, the core itself puts a notice there before it takes any out: were the
    /// channel full, after some twenty seconds, it would wait for itself and never go on. Nothing is missed: who cannot
    /// store a vote or an entry has no business to call elections or to lead.
    pub(crate) async fn hold_clock(self: Arc<Self>, raft: Raft) {
        let mut stuck = self.stuck.subscribe();
        while stuck.wait_for(|stuck| *stuck).await.is_ok() {
            raft.runtime_config().tick(false);
            if stuck.wait_for(|stuck| !*stuck).await.is_err() {
                return;
            }
            raft.runtime_config().tick(true);
        }
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
