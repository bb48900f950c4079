//! One turn of the scheduler: finished batch tasks are booked, runs begin and end, tasks of dead machines move, waiting
//! tasks are placed, outdated ones and those of drained machines are replaced.

use crate::{
    Idle, RingView, Waiting,
    choose::{Candidates, Rules},
    leases::Lease,
    machines::{MachineId, TaskRef},
    mirror::{Scheduler, Standing, VersionId, Waits},
    order::{Earlier, unmet},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use taffeta_model::{Bug, Cause, Command, Exit, Firing, JobKind, Liveness, Millis, NodeId, Phase};
use taffeta_model::{Placement, Removal, State, TaskId, planted};

/// Most tasks that one plan moves or books: keeps its commands small enough for one log entry each, and the turn short.
/// The next turn goes on.
pub const MOVES_MAX: usize = 500;

/// How long a leader that has just begun takes silence for its own ignorance: a member that it has not heard of is not
/// dead, and a task that it has no report of is not idle.
pub const UNSEEN_GRACE: Duration = Duration::from_secs(10);

/// How soon a machine that seems dead is asked about again, and a task that waits is looked at though no room was made.
const AGAIN: Duration = Duration::from_secs(1);

/// Up to how many instances of a job are placed by a walk over the machines for each.
const FEW: usize = 8;

/// What is to be done, and what keeps the rest from being done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be committed in this order: ends of batch tasks and what becomes of versions, then at most one each of removals,
    /// placements, and decisions on runs.
    pub commands: Vec<Command>,
    /// Tasks that wait, and why; also tasks that go on in an older version, since the newer one cannot start.
    pub waiting: Arc<Waits>,
    /// Nodes whose death the leader should confirm by its own probes now, because they seem dead and host tasks.
    pub probe: BTreeSet<NodeId>,
    /// The earliest time at which a plan may be another one though nothing else changes.
    pub wake_at: Option<Millis>,
}

impl Plan {
    /// Why a task waits.
    pub fn why(&self, task: &TaskId) -> Option<&Waiting> {
        self.waiting.get(&task.app)?.get(task)
    }

    /// All tasks that wait.
    pub fn waiting(&self) -> impl Iterator<Item = (&TaskId, &Waiting)> {
        self.waiting.values().flat_map(|app| app.iter())
    }
}

/// Decides what to do now, by a scheduler that knows nothing yet: see [`Scheduler::plan`].
pub fn plan(now: Millis, state: &State, ring: &RingView) -> Plan {
    Scheduler::new().plan(now, state, &mut ring.clone())
}

impl Scheduler {
    /// Decides what to do now. A plan that is never carried out does no harm: the next one begins anew, and so does that
    /// after a command that was refused.
    ///
    /// - A task of a machine that is `Down` or `Left` moves when `reschedule_after` has passed since the first suspicion
    ///   and the leader's own probes have failed (a machine that left said so itself). A machine that is back before that
    ///   keeps its tasks.
    /// - Jobs of a higher priority come first. Among equals the team that has least of the pool does, by its share.
    /// - `after` holds back only tasks that begin anew. A task that lost its machine was let in once and is part of what
    ///   others rely on by now; holding it back would spread the failure of one job to those behind it.
    /// - Outdated tasks are replaced as the job's [`taffeta_model::UpdatePolicy`] has it: never do fewer serve by our own
    ///   doing than its count less `max_unavailable`; one that serves nobody is replaced at once. While an earlier *batch*
    ///   job runs again, as after a deploy that changes both, the older version goes on serving: that is what
    ///   `after = ["migrate"]` is for.
    /// - A job that runs again and again begins a run when it is due, and ends the one before in the version that it began
    ///   with.
    /// - A newer version that fits nowhere leaves the older one running.
    /// - Tasks of a drained machine move like outdated ones; batch tasks end there, and daemons stay.
    /// - An exclusive task goes from one machine to another in two steps: it is removed, and comes to the other one when
    ///   nothing of it can run any more on the first.
    /// - A task that has a volume goes where that is, or waits; nothing but an operator's word takes it elsewhere.
    /// - A machine in a maintenance window is one that is drained.
    /// - A task that fits nowhere takes the place of tasks of lower priority, where that disturbs least, as long as no
    ///   service loses more instances at a time than an update might take.
    pub fn plan(&mut self, now: Millis, state: &State, ring: &mut RingView) -> Plan {
        self.read(now, state, ring);
        self.plan_at(now, ring, Pace::OneByOne)
    }

