//! Whose tasks are placed first.

use crate::{
    mirror::Priority,
    plan::{Placed, Turn, Want},
};
use std::{cmp::Reverse, collections::BTreeMap, time::Duration};
use taffeta_model::{Cause, TeamName};

/// How many tasks a team places before it is asked again which team has least: fewer would be slower, and more would let
/// the last of the room go to one of them.
const TASKS_AT_ONCE: usize = 8;

/// How often it is told anew why tasks find no room: what is free changes all the time.
const REASONS_EVERY: Duration = Duration::from_secs(5);

/// The tasks of a job that want machines.
struct Queue {
    app: usize,
    job: usize,
    wants: Vec<Want>,
}

impl Turn<'_> {
    /// Places what waits and what has lost its machine: by priority, then by what teams have, then by name.
    pub(crate) fn place_wanted(&mut self) {
        let mut classes: BTreeMap<Reverse<Priority>, BTreeMap<Option<TeamName>, Vec<Queue>>> = BTreeMap::new();
        for app in self.apps.clone() {
            for (job, wants) in self.wanting(app) {
                let spec = &self.s.app(app).jobs[job].spec;
                let teams = classes.entry(Reverse(spec.priority())).or_default();
                teams.entry(spec.team.clone()).or_default().push(Queue { app, job, wants });
            }
        }
        for app in &self.apps {
            self.s.blocked.remove(app);
        }
        self.start_daemons();
        for (_, mut teams) in classes {
            teams.values_mut().for_each(|queues| queues.reverse()); // the first by name is taken from the end
            while let Some(team) = self.most_due(&teams) {
                let most = if teams.len() == 1 { usize::MAX } else { TASKS_AT_ONCE };
                let Some(queues) = teams.get_mut(&team) else { break };
                let Some(mut queue) = queues.pop() else {
                    teams.remove(&team);
                    continue;
                };
                match self.place_some(queue.app, queue.job, &mut queue.wants, most) {
                    Placed::Done if queue.wants.is_empty() => {}
                    Placed::Done => queues.push(queue),
                    Placed::Full => self.leave(&queue, None),
                    Placed::Blocked(why) => {
                        self.s.blocked.insert(queue.app);
                        self.wake(queue.app, self.now + REASONS_EVERY);
                        self.leave(&queue, Some(&why));
                    }
                }
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

    /// The rest of a queue waits; those that have lost their machines are told so.
    fn leave(&mut self, queue: &Queue, why: Option<&crate::Waiting>) {
        for want in &queue.wants {
            match why {
                Some(why) => {
                    if want.lost {
                        self.remove(want.task, Cause::MachineLost);
                    }
                    self.wait(want.task, why.clone());
                }
                // The next turn, which is due at once, looks at them again; so far they are where they were.
                None => self.unplaced(want),
            }
        }
    }

    fn unplaced(&mut self, want: &Want) {
        if !want.lost {
            let known = self.s.waits.get(&self.s.app(want.task.app).app.name);
            let why = known.and_then(|app| app.get(&self.s.id(want.task))).cloned();
            if let Some(why) = why {
                self.wait(want.task, why);
            }
        }
    }
}
