//! openraft's clock, which runs only while it has something to tell.
//!
//! openraft ticks five times for each heartbeat, to see whether one is due or the leader has been silent for too long. Each
//! tick wakes a machine that has nothing else to do, so a leader is told here when a heartbeat is due, and who has just
//! heard of a leader has no clock until an election may be due.

use crate::{
    fullness::Fullness,
    timers::Timers,
    types::{Raft, TC},
};
use openraft::{ServerState, async_runtime::WatchReceiver, metrics::RaftServerMetrics};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use taffeta_model::{BEAT, beat_until, next_beat};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// So often a leader that has nobody to send a heartbeat to sees whether it still leads, and alone.
const ALONE_EVERY: Duration = BEAT.saturating_mul(4);

/// What the clock depends on.
pub(crate) struct Clock {
    pub(crate) raft: Raft,
    pub(crate) fullness: Arc<Fullness>,
    /// When a leader was heard of last.
    pub(crate) heard: Arc<Mutex<Option<Instant>>>,
    /// Told when a leader was heard of that had been silent for a beat or longer.
    pub(crate) heard_again: Arc<Notify>,
    pub(crate) timers: Timers,
    /// From when beats are counted.
    pub(crate) epoch: Instant,
}

impl Clock {
    /// Drives or stops openraft's clock, for ever.
    ///
    /// It stands still while the writer waits for room on a full disk. openraft's core waits inside of a write of its vote
    /// then. Meanwhile each tick is a notice in the bounded channel to the core, and when the vote is written at last, the
    /// core itself puts a notice there before it takes any out: were the channel full, after some twenty seconds, it would
    /// wait for itself and never go on. Nothing is missed: who cannot store a vote or an entry has no business to call
    /// elections or to lead.
    pub(crate) async fn run(self) {
        let mut stuck = self.fullness.stuck();
        loop {
            if *stuck.borrow_and_update() {
                self.raft.runtime_config().tick(false);
                if stuck.wait_for(|stuck| !*stuck).await.is_err() {
                    return;
                }
            }
            let next = self.turn().await;
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.heard_again.notified() => {} // the election is put off while the machine is awake anyway
                changed = stuck.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Does what is due; gives the time of the next turn.
    async fn turn(&self) -> Instant {
        let clock = self.raft.runtime_config();
        if let Some(followers) = self.leads() {
            clock.tick(false);
            let _ = self.raft.trigger().heartbeat().await; // an error means that it has ended
            return self.next(if followers == 0 { ALONE_EVERY } else { self.timers.heartbeat });
        }
        let heard = *self.heard.lock().expect("no panic while it is held");
        let quiet = heard.map_or(Duration::MAX, |at| at.elapsed());
        let left = self.timers.election_max.saturating_sub(quiet);
        clock.tick(left < BEAT);
        if left < BEAT {
            self.next(self.timers.heartbeat)
        } else {
            self.epoch + beat_until(self.epoch.elapsed() + left)
        }
    }

    fn next(&self, every: Duration) -> Instant {
        self.epoch + next_beat(self.epoch.elapsed(), every)
    }

    /// Whom it leads: how many others have the log, voters and stand-bys.
    fn leads(&self) -> Option<usize> {
        let metrics = self.raft.server_metrics();
        let metrics: &RaftServerMetrics<TC> = &metrics.borrow_watched();
        let others = || metrics.membership_config.nodes().filter(|(id, _)| **id != metrics.id).count();
        (metrics.state == ServerState::Leader).then(others)
    }
}
