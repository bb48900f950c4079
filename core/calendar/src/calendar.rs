//! The instants of a schedule.

use crate::{
    InvalidSchedule, UnixMillis,
    cron::Cron,
    repetition::{Repeating, Repetition},
    wall::{LAST, MINUTE, Moment, WallClock, timestamp},
    zone::time_zone,
};
use thiserror::Error;

/// The slots of one job. Each call takes bounded time, and a few microseconds for all but the oddest schedules.
#[derive(Clone, Debug)]
pub struct Calendar {
    slots: Slots,
    deployed: Moment,
}

#[derive(Clone, Debug)]
enum Slots {
    Cron(Cron, WallClock),
    Repeating(Repeating),
}

/// What a text means, before the deployment is known.
pub(crate) enum Rule {
    Cron(Cron, WallClock),
    Repetition(Repetition),
}

/// Why a job would never run again. Nothing has changed; the schedule is to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Spent {
    /// A finite repetition that is over.
    #[error("its last run was due {}; begin later, or leave out the number after `R` to repeat for ever", rfc3339(*.last))]
    Over {
        /// When its last slot was; 1970 for any before.
        last: UnixMillis,
    },
    /// A cron line whose every time the clock skips, or a start beyond the calendar.
    #[error("it is not due within the next hundred years")]
    NotInACentury,
}

impl Rule {
    pub(crate) fn parse(text: &str, zone: Option<&str>) -> Result<Self, InvalidSchedule> {
        if text.is_empty() {
            return Err(InvalidSchedule::shape("the schedule is empty"));
        }
        if text.starts_with(['R', 'r']) {
            return Repetition::parse(text, zone).map(Self::Repetition);
        }
        Ok(Self::Cron(Cron::parse(text)?, WallClock(time_zone(zone)?)))
    }
}

impl Calendar {
    pub(crate) fn new(rule: Rule, deployed: UnixMillis) -> Self {
        let deployed = moment(deployed);
        let slots = match rule {
            Rule::Cron(cron, clock) => Slots::Cron(cron, clock),
            Rule::Repetition(repetition) => Slots::Repeating(repetition.starting(deployed)),
        };
        Self { slots, deployed }
    }

    /// The first slot after `after`.
    pub fn next_after(&self, after: UnixMillis) -> Option<UnixMillis> {
        self.next(moment(after)).map(unix)
    }

    /// The first slot that the job may run in: at its deployment or later. An empty start is due at once.
    pub fn first(&self) -> Option<UnixMillis> {
        self.next(Moment(self.deployed.0 - 1)).map(unix)
    }

    /// The slots after `after` up to and with `until`, oldest first, `max` at most.
    pub fn slots(&self, after: UnixMillis, until: UnixMillis, max: usize) -> Vec<UnixMillis> {
        let next = |after: &UnixMillis| self.next_after(*after).filter(|slot| *slot <= until);
        std::iter::successors(next(&after), next).take(max).collect()
    }

    /// The latest slot after `after` up to and with `until`: the one that matters if missed runs are made up for once.
    pub fn last(&self, after: UnixMillis, until: UnixMillis) -> Option<UnixMillis> {
        let next = |after| self.next(Moment(after)).map(unix).filter(|slot| *slot <= until).map(|slot| moment(slot).0);
        let mut found = next(moment(after).0)?;
        // No slot lies in (empty_from, until]. First in growing steps back from the end, then by halves.
        let (mut empty_from, mut step) = (moment(until).0, MINUTE);
        while found < empty_from {
            let probe = if step > 0 { empty_from - step } else { found + (empty_from - found) / 2 };
            match next(probe.max(found)) {
                Some(slot) => (found, step) = (slot, 0),
                None => (empty_from, step) = (probe.max(found), step * 2),
            }
        }
        Some(unix(Moment(found)))
    }

    /// Refuses a schedule that has no slot left at `now` or later.
    pub fn check(&self, now: UnixMillis) -> Result<(), Spent> {
        if self.next(Moment(moment(now).0 - 1)).is_some() {
            return Ok(());
        }
        let last = match &self.slots {
            Slots::Cron(..) => None,
            Slots::Repeating(repeating) => repeating.last(),
        };
        last.filter(|last| *last < moment(now))
            .map_or(Err(Spent::NotInACentury), |last| Err(Spent::Over { last: unix(last) }))
    }

    fn next(&self, after: Moment) -> Option<Moment> {
        match &self.slots {
            Slots::Cron(cron, clock) => cron.next_after(clock, after),
            Slots::Repeating(repeating) => repeating.next_after(after),
        }
        .filter(|slot| *slot <= LAST)
    }
}

fn moment(at: UnixMillis) -> Moment {
    let beyond = LAST.0 + 1;
    Moment(i64::try_from(at.0).map_or(beyond, |at| at.min(beyond)))
}

/// Slots before 1970 are asked for by nobody, except as the end of a repetition that is long over.
fn unix(at: Moment) -> UnixMillis {
    UnixMillis(u64::try_from(at.0).unwrap_or(0))
}

/// The date as people read it, in UTC: `2026-11-22T02:00:00Z`.
pub fn rfc3339(at: UnixMillis) -> String {
    timestamp(moment(at).0).to_string()
}
