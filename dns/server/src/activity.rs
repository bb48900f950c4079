//! Whether a connection of many requests at once is at work or idle.

use crate::places::Place;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::{Instant, sleep_until};

/// What a connection is doing, and its place.
pub(crate) struct Activity {
    place: Place,
    state: Mutex<State>,
}

struct State {
    requests: usize,
    idle_since: Instant,
}

/// One request at work, until dropped.
pub(crate) struct AtWork(Arc<Activity>);

impl Activity {
    pub(crate) fn new(place: Place) -> Arc<Self> {
        Arc::new(Self { place, state: Mutex::new(State { requests: 0, idle_since: Instant::now() }) })
    }

    pub(crate) fn begin(self: &Arc<Self>) -> AtWork {
        self.lock().requests += 1;
        self.place.is_busy();
        AtWork(self.clone())
    }

    /// Returns when the connection should end: it has idled for too long, or somebody else got its place.
    pub(crate) async fn is_over(&self) {
        tokio::select! {
            () = self.place.is_taken_away() => {}
            () = self.has_idled() => {}
        }
    }

    async fn has_idled(&self) {
        loop {
            let limit = self.place.idle();
            let now = Instant::now();
            let ends = {
                let state = self.lock();
                if state.requests == 0 { state.idle_since + limit } else { now + limit }
            };
            if ends <= now {
                return;
            }
            sleep_until(ends).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests -= 1;
        if state.requests == 0 {
            state.idle_since = Instant::now();
            self.0.place.waits();
        }
    }
}
