//! What the agent knows of the leases of exclusive tasks, and what follows from them for their runs.
//!
//! The agent takes a run out of DNS and ends it in good time before its lease does. Whoever supervises the process keeps to
//! the end itself, should the agent be late or gone; that is why each extension is passed on.

use crate::{
    run::{Run, Stage},
    slot::{Course, Slot},
};
use std::time::Duration;
use taffeta_model::{BootMillis, Bug, Fence, LEASE_BASE, LEASE_DNS, Millis, TaskId, planted};

/// By so much the agent is earlier than the supervisor, who is the last resort.
const MARGIN: Duration = Duration::from_millis(500);

/// A start under a lease that would end sooner is not worth it: the next grant comes before.
const WORTH_IT: Duration = Duration::from_secs(2);

/// Most tasks of which it is told that nothing is left of them: more are waited for by time, as those of a dead machine.
const RID_MAX: usize = 1_000;

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The task.
    pub task: TaskId,
    /// The placement.
    pub fence: Fence,
    /// When it ends, by the agent's clock.
    pub until: Millis,
    /// The same for whoever supervises the process. Opaque here.
    pub stamp: BootMillis,
}

/// What the leader has to be asked and told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Fence of the obeyed set, by which all of it is so.
    pub obeyed: Option<Fence>,
    /// Exclusive tasks of the set that want a lease, with their placements.
    pub held: Vec<(TaskId, Fence)>,
    /// Exclusive tasks that are not to run here any more, and do not.
    pub rid: Vec<TaskId>,
}

impl Needs {
    /// Whether there is nothing to ask or to tell.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.rid.is_empty()
    }
}

/// What of the newest grant a slot remembers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    fence: Fence,
    until: Millis,
    pub(crate) stamp: BootMillis,
}

impl Lease {
    /// Whether it is for runs under this placement.
    pub(crate) fn is_of(&self, fence: Fence) -> bool {
        self.fence == fence
    }
}

impl Slot {
    /// Takes a grant, unless a later one is known.
    pub(crate) fn grant(&mut self, grant: &Grant) {
        let Grant { fence, until, stamp, .. } = *grant;
        if self.lease.is_none_or(|known| (known.fence, known.until) < (fence, until)) {
            self.lease = Some(Lease { fence, until, stamp });
        }
    }

    /// The lease of runs under this placement.
    pub(crate) fn lease_of(&self, fence: Fence) -> Option<Lease> {
        self.lease.filter(|lease| lease.fence == fence)
    }

    /// When a run has to begin to leave for the sake of its lease; `None` if it never has.
    pub(crate) fn leaves_at(&self, run: &Run) -> Option<Millis> {
        let Stage::Up { since, .. } = run.stage else { return None };
        if !run.exclusive || planted(Bug::IgnoreLeaseEnd) {
            return None;
        }
        // One that was found has a lease of which only its supervisor knows.
        let found = Millis(since.0 + millis(LEASE_BASE));
        Some(self.lease_of(run.fence).map_or(found, |lease| leaves_at(lease, run.grace())))
    }

    /// The lease under which a run may be started now.
    pub(crate) fn lease_to_start(&self, now: Millis) -> Option<Lease> {
        let assigned = &self.wanted.as_ref()?.assigned;
        let lease = self.lease_of(assigned.fence)?;
        (now + WORTH_IT <= leaves_at(lease, assigned.job.grace)).then_some(lease)
    }

    /// The placement for which a lease is wanted.
    pub(crate) fn wants_lease(&self) -> Option<Fence> {
        let wanted = self.wanted.as_ref().filter(|wanted| wanted.course != Course::Over)?;
        (wanted.assigned.job.exclusive && wanted.assigned.ended.is_none()).then_some(wanted.assigned.fence)
    }

    /// Whether an exclusive task has left, and nothing of it runs; told once.
    pub(crate) fn take_rid(&mut self) -> bool {
        let over = self.wanted.as_ref().is_none_or(|wanted| wanted.assigned.ended.is_some());
        let rid = self.exclusive && over && self.runs.is_empty();
        self.exclusive &= !rid;
        rid
    }
}

/// Adds to those of which nothing is left, if there is room for it.
pub(crate) fn note_rid(rid: &mut Vec<TaskId>, task: &TaskId) {
    if rid.len() < RID_MAX && !rid.contains(task) {
        rid.push(task.clone());
    }
}

fn leaves_at(lease: Lease, grace: Duration) -> Millis {
    Millis(lease.until.0.saturating_sub(millis(grace + LEASE_DNS + MARGIN)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
