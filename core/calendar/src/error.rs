//! Why a schedule is refused.

use std::fmt;
use thiserror::Error;

/// Why a text is no schedule. Nothing has changed; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidSchedule {
    /// Longer than [`SCHEDULE_BYTES_MAX`](crate::SCHEDULE_BYTES_MAX), or a time zone than
    /// [`TIMEZONE_BYTES_MAX`](crate::TIMEZONE_BYTES_MAX).
    #[error("the {what} has {bytes} bytes; at most {max} are read")]
    TooLong {
        /// `schedule` or `time zone`.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Neither of the two forms.
    #[error(
        "{why}; write a repetition such as `R/2026-11-22T02:00:00Z/PT24H` or five cron fields such as `0 3 * * 1-5`"
    )]
    Shape {
        /// What is wrong with the whole.
        why: String,
    },
    /// One part cannot be read.
    #[error("the {field}: `{part}` {why}; write for example `{example}`")]
    Part {
        /// The field that it stands in.
        field: ScheduleField,
        /// The bad part of it.
        part: String,
        /// What is wrong with the part, as the end of a sentence.
        why: String,
        /// A good one.
        example: &'static str,
    },
    /// No time zone of the tz database; perhaps of another version of it.
    #[error("`{name}` is no time zone of the tz database; {}", zone_hint(.nearest.as_deref()))]
    UnknownZone {
        /// What was given.
        name: String,
        /// A name that is much like it.
        nearest: Option<String>,
    },
    /// It can be read, but no instant fits.
    #[error("it never fires: {why}")]
    NeverFires {
        /// Why not.
        why: String,
    },
}

fn zone_hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| "write for example `Europe/Vienna`".into(), |name| format!("did you mean `{name}`?"))
}

impl InvalidSchedule {
    pub(crate) fn part(field: ScheduleField, part: &str, why: impl Into<String>) -> Self {
        Self::Part { field, part: printable(part), why: why.into(), example: field.example() }
    }

    pub(crate) fn shape(why: impl Into<String>) -> Self {
        Self::Shape { why: why.into() }
    }
}

/// Keeps control characters of a text away from terminals.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// A part of a schedule's text, or a duration beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ScheduleField {
    Repetitions,
    Start,
    Period,
    Duration,
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

impl ScheduleField {
    fn example(self) -> &'static str {
        match self {
            Self::Repetitions => "R5",
            Self::Start => "2026-11-22T02:00:00Z",
            Self::Period => "PT24H",
            Self::Duration => "PT15M",
            Self::Minute => "*/15",
            Self::Hour => "9-17",
            Self::DayOfMonth => "1,15",
            Self::Month => "JAN-MAR",
            Self::DayOfWeek => "MON-FRI",
        }
    }
}

impl fmt::Display for ScheduleField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repetitions => "repetitions",
            Self::Start => "start",
            Self::Period => "period",
            Self::Duration => "duration",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        })
    }
}
