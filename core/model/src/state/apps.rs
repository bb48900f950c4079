//! Commands about apps, and the instance slots that follow from them.

use super::{APPS_MAX, AppState, Cause, Place, Rollout, State, TASKS_MAX, Task, directory_jobs, runs::deployed_runs};
use crate::{App, AppName, COUNT_MAX, Fence, Job, JobKind, JobName, NodeId, Refusal, TaskId, UnixMillis};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    sync::Arc,
};

impl State {
    pub(super) fn deploy(&mut self, at: Fence, app: &Arc<App>, now: UnixMillis) -> Result<(), Refusal> {
        app.check().map_err(|e| Refusal::Invalid { field: e.field, message: e.message })?;
        let old = self.apps.get(&app.name);
        if old.is_none() && self.apps.len() >= APPS_MAX {
            return Err(Refusal::Full(APPS_MAX, "apps".into()));
        }
        let others = self.tasks.len() - self.tasks.of_app(&app.name).count();
        if others + app.jobs.values().map(|j| j.count as usize).sum::<usize>() > TASKS_MAX {
            return Err(Refusal::Full(TASKS_MAX, "tasks".into()));
        }
        self.check_secrets(app)?;
        self.check_room_for_volumes(&app.name, &app.jobs)?;
        let version = old.map_or(1, |old| old.version + 1);
        // Every node pulls the directory when it changes, so it changes only if it has to.
        let listed = old.is_some_and(|old| directory_jobs(&old.app).eq(directory_jobs(app)));
        let mut revisions = BTreeMap::new();
        for (name, job) in &app.jobs {
            let kept = old.and_then(|old| {
                let same = old.app.jobs.get(name).is_some_and(|was| runs_the_same(was, &old.app, job, app));
                old.revisions.get(name).copied().filter(|_| same)
            });
            revisions.insert(name.clone(), kept.unwrap_or(at.index));
        }
        let secrets = self.pins_of(at, app, &revisions);
        let rollout = Rollout::of(old, &revisions);
        let counts = old.map(AppState::counts).unwrap_or_default();
        let runs = deployed_runs(at, old, app, &revisions, now);
        let app_now = with_counts_as_scaled(app, old);
        let kept = match self.apps.get_mut(&app.name) {
            None => vec![],
            Some(old) if old.revisions == revisions => take(&mut old.kept), // nothing to go back to
            Some(old) => old.keep(),
        };
        let deployed =
            AppState { app: app_now, version, deployed_at: now, revisions, secrets, rollout, kept, runs, touched: at };
        self.apps.insert(app.name.clone(), deployed);
        self.fit_tasks(at, &app.name, &counts);
        self.touch_app(at, &app.name);
        if !listed {
            self.directory_fence = at;
        }
        Ok(())
    }

