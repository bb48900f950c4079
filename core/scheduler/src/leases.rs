//! Exclusive tasks: who may still run one, and what that means for where it goes.

use crate::{
    Waiting,
    choose::Rules,
    machines::{MachineId, TaskRef},
    mirror::{JobMirror, VersionId},
    plan::Turn,
};
use std::time::Duration;
use taffeta_model::{AppName, Cause, Fence, JobName, LEASES_MAX, NodeId, State, TaskId};

/// How soon it is looked again whether there is room for one more lease.
const AGAIN: Duration = Duration::from_secs(1);

/// What leases say to a task that wants a machine.
pub(crate) enum Lease {
    /// Nothing: it may go anywhere.
    Free,
    /// This machine may run it still, and takes it.
    Held(MachineId),
    /// It waits.
    Withheld(Waiting),
}

/// Reads which instances of the app may still run somewhere.
pub(crate) fn read(jobs: &mut [JobMirror], state: &State, app: &AppName) {
    for (id, leased) in of_app(state, app) {
        if let Ok(j) = jobs.binary_search_by(|job| job.name.cmp(&id.job)) {
            jobs[j].leased.insert(id.index, leased);
        }
    }
}

fn of_app<'s>(state: &'s State, app: &'s AppName) -> impl Iterator<Item = (&'s TaskId, NodeId)> {
    let job = JobName::new("0").expect("a label"); // the smallest there is
    let first = TaskId { app: app.clone(), job, index: 0 };
    let of_app = state.leased.range(first..).take_while(move |(id, _)| id.app == *app);
    of_app.map(|(id, leased)| (id, leased.node))
}

/// Placements of the app's tasks of which nothing runs any more, if all goes well: they have been removed.
pub(crate) fn ended(state: &State, app: &AppName) -> Vec<(TaskId, Fence)> {
    let on = |id: &TaskId| state.tasks.get(id).and_then(taffeta_model::Task::node);
    let gone = of_app(state, app).filter(|(id, node)| on(id) != Some(*node));
    gone.map(|(id, _)| (id.clone(), state.leased[id].fence)).collect()
}

impl Turn<'_> {
    /// The machine that may still run the task.
    pub(crate) fn holder(&self, task: TaskRef) -> Option<NodeId> {
        let job = self.s.job(task);
        job.leased.get(&job.slots[task.slot].index).copied()
    }

    /// Whether a task that leaves its machine, for the given version or the one that it would get, may be at another only
    /// when nothing of it can run any more on the first.
    pub(crate) fn may_run_elsewhere(&self, task: TaskRef, version: Option<VersionId>) -> bool {
        let version = version.unwrap_or_else(|| self.version_for(task));
        self.holder(task).is_some() || self.s.job(task).spec_of(version).exclusive
    }

    /// Takes such a task from its machine; it has been lifted.
    pub(crate) fn let_go(&mut self, task: TaskRef, cause: Cause) {
        let on = self.s.slot(task).standing.machine().map(|at| self.s.machines.all[at].name.clone());
        self.remove(task, cause);
        self.wait(task, Waiting::Leased { node: on });
    }

    /// That something may still run there.
    pub(crate) fn leased_on(&self, node: NodeId) -> Waiting {
        let at = self.s.machines.position(node);
        Waiting::Leased { node: at.map(|at| self.s.machines.all[at].name.clone()) }
    }

    /// What leases say to a task that is on no machine.
    pub(crate) fn lease_of(&mut self, task: TaskRef, rules: &Rules) -> Lease {
        if let Some(holder) = self.holder(task) {
            let at = self.s.machines.position(holder);
            return match at.filter(|at| rules.admit(self.s, *at)) {
                Some(at) => Lease::Held(at),
                None => Lease::Withheld(self.leased_on(holder)),
            };
        }
        if !rules.spec(self.s).exclusive {
            return Lease::Free;
        }
        if self.s.level < 2 {
            return Lease::Withheld(Waiting::OldMembers);
        }
        if self.s.leases + self.new_leases >= LEASES_MAX {
            self.wake(task.app, self.now + AGAIN);
            return Lease::Withheld(Waiting::Leases);
        }
        Lease::Free
    }
}
