//! The part of a turn that replaces outdated tasks, and moves those of drained machines.

use crate::{
    UNSEEN_GRACE, Waiting,
    choose::Rules,
    machines::{MachineId, TaskRef},
    mirror::Standing,
    order::{Earlier, serves, unmet},
    plan::{Pace, Turn},
};
use taffeta_model::{Cause, JobKind};

/// How many instances of a service may be down at a time by our own doing.
const UNAVAILABLE_MAX: usize = 1;

/// The tasks of a job that are to be replaced, with their machines and why.
#[derive(Default)]
struct Outdated {
    /// They serve nobody.
    idle: Vec<(TaskRef, MachineId, Cause)>,
    /// Of these, only so many may go at a time.
    serving: Vec<(TaskRef, MachineId, Cause)>,
    /// How many other instances are on their way, so that fewer that serve may go.
    unsettled: usize,
}

impl Turn<'_> {
    pub(crate) fn replace_outdated(&mut self, app: usize) {
        for job in 0..self.s.app(app).jobs.len() {
            let Outdated { idle, serving, unsettled } = self.outdated(app, job);
            if idle.is_empty() && serving.is_empty() {
                continue;
            }
            if let Some(unmet) = unmet(self.s, app, job, Earlier::Batch) {
                for (task, _, cause) in idle.into_iter().chain(serving) {
                    self.hold(task, &cause, Waiting::After(unmet.clone()));
                }
                continue;
            }
            let mut may = match self.pace {
                Pace::AllAtOnce => usize::MAX,
                Pace::OneByOne => self.budget_of(app, job).saturating_sub(unsettled + idle.len()),
            };
            for (task, machine, cause) in idle {
                self.replace(task, machine, cause);
            }
            for (task, machine, cause) in serving {
                if may > 0 && self.replace(task, machine, cause) {
                    may -= 1;
                }
            }
        }
    }

    /// How many instances of the task's job may be down at a time.
    pub(crate) fn budget(&self, task: TaskRef) -> usize {
        let left = self.spare.get(&(task.app, task.job));
        left.map_or(UNAVAILABLE_MAX, |left| UNAVAILABLE_MAX.min(*left))
    }

    fn budget_of(&self, app: usize, job: usize) -> usize {
        self.budget(TaskRef { app, job, slot: 0 })
    }

    pub(crate) fn serves(&self, task: TaskRef) -> bool {
        let job = self.s.job(task);
        serves(self.s, job, &job.slots[task.slot])
    }

    /// Sorts the tasks of a job that are on machines that are alive. Instances that wait because they fit nowhere do
    /// not unsettle a job: a newer version may be what makes them fit.
    fn outdated(&mut self, app: usize, job: usize) -> Outdated {
        let mut sorted = Outdated::default();
        let kind = self.s.app(app).jobs[job].spec.kind;
        if self.s.app(app).jobs[job].recurs() {
            return sorted; // its next run is of the newer version
        }
        for slot in 0..self.s.app(app).jobs[job].slots.len() {
            let task = TaskRef { app, job, slot };
            if let Some(after) = self.decided.get(&task) {
                sorted.unsettled += usize::from(after.is_some());
                continue;
            }
            let Standing::On { machine, report, .. } = &self.s.slot(task).standing else { continue };
            let (machine, silent) = (*machine, report.is_none());
            if !self.s.machines.all[machine].is_alive() {
                // Its machine is back soon, or it moves soon; a daemon is down for as long as its machine.
                sorted.unsettled += usize::from(kind != JobKind::Daemon);
                continue;
            }
            let draining = self.s.machines.all[machine].draining && kind == JobKind::Service;
            let current = self.s.slot(task).revision == self.s.job(task).revision;
            let serves = self.serves(task);
            let cause = if draining { Cause::Drained } else { Cause::Outdated };
            if current && !draining {
                sorted.unsettled += usize::from(!serves);
            } else if serves && !kind.is_batch() {
                sorted.serving.push((task, machine, cause));
            } else if !silent || self.knows_all(app) {
                sorted.idle.push((task, machine, cause));
            } else {
                sorted.unsettled += 1;
            }
        }
        sorted
    }

    /// Whether this leader has led for so long that a task without a report really does nothing: a new one that took
    /// silence for idleness would replace all instances of a job at once.
    fn knows_all(&mut self, app: usize) -> bool {
        let due = self.ring.leader_since() + UNSEEN_GRACE;
        if self.now < due {
            self.wake(app, due);
        }
        self.now >= due
    }

    /// Replaces a task, on the same machine if that takes it. Gives whether it was replaced.
    fn replace(&mut self, task: TaskRef, machine: MachineId, cause: Cause) -> bool {
        if self.is_full() {
            return false;
        }
        self.lift(task); // what it has is free for what replaces it
        let rules = Rules::new(self.s, task.app, task.job);
        let to = if rules.admit(self.s, machine) {
            Ok(machine)
        } else if self.s.job(task).spec.kind == JobKind::Daemon {
            if rules.lets_stay(self.s, machine) {
                Err(rules.why(self.s))
            } else {
                self.remove(task, cause); // the machine matches no more
                return true;
            }
        } else {
            self.choose(task)
        };
        match to {
            Ok(to) => {
                self.place(task, to, cause);
                true
            }
            Err(why) => {
                self.put(task, machine);
                self.hold(task, &cause, why);
                self.s.blocked.insert(task.app);
                false
            }
        }
    }

    fn hold(&mut self, task: TaskRef, cause: &Cause, why: Waiting) {
        let why = Box::new(why);
        let held = if *cause == Cause::Drained { Waiting::Drained(why) } else { Waiting::Outdated(why) };
        self.wait(task, held);
    }
}
