//! The slots equal those of a walk minute by minute, which knows only what the wall clock shows.

use crate::{Calendar, Schedule, UnixMillis};
use jiff::{
    Span, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone, TimeZoneDatabase},
};
use proptest::prelude::*;

const MINUTE: i64 = 60_000;
const DAY: i64 = 1440 * MINUTE;
const ZONES: [&str; 6] =
    ["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"];

fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).unwrap()
}

fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

fn unix(millis: i64) -> UnixMillis {
    UnixMillis(u64::try_from(millis).unwrap())
}

/// One entry of a list: `*`, a value or a range, with or without a step.
#[derive(Clone, Debug)]
struct Entry {
    star: bool,
    low: i64,
    high: i64,
    step: i64,
}

impl Entry {
    fn fits(&self, value: i64) -> bool {
        (self.low..=self.high).contains(&value) && (value - self.low) % self.step == 0
    }

    fn text(&self) -> String {
        let range = match self.star {
            true => "*".into(),
            false if self.low == self.high => return self.low.to_string(),
            false => format!("{}-{}", self.low, self.high),
        };
        if self.step == 1 { range } else { format!("{range}/{}", self.step) }
    }
}

#[derive(Clone, Debug)]
struct Field(Vec<Entry>);

impl Field {
    fn fits(&self, value: impl Into<i64>) -> bool {
        let value = value.into();
        self.0.iter().any(|entry| entry.fits(value))
    }

    fn text(&self) -> String {
        self.0.iter().map(Entry::text).collect::<Vec<_>>().join(",")
    }

    fn begins_with_star(&self) -> bool {
        self.0[0].star
    }
}

#[derive(Clone, Debug)]
struct Line {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Line {
    fn text(&self) -> String {
        [&self.minute, &self.hour, &self.day, &self.month, &self.weekday].map(Field::text).join(" ")
    }

    fn is_wild(&self) -> bool {
        self.minute.begins_with_star() || self.hour.begins_with_star()
    }

    fn fits(&self, shown: DateTime) -> bool {
        self.minute.fits(shown.minute()) && self.hour.fits(shown.hour()) && self.fits_day(shown)
    }

