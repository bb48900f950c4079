mod chronos;
mod clock_changes;
mod cron;
mod errors;
mod fuzz;
mod oracle;
mod queries;

use crate::{Calendar, Schedule, UnixMillis};
use jiff::{Timestamp, Zoned, tz::TimeZoneDatabase};

/// The instant of an RFC 3339 text.
fn at(text: &str) -> UnixMillis {
    let at: Timestamp = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    UnixMillis(u64::try_from(at.as_millisecond()).unwrap())
}

fn calendar(text: &str, zone: Option<&str>, deployed: &str) -> Calendar {
    Schedule::new(text, zone).unwrap_or_else(|e| panic!("{text}: {e}")).calendar(at(deployed)).unwrap()
}

/// What the clock of `zone` shows at an instant, with its offset.
fn shown(at: UnixMillis, zone: Option<&str>) -> String {
    let zone = TimeZoneDatabase::bundled().get(zone.unwrap_or("UTC")).unwrap();
    let shown = Zoned::new(Timestamp::from_millisecond(i64::try_from(at.0).unwrap()).unwrap(), zone);
    shown.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The first `max` slots after `after`, as the clock of the zone shows them.
fn next(text: &str, zone: &str, after: &str, max: usize) -> Vec<String> {
    let calendar = calendar(text, Some(zone), "1970-01-01T00:00:00Z");
    let slots = calendar.slots(at(after), UnixMillis(u64::MAX), max);
    slots.into_iter().map(|slot| shown(slot, Some(zone))).collect()
}
