//! The machine.

use crate::{
    Accepted, Action, FoundRun, FoundState, Grant, Needs, RunId, StaleFence, StartFailure,
    lease::note_rid,
    record::record,
    room::Room,
    run::{Run, Why},
    slot::{Course, Slot, Verdict},
};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};
use taffeta_model::{
    AssignedSet, Bug, Exit, Fence, LEASE_DNS, Millis, Resources, TaskId, TaskRecord, UnixMillis, planted,
};

/// How long an agent that was started waits for a leader to confirm what it persisted before it acts on it alone.
/// Longer than an election, so that after a reboot of everything the newest decision is what is obeyed.
pub const UNCONFIRMED_WAIT: Duration = Duration::from_secs(30);

/// What an agent has to know about its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Where tasks of this node are reached; given in their records.
    pub address: IpAddr,
    /// Time between taking a run out of DNS and SIGTERM: the TTL of its records, and what their withdrawal needs to get
    /// around.
    pub drain: Duration,
    /// What this node offers to tasks: while some are being stopped, no other is started that would not fit beside them.
    pub capacity: Resources,
    /// Countable resources that it offers.
    pub custom: BTreeMap<String, u64>,
}

/// Owns the table of a node's runs and decides what becomes of each.
///
/// It never has two runs of one task alive at once, never starts what the newest accepted set does not list, and never
/// obeys an older set after a newer one.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    standing: Standing,
    /// Fence of the newest accepted set.
    obeyed: Option<Fence>,
    slots: BTreeMap<TaskId, Slot>,
    /// Exclusive tasks of which nothing is left here, and the leader does not know it yet.
    rid: Vec<TaskId>,
    revision: u64,
}

/// How much the newest set is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is what was persisted, or came from somebody who had no leader. Nothing is started before this time, and
    /// nothing is stopped for its sake at all: a machine without a leader loses no task.
    Unconfirmed(Millis),
    /// A leader has confirmed it since the agent was started.
    Confirmed,
}

impl Agent {
    /// An agent that finds these runs on its machine and has this set on its disk. What runs is re-adopted and goes
    /// on; nothing is started until a leader has confirmed a set, or for [`UNCONFIRMED_WAIT`] without one.
    pub fn recover(now: Millis, config: AgentConfig, found: Vec<FoundRun>, persisted: Option<AssignedSet>) -> Self {
        let standing = Standing::Unconfirmed(now + UNCONFIRMED_WAIT);
        let mut agent = Self { config, standing, obeyed: None, slots: BTreeMap::new(), rid: vec![], revision: 1 };
        for found in found {
            let FoundRun { run, exclusive, state, words, .. } = found.clone();
            let slot = agent.slots.entry(run.task()).or_default();
            slot.exclusive |= exclusive;
            match state {
                FoundState::Running { .. } if planted(Bug::StartTwice) => slot.adopt_ended(run, None),
                FoundState::Running { pid, started_at } => slot.adopt(Run::found(now, found, pid, started_at)),
                FoundState::Exited { exit: Exit::LeaseEnded } => slot.adopt_ended(run, None),
                FoundState::Exited { .. } if planted(Bug::ForgetExits) => slot.adopt_ended(run, None),
                FoundState::Exited { exit } => slot.adopt_ended(run, Some(Verdict { exit, words })),
                // Not the task's doing: it is started again at once, and no batch job loses a try.
                FoundState::Lost => slot.adopt_ended(run, None),
            }
        }
        if let Some(set) = persisted {
            agent.obey(now, set);
        }
        agent
    }

    /// Takes a set that was pulled. `confirmed` says that a leader stands behind it (its term is under way), not only
    /// some voter's disk. An older one than the newest obeyed is refused; the same one again may confirm it.
    pub fn accept(&mut self, now: Millis, set: AssignedSet, confirmed: bool) -> Result<Accepted, StaleFence> {
        let offered = set.fence;
        match self.obeyed {
            Some(obeyed) if offered < obeyed && !planted(Bug::ObeyOldFence) => {
                return Err(StaleFence { offered, obeyed });
            }
            Some(_) | None => {}
        }
        if confirmed && self.standing != Standing::Confirmed {
            self.standing = Standing::Confirmed;
            self.revision += 1;
        }
        if self.obeyed == Some(offered) {
            return Ok(Accepted::Same);
        }
        self.obey(now, set);
        Ok(Accepted::New)
    }

    fn obey(&mut self, now: Millis, mut set: AssignedSet) {
        self.obeyed = Some(set.fence);
        self.revision += 1;
        for (task, slot) in &mut self.slots {
            match set.tasks.remove(task) {
                Some(assigned) => slot.want(now, assigned),
                None => slot.wanted = None,
            }
        }
        for (task, assigned) in set.tasks {
            self.slots.entry(task).or_default().want(now, assigned);
        }
    }

