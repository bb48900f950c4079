//! One turn of the scheduler: finished batch tasks are booked, tasks of dead machines move, waiting tasks are placed,
//! outdated ones are replaced.

use crate::{
    RingView, Waiting,
    order::{Earlier, unmet},
    pool::Pool,
    survey::{Standing, Survey, TaskSurvey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{Bug, Command, Constraint, Exit, Job, Liveness, Millis, NodeId, Operator, Phase};
use taffeta_model::{Placement, Removal, State, TaskId, planted};

/// Most tasks that one plan moves or books: keeps its commands small enough for one log entry each, and the turn short.
/// The next turn goes on.
pub const MOVES_MAX: usize = 500;

/// How long a leader that has just begun takes silence for its own ignorance: a member that it has not heard of is not
/// dead, and a task that it has no report of is not idle.
pub const UNSEEN_GRACE: Duration = Duration::from_secs(10);

/// What is to be done, and what keeps the rest from being done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be committed in this order: each finish, then at most one removal, then at most one placement.
    pub commands: Vec<Command>,
    /// Tasks that wait, and why; also tasks that go on in an older version, since the newer one cannot start.
    pub waiting: BTreeMap<TaskId, Waiting>,
    /// Nodes whose death the leader should confirm by its own probes now, because they seem dead and host tasks.
    pub probe: BTreeSet<NodeId>,
    /// The earliest time at which a plan may be another one though nothing else changes.
    pub wake_at: Option<Millis>,
}

/// Decides what to do now. A plan that is never carried out does no harm: the next one begins anew.
///
/// - A task of a machine that is `Down` or `Left` moves when `reschedule_after` has passed since the first suspicion
///   and the leader's own probes have failed (a machine that left said so itself). A machine that is back before that
///   keeps its tasks.
/// - `after` holds back only tasks that begin anew. A task that lost its machine was let in once and is part of what
///   others rely on by now; holding it back would spread the failure of one job to those behind it.
/// - An outdated task is replaced when no other instance of its job is on its way, so that at most one that serves is
///   down at a time; one that serves nobody is replaced at once. While an earlier *batch* job runs again, as after a
///   deploy that changes both, the older version goes on serving: that is what `after = ["migrate"]` is for.
/// - A newer version that fits nowhere leaves the older one running.
pub fn plan(now: Millis, state: &State, ring: &RingView) -> Plan {
    plan_at(now, state, ring, Pace::OneByOne)
}

/// How outdated tasks are replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At most one that serves is down at a time.
    OneByOne,
    /// All in one turn: nothing is carried out, only the places are of interest.
    AllAtOnce,
}

pub(crate) fn plan_at(now: Millis, state: &State, ring: &RingView, pace: Pace) -> Plan {
    let survey = Survey::new(state, ring);
    let pool = Pool::new(state, ring, &survey);
    let mut turn = Turn {
        now,
        ring,
        pace,
        survey: &survey,
        pool,
        decided: BTreeMap::new(),
        exhausted: BTreeMap::new(),
        finishes: vec![],
        removals: vec![],
        placements: vec![],
        plan: Plan::default(),
    };
    turn.book_ended();
    turn.fill_pool();
    turn.replace_lost();
    turn.place_waiting();
    turn.update_outdated();
    turn.into_plan()
}

/// A plan in the making.
pub(crate) struct Turn<'a> {
    pub(crate) now: Millis,
    pub(crate) ring: &'a RingView,
    pub(crate) pace: Pace,
    pub(crate) survey: &'a Survey<'a>,
    pub(crate) pool: Pool<'a>,
    /// Tasks that this turn has dealt with, and the machine they are on afterwards, if any.
    pub(crate) decided: BTreeMap<&'a TaskId, Option<usize>>,
    /// Jobs of which no machine takes one more instance: one walk tells it for all of their tasks. An update that moves
    /// a task away may give room after that; the next turn, which the update brings about, sees it.
    exhausted: BTreeMap<usize, Waiting>,
    finishes: Vec<Command>,
    removals: Vec<Removal>,
    placements: Vec<Placement>,
    pub(crate) plan: Plan,
}

impl<'a> Turn<'a> {
    /// Batch tasks whose node says that they ended, be that node dead by now. An outdated one is not booked: it is
    /// replaced, and what it did in the older version does not count.
    fn book_ended(&mut self) {
        let survey = self.survey;
        for job in survey.jobs.iter().filter(|job| !job.is_service()) {
            for TaskSurvey { id, task, standing } in &job.tasks {
                let Standing::On { report: Some(report), .. } = standing else { continue };
                let exit = match report.phase {
                    Phase::Finished => report.exit.clone().unwrap_or(Exit::Code(0)),
                    Phase::Failed => report.exit.clone().unwrap_or(Exit::Lost),
                    Phase::Starting | Phase::Running | Phase::Healthy | Phase::Unhealthy | Phase::Stopping => continue,
                };
                if task.revision != job.revision || self.is_full() {
                    continue;
                }
                self.finishes.push(Command::Finish { task: (*id).clone(), fence: report.fence, exit });
                self.decided.insert(id, None);
            }
        }
    }

