//! The wall clock of a time zone: what it shows at an instant, and when it first shows a time.
//!
//! Between two changes of the offset, which is an era, the clock runs evenly. All rules about skipped and repeated
//! times come from two questions: when does the clock first show this time or a later one, and which time has it
//! never shown so far.

use jiff::{
    Timestamp,
    civil::Date,
    tz::{Offset, TimeZone},
};

pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;

/// More than any two offsets differ, and so more than a clock ever jumps: jiff's are below 26 h either way.
pub(crate) const JUMP_MAX: i64 = 3 * DAY;

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) i64);

/// The end of the year 9998: nothing is due later, since jiff ends a year after it.
pub(crate) const LAST: Moment = Moment(253_370_764_800_000);

/// What a wall clock shows: milliseconds since it showed 1970-01-01T00:00, if no offset had ever changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reading(pub(crate) i64);

impl Reading {
    /// None beyond the year 9999, where jiff ends.
    pub(crate) fn at_midnight(date: Date) -> Option<Self> {
        let midnight = Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
        Some(Self(midnight.as_millisecond()))
    }

    pub(crate) fn date(self) -> Date {
        Offset::UTC.to_datetime(timestamp(self.0)).date()
    }
}

/// A time in which the offset stays the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Era {
    pub(crate) offset: i64,
    /// The first instant that does not belong to it.
    pub(crate) until: Moment,
}

impl Era {
    pub(crate) fn reading(self, at: Moment) -> Reading {
        Reading(at.0 + self.offset)
    }

    /// When its clock shows `reading`, if that is not too late for it.
    pub(crate) fn showing(self, reading: Reading) -> Option<Moment> {
        Some(Moment(reading.0 - self.offset)).filter(|at| *at < self.until)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct WallClock(pub(crate) TimeZone);

impl WallClock {
    /// The era of `at`.
    pub(crate) fn era(&self, at: Moment) -> Era {
        let now = timestamp(at.0);
        let until = self.0.following(now).next().map_or(i64::MAX, |next| next.timestamp().as_millisecond());
        Era { offset: millis(self.0.to_offset(now)), until: Moment(until) }
    }

    /// The first instant at which the clock shows `reading` or later.
    pub(crate) fn first_showing(&self, reading: Reading) -> Moment {
        let mut from = Moment(reading.0 - JUMP_MAX); // it shows less then
        loop {
            let era = self.era(from);
            if let Some(at) = era.showing(reading) {
                return at.max(from); // `from` is the end of a gap that held it
            }
            from = era.until;
        }
    }

    /// The lowest reading above all that the clock has shown up to `at`, this included.
    pub(crate) fn first_unseen(&self, at: Moment) -> Reading {
        let now = timestamp(at.0);
        let shown = at.0 + millis(self.0.to_offset(now)) + 1;
        let recent = self.0.preceding(timestamp(at.0 + 1)).map(|change| change.timestamp());
        let recent = recent.take_while(|change| change.as_millisecond() > at.0 - JUMP_MAX);
        let shown_before = recent.map(|change| {
            let before = change.as_millisecond() - 1;
            before + millis(self.0.to_offset(timestamp(before))) + 1
        });
        Reading(shown_before.fold(shown, i64::max))
    }
}

fn millis(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * SECOND
}

/// The nearest instant that jiff can tell.
pub(crate) fn timestamp(millis: i64) -> Timestamp {
    let millis = millis.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}