    pub(super) fn scale(&mut self, at: Fence, app: &AppName, job: &JobName, count: u32) -> Result<(), Refusal> {
        if count > COUNT_MAX {
            let message = format!("{count} instances; at most {COUNT_MAX} are allowed");
            return Err(Refusal::Invalid { field: "count".into(), message });
        }
        if let Some(known) = self.apps.get(app).and_then(|known| known.app.jobs.get(job)) {
            let scaled = Arc::new(Job { count, ..Job::clone(known) });
            self.check_room_for_volumes(app, &BTreeMap::from([(job.clone(), scaled)]))?;
        }
        let others = self.tasks.len() - self.tasks.of_app(app).filter(|(task, _)| task.job == *job).count();
        let state = self.apps.get_mut(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        let known = Arc::make_mut(&mut state.app).jobs.get_mut(job).map(Arc::make_mut);
        let known = known.ok_or_else(|| Refusal::UnknownJob(app.clone(), job.clone()))?;
        if others + count as usize > TASKS_MAX {
            return Err(Refusal::Full(TASKS_MAX, "tasks".into()));
        }
        if known.kind == JobKind::Daemon {
            let message = "a daemon has one instance on each machine that matches".into();
            return Err(Refusal::Invalid { field: "count".into(), message });
        }
        if let Some(scale) = known.autoscale.as_ref().filter(|scale| scale.clamp(count) != count) {
            let message = format!("{count}; `autoscale` keeps it from {} to {}", scale.min, scale.max);
            return Err(Refusal::Invalid { field: "count".into(), message });
        }
        let counts = BTreeMap::from([(job.clone(), known.count)]);
        known.count = count;
        state.touched = at;
        self.fit_tasks(at, app, &counts);
        self.touch_app(at, app);
        self.directory_fence = at;
        Ok(())
    }

    /// The count follows the load, unless somebody has changed it meanwhile.
    pub(super) fn autoscale(
        &mut self,
        at: Fence,
        app: &AppName,
        job: &JobName,
        (seen_count, count): (u32, u32),
    ) -> Result<(), Refusal> {
        let known = self.apps.get(app).and_then(|state| state.app.jobs.get(job));
        let known = known.filter(|known| known.autoscale.is_some() && known.count == seen_count);
        known.map(drop).ok_or(Refusal::Outdated)?;
        self.scale(at, app, job, count)
    }

    pub(super) fn stop(&mut self, at: Fence, app: &AppName) -> Result<(), Refusal> {
        self.apps.remove(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        self.fit_tasks(at, app, &BTreeMap::new());
        self.directory_fence = at;
        Ok(())
    }

    pub(super) fn restart(&mut self, at: Fence, app: &AppName, job: Option<&JobName>) -> Result<(), Refusal> {
        let state = self.apps.get_mut(app).ok_or_else(|| Refusal::UnknownApp(app.clone()))?;
        if let Some(job) = job.filter(|job| !state.app.jobs.contains_key(*job)) {
            return Err(Refusal::UnknownJob(app.clone(), job.clone()));
        }
        if let Some(job) = job.filter(|job| state.recurs(job)) {
            let message = format!("`{job}` starts anew with each of its runs; `taffeta run {app}/{job}` runs it now");
            return Err(Refusal::Invalid { field: "job".into(), message });
        }
        state.touched = at;
        for (name, revision) in &mut state.revisions {
            if job.is_none_or(|job| job == name) {
                *revision = at.index;
            }
        }
        self.renew_pins(app, job);
        self.touch_app(at, app); // what runs on may be of a version before by now
        let state = self.apps.get(app);
        let again = |id: &&TaskId| job.is_none_or(|job| *job == id.job) && !state.is_some_and(|s| s.recurs(&id.job));
        let ids: Vec<TaskId> = self.tasks.of_app(app).map(|(id, _)| id).filter(again).cloned().collect();
        let mut touched = BTreeSet::new();
        for id in ids {
            if let Some(node) = self.tasks.update(&id, run_again).flatten() {
                touched.insert(node);
                self.ensure_run(at, &id); // a batch job runs again
            }
        }
        touched.into_iter().for_each(|node| self.touch(at, node));
        Ok(())
    }

    /// Makes the app's instance slots match its jobs: new ones wait, superfluous ones go. Those beyond the counts before
    /// are there for an update: they go when it is over.
    pub(super) fn fit_tasks(&mut self, at: Fence, app: &AppName, before: &BTreeMap<JobName, u32>) {
        let state = self.apps.get(app);
        let wanted = |id: &TaskId, task: &Task| {
            let job = state.and_then(|s| s.app.jobs.get(&id.job));
            let surge = |job: &Job| {
                let extra = before.get(&id.job).is_some_and(|before| id.index > job.count.max(*before));
                extra && job.kind == JobKind::Service
            };
            job.is_some_and(|job| match job.kind {
                JobKind::Daemon => task.node().is_some(), // a slot that another kind left is nothing without its machine
                JobKind::Service | JobKind::Batch { .. } | JobKind::Cron { .. } => {
                    (1..=job.count).contains(&id.index) || surge(job)
                }
            })
        };
        let gone = self.tasks.of_app(app).filter(|(id, task)| !wanted(id, task));
        let gone: Vec<TaskId> = gone.map(|(id, _)| id.clone()).collect();
        let (mut touched, mut begun) = (BTreeSet::new(), vec![]);
        for (name, job) in state.iter().flat_map(|s| &s.app.jobs) {
            let count = if job.kind == JobKind::Daemon { 0 } else { job.count }; // a daemon's come with its machines
            for index in 1..=count {
                let id = TaskId { app: app.clone(), job: name.clone(), index };
                let revision = state.and_then(|s| s.revisions.get(name).copied()).unwrap_or_default();
                match self.tasks.get(&id).map(|task| task.revision) {
                    None => {
                        self.tasks.insert(id.clone(), Task::new(revision));
                        begun.push(id);
                    }
                    Some(same) if same == revision => {}
                    // A batch job whose definition changed runs again.
                    Some(_) if state.is_some_and(|s| s.recurs(name)) => {
                        let idle = state.and_then(|s| s.runs.get(name)).is_some_and(|runs| runs.current.is_none());
                        // It runs for what the job was before: a service, or a batch job that ran once.
                        touched.extend(self.tasks.update(&id, |task| withdraw(task, idle)).flatten());
                    }
                    Some(_) => {
                        if let Some(node) = self.tasks.update(&id, run_again).flatten() {
                            touched.insert(node);
                            begun.push(id);
                        }
                    }
                }
            }
        }
        for id in gone {
            touched.extend(self.tasks.remove(&id).and_then(|task| task.machine()));
        }
        begun.iter().for_each(|id| self.ensure_run(at, id));
        touched.into_iter().for_each(|node| self.touch(at, node));
    }

    /// Marks that the app's definition changed, which the nodes of its tasks hold a copy of.
    pub(super) fn touch_app(&mut self, at: Fence, app: &AppName) {
        let nodes: BTreeSet<NodeId> = self.tasks.of_app(app).filter_map(|(_, task)| task.machine()).collect();
        nodes.into_iter().for_each(|node| self.touch(at, node));
    }
}

/// Lets a task that has ended wait for another placement; gives the machine that kept its output.
pub(super) fn run_again(task: &mut Task) -> Option<NodeId> {
    let Place::Ended { node, .. } = task.place else { return None };
    task.place = Place::Waiting { last: None };
    task.cause = Cause::Waited;
    Some(node)
}

/// Takes a task from its machine, which is given, if no run is under way.
fn withdraw(task: &mut Task, idle: bool) -> Option<NodeId> {
    let node = task.node().filter(|_| idle)?;
    task.place = Place::Waiting { last: None };
    Some(node)
}

/// The app, in which jobs that are scaled by their load keep the count that they have got, within the new bounds.
pub(super) fn with_counts_as_scaled(app: &Arc<App>, old: Option<&AppState>) -> Arc<App> {
    let mut app = Arc::clone(app);
    let Some(old) = old else { return app };
    for (name, was) in old.app.jobs.iter().filter(|(_, was)| was.autoscale.is_some()) {
        let Some(scale) = app.jobs.get(name).and_then(|job| job.autoscale.as_ref()) else { continue };
        let count = scale.clamp(was.count);
        if let Some(job) = Arc::make_mut(&mut app).jobs.get_mut(name) {
            Arc::make_mut(job).count = count;
        }
    }
    app
}

/// Whether running tasks of `was` may stay: everything is the same but the count, the order, the re-placing delay, what
/// DNS says, what only chooses between machines, and when it runs and for how long.
fn runs_the_same(was: &Job, old: &App, now: &Job, new: &App) -> bool {
    let Job {
        count: _,
        after: _,
        reschedule_after: _,
        dns: _,
        prefer: _,
        strategy: _,
        priority: _,
        update: _,
        autoscale: _,
        cron: _,
        deadline: _,
        parallel: _,
        history: _,
        kind,
        run,
        env,
        ports,
        resources,
        cpu_quota,
        cpuset,
        io_weight,
        pids_max,
        health,
        custom,
        constraints,
        with,
        apart,
        revocable,
        files,
        tags,
        grace,
        secrets,
        secret_env,
        exclusive,
        volume,
        mounts,
        tmpfs,
        fetch,
        isolation,
        user,
        rlimits,
        logs,
    } = now;
    (kind, run, env, ports, resources) == (&was.kind, &was.run, &was.env, &was.ports, &was.resources)
        && (cpu_quota, pids_max, health, constraints) == (&was.cpu_quota, &was.pids_max, &was.health, &was.constraints)
        && (cpuset, io_weight) == (&was.cpuset, &was.io_weight)
        && (custom, with, apart, revocable) == (&was.custom, &was.with, &was.apart, &was.revocable)
        && (files, tags, grace) == (&was.files, &was.tags, &was.grace)
        && (secrets, secret_env) == (&was.secrets, &was.secret_env)
        && (exclusive, volume, logs) == (&was.exclusive, &was.volume, &was.logs)
        && (mounts, tmpfs, fetch) == (&was.mounts, &was.tmpfs, &was.fetch)
        && (isolation, user, rlimits) == (&was.isolation, &was.user, &was.rlimits)
        && files.iter().all(|file| old.files.get(file) == new.files.get(file))
}
