//! Commands about the runs of batch and cron jobs.

use super::{AppState, Place, State, apps::run_again};
use crate::{
    ARGS_BYTES_MAX, ARGS_MAX, App, AppName, Bug, Decision, Exit, Fence, Firing, Job, JobKind, JobName, Missed, Overlap,
    QUEUE_MAX, Refusal, Run, RunEnd, Runs, TaskId, Trigger, UnixMillis, planted,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a decision does to the tasks of its job.
enum Effect {
    Nothing,
    /// They all wait for machines.
    Begin,
    /// Those that have not ended are ended.
    Expire,
    /// What the run came to is read from them.
    Close,
}

impl AppState {
    /// Whether the job runs again and again by itself.
    pub fn recurs(&self, job: &JobName) -> bool {
        let cron = self.app.jobs.get(job).is_some_and(|job| job.cron.is_some());
        cron || self.runs.get(job).is_some_and(|runs| !runs.taken.is_empty())
    }
}

impl State {
    /// Carries out a decision, unless it was made about what is not so any more.
    pub(super) fn fire(&mut self, at: Fence, firing: &Firing) {
        let Firing { app, job, seen, now, decision } = firing;
        let Some(state) = self.apps.get_mut(app) else { return };
        let (Some(definition), Some(runs)) = (state.app.jobs.get(job), state.runs.get(job)) else { return };
        let has_ended = |task: &super::Task| matches!(task.place, Place::Ended { .. });
        let over = self.tasks.of_job(app, job).all(|(_, task)| has_ended(task));
        if runs.changed != *seen || (*decision == Decision::Over && !over) {
            return;
        }
        let finished: BTreeMap<JobName, u64> =
            runs.taken.keys().map(|name| (name.clone(), state.runs.get(name).map_or(0, |r| r.finished))).collect();
        let Some(runs) = state.runs.get_mut(job) else { return };
        let Some(effect) = decide(runs, definition, decision, *now, &finished) else { return };
        (runs.changed, state.touched) = (at, at);
        match effect {
            Effect::Nothing => {}
            Effect::Begin => self.begin_tasks(at, app, job),
            Effect::Expire => {
                let unplaced = self.expire_tasks(at, app, job);
                self.close(app, job, *now, &unplaced);
            }
            Effect::Close => self.close(app, job, *now, &[]),
        }
    }

    /// Begins a run by hand.
    pub(super) fn run(
        &mut self,
        at: Fence,
        app: &AppName,
        job: &JobName,
        args: &[String],
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        let state = self.apps.get_mut(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        let definition = state.app.jobs.get(job).ok_or_else(|| Refusal::UnknownJob(app.clone(), job.clone()))?;
        let invalid = |field: &str, message: String| Refusal::Invalid { field: field.into(), message };
        if !definition.kind.is_batch() {
            let message = format!("`{job}` is a {}: only batch and cron jobs are run", definition.kind.table());
            return Err(invalid("job", message));
        }
        if definition.count == 0 {
            return Err(invalid("count", format!("`{job}` has no instance: scale it to at least 1")));
        }
        check_args(args).map_err(|message| invalid("args", message))?;
        let ended = |task: &super::Task| matches!(task.place, Place::Ended { .. });
        let under_way = match state.runs.get(job) {
            Some(runs) => runs.current.is_some(),
            None => !self.tasks.of_job(app, job).all(|(_, task)| ended(task)), // of version 1
        };
        if under_way {
            return Err(Refusal::RunUnderWay(app.clone(), job.clone()));
        }
        let runs = state.runs.entry(job.clone()).or_insert_with(|| Runs::new(at, now));
        runs.current = Some(Run::new(Trigger::ByHand { at: now }, args.to_vec()));
        (runs.changed, state.touched) = (at, at);
        self.begin_tasks(at, app, job);
        Ok(())
    }

    /// A task of a batch job waits to run: there is a run that it belongs to.
    pub(super) fn ensure_run(&mut self, at: Fence, id: &TaskId) {
        let Some(state) = self.apps.get_mut(&id.app) else { return };
        if state.recurs(&id.job) {
            return;
        }
        let Some(runs) = state.runs.get_mut(&id.job).filter(|runs| runs.current.is_none()) else { return };
        runs.current = Some(Run::new(Trigger::Deploy, vec![]));
        (runs.changed, state.touched) = (at, at);
    }

    /// All tasks of the job wait for machines, wherever they are.
    fn begin_tasks(&mut self, at: Fence, app: &AppName, job: &JobName) {
        for id in self.ids_of(app, job) {
            let on = self.tasks.update(&id, |task| match task.place {
                Place::On { node, .. } => {
                    task.place = Place::Waiting { last: None };
                    task.cause = super::Cause::Waited;
                    Some(node)
                }
                Place::Ended { .. } => run_again(task),
                Place::Waiting { .. } => {
                    task.place = Place::Waiting { last: None }; // it begins anew, wherever it was
                    None
                }
            });
            on.flatten().into_iter().for_each(|node| self.touch(at, node));
        }
    }

    /// Ends the tasks of the job; gives the indexes of those that are on no machine.
    fn expire_tasks(&mut self, at: Fence, app: &AppName, job: &JobName) -> Vec<u32> {
        let mut unplaced = vec![];
        for id in self.ids_of(app, job) {
            let on = self.tasks.update(&id, |task| match task.place {
                Place::On { node, fence } => {
                    task.place = Place::Ended { node, fence, exit: Exit::Deadline };
                    Some(node)
                }
                Place::Waiting { .. } => {
                    unplaced.push(id.index);
                    None
                }
                Place::Ended { .. } => None,
            });
            on.flatten().into_iter().for_each(|node| self.touch(at, node));
        }
        unplaced
    }

    /// Ends the run; `unplaced` never came to a machine.
    fn close(&mut self, app: &AppName, job: &JobName, now: UnixMillis, unplaced: &[u32]) {
        let failed = self.tasks.of_job(app, job).filter_map(|(id, task)| match &task.place {
            Place::Ended { exit, .. } => (!exit.is_success()).then(|| (id.index, exit.clone())),
            Place::Waiting { .. } | Place::On { .. } => {
                unplaced.contains(&id.index).then_some((id.index, Exit::Deadline))
            }
        });
        let empty = self.tasks.of_job(app, job).next().is_none();
        let end = if empty { RunEnd::Empty } else { RunEnd::of(failed) };
        let Some(state) = self.apps.get_mut(app) else { return };
        let most = state.app.jobs.get(job).map_or(0, |job| job.history);
        if let Some(runs) = state.runs.get_mut(job) {
            runs.end(now, end, most);
        }
    }

    fn ids_of(&self, app: &AppName, job: &JobName) -> Vec<TaskId> {
        self.tasks.of_job(app, job).map(|(id, _)| id.clone()).collect()
    }
}

/// Changes the runs as decided; `None`, and no change, if the decision does not fit them. `finished` tells how often those
/// have finished that the job comes after.
fn decide(
    runs: &mut Runs,
    job: &Job,
    decision: &Decision,
    now: UnixMillis,
    finished: &BTreeMap<JobName, u64>,
) -> Option<Effect> {
    let overlap = job.cron.as_ref().map(|cron| cron.overlap);
    match decision {
        Decision::Start(Trigger::Slot(slot)) => {
            let replaces = overlap == Some(Overlap::Replace);
            if overlap.is_none() || job.count == 0 || (runs.current.is_some() && !replaces) {
                return None;
            }
            match runs.queue.first() {
                Some(first) if first == slot => drop(runs.queue.remove(0)),
                None if *slot > runs.handled => runs.handled = *slot,
                None if *slot == runs.handled && planted(Bug::FireTwice) => {}
                Some(_) | None => return None,
            }
            runs.end(now, RunEnd::Replaced, job.history);
            runs.current = Some(Run::new(Trigger::Slot(*slot), vec![]));
            Some(Effect::Begin)
        }
        Decision::Start(Trigger::After) => {
            let due = finished.iter().all(|(name, finished)| runs.taken.get(name) < Some(finished));
            if runs.current.is_some() || runs.taken.is_empty() || !due {
                return None;
            }
            runs.taken.values_mut().for_each(|taken| *taken += 1);
            runs.current = Some(Run::new(Trigger::After, vec![]));
            Some(Effect::Begin)
        }
        Decision::Start(Trigger::Deploy | Trigger::ByHand { .. }) => None, // not the scheduler's to decide
        Decision::Queue(slot) => {
            let waits = overlap == Some(Overlap::Queue) && runs.queue.len() < QUEUE_MAX && *slot > runs.handled;
            waits.then(|| {
                runs.queue.push(*slot);
                runs.handled = *slot;
                Effect::Nothing
            })
        }
        Decision::Miss { first, last, count, why } => (overlap.is_some() && *last > runs.handled).then(|| {
            runs.handled = *last;
            runs.miss(*first, *last, *count, *why, job.history);
            Effect::Nothing
        }),
        Decision::Placed => {
            let run = runs.current.as_mut().filter(|run| run.started.is_none())?;
            run.started = Some(now);
            Some(Effect::Nothing)
        }
        Decision::Over => runs.current.as_ref().map(|_| Effect::Close),
        Decision::Expired => runs.current.as_ref().filter(|_| job.deadline.is_some()).map(|_| Effect::Expire),
    }
}

/// The runs of the jobs of an app that is deployed. What is known of a job stays, as long as it is of the same kind.
pub(super) fn deployed_runs(
    at: Fence,
    old: Option<&AppState>,
    app: &App,
    revisions: &BTreeMap<JobName, u64>,
    now: UnixMillis,
) -> BTreeMap<JobName, Runs> {
    let recurring = app.recurring();
    let known = |name: &JobName| {
        let was = old?.app.jobs.get(name)?;
        let same = was.cron.is_some() == app.jobs.get(name)?.cron.is_some();
        old?.runs.get(name).filter(|_| same).map(|runs| (was, runs))
    };
    let finished = |name: &JobName| known(name).map_or(0, |(_, runs)| runs.finished);
    let mut all = BTreeMap::new();
    for (name, job) in app.jobs.iter().filter(|(_, job)| job.kind.is_batch()) {
        let before = known(name);
        let mut runs = before.map_or_else(|| Runs::new(at, now), |(_, runs)| runs.clone());
        if let Some((was, _)) = before {
            runs.reschedule(was, job, now);
        }
        let parents: BTreeSet<&JobName> = match job.kind {
            JobKind::Batch { .. } => job.after.iter().filter(|earlier| recurring.contains(*earlier)).collect(),
            JobKind::Cron { .. } | JobKind::Service | JobKind::Daemon => BTreeSet::new(),
        };
        // A job before it that has become another one counts anew.
        let taken = |parent: &JobName| runs.taken.get(parent).copied().unwrap_or(u64::MAX).min(finished(parent));
        runs.taken = parents.into_iter().map(|parent| (parent.clone(), taken(parent))).collect();
        let changed = old.and_then(|old| old.revisions.get(name)) != revisions.get(name);
        let begins = match before {
            None => job.count > 0,
            Some((_, runs)) if runs.current.is_some() => changed,
            Some((_, runs)) => !runs.taken.is_empty(), // it ran after others so far
        };
        if !recurring.contains(name) && begins {
            runs.end(now, RunEnd::Outdated, job.history);
            runs.current = Some(Run::new(Trigger::Deploy, vec![]));
        }
        runs.changed = at;
        all.insert(name.clone(), runs);
    }
    all
}

impl Runs {
    /// Another schedule begins anew: its slots count from now on.
    fn reschedule(&mut self, was: &Job, job: &Job, now: UnixMillis) {
        self.forget(job.history);
        let (Some(was), Some(cron)) = (&was.cron, &job.cron) else { return };
        if was.schedule == cron.schedule {
            return;
        }
        let Self { since, handled, .. } = Self::new(self.changed, now);
        (self.since, self.handled) = (since, handled.max(self.handled));
        for slot in std::mem::take(&mut self.queue) {
            self.miss(slot, slot, 1, Missed::Changed, job.history);
        }
    }
}

/// Refuses more arguments than travel with a task, and what the kernel does not take.
fn check_args(args: &[String]) -> Result<(), String> {
    let bytes: usize = args.iter().map(String::len).sum();
    if args.len() > ARGS_MAX {
        return Err(format!("{} arguments; at most {ARGS_MAX} are given", args.len()));
    }
    if bytes > ARGS_BYTES_MAX {
        return Err(format!("{bytes} bytes of arguments; at most {ARGS_BYTES_MAX} are given"));
    }
    if args.iter().any(|arg| arg.contains('\0')) {
        return Err("an argument contains a zero byte".into());
    }
    Ok(())
}
