//! Five-field cron: which readings of a wall clock fit, and how they become instants.

mod field;

use crate::{
    InvalidSchedule,
    wall::{DAY, JUMP_MAX, MINUTE, Moment, Reading, WallClock},
};
use field::{DAY_OF_MONTH, DAY_OF_WEEK, HOUR, MINUTE_OF_HOUR, MONTH, parse_field};
use jiff::civil::Date;

/// How far to look ahead. Between two 29ths of February on one weekday lie at most 40 years; only a line whose every
/// time is skipped by the clock, year after year, finds nothing.
const YEARS_MAX: i64 = 100;
const MONTHS_MAX: i64 = YEARS_MAX * 12;
const HORIZON: i64 = YEARS_MAX * 366 * DAY;

const MINUTES_A_DAY: i64 = DAY / MINUTE;

/// The sets of a line, as bits: bit n stands for n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Neither day field begins with `*`: a day need fit only one.
    either_day: bool,
    /// Minute or hour begins with `*`: follows real time when the clock changes.
    wild: bool,
}

impl Cron {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidSchedule> {
        let text = if text.starts_with('@') { expand(text)? } else { text };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let why = "fields where cron has 5 (minute, hour, day of month, month, day of week)";
            return Err(InvalidSchedule::shape(format!("{} {why}", fields.len())));
        };
        let weekdays = parse_field(&DAY_OF_WEEK, weekday)?;
        let cron = Self {
            minutes: parse_field(&MINUTE_OF_HOUR, minute)?,
            hours: parse_field(&HOUR, hour)?,
            days: parse_field(&DAY_OF_MONTH, day)?,
            months: parse_field(&MONTH, month)?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f, // 7 is Sunday as well
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            wild: minute.starts_with('*') || hour.starts_with('*'),
        };
        if cron.has_no_day() {
            let why = format!("no month of `{month}` has a day `{day}`");
            return Err(InvalidSchedule::NeverFires { why });
        }
        Ok(cron)
    }

    pub(crate) fn next_after(&self, clock: &WallClock, after: Moment) -> Option<Moment> {
        if self.wild {
            return self.next_shown(clock, after);
        }
        let unseen = self.next_reading(clock.first_unseen(after))?;
        Some(clock.first_showing(unseen))
    }

    /// The next instant at which the clock shows a fitting time.
    fn next_shown(&self, clock: &WallClock, after: Moment) -> Option<Moment> {
        let mut from = Moment(after.0 + 1);
        while from.0 < after.0 + HORIZON {
            let era = clock.era(from);
            let due = self.next_reading(era.reading(from))?;
            if let Some(at) = era.showing(due) {
                return Some(at);
            }
            // A few days on, no jump leads back to before `from`, and until a few days before `due` none leads there.
            let skip = if era.until.0 - from.0 > JUMP_MAX { due.0 - JUMP_MAX } else { 0 };
            from = Moment(era.until.0.max(skip));
        }
        None
    }

    /// The lowest fitting reading that is not below `from`.
    fn next_reading(&self, from: Reading) -> Option<Reading> {
        let minute = from.0.div_euclid(MINUTE) + i64::from(from.0.rem_euclid(MINUTE) > 0);
        let today = Reading(minute * MINUTE).date();
        let (mut year, mut month) = (today.year(), today.month());
        let mut days = self.days_in(year, month)? >> today.day() << today.day();
        if days >> today.day() & 1 == 1 {
            if let Some(time) = self.next_time(minute.rem_euclid(MINUTES_A_DAY)) {
                return Some(Reading(Reading::at_midnight(today)?.0 + time * MINUTE));
            }
            days &= days - 1; // without today, its lowest bit
        }
        for _ in 0..=MONTHS_MAX {
            if days != 0 {
                let date = Date::new(year, month, i8::try_from(days.trailing_zeros()).ok()?).ok()?;
                return Some(Reading(Reading::at_midnight(date)?.0 + self.next_time(0)? * MINUTE));
            }
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            days = self.days_in(year, month)?;
        }
        None
    }

    /// The first fitting minute of a day that is not below `from`.
    fn next_time(&self, from: i64) -> Option<i64> {
        let (hour, minute) = (from / 60, from % 60);
        let this_hour = lowest(self.minutes, minute).filter(|_| self.hours >> hour & 1 == 1);
        this_hour
            .map(|minute| hour * 60 + minute)
            .or_else(|| Some(lowest(self.hours, hour + 1)? * 60 + lowest(self.minutes, 0)?))
    }

    /// The fitting days of a month; none beyond the year 9999.
    fn days_in(&self, year: i16, month: i8) -> Option<u64> {
        let first = Date::new(year, month, 1).ok()?;
        if self.months >> month & 1 == 0 {
            return Some(0);
        }
        let offset = first.weekday().to_sunday_zero_offset();
        let weeks = (0..6).fold(0, |weeks, week| weeks | self.weekdays << (7 * week)); // bit n: n days after a Sunday
        let by_weekday = weeks >> offset << 1;
        let fitting = if self.either_day { self.days | by_weekday } else { self.days & by_weekday };
        Some(fitting & ((1 << (first.days_in_month() + 1)) - 2))
    }

    /// Any date has each weekday in some year, so only the longest form of the months counts.
    fn has_no_day(&self) -> bool {
        const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let longest = (1..).zip(LENGTHS).filter(|(month, _)| self.months >> month & 1 == 1).map(|(_, days)| days).max();
        !self.either_day && longest < Some(self.days.trailing_zeros())
    }
}

/// The lowest bit that is set at or above `from`.
fn lowest(bits: u64, from: i64) -> Option<i64> {
    let rest = bits >> from << from;
    (rest != 0).then(|| i64::from(rest.trailing_zeros()))
}

fn expand(name: &str) -> Result<&'static str, InvalidSchedule> {
    match name {
        "@hourly" => Ok("0 * * * *"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@monthly" => Ok("0 0 1 * *"),
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        _ => {
            let known = "@hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually";
            Err(InvalidSchedule::shape(format!("`{}` is none of {known}", crate::error::printable(name))))
        }
    }
}
