//! A node's idea of the date: its own clock and what the voters say.
//!
//! Certificates are judged by the later of the two, so that a machine whose clock is behind does not believe what has
//! ended; and at most a third of a life after the earlier of the two, so that one wrong clock, be it this machine's or
//! that of the voters, makes no healthy certificate look ended: those are renewed when a third of their life is left.
//! What a single voter's clock says counts for nothing among three: they go by the median. Two wrong clocks at once, this
//! one's and that of most voters, are too many, if both are ahead by more than a third of a life: then peers look ended
//! here, and are asked for nothing but to be renewed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use taffeta_model::UnixMillis;
use taffeta_net::Clock;
use tokio::time::Instant;

/// The machine's clock, and the date that was heard last.
#[derive(Debug)]
pub(crate) struct Dates {
    own: Arc<dyn Clock>,
    /// How far apart the two may be for both to count.
    apart_max: Duration,
    /// A date that was heard, and when on this node's monotonic clock.
    heard: Mutex<Option<(UnixMillis, Instant)>>,
}

impl Dates {
    /// `life` is that of a certificate.
    pub(crate) fn new(own: Arc<dyn Clock>, life: Duration) -> Self {
        Self { own, apart_max: life / 3, heard: Mutex::new(None) }
    }

    /// Takes what the voters say, or, where this node is all of them, nothing.
    pub(crate) fn hear(&self, date: Option<UnixMillis>) {
        let heard = date.map(|date| (date, Instant::now()));
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    }

    /// Whether nothing was heard for so long.
    pub(crate) fn is_stale(&self, after: Duration) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_none_or(|(_, at)| at.elapsed() > after)
    }

    /// What most voters take for the date, as far as known: by this certificates are made.
    pub(crate) fn agreed(&self) -> UnixMillis {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map_or_else(|| self.own.date(), |(date, at)| date + at.elapsed())
    }
}

impl Clock for Dates {
    fn date(&self) -> UnixMillis {
        let (own, agreed) = (self.own.date(), self.agreed());
        own.max(agreed).min(own.min(agreed) + self.apart_max)
    }

    fn own_date(&self) -> UnixMillis {
        self.own.date()
    }
}

/// The middle of what the voters' clocks say; of an even number the earlier one.
pub(crate) fn median(mut dates: Vec<UnixMillis>) -> Option<UnixMillis> {
    dates.sort_unstable();
    dates.get(dates.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::{Clock, Dates, UnixMillis, median};
    use std::{sync::Arc, time::Duration};

    #[derive(Debug)]
    struct At(u64);

    impl Clock for At {
        fn date(&self) -> UnixMillis {
            UnixMillis(self.0)
        }
    }

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1_000_000 * HOUR;

    /// The date by an own clock and the voters', off by so many hours, relative to the true one.
    fn judged(own: i64, voters: Option<i64>) -> i64 {
        let at = |hours: i64| NOW.saturating_add_signed(hours * HOUR as i64);
        let dates = Dates::new(Arc::new(At(at(own))), Duration::from_millis(24 * HOUR));
        dates.hear(voters.map(|hours| UnixMillis(at(hours))));
        (dates.date().0 as i64 - NOW as i64) / HOUR as i64
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_the_later_of_both_and_one_wrong_clock_makes_nothing_look_ended() {
        assert_eq!(judged(0, None), 0);
        assert_eq!(judged(-5, Some(0)), 0, "a clock that is behind a little");
        assert_eq!(judged(5, Some(0)), 5, "or ahead a little");
        assert_eq!(judged(0, Some(-5)), 0);
        assert_eq!(judged(24 * 30, Some(0)), 8, "an own clock that is ahead by a month");
        assert_eq!(judged(0, Some(24 * 30)), 8, "voters' clocks that are ahead by a month");
        assert_eq!(judged(-24 * 30, Some(0)), -24 * 30 + 8, "lenient, where it cannot be known who is wrong");
        assert_eq!(judged(72, Some(72)), 72, "both wrong: nothing helps");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_heard_goes_on_with_the_time_that_passes() {
        let dates = Dates::new(Arc::new(At(NOW)), Duration::from_secs(86_400));
        dates.hear(Some(UnixMillis(NOW + 1_000)));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(
            (dates.date(), dates.agreed(), dates.own_date()),
            (UnixMillis(NOW + 8_000), UnixMillis(NOW + 8_000), UnixMillis(NOW))
        );
    }

    #[test]
    fn of_three_clocks_one_may_be_wrong() {
        let of = |dates: &[u64]| median(dates.iter().map(|at| UnixMillis(*at)).collect()).map(|at| at.0);
        assert_eq!(of(&[100, 9_000, 101]), Some(101));
        assert_eq!(of(&[100, 0, 101]), Some(100));
        assert_eq!(of(&[5, 9_000]), Some(5));
        assert_eq!(of(&[]), None);
    }
}
