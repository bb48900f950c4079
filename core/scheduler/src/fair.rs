//! Whose tasks are placed first.

use crate::{
    Waiting,
    mirror::{Priority, VersionId},
    plan::{Placed, Turn, Want},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use taffeta_model::{Cause, TeamName};

/// How many tasks a team places before it is asked again which team has least: fewer would be slower, and more would let
/// the last of the room go to one of them.
const TASKS_AT_ONCE: usize = 8;

/// How often it is told anew why tasks find no room: what is free changes all the time.
const REASONS_EVERY: Duration = Duration::from_secs(5);

/// Jobs by team, as app and job.
type Jobs = BTreeMap<Option<TeamName>, Vec<(usize, usize)>>;

/// The tasks of a job that want machines.
struct Queue {
    /// App, job and version.
    job: (usize, usize, VersionId),
    wants: VecDeque<Want>,
}

impl Turn<'_> {
    /// Places what waits and what has lost its machine: by priority, then by what teams have, then by name.
    pub(crate) fn place_wanted(&mut self) {
        let mut classes: BTreeMap<Reverse<Priority>, Jobs> = BTreeMap::new();
        for app in &self.apps {
            self.s.blocked.remove(app);
            for (job, mirror) in self.s.app(*app).jobs.iter().enumerate() {
                let teams = classes.entry(Reverse(mirror.spec.priority())).or_default();
                teams.entry(mirror.spec.team.clone()).or_default().push((*app, job));
            }
        }
        self.start_daemons();
        for (_, teams) in classes {
            if teams.len() == 1 {
                self.place_in_turn(teams.into_values().flatten());
            } else {
                self.place_fairly(teams);
            }
            if self.is_full() {
                return;
            }
        }
    }

    fn place_in_turn(&mut self, jobs: impl Iterator<Item = (usize, usize)>) {
        for (app, job) in jobs {
            for (version, mut wants) in self.wanting(app, job) {
                match self.place_some((app, job, version), &mut wants, usize::MAX) {
                    Placed::Done => {}
                    Placed::Full => return,
                    Placed::Blocked(why) => self.leave(app, &wants, &why),
                }
            }
        }
    }

    fn place_fairly(&mut self, teams: Jobs) {
        let mut wanting: BTreeMap<Option<TeamName>, Vec<Queue>> = BTreeMap::new();
        for (team, jobs) in teams {
            // The first by name is taken from the end.
            let mut queues = vec![];
            for (app, job) in jobs.into_iter().rev() {
                let wanting = self.wanting(app, job).into_iter();
                queues.extend(wanting.map(|(version, wants)| Queue { job: (app, job, version), wants }));
            }
            if !queues.is_empty() {
                wanting.insert(team, queues);
            }
        }
        while let Some(team) = self.most_due(&wanting) {
            let most = if wanting.len() == 1 { usize::MAX } else { TASKS_AT_ONCE };
            let Some(queues) = wanting.get_mut(&team) else { return };
            let Some(mut queue) = queues.pop() else {
                wanting.remove(&team);
                continue;
            };
            match self.place_some(queue.job, &mut queue.wants, most) {
                Placed::Done if queue.wants.is_empty() => {}
                Placed::Done => queues.push(queue),
                Placed::Full => return,
                Placed::Blocked(why) => self.leave(queue.job.0, &queue.wants, &why),
            }
        }
    }

    /// The team that has least of the pool by its share, of those that want something.
    fn most_due(&self, teams: &BTreeMap<Option<TeamName>, Vec<Queue>>) -> Option<Option<TeamName>> {
        if teams.len() == 1 {
            return teams.keys().next().cloned();
        }
        let total = &self.s.machines.total;
        teams.keys().min_by_key(|team| self.s.teams.dominance(team.as_ref(), total)).cloned()
    }

    /// The rest of a job's tasks waits; those that have lost their machines are told so.
    pub(crate) fn leave(&mut self, app: usize, wants: &VecDeque<Want>, why: &Waiting) {
        self.s.blocked.insert(app);
        self.wake(app, self.now + REASONS_EVERY);
        for want in wants {
            if want.lost {
                self.remove(want.task, Cause::MachineLost);
            }
            self.wait(want.task, why.clone());
        }
    }
}
