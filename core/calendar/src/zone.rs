//! Time zones by name, out of the database that is compiled in.

use crate::{InvalidSchedule, error::printable, schedule::TIMEZONE_BYTES_MAX};
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// How much a known name must resemble a mistyped one to be offered, from 0 to 1.
const LIKENESS_MIN: f64 = 0.85;

/// The zone of this name in any case of letters; none means UTC.
pub(crate) fn time_zone(name: Option<&str>) -> Result<TimeZone, InvalidSchedule> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    if name.len() > TIMEZONE_BYTES_MAX {
        return Err(InvalidSchedule::TooLong { what: "time zone", bytes: name.len(), max: TIMEZONE_BYTES_MAX });
    }
    // Not jiff's own database: another crate's feature could make it read the machine's files.
    let database = TimeZoneDatabase::bundled();
    // jiff's "unknown" zone is its own invention.
    let found = database.get(name).ok().filter(|zone| !zone.is_unknown());
    found.ok_or_else(|| InvalidSchedule::UnknownZone { name: printable(name), nearest: nearest(&database, name) })
}

/// Compares with whole names and with the city alone, which is what people remember.
fn nearest(database: &TimeZoneDatabase, name: &str) -> Option<String> {
    let wanted = name.to_ascii_lowercase();
    let likeness = |known: &str| {
        let known = known.to_ascii_lowercase();
        let city = known.rsplit('/').next().unwrap_or(&known);
        strsim::jaro_winkler(&known, &wanted).max(strsim::jaro_winkler(city, &wanted))
    };
    let all = database.available().map(|known| (likeness(known.as_str()), known.as_str().to_owned()));
    all.filter(|(like, _)| *like >= LIKENESS_MIN).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))).map(|(_, n)| n)
}
