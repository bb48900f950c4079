//! A cluster without a cluster: a state, a view, and plans carried out on them.

use crate::{MemberView, Observed, Plan, RingView, Scheduler, plan};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use taffeta_model::{
    App, AppName, Command, Constraint, Cpus, EPSILON_DEFAULT, Exit, Fence, Health, HealthProbe, Job, JobKind, JobName,
    Liveness, Member, Millis, MissedPolicy, NodeId, NodeName, Operator, Outcome, Overlap, Phase, Place, PortSpec,
    Recurrence, Resources, Runs, Schedule, State, TaskId, UnixMillis, Volume,
};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// A Sunday: 2026-11-22T00:00:00Z.
pub(super) const MIDNIGHT: UnixMillis = UnixMillis(1_795_305_600_000);

pub(super) struct Cluster {
    pub(super) now: Millis,
    pub(super) state: State,
    pub(super) ring: RingView,
    /// It goes on from turn to turn, as a leader's does.
    pub(super) scheduler: RefCell<Scheduler>,
}

impl Clone for Cluster {
    fn clone(&self) -> Self {
        Self { now: self.now, state: self.state.clone(), ring: self.ring.clone(), scheduler: RefCell::default() }
    }
}

impl Cluster {
    /// Machines `n1`, `n2` and so on, alive, each of 4 cpus, 8 GiB, 100 GiB of disk and 100 ports, whose leader has led
    /// for a minute.
    pub(super) fn of(machines: u64) -> Self {
        let mut cluster = Self {
            now: Millis(60_000),
            state: State::default(),
            ring: RingView::default(),
            scheduler: RefCell::default(),
        };
        cluster.state.level = 2;
        cluster.ring.see_date(MIDNIGHT);
        (1..=machines).for_each(|i| cluster.add(i));
        cluster
    }

    /// A machine joins.
    pub(super) fn add(&mut self, i: u64) {
        self.state.applied.index += 1; // as the command that would do this
        self.state.pool_fence = self.state.applied;
        let member = Member {
            id: NodeId(i),
            name: NodeName::new(format!("n{i}")).unwrap(),
            address: format!("127.0.0.1:{i}").parse().unwrap(),
            public_key: [0; 32],
            zone: String::new(),
            attributes: BTreeMap::new(),
            capacity: Resources { cpus: Cpus(4000), memory: 8 * GIB, disk: 100 * GIB, ports: 100 },
            custom: BTreeMap::new(),
            draining: false,
            maintenance: vec![],
            joined: Fence::default(),
            assigned_fence: Fence::default(),
        };
        self.state.members.insert(member.id, member);
        self.see(i, Liveness::Alive, false);
    }

    /// A machine is removed, unless it is the last one. The ring has nothing to say of it any more.
    pub(super) fn remove(&mut self, i: u64) {
        if self.try_apply(&Command::RemoveMember { node: NodeId(i), now: self.ring.date() }) {
            self.ring.see(NodeId(i), None);
        }
    }

    pub(super) fn member(&mut self, i: u64) -> &mut Member {
        self.state.applied.index += 1; // as the command that would do this
        self.state.pool_fence = self.state.applied;
        self.state.members.get_mut(&NodeId(i)).unwrap()
    }

    /// The ring's opinion of a machine from now on.
    pub(super) fn see(&mut self, i: u64, liveness: Liveness, confirmed_dead: bool) {
        self.ring.see(NodeId(i), Some(MemberView { liveness, since: self.now, confirmed_dead, avoided: false }));
    }

    /// The ring's opinion of a machine changes; it was suspected before.
    pub(super) fn turns(&mut self, i: u64, liveness: Liveness) {
        let view = self.ring.member(NodeId(i)).unwrap();
        self.ring.see(NodeId(i), Some(MemberView { liveness, ..view }));
    }

    /// The ring says that a machine comes and goes, or that it is steady again.
    pub(super) fn avoid(&mut self, i: u64, avoided: bool) {
        if let Some(view) = self.ring.member(NodeId(i)) {
            self.ring.see(NodeId(i), Some(MemberView { avoided, ..view }));
        }
    }

    /// The leader's own probes fail, too.
    pub(super) fn confirm_dead(&mut self, i: u64) {
        let view = self.ring.member(NodeId(i)).unwrap();
        self.ring.see(NodeId(i), Some(MemberView { confirmed_dead: true, ..view }));
    }

