//! ISO 8601 durations: as the period of a repetition, and as a span of elapsed time.

use crate::{
    InvalidSchedule, ScheduleField,
    wall::{DAY, MINUTE, SECOND},
};
use jiff::fmt::temporal::SpanParser;
use std::time::Duration;

/// Mean length of a month in the Gregorian calendar, whose cycle is 400 years of 146,097 days.
const MONTH_MEAN: i64 = 146_097 * DAY / 4800;

/// Milliseconds since 1970 have no finer part.
const NANOS_PER_MILLI: i128 = 1_000_000;

/// A period in its three kinds of units, none of which is a multiple of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    /// Years and months.
    pub(crate) months: i64,
    /// Weeks and days.
    pub(crate) days: i64,
    /// Hours and below, in milliseconds.
    pub(crate) elapsed: i64,
}

impl Period {
    pub(crate) const ZERO: Self = Self { months: 0, days: 0, elapsed: 0 };

    /// Reads `P1DT12H`; bare `P`, which Chronos documents for a single run, is zero.
    pub(crate) fn parse(field: ScheduleField, text: &str) -> Result<Self, InvalidSchedule> {
        let bad = |why| InvalidSchedule::part(field, text, why);
        if text == "P" {
            return Ok(Self::ZERO);
        }
        let span = text.starts_with('P').then(|| SpanParser::new().parse_span(text).ok()).flatten();
        let span = span.ok_or_else(|| bad(why_no_period(text)))?;
        let minutes = i64::from(span.get_hours()) * 60 + span.get_minutes();
        let millis = minutes * MINUTE + span.get_seconds() * SECOND + span.get_milliseconds();
        let nanos = i128::from(span.get_microseconds()) * 1000 + i128::from(span.get_nanoseconds());
        if nanos % NANOS_PER_MILLI != 0 {
            return Err(bad("is finer than a millisecond"));
        }
        let elapsed = i64::try_from(i128::from(millis) + nanos / NANOS_PER_MILLI);
        let elapsed = elapsed.map_err(|_| bad("is longer than the calendar"))?;
        Ok(Self {
            months: i64::from(span.get_years()) * 12 + i64::from(span.get_months()),
            days: i64::from(span.get_weeks()) * 7 + i64::from(span.get_days()),
            elapsed,
        })
    }

    /// How long one takes on average, in milliseconds.
    pub(crate) fn mean(self) -> i64 {
        self.months * MONTH_MEAN + self.days * DAY + self.elapsed
    }

    /// Whether it follows the wall clock rather than elapsed time alone.
    pub(crate) fn is_calendrical(self) -> bool {
        self.months != 0 || self.days != 0
    }
}

fn why_no_period(text: &str) -> &'static str {
    let clock_units = text.contains(['H', 'S']) && !text.contains('T');
    if text.chars().any(|c| c.is_ascii_lowercase()) {
        "is no ISO 8601 duration, whose letters are capitals"
    } else if clock_units {
        "is no ISO 8601 duration: hours, minutes and seconds come after a `T`"
    } else {
        "is no ISO 8601 duration"
    }
}

/// Reads an ISO 8601 duration of elapsed time, such as Chronos' `epsilon`: `PT15M`, `P1DT12H`. Days have 24 hours
/// here; months and years, whose length differs, are refused.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidSchedule> {
    let period = Period::parse(ScheduleField::Duration, text)?;
    if period.months != 0 {
        let why = "counts months or years, which differ in length: give days";
        return Err(InvalidSchedule::part(ScheduleField::Duration, text, why));
    }
    Ok(Duration::from_millis(period.mean().unsigned_abs()))
}