    pub(crate) fn plan_at(&mut self, now: Millis, ring: &RingView, pace: Pace) -> Plan {
        while let Some((at, app)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, app));
            self.app_mut(app).timer = None;
            self.dirty.insert(app);
        }
        self.read_date(now, ring.date());
        let window = self.read_windows(now, ring.date());
        let mut plan = Plan::default();
        if !self.dirty.is_empty() {
            let mut apps: Vec<usize> = std::mem::take(&mut self.dirty).into_iter().collect();
            self.sort(&mut apps);
            plan = Turn::new(now, self, ring, pace, apps).run();
        }
        plan.waiting = Arc::clone(&self.waits);
        let timer = self.timers.first().map(|(at, _)| *at);
        plan.wake_at = plan.wake_at.or_else(|| timer.into_iter().chain(window).min());
        plan
    }

    fn sort(&self, apps: &mut [usize]) {
        apps.sort_by(|a, b| self.app(*a).app.name.cmp(&self.app(*b).app.name));
    }
}

/// How outdated tasks are replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At most one that serves is down at a time.
    OneByOne,
    /// All in one turn: nothing is carried out, only the places are of interest.
    AllAtOnce,
}

/// A plan in the making.
pub(crate) struct Turn<'a> {
    pub(crate) now: Millis,
    pub(crate) s: &'a mut Scheduler,
    pub(crate) ring: &'a RingView,
    pub(crate) pace: Pace,
    /// The apps that are looked at, by name.
    pub(crate) apps: Vec<usize>,
    /// Tasks that this turn has dealt with, and the machine they are on afterwards, if any.
    pub(crate) decided: BTreeMap<TaskRef, Option<MachineId>>,
    /// What was put and lifted so far, to be taken back at the end: what counts is what comes back from the log.
    undo: Vec<(TaskRef, Option<MachineId>, VersionId)>,
    /// Jobs of which an instance came in this turn where it may be by those that were there. Removals are carried out
    /// first, so that these stay for now.
    pub(crate) counted: BTreeSet<(usize, usize)>,
    /// Tasks that were taken from machines for the sake of others.
    pub(crate) preempted: usize,
    /// Leases that this turn has given anew, at most.
    pub(crate) new_leases: usize,
    pub(crate) waits: BTreeMap<usize, BTreeMap<TaskId, Waiting>>,
    timers: BTreeMap<usize, Millis>,
    /// What is written before tasks lose and get machines: ends of batch tasks, and what becomes of versions.
    orders: Vec<Command>,
    /// Apps about which there are such.
    ordered: BTreeSet<usize>,
    removals: Vec<Removal>,
    pub(crate) placements: Vec<Placement>,
    pub(crate) firings: Vec<Firing>,
    /// Jobs about whose runs something was decided, and what their tasks wait for because of it.
    pub(crate) fired: BTreeMap<(usize, usize), Option<Idle>>,
    probe: BTreeSet<NodeId>,
    full: bool,
    /// Whether any machine that was ever met is not alive.
    some_gone: bool,
}

impl<'a> Turn<'a> {
    fn new(now: Millis, s: &'a mut Scheduler, ring: &'a RingView, pace: Pace, apps: Vec<usize>) -> Self {
        let some_gone = s.machines.all.iter().any(|machine| !machine.is_alive());
        Self {
            now,
            s,
            ring,
            pace,
            apps,
            decided: BTreeMap::new(),
            undo: vec![],
            counted: BTreeSet::new(),
            preempted: 0,
            new_leases: 0,
            waits: BTreeMap::new(),
            timers: BTreeMap::new(),
            orders: vec![],
            ordered: BTreeSet::new(),
            removals: vec![],
            placements: vec![],
            firings: vec![],
            fired: BTreeMap::new(),
            probe: BTreeSet::new(),
            full: false,
            some_gone,
        }
    }