    /// The ring tells nothing of a machine; the leader's probes reach it, or do not.
    pub(super) fn unsee(&mut self, i: u64, dead: bool) {
        self.ring.see(NodeId(i), None);
        let mut all: BTreeSet<NodeId> =
            self.state.members.keys().copied().filter(|id| self.ring.is_unseen_dead(*id)).collect();
        all.remove(&NodeId(i));
        all.extend(dead.then_some(NodeId(i)));
        self.ring.see_unseen_dead(all);
    }

    /// Another node leads from now on; it has heard of the machines, and no reports yet.
    pub(super) fn new_leader(&mut self) {
        let mut ring = RingView::new(self.now);
        ring.see_date(self.ring.date());
        self.ring.members().for_each(|(id, view)| ring.see(id, Some(view)));
        let dead = self.state.members.keys().copied().filter(|id| self.ring.is_unseen_dead(*id)).collect();
        ring.see_unseen_dead(dead);
        (self.ring, self.scheduler) = (ring, RefCell::default());
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now = Millis(self.now.0 + millis);
        self.ring.see_date(UnixMillis(self.ring.date().0 + millis));
    }

    pub(super) fn apply(&mut self, command: &Command) {
        let at = Fence { index: self.state.applied.index + 1, ..self.state.applied };
        let outcome = self.state.apply(at, command);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }

    /// Gives whether it was not refused.
    pub(super) fn try_apply(&mut self, command: &Command) -> bool {
        let at = Fence { index: self.state.applied.index + 1, ..self.state.applied };
        matches!(self.state.apply(at, command), Outcome::Done(_))
    }

    pub(super) fn deploy(&mut self, app: &App) {
        self.apply(&Command::Deploy { app: Arc::new(app.clone()), now: self.ring.date() });
    }

    pub(super) fn plan(&self) -> Plan {
        plan(self.now, &self.state, &self.ring)
    }

    /// The plan of a scheduler that has met the machines in the opposite order, and knows nothing else.
    pub(super) fn plan_met_backwards(&self) -> Plan {
        let mut state = State { level: self.state.level, ..State::default() };
        state.applied.term = 1; // no position of the other state's
        let mut scheduler = Scheduler::new();
        for (id, member) in self.state.members.iter().rev() {
            state.members.insert(*id, member.clone());
            state.applied.index += 1;
            state.pool_fence = state.applied;
            scheduler.plan(self.now, &state, &mut self.ring.clone());
        }
        scheduler.plan(self.now, &self.state, &mut self.ring.clone())
    }

    /// Plans and carries the plan out. A scheduler that remembers decides what one that does not decides.
    pub(super) fn turn(&mut self) -> Plan {
        let anew = self.plan();
        let plan = self.scheduler.borrow_mut().plan(self.now, &self.state, &mut self.ring);
        if [&plan, &anew].iter().any(|plan| super::oracle::gives_room(&self.state, plan)) {
            return self.carry_out(plan); // see the oracle
        }
        assert_eq!(plan.commands, anew.commands, "the scheduler missed a change");
        assert_eq!(
            plan.waiting().map(|(id, _)| id).collect::<Vec<_>>(),
            anew.waiting().map(|(id, _)| id).collect::<Vec<_>>()
        );
        self.carry_out(plan)
    }

    fn carry_out(&mut self, plan: Plan) -> Plan {
        plan.commands.iter().for_each(|command| self.apply(command));
        plan
    }

    /// Nothing runs any more of exclusive tasks that have left their machines.
    pub(super) fn leases_end(&mut self) {
        let on = |id: &TaskId| self.state.tasks.get(id).and_then(taffeta_model::Task::node);
        let ended = self.state.leased.iter().filter(|(id, leased)| on(id) != Some(leased.node));
        let ended: Vec<_> = ended.map(|(id, leased)| (id.clone(), leased.fence)).collect();
        if !ended.is_empty() {
            self.apply(&Command::Release(ended));
        }
    }

    /// Machines that are alive report all their tasks as working, batch tasks as finished, until nothing is left to do.
    pub(super) fn settle(&mut self) -> Plan {
        for _ in 0..1000 {
            self.all_well();
            self.leases_end();
            let plan = self.turn();
            if plan.commands.is_empty() {
                self.pass(1000); // after which it is looked for those who may make way
                let plan = self.turn();
                if plan.commands.is_empty() {
                    return plan;
                }
            }
        }
        panic!("no end to the commands: {:?}", self.plan());
    }

