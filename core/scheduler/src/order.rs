//! The order of jobs inside an app: whether what a job names in `after` is ready.

use crate::{
    Blocked, Unmet,
    mirror::{AppMirror, JobMirror, Scheduler, Slot, Standing},
};
use taffeta_model::{Phase, TaskId};

/// Which earlier jobs count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// All of them: a new instance starts where nothing is promised yet.
    All,
    /// Batch jobs only: see [`Scheduler::plan`] on updates.
    Batch,
}

/// The first earlier job that is not ready. A job without instances is ready, as there is nothing to wait for. After one
/// that runs again and again comes a run that its end has begun.
pub(crate) fn unmet(s: &Scheduler, app: usize, job: usize, which: Earlier) -> Option<Unmet> {
    let mirror = s.app(app);
    mirror.definition(job).after.iter().find_map(|name| {
        let earlier = mirror.job(name)?;
        if earlier.recurs() || (which == Earlier::Batch && !earlier.spec.kind.is_batch()) {
            return None;
        }
        let (slot, blocked) = first_blocked(s, earlier)?;
        Some(Unmet { earlier: name.clone(), kind: earlier.spec.kind, task: id(mirror, earlier, slot), blocked })
    })
}

fn id(app: &AppMirror, job: &JobMirror, slot: &Slot) -> TaskId {
    TaskId { app: app.app.name.clone(), job: job.name.clone(), index: slot.index }
}

/// A failed instance if there is one, as that is what a person has to know; otherwise the first that is not ready.
fn first_blocked<'a>(s: &Scheduler, job: &'a JobMirror) -> Option<(&'a Slot, Blocked)> {
    let blocked = || job.slots.iter().filter_map(|slot| Some((slot, blocked(s, job, slot)?)));
    blocked().find(|(_, why)| matches!(why, Blocked::Failed(_))).or_else(|| blocked().next())
}

fn blocked(s: &Scheduler, job: &JobMirror, slot: &Slot) -> Option<Blocked> {
    let ready = match (&slot.standing, job.spec.kind.is_batch()) {
        (_, false) => serves(s, job, slot),
        (Standing::Ended(exit), true) => exit.is_success(),
        (Standing::Waiting { .. } | Standing::On { .. }, true) => false,
    };
    if ready {
        return None;
    }
    Some(match &slot.standing {
        Standing::Waiting { .. } => Blocked::Waiting,
        Standing::Ended(exit) => Blocked::Failed(exit.clone()),
        Standing::On { machine, .. } if !s.machines.all[*machine].is_alive() => Blocked::MachineAway,
        Standing::On { report: None, .. } => Blocked::Unreported,
        Standing::On { report: Some(report), .. } => Blocked::Phase(report.phase),
    })
}

/// Whether the task works on a machine that is alive.
pub(crate) fn serves(s: &Scheduler, job: &JobMirror, slot: &Slot) -> bool {
    let Standing::On { machine, report: Some(report), .. } = &slot.standing else { return false };
    s.machines.all[*machine].is_alive()
        && match report.phase {
            Phase::Healthy => true,
            Phase::Running => !job.spec.has_health,
            Phase::Starting | Phase::Unhealthy | Phase::Stopping | Phase::Finished | Phase::Failed => false,
        }
}
