//! Random events in random order, on a machine that is the judge: it knows which processes live.

use super::{batch, checked, config, fence, service};
use crate::{Action, Agent, AgentConfig, FoundRun, FoundState, Grant, RunId, StartFailure};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{
    Assigned, AssignedSet, BootMillis, Cpus, Exit, Fence, Job, JobKind, Millis, Resources, TaskId, UnixMillis,
};

const TASKS: u32 = 3;

#[derive(Clone, Debug)]
enum Event {
    /// A set with a fence this much above (or below) the newest; for each task the choice of job, 0 for none, and
    /// whether it is placed anew.
    Accept { ahead: i64, tasks: [(u8, bool); TASKS as usize], confirmed: bool },
    /// Time passes up to the next wake, and no further than this.
    Pass(u64),
    /// The oldest start that is under way ends: well, with a taken port, or badly.
    Started(u8),
    /// The n-th living process ends.
    Exit(u8, i32),
    /// The oldest check that is under way ends.
    Checked(bool),
    /// The oldest removal ends.
    Forgotten,
    /// The agent dies; the processes live. Starts under way are made or not.
    AgentRestart(bool),
    /// The machine is rebooted.
    Reboot,
    /// A lease is granted to the n-th placement that wants one, for so long.
    Grant(u8, u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (-1..3i64, any::<[(u8, bool); TASKS as usize]>(), prop::bool::weighted(0.8))
            .prop_map(|(ahead, tasks, confirmed)| Event::Accept { ahead, tasks, confirmed }),
        6 => prop_oneof![1..500u64, 1000..40_000u64].prop_map(Event::Pass),
        5 => any::<u8>().prop_map(Event::Started),
        3 => (any::<u8>(), 0..2i32).prop_map(|(n, code)| Event::Exit(n, code)),
        4 => any::<bool>().prop_map(Event::Checked),
        2 => Just(Event::Forgotten),
        1 => any::<bool>().prop_map(Event::AgentRestart),
        1 => Just(Event::Reboot),
        6 => (any::<u8>(), 3_000..20_000u64).prop_map(|(n, ms)| Event::Grant(n, ms)),
    ]
}

/// The machine: what was asked for and what became of it.
struct Machine {
    agent: Agent,
    now: Millis,
    newest: Option<AssignedSet>,
    placed: BTreeMap<TaskId, Assigned>,
    starts: Vec<(RunId, Vec<(String, u16)>)>,
    /// Living processes and their ports.
    alive: BTreeMap<RunId, Vec<(String, u16)>>,
    /// Ended ones that have a folder; `None` if nobody saw how.
    ended: BTreeMap<RunId, Option<Exit>>,
    checks: Vec<RunId>,
    forgets: Vec<RunId>,
    /// What runs hold, as far as the agent can know.
    jobs: BTreeMap<RunId, Job>,
    /// Whether a leader has confirmed a set to this agent.
    confirmed: bool,
    /// Every run that ever was a process: none may come twice.
    made: BTreeSet<RunId>,
    terminated: BTreeSet<RunId>,
    killed_at: BTreeMap<RunId, Millis>,
    /// Runs of exclusive tasks, with the end of the lease that their supervisors know.
    leases: BTreeMap<RunId, Millis>,
    /// Those of them that came up in good time and under this agent.
    watched: BTreeSet<RunId>,
}

/// Two of the jobs fill it, so that it is too small for some sets.
fn small() -> AgentConfig {
    let capacity = Resources { cpus: Cpus(2000), memory: 2 << 30, ..config().capacity };
    AgentConfig { capacity, ..config() }
}

fn job(choice: u8) -> Option<Job> {
    let half = |job: Job| {
        let resources = Resources { cpus: Cpus(1000), memory: 1 << 30, ..job.resources };
        Some(Job { resources, ..job })
    };
    match choice % 7 {
        0 => None,
        1 => half(service()),
        2 => half(checked()),
        3 => half(batch(2)),
        5 => half(exclusive()),
        4 => half(Job { revocable: true, ..service() }),
        _ => half(Job { grace: Duration::from_secs(1), ..checked() }),
    }
}

fn exclusive() -> Job {
    Job { exclusive: true, grace: Duration::from_secs(1), ..service() }
}

/// The part of a lease in which the agent is to have begun: grace, time to leave DNS, and what it is earlier.
const LEAVING: Duration = Duration::from_millis(3_500);

