//! What was decided about the cluster's work, as events: compared with what the state said before.

use crate::{node::Core, view::why_moved};
use std::collections::BTreeMap;
use taffeta_model::{
    AppName, AppState, Cause, Fence, JobName, NodeId, Past, Quota, Rollout, Run, Runs, State, Task, TaskId, TeamName,
};

/// What was told last; events come of the differences.
#[derive(Default)]
pub(crate) struct Decided {
    /// As in [`State::pool_fence`].
    pool: Fence,
    draining: BTreeMap<NodeId, bool>,
    quotas: BTreeMap<TeamName, Quota>,
    apps: BTreeMap<AppName, DecidedApp>,
}

struct DecidedApp {
    touched: Fence,
    version: u64,
    rollout: Rollout,
    runs: BTreeMap<JobName, DecidedRuns>,
    tasks: BTreeMap<TaskId, DecidedTask>,
}

/// Where a task was.
struct DecidedTask {
    attempt: u32,
    node: Option<NodeId>,
    cause: Cause,
}

/// How far the runs of a job were told.
#[derive(Default)]
struct DecidedRuns {
    changed: Fence,
    current: Option<Run>,
    /// The newest of the past.
    past: Option<Past>,
}

/// An event without its date: its kind, its subject, what happened.
type News = (&'static str, String, String);

impl Core {
    /// Tells what was decided since the last time; only where the replicated state is. The first time nothing is told.
    pub(crate) fn tell_decisions(&self, before: &mut Option<Decided>) {
        if !self.has_state() {
            *before = None;
            return;
        }
        let name = |id: NodeId| self.name_of(id);
        let news = self.store.read(|state| match before {
            Some(decided) => decided.compare(state, &name),
            None => {
                before.insert(Decided::default()).compare(state, &name);
                vec![]
            }
        });
        for (kind, subject, message) in news {
            self.events.tell(self.clock.date(), kind, subject, message);
        }
    }
}

impl Decided {
    fn compare(&mut self, state: &State, name: &dyn Fn(NodeId) -> String) -> Vec<News> {
        let mut news = vec![];
        if self.pool != state.pool_fence {
            self.pool = state.pool_fence;
            self.compare_machines(state, name, &mut news);
            self.compare_quotas(state, &mut news);
        }
        self.apps.retain(|app, _| state.apps.contains_key(app));
        for (app, deployed) in &state.apps {
            match self.apps.get_mut(app) {
                Some(known) if known.touched == deployed.touched => {}
                Some(known) => {
                    known.compare_tasks(state, app, name, &mut news);
                    known.compare(app, deployed, &mut news);
                }
                None => {
                    let mut known = DecidedApp::of(deployed);
                    known.tasks = tasks_of(state, app);
                    self.apps.insert(app.clone(), known);
                }
            }
        }
        news
    }

    fn compare_machines(&mut self, state: &State, name: &dyn Fn(NodeId) -> String, news: &mut Vec<News>) {
        let draining: BTreeMap<NodeId, bool> =
            state.members.iter().map(|(id, member)| (*id, member.draining)).collect();
        for (id, drains) in &draining {
            match (self.draining.get(id).copied().unwrap_or_default(), drains) {
                (false, true) => {
                    news.push(("node.drained", name(*id), format!("{} is drained: its tasks move", name(*id))));
                }
                (true, false) => news.push(("node.undrained", name(*id), format!("{} takes tasks again", name(*id)))),
                (false, false) | (true, true) => {}
            }
        }
        self.draining = draining;
    }

    fn compare_quotas(&mut self, state: &State, news: &mut Vec<News>) {
        for (team, _) in state.quotas.iter().filter(|(team, quota)| self.quotas.get(*team) != Some(*quota)) {
            news.push(("quota.set", team.to_string(), format!("the team {team} has another quota")));
        }
        for team in self.quotas.keys().filter(|team| !state.quotas.contains_key(*team)) {
            news.push(("quota.removed", team.to_string(), format!("the team {team} has no quota any more")));
        }
        self.quotas = state.quotas.clone();
    }
}

impl DecidedApp {
    fn of(deployed: &AppState) -> Self {
        let runs = deployed.runs.iter().map(|(job, runs)| (job.clone(), DecidedRuns::of(runs))).collect();
        let (version, rollout) = (deployed.version, deployed.rollout.clone());
        Self { touched: deployed.touched, version, rollout, runs, tasks: BTreeMap::new() }
    }

    /// Tells of tasks that go from one machine to another, or have to leave theirs, and why.
    fn compare_tasks(&mut self, state: &State, app: &AppName, name: &dyn Fn(NodeId) -> String, news: &mut Vec<News>) {
        for (id, task) in state.tasks.of_app(app) {
            news.extend(self.tasks.get(id).and_then(|known| known.compare(id, task, name)));
        }
        self.tasks = tasks_of(state, app);
    }

    fn compare(&mut self, app: &AppName, deployed: &AppState, news: &mut Vec<News>) {
        let (version, rollout) = (deployed.version, &deployed.rollout);
        let of_app = |kind, message| (kind, app.to_string(), message);
        let of_job =
            |kind, job: &JobName, message: String| (kind, format!("{app}/{job}"), format!("{app}/{job} {message}"));
        if version != self.version {
            news.push(of_app("app.version", format!("{app} is at version {version}")));
        }
        if let Some(returned) =
            rollout.returned.as_ref().filter(|returned| self.rollout.returned.as_ref() != Some(*returned))
        {
            news.push(of_app("app.returned", format!("{app}: {returned}")));
        }
        match (self.rollout.paused, rollout.paused) {
            (false, true) => news.push(of_app("app.paused", format!("{app} is paused: older instances stay"))),
            (true, false) => news.push(of_app("app.resumed", format!("{app} is not paused any more"))),
            (false, false) | (true, true) => {}
        }
        // A version that has just come has what it shares with the one before.
        if version == self.version {
            for job in rollout.settled.difference(&self.rollout.settled) {
                news.push(of_job("service.updated", job, format!("works in version {version}")));
            }
            let promoted = rollout.promoted.difference(&self.rollout.promoted);
            for job in promoted.filter(|job| !rollout.settled.contains(*job)) {
                news.push(of_job("service.promoted", job, format!("goes on to version {version} everywhere")));
            }
        }
        for (job, runs) in &deployed.runs {
            match self.runs.get(job) {
                Some(known) if known.changed == runs.changed => {}
                Some(known) => known.compare(runs, &mut |kind, message| news.push(of_job(kind, job, message))),
                None => {
                    DecidedRuns::default().compare(runs, &mut |kind, message| news.push(of_job(kind, job, message)));
                }
            }
        }
        *self = Self { tasks: std::mem::take(&mut self.tasks), ..Self::of(deployed) };
    }
}

fn tasks_of(state: &State, app: &AppName) -> BTreeMap<TaskId, DecidedTask> {
    state.tasks.of_app(app).map(|(id, task)| (id.clone(), DecidedTask::of(task))).collect()
}

impl DecidedTask {
    fn of(task: &Task) -> Self {
        Self { attempt: task.attempt, node: task.node(), cause: task.cause.clone() }
    }

    fn compare(&self, id: &TaskId, task: &Task, name: &dyn Fn(NodeId) -> String) -> Option<News> {
        let (what, from) = match (task.node(), self.node) {
            (Some(to), _) if task.attempt != self.attempt => (format!("goes to {}", name(to)), task.moved_from?),
            // Where the cause is as before, it has ended and runs again.
            (None, Some(from)) if task.cause != self.cause => (format!("leaves {}", name(from)), from),
            (Some(_) | None, _) => return None,
        };
        let why = why_moved(&task.cause, Some(&name(from)))?;
        Some(("task.moved", id.to_string(), format!("{id} {what}: {why}")))
    }
}

impl DecidedRuns {
    fn of(runs: &Runs) -> Self {
        Self { changed: runs.changed, current: runs.current.clone(), past: runs.history.last().cloned() }
    }

    /// Slots in a row that are missed are one entry, which grows: it is told again with each.
    fn compare(&self, runs: &Runs, tell: &mut dyn FnMut(&'static str, String)) {
        let known = self.past.as_ref().and_then(|known| {
            let at = runs.history.iter().rposition(|past| is_same(past, known))?;
            Some(if runs.history[at] == *known { at + 1 } else { at })
        });
        let (mut missed, mut ended) = (vec![], vec![]);
        for past in &runs.history[known.unwrap_or_default()..] {
            match past {
                Past::Missed { .. } => missed.push(past),
                Past::Ran { .. } => ended.push(past),
            }
        }
        ended.into_iter().for_each(|past| tell("run.ended", past.to_string()));
        missed.into_iter().for_each(|past| tell("run.missed", past.to_string()));
        let began = |run: &Run| (run.trigger, run.started.is_some());
        match (&self.current, &runs.current) {
            (before, Some(run)) if before.as_ref().map(began) != Some(began(run)) && run.started.is_some() => {
                tell("run.started", format!("runs: {}", run.trigger));
            }
            (_, _) => {}
        }
    }
}

/// Whether it is the same entry, perhaps grown.
fn is_same(past: &Past, known: &Past) -> bool {
    match (past, known) {
        (Past::Missed { first, why, .. }, Past::Missed { first: known, why: because, .. }) => {
            (first, why) == (known, because)
        }
        (past, known) => past == known,
    }
}

#[cfg(test)]
mod tests;