    fn run(mut self) -> Plan {
        for app in self.apps.clone() {
            self.book_ended(app);
        }
        if !self.orders.is_empty() {
            // What ended gives room.
            self.apps.extend(self.s.blocked.iter().copied().filter(|app| !self.apps.contains(app)).collect::<Vec<_>>());
            self.s.sort(&mut self.apps);
        }
        for app in self.apps.clone() {
            self.move_runs(app);
        }
        self.place_wanted();
        for app in self.apps.clone() {
            if !self.full {
                self.replace_outdated(app);
            }
        }
        self.end()
    }

    /// Batch tasks whose node says that they ended, be that node dead by now. An outdated one is not booked: it is
    /// replaced, and what it did in the older version does not count.
    fn book_ended(&mut self, app: usize) {
        let mut ended = vec![];
        for (j, job) in self.s.app(app).jobs.iter().enumerate().filter(|(_, job)| job.spec.kind.is_batch()) {
            for (k, slot) in job.slots.iter().enumerate() {
                let Standing::On { report: Some(report), .. } = &slot.standing else { continue };
                let exit = match report.phase {
                    Phase::Finished => report.exit.clone().unwrap_or(Exit::Code(0)),
                    Phase::Failed => report.exit.clone().unwrap_or(Exit::Lost),
                    Phase::Starting | Phase::Running | Phase::Healthy | Phase::Unhealthy | Phase::Stopping => continue,
                };
                if slot.revision == job.revision || job.recurs() {
                    ended.push((TaskRef { app, job: j, slot: k }, report.fence, exit));
                }
            }
        }
        for (task, fence, exit) in ended {
            if self.is_full() {
                return;
            }
            let id = self.s.id(task);
            self.order(app, Command::Finish { task: id, fence, exit });
            self.lift(task);
            self.decided.insert(task, None);
        }
    }

    /// The tasks of a job that want a machine, by the version that they get. Those that have lost theirs are lifted.
    pub(crate) fn wanting(&mut self, app: usize, j: usize) -> BTreeMap<VersionId, VecDeque<Want>> {
        let mut wants: BTreeMap<VersionId, VecDeque<Want>> = BTreeMap::new();
        if let Some(idle) = self.idle(app, j) {
            self.wait_all(app, j, &Waiting::Idle(idle));
            return wants;
        }
        let mut gate = None;
        for k in 0..self.s.app(app).jobs[j].slots.len() {
            let task = TaskRef { app, job: j, slot: k };
            match &self.s.slot(task).standing {
                Standing::Ended(_) => {}
                Standing::Waiting { .. } if self.decided.contains_key(&task) => {}
                Standing::Waiting { anew } => {
                    let gate = gate.get_or_insert_with(|| unmet(self.s, app, j, Earlier::All));
                    if let Some(unmet) = gate.clone().filter(|_| *anew) {
                        self.wait(task, Waiting::After(unmet));
                    } else {
                        wants.entry(self.version_for(task)).or_default().push_back(Want { task, lost: false });
                    }
                }
                Standing::On { machine, report, .. } => {
                    let (machine, silent) = (*machine, report.is_none());
                    let forgotten = planted(Bug::PlaceTwice) && silent;
                    // Most tasks are on machines that are there: nothing else is asked about these.
                    let gone = self.some_gone && !self.s.machines.all[machine].is_alive();
                    if !(forgotten || gone) || self.decided.contains_key(&task) {
                        continue;
                    }
                    if (forgotten || self.is_lost(task, machine)) && !self.is_full() {
                        self.lift(task);
                        if self.may_run_elsewhere(task, None) {
                            self.let_go(task, Cause::MachineLost);
                            continue;
                        }
                        wants.entry(self.version_for(task)).or_default().push_back(Want { task, lost: true });
                    }
                }
            }
        }
        if let Some(wants) = wants.get_mut(&0) {
            self.limit(app, j, wants);
        }
        wants
    }

