//! When cron jobs are due: [`Schedule`], the text of an app file, and [`Calendar`], the instants that it means.
//!
//! Pure: no clock, no file, no environment. The time zone database is compiled in, so that equal text means equal
//! instants on every node of one version. Left out on purpose: what was already started, what overlaps, and what
//! happens to a slot that was missed (`taffeta-scheduler`).
//!
//! # Repetitions, as Chronos has them
//!
//! `R5/2026-11-22T02:00:00Z/P1DT12H`: five runs, the first at the start, the n-th after it at start + n periods, so
//! that `P1M` from the 31st falls on the last day of short months and comes back to the 31st. `R` alone repeats for
//! ever; an empty start means the deployment. A time zone that is given separately replaces the offset in the start and
//! keeps its digits; without one, the start's own offset counts, else UTC. Years, months, weeks and days follow the
//! wall clock of the time zone; hours, minutes and seconds are elapsed time, so that `PT24H` drifts from `P1D` when the
//! clock changes. Two rules differ from Chronos: a period is at least a second, and names such as `PST` and `BST`,
//! which Java knows and the tz database does not, are refused.
//!
//! # Cron, as Vixie has it
//!
//! `0 3 * * 1-5`: minute, hour, day of month, month, day of week. Lists, ranges, steps, names (`MON`, `JAN`), 7 for
//! Sunday, and `@hourly` to `@yearly`. If neither day field begins with `*`, a day need fit only one of them.
//!
//! # When the clock changes
//!
//! - A wall time that is skipped runs at the first instant after the gap; several of them run there once.
//! - A wall time that occurs twice runs at its first occurrence.
//! - A cron line whose minute or hour begins with `*` follows real time instead: it runs whenever the clock shows a
//!   time that fits, so not in a gap, and twice in a repeated hour.
//!
//! Vixie cron has these rules for changes below three hours; here they hold for all, also for the day that Samoa skipped.

mod calendar;
mod cron;
mod error;
mod period;
mod repetition;
mod schedule;
mod time;
mod wall;
mod zone;

pub use calendar::{Calendar, Spent, rfc3339};
pub use error::{InvalidSchedule, ScheduleField};
pub use period::parse_duration;
pub use schedule::{SCHEDULE_BYTES_MAX, Schedule, TIMEZONE_BYTES_MAX};
pub use time::UnixMillis;

#[cfg(test)]
mod tests;
