//! One field of a cron line: lists of numbers, names, ranges and steps.

use crate::{InvalidSchedule, ScheduleField};

pub(super) struct Unit {
    field: ScheduleField,
    min: u8,
    max: u8,
    /// Names from `min` on.
    names: &'static [&'static str],
    /// What belongs here, as the end of a sentence.
    wanted: &'static str,
}

pub(super) const MINUTE_OF_HOUR: Unit =
    Unit { field: ScheduleField::Minute, min: 0, max: 59, names: &[], wanted: "is not a number from 0 to 59" };
pub(super) const HOUR: Unit =
    Unit { field: ScheduleField::Hour, min: 0, max: 23, names: &[], wanted: "is not a number from 0 to 23" };
pub(super) const DAY_OF_MONTH: Unit =
    Unit { field: ScheduleField::DayOfMonth, min: 1, max: 31, names: &[], wanted: "is not a number from 1 to 31" };
pub(super) const MONTH: Unit = Unit {
    field: ScheduleField::Month,
    min: 1,
    max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    wanted: "is neither a number from 1 to 12 nor a name from JAN to DEC",
};
pub(super) const DAY_OF_WEEK: Unit = Unit {
    field: ScheduleField::DayOfWeek,
    min: 0,
    max: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    wanted: "is neither a number from 0 to 7 (0 and 7 are Sunday) nor a name from SUN to SAT",
};

/// The numbers that a field names, as bits.
pub(super) fn parse_field(unit: &Unit, text: &str) -> Result<u64, InvalidSchedule> {
    text.split(',').try_fold(0, |bits, entry| {
        if entry.is_empty() {
            return Err(InvalidSchedule::part(unit.field, text, "has an empty entry"));
        }
        Ok(bits | parse_entry(unit, entry)?)
    })
}

fn parse_entry(unit: &Unit, entry: &str) -> Result<u64, InvalidSchedule> {
    let bad = |why: String| InvalidSchedule::part(unit.field, entry, why);
    let (range, step) = entry.split_once('/').map_or((entry, None), |(range, step)| (range, Some(step)));
    let (low, high) = match range.split_once('-') {
        _ if range == "*" => (unit.min, unit.max),
        Some((low, high)) => (unit.value(low, entry)?, unit.last_value(high, entry)?),
        None => {
            let value = unit.value(range, entry)?;
            if let Some(step) = step {
                return Err(bad(format!("has a step but no range: `{value}-{}/{step}`", unit.max)));
            }
            (value, value)
        }
    };
    if low > high {
        return Err(bad("ends before it begins: make it two ranges with a comma between".into()));
    }
    let step =
        step.map_or(Ok(1), |step| unit.step(step).ok_or_else(|| bad(format!("has no step from 1 to {}", unit.max))))?;
    Ok((low..=high).step_by(usize::from(step)).fold(0, |bits, value| bits | 1 << value))
}

impl Unit {
    fn value(&self, text: &str, entry: &str) -> Result<u8, InvalidSchedule> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|index| u8::try_from(index).ok()).map(|index| self.min + index);
        let value = named.or_else(|| number(text)).filter(|value| (self.min..=self.max).contains(value));
        value.ok_or_else(|| InvalidSchedule::part(self.field, entry, self.wanted))
    }

    /// The end of a range, where Sunday by name is the last day: `FRI-SUN`.
    fn last_value(&self, text: &str, entry: &str) -> Result<u8, InvalidSchedule> {
        let sunday = self.names.first().is_some_and(|first| *first == "SUN" && first.eq_ignore_ascii_case(text));
        if sunday { Ok(self.max) } else { self.value(text, entry) }
    }

    fn step(&self, text: &str) -> Option<u8> {
        number(text).filter(|step| (1..=self.max).contains(step))
    }
}

/// Digits only: the standard parser would take a sign.
fn number(text: &str) -> Option<u8> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