    /// Whether the tasks of a machine that is not alive have to move now; asks for probes and for waking otherwise.
    fn is_lost(&mut self, task: TaskRef, machine: MachineId) -> bool {
        let job = self.s.app(task.app).definition(task.job);
        if job.kind == JobKind::Daemon {
            return false; // it belongs to its machine
        }
        let delay = job.reschedule_after;
        let (id, view) = (self.s.machines.all[machine].id, self.s.machines.all[machine].view);
        let (due, confirmed) = match view {
            None => (self.ring.leader_since() + delay.max(UNSEEN_GRACE), self.ring.is_unseen_dead(id)),
            Some(view) => match view.liveness {
                Liveness::Alive => return false,
                Liveness::Suspect => {
                    if !view.confirmed_dead {
                        self.probe.insert(id);
                        self.wake(task.app, self.now + AGAIN);
                    }
                    return false; // it may still refute; the ring tells when it could not
                }
                // Also a farewell is hearsay until the machine does not answer.
                Liveness::Down | Liveness::Left => (view.since + delay, view.confirmed_dead),
            },
        };
        // A machine that only this leader has not seen yet is most often about to be seen.
        if !confirmed && (view.is_some() || self.now >= due) {
            self.probe.insert(id);
            self.wake(task.app, self.now + AGAIN);
        }
        if self.now < due {
            self.wake(task.app, due);
        }
        self.now >= due && confirmed
    }

    /// Daemons on machines that have none yet. Where there are too many, those go before: whoever comes does not count them.
    pub(crate) fn start_daemons(&mut self) {
        for app in self.apps.clone() {
            for j in 0..self.s.app(app).jobs.len() {
                if self.s.app(app).jobs[j].spec.kind == JobKind::Daemon && !self.is_full() {
                    self.thin_out(app, j);
                    self.start_daemon(app, j);
                }
            }
        }
    }

    fn start_daemon(&mut self, app: usize, j: usize) {
        if unmet(self.s, app, j, Earlier::All).is_some() {
            return; // what it waits for is in this app: it is looked at again
        }
        let mut rules = Rules::new(self.s, app, j, 0);
        let job = &self.s.app(app).jobs[j];
        let mut taken: BTreeSet<u32> = job.slots.iter().map(|slot| slot.index).collect();
        taken.extend(job.leased.keys()); // they may run still, from when the job was an exclusive service
        let has: BTreeSet<MachineId> = job.slots.iter().filter_map(|slot| slot.on).collect();
        let (name, spec) = (job.name.clone(), job.spec.clone());
        let mut free = (1..).filter(|index| !taken.contains(index));
        let mut machines: Vec<MachineId> = self.s.machines.members().filter(|at| !has.contains(at)).collect();
        machines.sort_by_key(|at| self.s.machines.all[*at].id);
        for at in machines {
            if !rules.admit(self.s, at) {
                if rules.lets_stay(self.s, at) && self.s.machines.is_open(at) {
                    self.s.blocked.insert(app); // there may be room for it later
                }
                continue;
            }
            if self.s.teams.over(&spec).is_some() {
                self.s.blocked.insert(app);
                return;
            }
            if self.is_full() {
                return;
            }
            let Some(index) = free.next() else { return };
            let task = TaskId { app: self.s.app(app).app.name.clone(), job: name.clone(), index };
            self.place_fresh(task, (app, j), at);
            rules.moved(self.s, at, true);
        }
    }

    /// Places a task that has no slot yet.
    pub(crate) fn place_fresh(&mut self, id: TaskId, (app, job): (usize, usize), at: MachineId) {
        let node = self.s.machines.all[at].id;
        let cause = Cause::Waited;
        self.placements.push(Placement { task: id.clone(), seen_attempt: 0, node, cause, older: false });
        self.ordered.insert(app);
        self.s.put_fresh(id, (app, job), at);
        self.note_placed((app, job), 0);
    }

    /// Writes this before tasks lose and get machines.
    pub(crate) fn order(&mut self, app: usize, command: Command) {
        self.orders.push(command);
        self.ordered.insert(app);
    }

