//! The text of a schedule, which is what is stored and replicated.

use crate::{Calendar, InvalidSchedule, UnixMillis, calendar::Rule};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::fmt;

/// Largest text in bytes: a list of all minutes has 170.
pub const SCHEDULE_BYTES_MAX: usize = 256;

/// Largest name of a time zone in bytes: the longest of the database has 32.
pub const TIMEZONE_BYTES_MAX: usize = 64;

/// When a job is due, as its author wrote it: a repetition or five cron fields, and the name of a time zone. Equal
/// texts are equal schedules.
///
/// Only [`Schedule::new`] checks the text. What was stored is taken as it is, up to the bounds of length: a node whose
/// time zone database is older must still be able to read the state. It then fails where it needs the instants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Schedule {
    text: SmolStr,
    timezone: Option<SmolStr>,
}

impl Schedule {
    /// Checks a text such as `R/2026-11-22T02:00:00Z/PT24H` or `0 3 * * 1-5`, and the name of a time zone such as
    /// `Europe/Vienna`; see the crate's page for their meaning. Without a time zone, cron follows UTC.
    pub fn new(text: &str, timezone: Option<&str>) -> Result<Self, InvalidSchedule> {
        let stored = Stored { text: text.trim_ascii().into(), timezone: timezone.map(SmolStr::from) };
        let schedule = Self::try_from(stored)?;
        Rule::parse(&schedule.text, timezone)?;
        Ok(schedule)
    }

    /// The instants that it means for a job that was first deployed at `deployed`, where an empty start (`R//PT1M`)
    /// begins.
    ///
    /// Fails only if the text was stored by a node with another time zone database.
    pub fn calendar(&self, deployed: UnixMillis) -> Result<Calendar, InvalidSchedule> {
        Ok(Calendar::new(Rule::parse(&self.text, self.timezone())?, deployed))
    }

    /// The text without the time zone.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name of the time zone, as given.
    pub fn timezone(&self) -> Option<&str> {
        self.timezone.as_deref()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.timezone.as_ref().map_or(Ok(()), |zone| write!(f, " {zone}"))
    }
}

#[derive(Deserialize)]
struct Stored {
    text: SmolStr,
    timezone: Option<SmolStr>,
}

impl TryFrom<Stored> for Schedule {
    type Error = InvalidSchedule;

    fn try_from(Stored { text, timezone }: Stored) -> Result<Self, InvalidSchedule> {
        let zone_bytes = timezone.as_ref().map_or(0, SmolStr::len);
        for (what, bytes, max) in
            [("schedule", text.len(), SCHEDULE_BYTES_MAX), ("time zone", zone_bytes, TIMEZONE_BYTES_MAX)]
        {
            if bytes > max {
                return Err(InvalidSchedule::TooLong { what, bytes, max });
            }
        }
        Ok(Self { text, timezone })
    }
}
