//! The keys of `[cron.NAME]` that say when it runs.

use super::{error::AppFileError, item::Item};
use crate::{EPSILON_DEFAULT, InvalidSchedule, Job, JobKind, MissedPolicy, Overlap, Recurrence, Schedule};
use std::time::Duration;

/// What was read so far: the schedule needs the time zone, which may come later.
#[derive(Default)]
pub(super) struct CronKeys<'a> {
    schedule: Option<Item<'a>>,
    timezone: Option<Item<'a>>,
    epsilon: Option<Duration>,
    overlap: Overlap,
    missed: MissedPolicy,
}

impl<'a> CronKeys<'a> {
    /// Reads one key of them, which a job of another kind must not have.
    pub(super) fn read(&mut self, job: &Job, key: &str, item: Item<'a>) -> Result<(), AppFileError> {
        if !matches!(job.kind, JobKind::Cron { .. }) {
            let message = format!("only a cron job has a schedule, and this is a {} job", job.kind.table());
            return Err(item.error(message).help("as in `[cron.NAME]`"));
        }
        match key {
            "schedule" => self.schedule = Some(item),
            "timezone" => self.timezone = Some(item),
            "epsilon" => self.epsilon = Some(item.iso_duration()?),
            "overlap" => {
                self.overlap = match item.string()? {
                    "skip" => Overlap::Skip,
                    "queue" => Overlap::Queue,
                    "replace" => Overlap::Replace,
                    _ => return Err(item.expected("`skip`, `queue` or `replace`")),
                };
            }
            _ => {
                self.missed = match item.string()? {
                    "skip" => MissedPolicy::Skip,
                    "run" => MissedPolicy::Run,
                    _ => return Err(item.expected("`skip` or `run`")),
                };
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, table: &Item<'_>) -> Result<Recurrence, AppFileError> {
        let Some(item) = &self.schedule else { return Err(table.missing("schedule", "when the job runs")) };
        let timezone = self.timezone.as_ref().map(Item::string).transpose();
        let timezone = timezone.map_err(|e| e.help("as in `timezone = \"Europe/Vienna\"`"))?;
        let schedule = Schedule::new(item.string()?, timezone).map_err(|e| match (&e, &self.timezone) {
            (InvalidSchedule::UnknownZone { .. } | InvalidSchedule::TooLong { what: "time zone", .. }, Some(zone)) => {
                zone.error(e.to_string()).help("as in `timezone = \"Europe/Vienna\"`")
            }
            _ => item.error(e.to_string()),
        })?;
        let epsilon = self.epsilon.unwrap_or(EPSILON_DEFAULT);
        Ok(Recurrence { schedule, epsilon, overlap: self.overlap, missed: self.missed })
    }
}