    pub(super) fn all_well(&mut self) {
        for id in self.state.tasks.keys().cloned().collect::<Vec<_>>() {
            match self.state.job(&id).unwrap().kind {
                JobKind::Service | JobKind::Daemon => self.report(&id.to_string(), Phase::Healthy, None),
                JobKind::Batch { .. } | JobKind::Cron { .. } => {
                    self.report(&id.to_string(), Phase::Finished, Some(Exit::Code(0)));
                }
            }
        }
    }

    /// The same, but batch tasks run on.
    pub(super) fn settle_running(&mut self) {
        for _ in 0..1000 {
            self.all_running();
            self.leases_end();
            if self.turn().commands.is_empty() {
                self.pass(1000);
                if self.turn().commands.is_empty() {
                    return;
                }
            }
        }
        panic!("no end to the commands: {:?}", self.plan());
    }

    pub(super) fn all_running(&mut self) {
        for id in self.state.tasks.keys().cloned().collect::<Vec<_>>() {
            match self.state.job(&id).unwrap().kind {
                JobKind::Service | JobKind::Daemon => self.report(&id.to_string(), Phase::Healthy, None),
                JobKind::Batch { .. } | JobKind::Cron { .. } => self.report(&id.to_string(), Phase::Running, None),
            }
        }
    }

    /// The task's machine reports it, if it is alive.
    pub(super) fn report(&mut self, task: &str, phase: Phase, exit: Option<Exit>) {
        let id = task_id(task);
        let Place::On { node, fence } = self.state.tasks[&id].place else { return };
        if self.ring.member(node).is_some_and(|view| view.liveness == Liveness::Alive) {
            let hidden = self.state.assigned_to(node).is_some_and(|set| set.tasks.get(&id).is_some_and(|a| a.hidden));
            let serving = matches!(phase, Phase::Healthy | Phase::Running) && !hidden;
            self.ring.report(&id, Observed { node, fence, phase, exit, serving, since: self.now });
        }
    }

    /// How many tasks of the app serve, on machines that are alive.
    pub(super) fn serving(&self, app: &str) -> usize {
        let serves = |id: &TaskId| {
            let Place::On { node, fence } = self.state.tasks[id].place else { return false };
            let alive = self.ring.member(node).is_some_and(|view| view.liveness == Liveness::Alive);
            let report = self.ring.reports(id).iter().find(|report| report.node == node && report.fence == fence);
            alive && report.is_some_and(|report| report.phase == Phase::Healthy)
        };
        self.state.tasks.keys().filter(|id| id.app.as_str() == app && serves(id)).count()
    }

    pub(super) fn place(&self, task: &str) -> &Place {
        &self.state.tasks[&task_id(task)].place
    }

    /// Number of the machine that the task is on; 0 for none.
    pub(super) fn on(&self, task: &str) -> u64 {
        self.state.tasks[&task_id(task)].node().map_or(0, |node| node.0)
    }

    /// How many tasks each machine has.
    pub(super) fn load(&self) -> BTreeMap<u64, usize> {
        let mut load = BTreeMap::new();
        for node in self.state.tasks.values().filter_map(|task| task.node()) {
            *load.entry(node.0).or_default() += 1;
        }
        load
    }

    /// Turns until nothing is left to do now.
    pub(super) fn quiet(&mut self) -> Plan {
        for _ in 0..100 {
            let plan = self.turn();
            if plan.commands.is_empty() {
                return plan;
            }
        }
        panic!("no end to the commands: {:?}", self.plan());
    }

    /// The tasks of the job that are on machines end so.
    pub(super) fn end(&mut self, job: &str, exit: i32) {
        let (app, job) = job.split_once('/').unwrap();
        let ids: Vec<TaskId> =
            self.state.tasks.of_job(&app.parse().unwrap(), &job.parse().unwrap()).map(|(id, _)| id.clone()).collect();
        let phase = if exit == 0 { Phase::Finished } else { Phase::Failed };
        ids.iter().for_each(|id| self.report(&id.to_string(), phase, Some(Exit::Code(exit))));
    }

    pub(super) fn runs(&self, job: &str) -> &Runs {
        let (app, job) = job.split_once('/').unwrap();
        &self.state.apps[&app.parse::<AppName>().unwrap()].runs[&job.parse::<JobName>().unwrap()]
    }

    pub(super) fn history(&self, job: &str) -> Vec<String> {
        self.runs(job).history.iter().map(ToString::to_string).collect()
    }