    /// Places tasks of one job, at most `most`, the first ones first. Gives what is left: nothing, or those for which
    /// there is no machine.
    pub(crate) fn place_some(
        &mut self,
        (app, j, version): (usize, usize, VersionId),
        wants: &mut VecDeque<Want>,
        most: usize,
    ) -> Placed {
        if self.place_at_volumes((app, j, version), wants) {
            return Placed::Full;
        }
        if wants.is_empty() {
            return Placed::Done;
        }
        let mut rules = Rules::new(self.s, app, j, version);
        let few = wants.len().min(most) <= FEW;
        let mut candidates: Option<Candidates> = None;
        let mut placed = 0;
        while placed < most
            && let Some(want) = wants.front().copied()
        {
            if self.is_full() {
                return Placed::Full;
            }
            let lease = self.lease_of(want.task, &rules);
            if let Lease::Withheld(why) = lease {
                self.wait(want.task, why);
                self.s.blocked.insert(app);
                wants.pop_front();
                continue;
            }
            let spec = self.s.app(app).jobs[j].spec_of(version);
            if let Some(over) = self.s.teams.over(spec) {
                return Placed::Blocked(Waiting::over_quota(spec, over));
            }
            let best = if let Lease::Held(holder) = lease {
                Some(holder)
            } else if few {
                rules.best(self.s)
            } else {
                candidates.get_or_insert_with(|| Candidates::new(self.s, &rules)).best(self.s, &rules)
            };
            let to = match best {
                Some(to) => to,
                None => match self.make_room(want.task, &rules, None) {
                    Ok(to) => to,
                    Err(None) => return Placed::Blocked(rules.why(self.s)),
                    Err(Some(serves)) => {
                        let otherwise = Box::new(rules.why(self.s));
                        return Placed::Blocked(Waiting::Shielded { by: self.s.id(serves), otherwise });
                    }
                },
            };
            self.place(want.task, to, want.cause(), version);
            self.new_leases += usize::from(rules.spec(self.s).exclusive);
            rules.moved(self.s, to, true);
            if let Some(candidates) = &mut candidates {
                candidates.refresh(self.s, &rules, to);
            }
            wants.pop_front();
            placed += 1;
        }
        Placed::Done
    }

    /// The best machine for a task that has just been lifted, or why there is none.
    pub(crate) fn choose(&mut self, task: TaskRef, version: VersionId) -> Result<MachineId, Waiting> {
        let rules = Rules::new(self.s, task.app, task.job, version);
        rules.best(self.s).ok_or_else(|| rules.why(self.s))
    }

    pub(crate) fn place(&mut self, task: TaskRef, to: MachineId, cause: Cause, version: VersionId) {
        self.put(task, to, version);
        self.decided.insert(task, Some(to));
        self.note_placed((task.app, task.job), version);
        let node = self.s.machines.all[to].id;
        let seen_attempt = self.s.slot(task).attempt;
        self.placements.push(Placement { task: self.s.id(task), seen_attempt, node, cause, older: version > 0 });
    }

    /// Takes a task from its machine; it has been lifted.
    pub(crate) fn remove(&mut self, task: TaskRef, cause: Cause) {
        self.removals.push(Removal { task: self.s.id(task), seen_attempt: self.s.slot(task).attempt, cause });
        self.decided.insert(task, None);
    }

    pub(crate) fn put(&mut self, task: TaskRef, to: MachineId, version: VersionId) {
        self.undo.push((task, self.s.slot(task).on, self.s.slot(task).version));
        self.s.put(task, to, version);
    }

    pub(crate) fn lift(&mut self, task: TaskRef) {
        self.undo.push((task, self.s.slot(task).on, self.s.slot(task).version));
        self.s.lift(task);
    }

    pub(crate) fn wait(&mut self, task: TaskRef, why: Waiting) {
        let id = self.s.id(task);
        self.waits.entry(task.app).or_default().insert(id, why);
    }

