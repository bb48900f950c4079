//! The order of jobs inside an app: whether what a job names in `after` is ready.

use crate::{
    Blocked, Unmet,
    survey::{JobSurvey, Standing, Survey, TaskSurvey},
};
use taffeta_model::JobKind;

/// Which earlier jobs count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// All of them: a new instance starts where nothing is promised yet.
    All,
    /// Batch jobs only: see [`crate::plan()`] on updates.
    Batch,
}

/// The first earlier job that is not ready. A job without instances is ready, as there is nothing to wait for.
pub(crate) fn unmet(survey: &Survey<'_>, job: &JobSurvey<'_>, which: Earlier) -> Option<Unmet> {
    job.job.after.iter().find_map(|name| {
        let earlier = survey.job(job.app, name)?;
        if which == Earlier::Batch && earlier.is_service() {
            return None;
        }
        let (task, blocked) = first_blocked(earlier)?;
        Some(Unmet { earlier: name.clone(), kind: earlier.job.kind, task: task.id.clone(), blocked })
    })
}

/// A failed instance if there is one, as that is what a person has to know; otherwise the first that is not ready.
fn first_blocked<'s, 'a>(job: &'s JobSurvey<'a>) -> Option<(&'s TaskSurvey<'a>, Blocked)> {
    let blocked = || job.tasks.iter().filter_map(|task| Some((task, blocked(job, task)?)));
    blocked().find(|(_, why)| matches!(why, Blocked::Failed(_))).or_else(|| blocked().next())
}

fn blocked(job: &JobSurvey<'_>, task: &TaskSurvey<'_>) -> Option<Blocked> {
    let ready = match (job.job.kind, task.standing) {
        (JobKind::Service, _) => job.serves(task),
        (JobKind::Batch { .. }, Standing::Ended(exit)) => exit.is_success(),
        (JobKind::Batch { .. }, Standing::Waiting { .. } | Standing::On { .. }) => false,
    };
    if ready {
        return None;
    }
    Some(match task.standing {
        Standing::Waiting { .. } => Blocked::Waiting,
        Standing::Ended(exit) => Blocked::Failed(exit.clone()),
        Standing::On { alive: false, .. } => Blocked::MachineAway,
        Standing::On { report: None, .. } => Blocked::Unreported,
        Standing::On { report: Some(report), .. } => Blocked::Phase(report.phase),
    })
}
