//! When a cron job runs, and what happens to a slot that cannot start at its time.

use super::{App, InvalidApp, JobKind};
use crate::{JobName, UnixMillis};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, time::Duration};
use taffeta_calendar::Schedule;

/// How late a slot may start if the job says nothing about it: longer than it takes to elect a leader.
pub const EPSILON_DEFAULT: Duration = Duration::from_secs(60);

/// Most runs that are remembered of one job, and how many if the job says nothing about it.
pub const HISTORY_MAX: u8 = 20;

/// When a cron job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurrence {
    /// Its slots.
    pub schedule: Schedule,
    /// How late a slot may still start; later it counts as missed. At most a year.
    pub epsilon: Duration,
    /// What happens to a slot that is due while a run of the job is under way.
    pub overlap: Overlap,
    /// What happens to slots that could not start in time.
    pub missed: MissedPolicy,
}

/// What happens to a slot that is due while a run of its job is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It starts when the run has ended, and those before it in the queue; [`crate::QUEUE_MAX`] wait at most.
    Queue,
    /// It ends that run, and starts.
    Replace,
}

/// What happens to slots that could not start in time, since nobody led the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissedPolicy {
    /// They are left out.
    #[default]
    Skip,
    /// The newest of them starts late, unless a later slot is due by now, which does the work of all.
    Run,
}

impl fmt::Display for Overlap {
    /// As it is written in an app file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Replace => "replace",
        })
    }
}

impl App {
    /// Its jobs that run again and again by themselves: cron jobs, and batch jobs that come after such a job, each time
    /// that all of those have finished once more.
    pub fn recurring(&self) -> BTreeSet<JobName> {
        let cron = |kind: JobKind| matches!(kind, JobKind::Cron { .. });
        let mut found: BTreeSet<JobName> =
            self.jobs.iter().filter(|(_, job)| cron(job.kind)).map(|(name, _)| name.clone()).collect();
        loop {
            let next = self.jobs.iter().find(|(name, job)| {
                matches!(job.kind, JobKind::Batch { .. })
                    && !found.contains(*name)
                    && job.after.iter().any(|earlier| found.contains(earlier))
            });
            let Some((name, _)) = next.filter(|_| !found.is_empty()) else { return found };
            found.insert(name.clone());
        }
    }

    /// Refuses a schedule that cannot be read, or has no slot left at `now`; one that `known` has already is let pass.
    ///
    /// It is for whoever takes an app in, not for [`App::check`]: what a time zone means depends on the version of the
    /// database in the program, and applying a command must not.
    pub fn check_schedules(&self, now: UnixMillis, known: Option<&Self>) -> Result<(), InvalidApp> {
        for (name, job) in &self.jobs {
            let Some(cron) = &job.cron else { continue };
            let same = known.and_then(|known| known.jobs.get(name)?.cron.as_ref());
            if same.is_some_and(|same| same.schedule == cron.schedule) {
                continue;
            }
            let wrong = |message: String| InvalidApp { field: format!("cron.{name}.schedule"), message };
            let calendar = cron.schedule.calendar(now).map_err(|e| wrong(e.to_string()))?;
            calendar.check(now).map_err(|e| wrong(e.to_string()))?;
        }
        Ok(())
    }
}