impl Machine {
    fn new() -> Self {
        let now = Millis(0);
        Self {
            agent: Agent::recover(now, small(), vec![], None),
            now,
            newest: None,
            placed: BTreeMap::new(),
            starts: vec![],
            alive: BTreeMap::new(),
            ended: BTreeMap::new(),
            checks: vec![],
            forgets: vec![],
            jobs: BTreeMap::new(),
            confirmed: false,
            made: BTreeSet::new(),
            terminated: BTreeSet::new(),
            killed_at: BTreeMap::new(),
            leases: BTreeMap::new(),
            watched: BTreeSet::new(),
        }
    }

    fn perform(&mut self, event: Event) {
        match event {
            Event::Accept { ahead, tasks, confirmed } => self.accept(ahead, tasks, confirmed),
            Event::Pass(ms) => self.pass(ms),
            Event::Started(how) => self.end_start(how),
            Event::Exit(n, code) => {
                if let Some(run) = self.alive.keys().nth(usize::from(n) % self.alive.len().max(1)).cloned() {
                    self.exit(&run, Exit::Code(code));
                }
            }
            Event::Checked(ok) => {
                if !self.checks.is_empty() {
                    let run = self.checks.remove(0);
                    self.agent.handle_check(self.now, &run, if ok { Ok(()) } else { Err("no".into()) });
                }
            }
            Event::Forgotten => {
                if !self.forgets.is_empty() {
                    let run = self.forgets.remove(0);
                    self.ended.remove(&run);
                    self.agent.handle_forgotten(&run);
                }
            }
            Event::Grant(n, ms) => {
                let held = self.agent.needs().held;
                if let Some((task, fence)) = held.get(usize::from(n) % held.len().max(1)).cloned() {
                    let until = self.now + Duration::from_millis(ms);
                    self.agent.handle_grants(&[Grant { task, fence, until, stamp: BootMillis(until.0) }], &[]);
                }
            }
            Event::AgentRestart(made) => self.restart_agent(made),
            Event::Reboot => {
                self.starts.clear();
                for (run, _) in std::mem::take(&mut self.alive) {
                    self.ended.insert(run, None);
                }
                self.restart_agent(false);
            }
        }
        self.reconcile();
    }