    /// The process was made. `not_isolated` says in words what is not in force of its isolation.
    pub fn handle_started(
        &mut self,
        now: Millis,
        run: &RunId,
        pid: u32,
        started_at: UnixMillis,
        not_isolated: Vec<String>,
    ) {
        let Some(slot) = self.slots.get_mut(&run.task()) else { return };
        slot.handle_started(run);
        if let Some(known) = slot.run_mut(run) {
            known.become_up(now, pid, started_at, not_isolated);
            self.revision += 1;
        }
    }

    /// Before the process is made this is done for it, in words, as `fetching x.tar.gz: 12 of 40 MiB`.
    pub fn handle_doing(&mut self, run: &RunId, words: String) {
        let known = self.slots.get_mut(&run.task()).filter(|slot| slot.is_starting(run));
        let changed = known.and_then(|slot| slot.run_mut(run)).is_some_and(|known| {
            let changed = known.doing != words;
            known.doing = words;
            changed
        });
        self.revision += u64::from(changed);
    }

    /// The process could not be made.
    pub fn handle_start_failed(&mut self, now: Millis, run: &RunId, failure: StartFailure) {
        let Some(slot) = self.slots.get_mut(&run.task()) else { return };
        let changed = match failure {
            StartFailure::PortTaken(ports) => slot.handle_port_taken(now, run, &ports),
            StartFailure::NotStarted(why) if slot.is_starting(run) => {
                slot.handle_exit(now, run, Exit::NotStarted(why), None)
            }
            StartFailure::NotStarted(_) => false,
            StartFailure::Withheld(why) => slot.handle_withheld(now, run, &why),
        };
        self.revision += u64::from(changed);
    }

    /// The process ended. `words` are what is known of that beyond the exit, to follow it. Telling it again, or of an
    /// unknown run, changes nothing.
    pub fn handle_exit(&mut self, now: Millis, run: &RunId, exit: Exit, words: Option<String>) {
        let Some(slot) = self.slots.get_mut(&run.task()) else { return };
        self.revision += u64::from(slot.handle_exit(now, run, exit, words));
    }

    /// A health check passed, or failed for this reason.
    pub fn handle_check(&mut self, now: Millis, run: &RunId, outcome: Result<(), String>) {
        let known = self.slots.get_mut(&run.task()).and_then(|slot| slot.run_mut(run));
        let changed = known.is_some_and(|run| run.handle_check(now, outcome));
        self.revision += u64::from(changed);
    }

    /// The run's folder and control group are gone.
    pub fn handle_forgotten(&mut self, run: &RunId) {
        if let Some(slot) = self.slots.get_mut(&run.task()) {
            slot.handle_forgotten(run);
        }
    }

    /// Leases were granted, and the leader knows of these tasks that nothing is left of them here.
    pub fn handle_grants(&mut self, grants: &[Grant], known: &[TaskId]) {
        for grant in grants {
            if let Some(slot) = self.slots.get_mut(&grant.task) {
                slot.grant(grant);
            }
        }
        self.rid.retain(|task| !known.contains(task));
    }

    /// What the leader has to be asked and told about exclusive tasks.
    pub fn needs(&self) -> Needs {
        let held = self.slots.iter().filter_map(|(task, slot)| Some((task.clone(), slot.wants_lease()?)));
        let held: Vec<(TaskId, Fence)> = held.collect();
        let back = |task: &&TaskId| !self.slots.get(*task).is_some_and(|slot| slot.exclusive);
        Needs { obeyed: self.obeyed, held, rid: self.rid.iter().filter(back).cloned().collect() }
    }

    /// Compares what is with what should be, and gives what is to be done now. Called after every event and at
    /// [`Self::next_wake`]; without either it gives nothing new.
    pub fn reconcile(&mut self, now: Millis) -> Vec<Action> {
        let mut actions = Vec::new();
        let confirmed = self.standing == Standing::Confirmed;
        let may_start = self.may_start(now);
        for slot in self.slots.values_mut() {
            let changed = slot.step_runs(now, self.config.drain, confirmed, may_start, &mut actions);
            self.revision += u64::from(changed);
            slot.plan_forget(confirmed && slot.wanted.is_none(), &mut actions);
        }
        for (task, slot) in &mut self.slots {
            if slot.take_rid() {
                note_rid(&mut self.rid, task);
            }
        }
        self.slots.retain(|_, slot| !slot.is_empty());
        if may_start {
            self.plan_starts(now, &mut actions);
        }
        actions
    }