    /// Nobody leads for that long, then another node does.
    pub(super) fn without_leader(&mut self, millis: u64) {
        self.pass(millis);
        self.new_leader();
    }

    /// Why the task waits.
    pub(super) fn why(&self, task: &str) -> String {
        self.plan().why(&task_id(task)).unwrap().to_string()
    }
}

pub(super) fn task_id(task: &str) -> TaskId {
    task.parse().unwrap()
}

pub(super) fn app(name: &str, jobs: &[(&str, Job)]) -> App {
    let jobs = jobs.iter().map(|(name, job)| (JobName::new(*name).unwrap(), Arc::new(job.clone()))).collect();
    App { name: AppName::new(name).unwrap(), team: None, jobs, files: BTreeMap::new() }
}

pub(super) fn service(count: u32) -> Job {
    Job {
        count,
        run: vec!["./run".into()],
        resources: Resources { cpus: Cpus(100), memory: 64 * MIB, disk: 0, ports: 0 },
        pids_max: 100,
        grace: Duration::from_secs(5),
        ..Job::new(JobKind::Service)
    }
}

pub(super) fn batch(count: u32) -> Job {
    Job { kind: JobKind::Batch { retries: 0 }, ..service(count) }
}

/// A cron job that is due by UTC.
pub(super) fn cron(schedule: &str) -> Job {
    let recurrence = Recurrence {
        schedule: Schedule::new(schedule, None).unwrap(),
        epsilon: EPSILON_DEFAULT,
        overlap: Overlap::Skip,
        missed: MissedPolicy::Skip,
    };
    Job { kind: JobKind::Cron { retries: 0 }, cron: Some(recurrence), ..service(1) }
}

/// Job changes that read like sentences.
pub(super) trait With {
    fn after(self, earlier: &[&str]) -> Self;
    fn memory(self, bytes: u64) -> Self;
    fn cpus(self, thousandths: u64) -> Self;
    fn constraint(self, field: &str, operator: Operator) -> Self;
    fn fixed_port(self, port: u16) -> Self;
    fn free_ports(self, count: u32) -> Self;
    fn checked(self) -> Self;
    fn version(self, version: &str) -> Self;
    fn overlap(self, overlap: Overlap) -> Self;
    fn missed(self, missed: MissedPolicy) -> Self;
    fn epsilon(self, seconds: u64) -> Self;
    fn count(self, count: u32) -> Self;
    fn volume(self, name: &str, gib: u64) -> Self;
}

impl With for Job {
    fn after(mut self, earlier: &[&str]) -> Self {
        self.after = earlier.iter().map(|name| JobName::new(*name).unwrap()).collect();
        self
    }
    fn memory(mut self, bytes: u64) -> Self {
        self.resources.memory = bytes;
        self
    }
    fn cpus(mut self, thousandths: u64) -> Self {
        self.resources.cpus = Cpus(thousandths);
        self
    }
    fn constraint(mut self, field: &str, operator: Operator) -> Self {
        self.constraints.push(Constraint { field: field.into(), operator });
        self
    }
    fn fixed_port(mut self, port: u16) -> Self {
        self.ports.push(PortSpec { name: format!("f{port}"), fixed: Some(port) });
        self
    }
    fn free_ports(mut self, count: u32) -> Self {
        self.ports.extend((0..count).map(|i| PortSpec { name: format!("a{i}"), fixed: None }));
        self.resources.ports += count;
        self
    }
    fn checked(mut self) -> Self {
        let probe = HealthProbe::Run { run: vec!["./check".into()] };
        let (every, timeout) = (Duration::from_secs(1), Duration::from_secs(1));
        self.health = Some(Health { probe, every, timeout, failures: 3 });
        self
    }
    fn version(mut self, version: &str) -> Self {
        self.env.insert("VERSION".into(), version.into());
        self
    }
    fn overlap(mut self, overlap: Overlap) -> Self {
        self.cron.as_mut().unwrap().overlap = overlap;
        self
    }
    fn missed(mut self, missed: MissedPolicy) -> Self {
        self.cron.as_mut().unwrap().missed = missed;
        self
    }
    fn epsilon(mut self, seconds: u64) -> Self {
        self.cron.as_mut().unwrap().epsilon = Duration::from_secs(seconds);
        self
    }
    fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }
    fn volume(mut self, name: &str, gib: u64) -> Self {
        self.volume = Some(Volume { name: name.parse().unwrap(), size: gib * GIB, at: None });
        self
    }
}