    fn fits_day(&self, shown: DateTime) -> bool {
        let weekday = i64::from(shown.weekday().to_sunday_zero_offset());
        let by_weekday = self.weekday.fits(weekday) || weekday == 0 && self.weekday.fits(7);
        let by_day = self.day.fits(shown.day());
        let both = self.day.begins_with_star() || self.weekday.begins_with_star();
        self.month.fits(shown.month()) && if both { by_day && by_weekday } else { by_day || by_weekday }
    }
}

/// Numbers up to `top`, or a star, which goes on to `max`.
fn an_entry(min: i64, top: i64, max: i64) -> impl Strategy<Value = Entry> {
    let star = Just(Entry { star: true, low: min, high: max, step: 1 });
    let stepped = (2..=max.min(20)).prop_map(move |step| Entry { star: true, low: min, high: max, step });
    let value = (min..=top).prop_map(|v| Entry { star: false, low: v, high: v, step: 1 });
    let range = (min..=top, min..=top, 1..=top.min(9)).prop_map(|(a, b, step)| {
        let (low, high) = (a.min(b), a.max(b));
        Entry { star: false, low, high, step: if low == high { 1 } else { step } }
    });
    prop_oneof![2 => star, 1 => stepped, 3 => value, 2 => range]
}

fn a_field(min: i64, max: i64) -> impl Strategy<Value = Field> {
    a_field_up_to(min, max, max)
}

fn a_field_up_to(min: i64, top: i64, max: i64) -> impl Strategy<Value = Field> {
    prop::collection::vec(an_entry(min, top, max), 1..3).prop_map(Field)
}

/// Days and months are mostly free, so that a few days of walking meet something.
fn a_line() -> impl Strategy<Value = Line> {
    let free = |min, max| Just(Field(vec![Entry { star: true, low: min, high: max, step: 1 }]));
    let day = prop_oneof![3 => free(1, 31).boxed(), 1 => a_field(1, 31).boxed()];
    let month = prop_oneof![5 => free(1, 12).boxed(), 1 => a_field(1, 12).boxed()];
    let weekday = prop_oneof![3 => free(0, 7).boxed(), 1 => a_field(0, 7).boxed()];
    // The early hours are those that clocks skip and repeat.
    let hour = prop_oneof![2 => a_field(0, 23).boxed(), 2 => a_field_up_to(0, 4, 23).boxed()];
    (a_field(0, 59), hour, day, month, weekday).prop_map(|(minute, hour, day, month, weekday)| Line {
        minute,
        hour,
        day,
        month,
        weekday,
    })
}

/// A zone and an instant, mostly within two days or two hours of a change of its clock.
fn a_place_and_time() -> impl Strategy<Value = (&'static str, i64)> {
    let far = 10 * 365 * DAY..80 * 365 * DAY;
    let skipped_day = Timestamp::from_second(1_325_239_200).unwrap().as_millisecond(); // Samoa, 2011-12-30T10:00Z
    let samoa = (-2 * DAY..2 * DAY).prop_map(move |ago| ("Pacific/Apia", skipped_day + ago));
    let ago = prop_oneof![-2 * DAY..2 * DAY, -120 * MINUTE..120 * MINUTE];
    let any_zone = (prop::sample::select(ZONES.to_vec()), far, ago, 0..4).prop_map(|(name, at, ago, kind)| {
        let change = zone(name).following(instant(at)).next().map(|change| change.timestamp().as_millisecond());
        (name, change.filter(|_| kind > 0).map_or(at, |change| change + ago))
    });
    prop_oneof![1 => samoa, 6 => any_zone]
}

/// The slots in (after, until] by walking. A line of fixed times is due when the clock gets to a time, or past it, for
/// the first time; a wild one whenever the clock shows it.
fn walk(line: &Line, zone: &TimeZone, after: i64, until: i64) -> Vec<UnixMillis> {
    let minute_shown = |at: i64| (at + i64::from(zone.to_offset(instant(at)).seconds()) * 1000).div_euclid(MINUTE);
    let fits = |minute: i64| line.fits(Offset::UTC.to_datetime(instant(minute * MINUTE)));
    let begin = (after - 3 * DAY).div_euclid(MINUTE) * MINUTE;
    let mut highest = minute_shown(begin);
    let mut due = vec![];
    for at in (begin..=until).step_by(usize::try_from(MINUTE).unwrap()) {
        let shown = minute_shown(at);
        let is_due = if line.is_wild() { fits(shown) } else { (highest + 1..=shown).any(fits) };
        highest = highest.max(shown);
        if is_due && at > after {
            due.push(unix(at));
        }
    }
    due
}

/// When the clock first shows `wanted` or later, by walking.
fn first_showing(zone: &TimeZone, wanted: DateTime) -> i64 {
    let wanted = Offset::UTC.to_timestamp(wanted).unwrap().as_millisecond();
    let shown = |at: i64| at + i64::from(zone.to_offset(instant(at)).seconds()) * 1000;
    let mut at = (wanted - 27 * 60 * MINUTE).div_euclid(MINUTE) * MINUTE;
    while shown(at) + MINUTE <= wanted {
        at += MINUTE; // clocks change on whole minutes here
    }
    at + (wanted - shown(at)).max(0)
}

fn calendar(text: &str, zone: &str) -> Calendar {
    Schedule::new(text, Some(zone)).unwrap_or_else(|e| panic!("{text}: {e}")).calendar(UnixMillis(0)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn cron_slots_are_those_of_a_walk(line in a_line(), (name, after) in a_place_and_time(), days in 1..6_i64) {
        let Ok(schedule) = Schedule::new(&line.text(), Some(name)) else {
            prop_assume!(false); // a day that no month has
            return Ok(());
        };
        let calendar = schedule.calendar(UnixMillis(0)).unwrap();
        let until = after + days * DAY;
        let walked = walk(&line, &zone(name), after, until);
        prop_assert_eq!(calendar.last(unix(after), unix(until)), walked.last().copied());
        prop_assert_eq!(calendar.slots(unix(after), unix(until), 10_000), walked);
    }

    #[test]
    fn sparse_lines_are_found_by_a_walk_over_days(
        (day, month, weekday) in (a_field(1, 31), a_field(1, 12), a_field(0, 7)),
        after in 0..120 * 365_i64,
    ) {
        let single = |value| Field(vec![Entry { star: false, low: value, high: value, step: 1 }]);
        let line = Line { minute: single(7), hour: single(5), day, month, weekday };
        let at = |day: i64| day * DAY + (5 * 60 + 7) * MINUTE;
        let walked = (after + 1..after + 41 * 366).find(|day| line.fits_day(Offset::UTC.to_datetime(instant(at(*day)))));
        match Schedule::new(&line.text(), None) {
            Ok(schedule) => {
                let next = schedule.calendar(UnixMillis(0)).unwrap().next_after(unix(at(after)));
                prop_assert_eq!(next, walked.map(|day| unix(at(day))));
            }
            Err(_) => prop_assert_eq!(walked, None),
        }
    }

    #[test]
    fn repetitions_are_start_plus_multiples(
        (name, near) in a_place_and_time(),
        (months, days, seconds) in prop_oneof![
            (0..3_i64, 0..3_i64, Just(0)),
            (Just(0), Just(1), Just(0)),
            (Just(0), Just(0), 1..200_000_i64),
            (0..30_i64, 0..40_i64, 0..200_000_i64),
        ],
        second in 0..86_400_i64,
        ahead in 0..40_i64,
        count in 1..40_i64,
    ) {
        prop_assume!(months + days + seconds > 0);
        let zone_of_it = zone(name);
        let start = zone_of_it.to_datetime(instant(near)).date().at(0, 0, 0, 0).checked_add(Span::new().seconds(second)).unwrap();
        let text = format!("R{count}/{start}/P{months}M{days}DT{seconds}S");
        let slot = |n: i64| {
            let span = Span::new().months(months * n).days(days * n);
            first_showing(&zone_of_it, start.checked_add(span).unwrap()) + n * seconds * 1000
        };
        let mut slots: Vec<UnixMillis> = (0..count).map(|n| unix(slot(n))).collect();
        slots.dedup();
        let calendar = calendar(&text, name);
        prop_assert_eq!(calendar.slots(UnixMillis(0), UnixMillis(u64::MAX), 100), slots.clone(), "{}", &text);
        let index = usize::try_from(ahead).unwrap();
        if let Some(slot) = slots.get(index) {
            prop_assert_eq!(calendar.next_after(*slot), slots.get(index + 1).copied());
            prop_assert_eq!(calendar.next_after(UnixMillis(slot.0 - 1)), Some(*slot));
        }
    }
}