    fn plan_starts(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if !self.slots.values().any(|slot| slot.start_is_due(now)) {
            return;
        }
        let mut in_use = self.ports_in_use();
        let mut room = Room::of(&self.slots, self.standing == Standing::Confirmed);
        for (task, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.start_is_due(now)) {
            let (action, changed) = slot.plan_start(now, task, &in_use, |job| room.wait(&self.config, job));
            self.revision += u64::from(changed);
            if let Some(Action::Start { ports, assigned, .. }) = &action {
                room.put(&assigned.job);
                in_use.extend(ports.iter().map(|(_, number)| (*number, task.clone())));
            }
            actions.extend(action);
        }
    }

    fn ports_in_use(&self) -> BTreeMap<u16, TaskId> {
        let runs = self.slots.iter().flat_map(|(task, slot)| slot.runs.iter().map(move |run| (task, run)));
        runs.flat_map(|(task, run)| run.ports.iter().map(|(_, number)| (*number, task.clone()))).collect()
    }

    fn may_start(&self, now: Millis) -> bool {
        match self.standing {
            Standing::Unconfirmed(until) => until <= now,
            Standing::Confirmed => true,
        }
    }

    /// The earliest time at which [`Self::reconcile`] has something to do without an event; `None` if only an event
    /// can bring that about. After `reconcile(now)` it lies after `now`.
    pub fn next_wake(&self) -> Option<Millis> {
        let earliest_start = match self.standing {
            Standing::Unconfirmed(until) => until,
            Standing::Confirmed => Millis(0),
        };
        self.slots.values().filter_map(|slot| slot.wake(earliest_start)).min()
    }

    /// What the node publishes about its tasks, sorted by task, one record each.
    pub fn records(&self) -> Vec<TaskRecord> {
        let tasks = self.slots.iter();
        tasks.filter_map(|(task, slot)| record(&self.config, self.standing, task, slot)).collect()
    }

    /// Moves whenever [`Self::records`] may give something else than before.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Fence of the newest accepted set.
    pub fn obeyed(&self) -> Option<Fence> {
        self.obeyed
    }

    /// The runs of a task whose folders are there and stay for now, oldest first: the last ended one, and the one that
    /// lives, once its process is made. The last of them is whose logs people want.
    pub fn runs_of(&self, task: &TaskId) -> Vec<RunId> {
        self.slots.get(task).map_or_else(Vec::new, |slot| slot.folders().cloned().collect())
    }
}

impl Slot {
    /// Lets each run go as far as the time allows; tells whether records may have changed.
    fn step_runs(
        &mut self,
        now: Millis,
        drain: Duration,
        confirmed: bool,
        may_start: bool,
        actions: &mut Vec<Action>,
    ) -> bool {
        let wanted = self.wanted.as_ref().map(|wanted| wanted.assigned.fence);
        let ended = self.wanted.as_ref().is_some_and(|wanted| wanted.assigned.ended.is_some());
        let newest = self.runs.len().saturating_sub(1);
        let mut changed = false;
        let leave: Vec<bool> = self.runs.iter().map(|run| self.leaves_at(run).is_some_and(|at| at <= now)).collect();
        let lease = self.lease;
        for (at, run) in self.runs.iter_mut().enumerate() {
            let stop = match wanted {
                None if confirmed && !planted(Bug::KeepUnassigned) => Some(Why::Unassigned),
                Some(fence) if confirmed && (fence != run.fence || at < newest) => Some(Why::Replaced),
                Some(fence) if confirmed && ended && fence == run.fence => Some(Why::Ended),
                // Also without a leader, and whether or not a set has been confirmed.
                Some(_) | None if leave[at] => Some(Why::LeaseEnds),
                // What does not work is better than nothing as long as nothing may be started in its place.
                Some(fence) if may_start && fence == run.fence => run.lost_patience(now),
                Some(_) | None => None,
            };
            if let Some(lease) = lease.filter(|lease| lease.is_of(run.fence) && stop.is_none()) {
                run.extend(lease.stamp, actions);
            }
            let drain = if stop == Some(Why::LeaseEnds) { drain.min(LEASE_DNS) } else { drain };
            changed |= run.step(now, drain, stop, actions);
        }
        changed
    }

    /// When something is to be done for the task without an event.
    fn wake(&self, earliest_start: Millis) -> Option<Millis> {
        let wanted = self.wanted.as_ref().map(|wanted| wanted.assigned.fence);
        let patient_until = |run: &Run| (wanted == Some(run.fence)).then_some(earliest_start);
        let start = match self.wanted.as_ref().map(|wanted| wanted.course) {
            Some(Course::Start(at)) if self.runs.is_empty() => Some(at.max(earliest_start)),
            Some(Course::Start(_) | Course::Blocked | Course::Over) | None => None,
        };
        let leave = self.runs.iter().filter_map(|run| self.leaves_at(run));
        self.runs.iter().filter_map(|run| run.wake(patient_until(run))).chain(start).chain(leave).min()
    }
}