    /// Counts every placed task, also one that its machine has not started yet.
    fn fill_pool(&mut self) {
        let survey = self.survey;
        for (j, job) in survey.jobs.iter().enumerate() {
            for task in job.tasks.iter().filter(|task| !self.decided.contains_key(task.id)) {
                if let Some(node) = task.standing.node().and_then(|node| self.pool.position(node)) {
                    self.pool.put(node, j, task.id);
                }
            }
        }
    }

    fn replace_lost(&mut self) {
        let survey = self.survey;
        for (j, job) in survey.jobs.iter().enumerate() {
            for task in &job.tasks {
                let Standing::On { node, alive, report } = task.standing else { continue };
                let forgotten = planted(Bug::PlaceTwice) && report.is_none();
                if alive && !forgotten {
                    continue;
                }
                let Some(node) = self.pool.position(node) else { continue };
                if self.decided.contains_key(task.id) || !(forgotten || self.is_lost(node, job.job)) || self.is_full() {
                    continue;
                }
                self.pool.lift(node, j, task.id);
                match self.choose(j, task.id, true) {
                    Ok(to) => self.place(j, task, to),
                    Err(why) => {
                        self.removals.push(Removal { task: task.id.clone(), seen_attempt: task.task.attempt });
                        self.decided.insert(task.id, None);
                        self.plan.waiting.insert(task.id.clone(), why);
                    }
                }
            }
        }
    }

    /// Whether the tasks of a machine that is not alive have to move now; asks for probes and for waking otherwise.
    fn is_lost(&mut self, node: usize, job: &Job) -> bool {
        let (id, view) = (self.pool.nodes[node].member.id, self.pool.nodes[node].view);
        let (due, confirmed) = match view {
            None => {
                let due = self.ring.leader_since + job.reschedule_after.max(UNSEEN_GRACE);
                (due, self.ring.unseen_dead.contains(&id))
            }
            Some(view) => match view.liveness {
                Liveness::Alive => return false,
                Liveness::Suspect => {
                    if !view.confirmed_dead {
                        self.plan.probe.insert(id);
                    }
                    return false; // it may still refute; the ring tells when it could not
                }
                // Also a farewell is hearsay until the machine does not answer.
                Liveness::Down | Liveness::Left => (view.since + job.reschedule_after, view.confirmed_dead),
            },
        };
        // A machine that only this leader has not seen yet is most often about to be seen.
        if !confirmed && (view.is_some() || self.now >= due) {
            self.plan.probe.insert(id);
        }
        if self.now < due {
            self.wake(due);
        }
        self.now >= due && confirmed
    }

    fn place_waiting(&mut self) {
        let survey = self.survey;
        for (j, job) in survey.jobs.iter().enumerate() {
            let mut gate = None;
            for task in &job.tasks {
                let Standing::Waiting { anew } = task.standing else { continue };
                let gate = gate.get_or_insert_with(|| unmet(survey, job, Earlier::All));
                if let Some(unmet) = gate.as_ref().filter(|_| anew) {
                    self.plan.waiting.insert(task.id.clone(), Waiting::After(unmet.clone()));
                } else if !self.is_full() {
                    match self.choose(j, task.id, false) {
                        Ok(to) => self.place(j, task, to),
                        Err(why) => {
                            self.plan.waiting.insert(task.id.clone(), why);
                        }
                    }
                }
            }
        }
    }

    /// The best machine for one more instance, or why there is none. A `lifted` task has just made room for itself.
    pub(crate) fn choose(&mut self, j: usize, task: &TaskId, lifted: bool) -> Result<usize, Waiting> {
        // A lifted task frees its machine, which was looked at or is dead, and its place among the instances of its
        // zone. Where places are counted, what held for the others need not hold for it.
        let counted = |c: &Constraint| c.field != "hostname" && !matches!(c.operator, Operator::Is(_));
        let known = self.exhausted.get(&j);
        if let Some(why) = known.filter(|_| !lifted || !self.survey.jobs[j].job.constraints.iter().any(counted)) {
            return Err(if lifted { self.pool.why(j) } else { why.clone() });
        }
        self.pool.best(j, task).ok_or_else(|| {
            let why = self.pool.why(j);
            self.exhausted.insert(j, why.clone());
            why
        })
    }

    pub(crate) fn place(&mut self, j: usize, task: &TaskSurvey<'a>, to: usize) {
        self.pool.put(to, j, task.id);
        self.decided.insert(task.id, Some(to));
        let node = self.pool.nodes[to].member.id;
        self.placements.push(Placement { task: task.id.clone(), seen_attempt: task.task.attempt, node });
    }

    /// Whether the rest has to be left to the next turn, which is then due at once.
    pub(crate) fn is_full(&mut self) -> bool {
        let full = self.finishes.len() + self.removals.len() + self.placements.len() >= MOVES_MAX;
        if full {
            self.wake(self.now);
        }
        full
    }

    pub(crate) fn wake(&mut self, at: Millis) {
        self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn into_plan(self) -> Plan {
        let Self { mut plan, finishes, removals, placements, .. } = self;
        plan.commands = finishes;
        plan.commands.extend(Some(removals).filter(|r| !r.is_empty()).map(Command::Remove));
        plan.commands.extend(Some(placements).filter(|p| !p.is_empty()).map(Command::Place));
        plan
    }
}