    fn accept(&mut self, ahead: i64, tasks: [(u8, bool); TASKS as usize], confirmed: bool) {
        let newest = self.newest.as_ref().map_or(0, |set| set.fence.index);
        let at = newest.saturating_add_signed(ahead);
        let stale = self.newest.is_some() && at < newest;
        let mut placed = BTreeMap::new();
        for (index, (choice, anew)) in (1..).zip(tasks) {
            let id: TaskId = format!("shop/web.{index}").parse().unwrap();
            let Some(job) = job(choice) else { continue };
            let old = self.placed.get(&id).filter(|_| !anew).cloned();
            let new = Assigned {
                attempt: at as u32,
                version: 1,
                fence: fence(at),
                job,
                files: BTreeMap::new(),
                hidden: false,
                ended: None,
                args: vec![],
                secrets: BTreeMap::new(),
                volume: None,
            };
            placed.insert(id, old.unwrap_or(new));
        }
        let set = AssignedSet { fence: fence(at), tasks: placed.clone(), volumes: None };
        let before = self.agent.records();
        let answer = self.agent.accept(self.now, set.clone(), confirmed);
        assert_eq!(answer.is_err(), stale, "never an older set obeyed");
        self.confirmed |= confirmed && !stale;
        if stale {
            assert_eq!(self.agent.records(), before);
        } else if self.newest.as_ref().map(|set| set.fence) != Some(fence(at)) {
            self.placed = placed;
            self.newest = Some(set);
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        self.now = self.agent.next_wake().map_or(end, |wake| wake.min(end));
    }

    fn end_start(&mut self, how: u8) {
        if self.starts.is_empty() {
            return;
        }
        let (run, ports) = self.starts.remove(0);
        match how % 4 {
            0 => {
                let taken = ports.iter().map(|(_, n)| *n).collect();
                self.agent.handle_start_failed(self.now, &run, StartFailure::PortTaken(taken));
            }
            1 => {
                self.made.insert(run.clone());
                self.ended.insert(run.clone(), Some(Exit::NotStarted("no".into())));
                self.agent.handle_start_failed(self.now, &run, StartFailure::NotStarted("no".into()));
            }
            _ => {
                self.made.insert(run.clone());
                self.alive.insert(run.clone(), ports);
                if self.leases.get(&run).is_some_and(|end| self.now + LEAVING < *end) {
                    self.watched.insert(run.clone());
                }
                self.agent.handle_started(self.now, &run, 1, UnixMillis(self.now.0), vec![]);
            }
        }
    }

    fn exit(&mut self, run: &RunId, exit: Exit) {
        self.alive.remove(run);
        self.ended.insert(run.clone(), Some(exit.clone()));
        self.agent.handle_exit(self.now, run, exit, None);
    }

    fn restart_agent(&mut self, made: bool) {
        for (run, ports) in std::mem::take(&mut self.starts) {
            if made {
                self.made.insert(run.clone());
                self.alive.insert(run, ports);
            }
        }
        self.checks.clear();
        self.forgets.clear();
        self.terminated.clear();
        self.killed_at.clear();
        self.watched.clear();
        let running = FoundState::Running { pid: 1, started_at: UnixMillis(0) };
        let alive = self.alive.iter().map(|(run, ports)| (run, ports.clone(), running.clone()));
        let ended = self.ended.iter().map(|(run, exit)| {
            let lost = FoundState::Lost;
            (run, vec![], exit.clone().map_or(lost, |exit| FoundState::Exited { exit }))
        });
        let found = alive
            .chain(ended)
            .map(|(run, ports, state)| {
                let exclusive = self.leases.contains_key(run);
                FoundRun { run: run.clone(), ports, exclusive, state, words: None }
            })
            .collect();
        self.agent = Agent::recover(self.now, small(), found, self.newest.clone());
        self.confirmed = false;
        let listed: BTreeSet<RunId> = self.jobs.keys().filter(|run| self.is_listed(run)).cloned().collect();
        self.jobs.retain(|run, _| listed.contains(run)); // the agent knows no job but those of its set
    }

    fn reconcile(&mut self) {
        let before = (self.agent.revision(), self.agent.records());
        let actions = self.agent.reconcile(self.now);
        for action in actions {
            self.take(action);
        }
        if self.agent.revision() == before.0 {
            assert_eq!(self.agent.records(), before.1, "records changed, the revision did not");
        }
        assert!(self.agent.reconcile(self.now).is_empty(), "an action was given twice");
        assert!(self.agent.next_wake().is_none_or(|wake| wake > self.now), "the driver would spin");
        self.invariant_records();
        self.invariant_exclusive_tasks_end_before_their_leases();
    }

    /// The agent ends an exclusive run in good time, so that its supervisor need not.
    fn invariant_exclusive_tasks_end_before_their_leases(&self) {
        for (run, end) in self.leases.iter().filter(|(run, _)| self.watched.contains(*run)) {
            let told = self.terminated.contains(run) || !self.alive.contains_key(run);
            let late = self.now + exclusive().grace >= *end;
            assert!(told || !late, "{run} runs on at {:?}, and its lease ends at {end:?}", self.now);
        }
    }

    fn take(&mut self, action: Action) {
        let run = action.run().clone();
        match action {
            Action::Extend { until, .. } => {
                assert!(self.alive.contains_key(&run) && !self.terminated.contains(&run));
                let known = self.leases.get_mut(&run).expect("a run with a lease");
                // An agent that was restarted does not know how long it is already.
                assert!(*known < Millis(until.0) || !self.watched.contains(&run), "no longer than before");
                *known = Millis(until.0).max(*known);
            }
            Action::Start { task, assigned, ports, lease, .. } => {
                assert_eq!(lease.is_some(), assigned.job.exclusive, "a lease for those alone that need one");
                if let Some(end) = lease {
                    assert!(self.now + LEAVING < Millis(end.0), "a start that is not worth it");
                    self.leases.insert(run.clone(), Millis(end.0));
                }
                let newest = self.newest.as_ref().and_then(|set| set.tasks.get(&task));
                assert_eq!(newest.map(|a| a.fence), Some(run.fence()), "a start that the newest set does not list");
                assert_eq!(newest, Some(&*assigned));
                let others = self.alive.keys().chain(self.starts.iter().map(|(run, _)| run));
                assert!(others.into_iter().all(|other| other.task() != task), "two runs of {task} at once");
                assert!(!self.made.contains(&run), "{run} was there before");
                let of_fence = |other: &&RunId| other.task() == task && other.fence() == run.fence();
                let done = |other: &RunId| self.ended.get(other) == Some(&Some(Exit::Code(0)));
                let batch = matches!(assigned.job.kind, JobKind::Batch { .. });
                let finished = self.ended.keys().filter(of_fence).any(done);
                assert!(!(batch && finished), "{task} was finished");
                let used = self.alive.values().chain(self.starts.iter().map(|(_, ports)| ports)).flatten();
                let used: BTreeSet<u16> = used.map(|(_, n)| *n).collect();
                assert!(ports.iter().all(|(_, n)| !used.contains(n)), "a port given twice");
                self.invariant_room(&assigned.job);
                self.jobs.insert(run.clone(), assigned.job.clone());
                self.starts.push((run, ports));
            }
            Action::Check { .. } => {
                assert!(self.alive.contains_key(&run) && !self.terminated.contains(&run));
                // One of an ended run may be under way still: its outcome is told and changes nothing.
                assert!(!self.checks.contains(&run), "two checks of {run} at once");
                self.checks.push(run);
            }
            Action::Terminate { .. } => {
                assert!(self.alive.contains_key(&run));
                assert!(self.terminated.insert(run), "terminated twice");
            }
            Action::Kill { .. } => {
                assert!(self.alive.contains_key(&run) && self.terminated.contains(&run), "killed without a warning");
                let last = self.killed_at.insert(run, self.now);
                assert!(last.is_none_or(|last| last + crate::KILL_AGAIN <= self.now));
            }
            Action::Forget { .. } => {
                assert!(self.ended.contains_key(&run) && !self.forgets.contains(&run));
                self.forgets.push(run);
            }
        }
    }

    fn is_listed(&self, run: &RunId) -> bool {
        let placed = self.newest.as_ref().and_then(|set| set.tasks.get(&run.task()));
        placed.is_some_and(|assigned| assigned.fence == run.fence())
    }

    /// Runs that are there, with what they hold.
    fn held(&self) -> impl Iterator<Item = (&RunId, &Job)> {
        let runs = self.alive.keys().chain(self.starts.iter().map(|(run, _)| run));
        runs.filter_map(|run| Some((run, self.jobs.get(run)?)))
    }

    /// Nothing starts that does not fit beside what is being stopped.
    fn invariant_room(&self, new: &Job) {
        let leaving = |run: &RunId| self.confirmed && !self.is_listed(run);
        for revocable in [false, true] {
            let of_class = |job: &Job| job.revocable == revocable;
            let goes = self.held().any(|(run, job)| leaving(run) && of_class(job));
            let all = self.held().map(|(_, job)| job).chain([new]).filter(|job| of_class(job));
            let cpus: u64 = all.map(|job| job.resources.cpus.0).sum();
            assert!(!(goes && of_class(new)) || cpus <= small().capacity.cpus.0, "cpus are over-committed");
        }
        let goes = self.held().any(|(run, _)| leaving(run));
        let memory: u64 = self.held().map(|(_, job)| job).chain([new]).map(|job| job.resources.memory).sum();
        assert!(!goes || memory <= small().capacity.memory, "memory is over-committed");
    }

    fn invariant_records(&self) {
        let records = self.agent.records();
        let waits = records.iter().any(|record| record.reason.ends_with(" to end"));
        assert!(!waits || self.held().any(|(run, _)| !self.is_listed(run)), "it waits for nothing");
        assert!(records.windows(2).all(|pair| pair[0].task < pair[1].task), "sorted, one a task");
        for record in records.iter().filter(|record| record.serving) {
            let alive = self.alive.keys().any(|run| run.task() == record.task && run.fence() == record.fence);
            assert!(alive, "{} serves without a process", record.task);
        }
    }

    /// All is taken away, every process obeys SIGTERM or SIGKILL, and everything is answered: nothing may be left.
    fn heal(&mut self) {
        let at: Fence = fence(self.newest.as_ref().map_or(1, |set| set.fence.index + 1));
        let set = AssignedSet { fence: at, tasks: BTreeMap::new(), volumes: None };
        self.placed.clear();
        self.newest = Some(set.clone());
        self.agent.accept(self.now, set, true).unwrap();
        for round in 0..200u8 {
            self.reconcile();
            let idle = self.starts.is_empty() && self.alive.is_empty() && self.ended.is_empty();
            if idle {
                break;
            }
            while !self.starts.is_empty() {
                self.perform(Event::Started(2));
            }
            while !self.forgets.is_empty() {
                self.perform(Event::Forgotten);
            }
            let told = |run: &&RunId| match round % 2 {
                0 => self.killed_at.contains_key(*run),
                _ => self.terminated.contains(*run),
            };
            for run in self.alive.keys().filter(told).cloned().collect::<Vec<_>>() {
                self.exit(&run, Exit::Signal(15));
            }
            self.pass(100_000);
        }
        assert!(self.alive.is_empty(), "still alive: {:?}", self.alive);
        assert!(self.ended.is_empty(), "never forgotten: {:?}", self.ended);
        assert!(self.agent.records().is_empty());
        assert_eq!(self.agent.next_wake(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn safe_under_any_events_and_clean_in_the_end(events in prop::collection::vec(event(), 1..150)) {
        let mut machine = Machine::new();
        for event in events {
            machine.perform(event);
        }
        machine.heal();
    }
}
