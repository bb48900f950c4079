//! `R5/2026-11-22T02:00:00Z/P1DT12H`: repetitions, start, period.

use crate::{
    InvalidSchedule, ScheduleField,
    period::Period,
    wall::{DAY, LAST, Moment, Reading, SECOND, WallClock},
    zone::time_zone,
};
use jiff::{civil::Date, fmt::temporal::DateTimeParser, tz::TimeZone};

/// A run costs a process; one a second of one job is a service by mistake.
const PERIOD_MIN: i64 = SECOND;

/// More slots than a guess by the mean period can be off. Multiples of months lie within a week of those of their mean,
/// so with the clock's jumps less than one period off; multiples of days are off by the jumps alone, below three.
const GUESS_SLACK: u64 = 6;

/// A repetition as written; an empty start is filled in by the deployment.
#[derive(Clone, Debug)]
pub(crate) struct Repetition {
    /// None repeats for ever.
    count: Option<u64>,
    start: Option<Reading>,
    period: Period,
    clock: WallClock,
}

/// A repetition with its first slot.
#[derive(Clone, Debug)]
pub(crate) struct Repeating {
    repetition: Repetition,
    first: Moment,
    first_reading: Reading,
}

impl Repetition {
    pub(crate) fn parse(text: &str, zone: Option<&str>) -> Result<Self, InvalidSchedule> {
        let parts: Vec<&str> = text.split('/').collect();
        let [repetitions, start, period] = parts[..] else {
            return Err(InvalidSchedule::shape(format!("{} parts where a repetition has 3", parts.len())));
        };
        let count = parse_count(repetitions)?;
        let (start, own_zone) = parse_start(start)?;
        let span = Period::parse(ScheduleField::Period, period)?;
        if span.mean() < PERIOD_MIN && count != Some(1) {
            return Err(InvalidSchedule::part(ScheduleField::Period, period, "is under a second"));
        }
        let zone = if zone.is_none() { own_zone.unwrap_or(TimeZone::UTC) } else { time_zone(zone)? };
        Ok(Self { count, start, period: span, clock: WallClock(zone) })
    }

    pub(crate) fn starting(self, deployed: Moment) -> Repeating {
        let first = self.start.map_or(deployed, |start| self.clock.first_showing(start));
        let first_reading = self.start.unwrap_or_else(|| self.clock.era(deployed).reading(deployed));
        Repeating { repetition: self, first, first_reading }
    }
}

impl Repeating {
    pub(crate) fn next_after(&self, after: Moment) -> Option<Moment> {
        let n = self.first_index_after(after);
        self.repetition.count.is_none_or(|count| n < count).then(|| self.slot(n)).flatten()
    }

    /// The last slot of a finite repetition.
    pub(crate) fn last(&self) -> Option<Moment> {
        self.repetition.count.and_then(|count| self.slot(count.checked_sub(1)?))
    }

    /// The lowest n whose slot lies after `after`, whether or not the repetition gets so far: a search by halves around
    /// a guess, since slots never go back.
    fn first_index_after(&self, after: Moment) -> u64 {
        let is_later = |n| self.slot(n).is_none_or(|slot| slot > after);
        let mean = self.repetition.period.mean().max(PERIOD_MIN);
        let guess = u64::try_from((after.0 - self.first.0) / mean).unwrap_or(0);
        let (mut low, mut high) = (guess.saturating_sub(GUESS_SLACK), guess + GUESS_SLACK);
        while low < high {
            let middle = low + (high - low) / 2;
            (low, high) = if is_later(middle) { (low, middle) } else { (middle + 1, high) };
        }
        low
    }

    /// Slot `n`, counted from 0; none beyond the year 9999.
    fn slot(&self, n: u64) -> Option<Moment> {
        let Repetition { period, clock, .. } = &self.repetition;
        let n = i64::try_from(n).ok()?;
        let elapsed = period.elapsed.checked_mul(n)?;
        let base = if period.is_calendrical() && n > 0 { clock.first_showing(self.reading(n)?) } else { self.first };
        base.0.checked_add(elapsed).map(Moment)
    }

    /// What the wall clock shows `n` calendar periods after the start.
    fn reading(&self, n: i64) -> Option<Reading> {
        let period = self.repetition.period;
        let start = self.first_reading;
        let month = add_months(start.date(), period.months.checked_mul(n)?)?;
        let days = period.days.checked_mul(n)?.checked_mul(DAY)?;
        let reading = Reading(Reading::at_midnight(month)?.0.checked_add(days)? + start.0.rem_euclid(DAY));
        (reading.0 <= LAST.0 + DAY).then_some(reading)
    }
}

/// The same day of a later month, or that month's last.
fn add_months(date: Date, months: i64) -> Option<Date> {
    let index = (i64::from(date.year()) * 12 + i64::from(date.month()) - 1).checked_add(months)?;
    let year = i16::try_from(index.div_euclid(12)).ok()?;
    let first = Date::new(year, i8::try_from(index.rem_euclid(12)).ok()? + 1, 1).ok()?;
    Date::new(year, first.month(), date.day().min(first.days_in_month())).ok()
}

fn parse_count(text: &str) -> Result<Option<u64>, InvalidSchedule> {
    let bad = |why| InvalidSchedule::part(ScheduleField::Repetitions, text, why);
    let digits = text.strip_prefix('R').ok_or_else(|| bad("does not begin with `R`"))?;
    if digits.is_empty() {
        return Ok(None);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad("is not `R` and a number; `R` alone repeats for ever"));
    }
    match digits.parse() {
        Ok(0) => {
            Err(InvalidSchedule::NeverFires { why: format!("`{text}` asks for no run; `R` alone repeats for ever") })
        }
        Ok(count) => Ok(Some(count)),
        Err(_) => Err(bad("is too large; `R` alone repeats for ever")),
    }
}

fn parse_start(text: &str) -> Result<(Option<Reading>, Option<TimeZone>), InvalidSchedule> {
    if text.is_empty() {
        return Ok((None, None));
    }
    let bad = |why| InvalidSchedule::part(ScheduleField::Start, text, why);
    let pieces = DateTimeParser::new().parse_pieces(text).map_err(|_| bad("is no ISO 8601 date and time"))?;
    if pieces.time_zone_annotation().is_some() {
        return Err(bad("has a zone in brackets, which belongs into `timezone`"));
    }
    let midnight = Reading::at_midnight(pieces.date()).ok_or_else(|| bad("lies outside the calendar"))?;
    let millis = pieces.time().map_or(0, |time| time.duration_since(jiff::civil::Time::midnight()).as_millis());
    let since_midnight = i64::try_from(millis).map_err(|_| bad("is no time of a day"))?;
    Ok((Some(Reading(midnight.0 + since_midnight)), pieces.to_numeric_offset().map(TimeZone::fixed)))
}
