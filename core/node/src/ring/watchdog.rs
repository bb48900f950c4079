//! Reports a turn of the ring's driver that takes long, also one that does not end, where the runtime has another thread: this
//! node looks dead to others then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use taffeta_model::next_beat;
use tokio::time::{Instant, sleep_until};

/// A turn that takes longer makes probes late.
const TURN_MAX: Duration = Duration::from_millis(100);
/// A turn that has not ended after this may never do.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// Knows whether a turn is under way and since when. Clones watch the same driver.
#[derive(Clone)]
pub(super) struct Watchdog {
    epoch: Instant,
    /// Milliseconds since the epoch when the present turn began, plus one; 0 between turns.
    began: Arc<AtomicU64>,
}

/// A turn; ends when it is dropped.
pub(super) struct Turn<'a> {
    watchdog: &'a Watchdog,
    began: Instant,
}

impl Watchdog {
    pub(super) fn new(epoch: Instant) -> Self {
        Self { epoch, began: Arc::default() }
    }

    pub(super) fn begin_turn(&self) -> Turn<'_> {
        let began = Instant::now();
        self.began.store(self.millis(began) + 1, Ordering::Relaxed);
        Turn { watchdog: self, began }
    }

    /// Looks now and then whether a turn is stuck, and says so once for each.
    pub(super) async fn run(self) {
        let mut told = 0;
        loop {
            sleep_until(self.epoch + next_beat(self.epoch.elapsed(), STUCK_AFTER)).await;
            if let Some((began, lasts)) = self.stuck().filter(|(began, _)| *began != told) {
                told = began;
                metrics::counter!("taffeta_ring_stuck_turns_total").increment(1);
                tracing::error!(?lasts, "a turn of the ring does not end: this node will look dead to others");
            }
        }
    }

    /// When the present turn began, and how long it lasts, if that is too long.
    fn stuck(&self) -> Option<(u64, Duration)> {
        let began = self.began.load(Ordering::Relaxed);
        let lasts = Duration::from_millis(self.millis(Instant::now()).saturating_sub(began.saturating_sub(1)));
        (began != 0 && lasts >= STUCK_AFTER).then_some((began, lasts))
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.watchdog.began.store(0, Ordering::Relaxed);
        let took = self.began.elapsed();
        if took > TURN_MAX {
            metrics::counter!("taffeta_ring_slow_turns_total").increment(1);
            tracing::warn!(?took, "a turn of the ring took long");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_end_is_noticed_and_one_that_has_ended_is_not() {
        let watchdog = Watchdog::new(Instant::now());
        let turn = watchdog.begin_turn();
        advance(STUCK_AFTER - Duration::from_millis(1)).await;
        assert_eq!(watchdog.stuck(), None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(watchdog.stuck(), Some((1, STUCK_AFTER)));
        drop(turn);
        assert_eq!(watchdog.stuck(), None);
    }
}