    /// Whether the rest has to be left to the next turn, which is then due at once.
    pub(crate) fn is_full(&mut self) -> bool {
        let moves = self.orders.len() + self.removals.len() + self.placements.len() + self.firings.len();
        self.full |= moves >= MOVES_MAX;
        self.full
    }

    /// Looks at the app again at that time.
    pub(crate) fn wake(&mut self, app: usize, at: Millis) {
        self.timers.entry(app).and_modify(|earlier| *earlier = at.min(*earlier)).or_insert(at);
    }

    fn end(mut self) -> Plan {
        self.tell_placed();
        if !self.s.blocked.is_empty() {
            let fresh = self.s.fresh.iter().map(|fresh| fresh.task.app);
            let decided: BTreeSet<usize> = self.decided.keys().map(|task| task.app).chain(fresh).collect();
            for app in decided {
                let layout = self.s.layout(app);
                self.s.expected.insert(app, layout);
            }
        }
        while let Some((task, before, version)) = self.undo.pop() {
            self.s.lift(task);
            match before {
                Some(before) => self.s.put(task, before, version),
                None => self.s.forget_version(task, version),
            }
        }
        self.s.lift_fresh();
        let told: BTreeSet<TaskId> =
            if self.full { self.decided.keys().map(|task| self.s.id(*task)).collect() } else { BTreeSet::new() };
        for app in &self.apps {
            let mut waits = self.waits.remove(app).unwrap_or_default();
            let name = self.s.app(*app).app.name.clone();
            let known = self.s.waits.get(&name);
            if self.full {
                // Not all were looked at: the next turn, which is due at once, tells what the others wait for now.
                let untold = known.iter().flat_map(|known| known.iter()).filter(|(id, _)| !told.contains(*id));
                for (id, why) in untold {
                    waits.entry(id.clone()).or_insert_with(|| why.clone());
                }
            }
            if known.map_or(!waits.is_empty(), |known| **known != waits) {
                let all = Arc::make_mut(&mut self.s.waits);
                if waits.is_empty() {
                    all.remove(&name)
                } else {
                    all.insert(name, Arc::new(waits))
                };
            }
            let timer = self.timers.get(app).copied();
            let mirror = self.s.app_mut(*app);
            if let Some(before) = std::mem::replace(&mut mirror.timer, timer) {
                self.s.timers.remove(&(before, *app));
            }
            self.s.timers.extend(timer.map(|at| (at, *app)));
        }
        for (app, told) in std::mem::take(&mut self.waits) {
            // Of another app that had to make way: what is known of its other tasks stays.
            let name = self.s.app(app).app.name.clone();
            let known = Arc::make_mut(&mut self.s.waits).entry(name).or_default();
            Arc::make_mut(known).extend(told);
        }
        // What was decided counts once it is in the state. If it never comes there, it has to be decided again.
        let decided = self
            .decided
            .keys()
            .map(|task| task.app)
            .chain(self.ordered)
            .chain(self.fired.keys().map(|(app, _)| *app))
            .chain(self.full.then_some(self.apps).into_iter().flatten());
        self.s.dirty.extend(decided);
        let mut commands = self.orders;
        commands.extend(Some(self.removals).filter(|r| !r.is_empty()).map(Command::Remove));
        commands.extend(Some(self.placements).filter(|p| !p.is_empty()).map(Command::Place));
        commands.extend(Some(self.firings).filter(|f| !f.is_empty()).map(Command::Fire));
        Plan { commands, probe: self.probe, wake_at: self.full.then_some(self.now), ..Plan::default() }
    }
}

/// A task that wants a machine.
#[derive(Clone, Copy)]
pub(crate) struct Want {
    pub(crate) task: TaskRef,
    /// Whether it had one, and lost it.
    pub(crate) lost: bool,
}

impl Want {
    pub(crate) fn cause(self) -> Cause {
        if self.lost { Cause::MachineLost } else { Cause::Waited }
    }
}

/// How placing some tasks ended.
pub(crate) enum Placed {
    /// As many as were asked for, or all.
    Done,
    /// The plan is full.
    Full,
    /// There is no machine for the rest.
    Blocked(Waiting),
}
