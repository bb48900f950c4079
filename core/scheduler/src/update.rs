//! The part of a turn that replaces outdated tasks.

use crate::{
    UNSEEN_GRACE, Waiting,
    order::{Earlier, unmet},
    plan::{Pace, Turn},
    survey::{JobSurvey, Standing, TaskSurvey},
};

/// The outdated tasks of a job, with their machines.
struct Outdated<'a> {
    /// They serve nobody.
    idle: Vec<(&'a TaskSurvey<'a>, usize)>,
    /// Of these, only one may go at a time.
    serving: Vec<(&'a TaskSurvey<'a>, usize)>,
    /// Whether another instance is on its way, so that none that serves may go.
    unsettled: bool,
}

impl<'a> Turn<'a> {
    pub(crate) fn update_outdated(&mut self) {
        let survey = self.survey;
        for (j, job) in survey.jobs.iter().enumerate() {
            let Outdated { idle, serving, unsettled } = self.outdated(job);
            if idle.is_empty() && serving.is_empty() {
                continue;
            }
            if let Some(unmet) = unmet(survey, job, Earlier::Batch) {
                for (task, _) in idle.into_iter().chain(serving) {
                    self.hold(task, Waiting::After(unmet.clone()));
                }
                continue;
            }
            let settled = idle.is_empty() && !unsettled;
            for (task, node) in idle {
                self.update(j, task, node);
            }
            match self.pace {
                Pace::AllAtOnce => serving.into_iter().for_each(|(task, node)| {
                    self.update(j, task, node);
                }),
                Pace::OneByOne if settled => {
                    serving.into_iter().any(|(task, node)| self.update(j, task, node));
                }
                Pace::OneByOne => {}
            }
        }
    }

    /// Sorts the tasks of a job that are on machines that are alive. Instances that wait because they fit nowhere do
    /// not unsettle a job: a newer version may be what makes them fit.
    fn outdated(&mut self, job: &'a JobSurvey<'a>) -> Outdated<'a> {
        let mut sorted = Outdated { idle: vec![], serving: vec![], unsettled: false };
        for task in &job.tasks {
            if let Some(after) = self.decided.get(task.id) {
                sorted.unsettled |= after.is_some();
                continue;
            }
            let Standing::On { node, alive, report } = task.standing else { continue };
            let Some(node) = self.pool.position(node).filter(|_| alive) else {
                sorted.unsettled = true; // its machine is back soon, or it moves soon
                continue;
            };
            let serves = job.serves(task);
            if task.task.revision == job.revision {
                sorted.unsettled |= !serves;
            } else if serves && job.is_service() {
                sorted.serving.push((task, node));
            } else if report.is_some() || self.knows_all() {
                sorted.idle.push((task, node));
            } else {
                sorted.unsettled = true;
            }
        }
        sorted
    }

    /// Whether this leader has led for so long that a task without a report really does nothing: a new one that took
    /// silence for idleness would replace all instances of a job at once.
    fn knows_all(&mut self) -> bool {
        let due = self.ring.leader_since + UNSEEN_GRACE;
        if self.now < due {
            self.wake(due);
        }
        self.now >= due
    }

    /// Replaces an outdated task, on the same machine if the newer version fits there. Gives whether it was replaced.
    fn update(&mut self, j: usize, task: &'a TaskSurvey<'a>, node: usize) -> bool {
        if self.is_full() {
            return false;
        }
        self.pool.lift(node, j, task.id); // what it has is free for what replaces it
        let to = if self.pool.admits(node, j) { Ok(node) } else { self.choose(j, task.id, true) };
        match to {
            Ok(to) => {
                self.place(j, task, to);
                true
            }
            Err(why) => {
                self.pool.put(node, j, task.id);
                self.hold(task, why);
                false
            }
        }
    }

    fn hold(&mut self, task: &TaskSurvey<'_>, why: Waiting) {
        self.plan.waiting.insert(task.id.clone(), Waiting::Outdated(Box::new(why)));
    }
}
