//! What was decided about the cluster's work, as events: compared with what the state said before.

use crate::node::Core;
use std::collections::BTreeMap;
use taffeta_model::{AppName, AppState, Fence, JobName, NodeId, Past, Quota, Rollout, Run, Runs, State, TeamName};

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
                Some(known) => known.compare(app, deployed, &mut news),
                None => {
                    self.apps.insert(app.clone(), DecidedApp::of(deployed));
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
        Self { touched: deployed.touched, version: deployed.version, rollout: deployed.rollout.clone(), runs }
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
        *self = Self::of(deployed);
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
mod tests {
    use super::*;
    use taffeta_model::{RunEnd, Trigger, UnixMillis};

    fn told(known: &DecidedRuns, runs: &Runs) -> Vec<String> {
        let mut all = vec![];
        known.compare(runs, &mut |kind, message| all.push(format!("{kind} {message}")));
        all
    }

    #[test]
    fn each_run_is_told_once_when_it_starts_and_when_it_ends() {
        let slot = |seconds: u64| UnixMillis(1_795_305_600_000 + seconds * 1000);
        let run = |seconds, started| Run { trigger: Trigger::Slot(slot(seconds)), started, args: vec![] };
        let mut runs = Runs { current: Some(run(0, None)), ..Runs::default() };
        assert_eq!(told(&DecidedRuns::default(), &runs), [""; 0], "it has no machine yet");
        let mut known = DecidedRuns::of(&runs);
        runs.current = Some(run(0, Some(slot(1))));
        assert_eq!(told(&known, &runs), ["run.started runs: due 2026-11-22T00:00:00Z"]);
        known = DecidedRuns::of(&runs);
        let ran = |seconds| Past::Ran {
            trigger: Trigger::Slot(slot(seconds)),
            started: Some(slot(seconds + 1)),
            ended: slot(seconds + 9),
            end: RunEnd::Succeeded,
        };
        runs.history.push(ran(0));
        runs.current = Some(run(60, Some(slot(61))));
        let [ended, started] = &told(&known, &runs)[..] else { panic!() };
        assert!(ended.starts_with("run.ended due 2026-11-22T00:00:00Z") && ended.ends_with(": ok"), "{ended}");
        assert_eq!(started, "run.started runs: due 2026-11-22T00:01:00Z");
        known = DecidedRuns::of(&runs);
        assert_eq!(told(&known, &runs), [""; 0]);
        let why = taffeta_model::Missed::Overlap;
        runs.history.push(Past::Missed { first: slot(120), last: slot(120), count: 1, why });
        assert_eq!(told(&known, &runs), ["run.missed missed 2026-11-22T00:02:00Z: a run was under way"]);
        known = DecidedRuns::of(&runs);
        runs.history.pop();
        runs.history.push(Past::Missed { first: slot(120), last: slot(180), count: 2, why });
        let [grown] = &told(&known, &runs)[..] else { panic!("{:?}", told(&known, &runs)) };
        assert!(grown.starts_with("run.missed missed 2 from 2026-11-22T00:02:00Z to 2026-11-22T00:03:00Z"), "{grown}");
    }
}
