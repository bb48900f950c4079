//! Ten thousand machines and a hundred thousand tasks, planned for and applied as a leader does, without a network.

use crate::figure::{Figure, Report};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use taffeta_model::{
    App, AppName, Command, Constraint, Cpus, Fence, Job, JobKind, JobName, Liveness, Member, Millis, NodeId, NodeName,
    Operator, Outcome, Phase, Place, PortSpec, Resources, State, TaskId, UnixMillis, mix,
};
use taffeta_scheduler::{MemberView, Observed, Plan, RingView, Scheduler};

const MACHINES: u64 = 10_000;
const APPS: u64 = 200;
const INSTANCES: u32 = 500;
/// Tasks of the machine that dies; all others have room for eleven.
const CROWD: u64 = 100;
/// How often each agent pulls its set and reports its tasks.
const AGENTS_EVERY: u64 = 5;
/// Between two turns of a leader (`core/node/src/lead.rs`).
const TURN_PAUSE: Duration = Duration::from_millis(10);

/// A leader's state, view and scheduler.
pub(super) struct World {
    pub(super) state: State,
    pub(super) ring: RingView,
    scheduler: Scheduler,
    at: Fence,
    now: Millis,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            state: State::default(),
            ring: RingView::new(Millis(0)),
            scheduler: Scheduler::new(),
            at: Fence { generation: 0, term: 1, index: 0 },
            now: Millis(60_000),
        }
    }

    /// A machine that is alive.
    pub(super) fn add(&mut self, i: u64, zone: &str, rack: &str, capacity: Resources) -> NodeId {
        self.at.index += 1;
        let [_, a, b, c] = u32::try_from(i).unwrap_or(u32::MAX).to_be_bytes();
        let member = Member {
            id: NodeId(mix(i)),
            name: NodeName::new(format!("n{i}")).expect("a label"),
            address: ([10, a, b, c], 7400).into(),
            public_key: [0; 32],
            zone: zone.into(),
            attributes: [("rack".to_owned(), rack.to_owned())].into(),
            capacity,
            custom: Default::default(),
            draining: false,
            maintenance: vec![],
            joined: self.at,
            assigned_fence: self.at,
        };
        let id = member.id;
        self.see(id, Liveness::Alive);
        self.state.members.insert(id, member);
        (self.state.applied, self.state.pool_fence) = (self.at, self.at);
        id
    }

    fn see(&mut self, id: NodeId, liveness: Liveness) {
        let confirmed_dead = liveness == Liveness::Down;
        self.ring.see(id, Some(MemberView { liveness, since: Millis(0), confirmed_dead, avoided: false }));
    }

    pub(super) fn apply(&mut self, command: &Command) {
        self.at.index += 1;
        let outcome = self.state.apply(self.at, command);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }

    pub(super) fn deploy(&mut self, app: App) {
        self.apply(&Command::Deploy { app: Arc::new(app), now: UnixMillis(0) });
    }

    fn plan(&mut self) -> (Plan, Duration) {
        self.ring.see_date(UnixMillis(1_000_000));
        let begin = Instant::now();
        let plan = self.scheduler.plan(self.now, &self.state, &mut self.ring);
        (plan, begin.elapsed())
    }

    /// Plans and applies until there is nothing left to do.
    pub(super) fn settle(&mut self) -> Plan {
        loop {
            let (plan, _) = self.plan();
            if plan.commands.is_empty() {
                return plan;
            }
            plan.commands.iter().for_each(|command| self.apply(command));
        }
    }

    /// All tasks are reported in this phase.
    fn report(&mut self, tasks: &[TaskId], phase: Phase) {
        for id in tasks {
            if let Some(Place::On { node, fence }) = self.state.tasks.get(id).map(|task| &task.place) {
                let report = Observed { node: *node, fence: *fence, phase, exit: None, serving: true, since: self.now };
                self.ring.report(id, report);
            }
        }
    }

    pub(super) fn placed(&self) -> usize {
        self.state.tasks.values().filter(|task| task.node().is_some()).count()
    }
}

fn capacity(cpus: u64) -> Resources {
    Resources { cpus: Cpus(cpus * 1000), memory: 256 << 30, disk: 1 << 40, ports: 12_000 }
}

/// A service that spreads over zones under two constraints.
fn app(name: &str, count: u32) -> App {
    let rule = |field: &str, operator| Constraint { field: field.into(), operator };
    let job = Job {
        count,
        run: vec!["sleep".into(), "1".into()],
        resources: Resources { cpus: Cpus(1000), memory: 64 << 20, disk: 0, ports: 1 },
        ports: vec![PortSpec { name: "http".into(), fixed: None }],
        constraints: vec![rule("hostname", Operator::Unique), rule("rack", Operator::MaxPer(4))],
        ..Job::new(JobKind::Service)
    };
    let jobs = [(JobName::new("web").expect("a label"), job.into())].into();
    App { name: AppName::new(name).expect("a label"), team: None, jobs, files: Default::default() }
}

pub(super) fn run(report: &mut Report, agents: bool) {
    let before = resident_mib();
    let mut world = World::new();
    let dying = world.add(1, "z20", "r500", capacity(CROWD));
    for i in 2..=MACHINES {
        world.add(i, &format!("z{}", i / 20 % 20), &format!("r{}", i / 20), capacity(11));
    }
    (0..APPS).for_each(|i| world.deploy(app(&format!("a{i}"), INSTANCES)));
    let begin = Instant::now();
    world.settle();
    let per_second = world.placed() as f64 / begin.elapsed().as_secs_f64();
    assert_eq!(world.placed() as u64, APPS * u64::from(INSTANCES), "all fit");
    report.tell(Figure::new("place", per_second, "placements/s").at_least(100_000.0));
    let tasks: Vec<TaskId> = world.state.tasks.keys().cloned().collect();
    world.report(&tasks, Phase::Running);
    world.settle();
    report.tell(Figure::new("state_mib", resident_mib() - before, "MiB").at_most(600.0));
    let idle = (0..100).map(|_| {
        let (plan, took) = world.plan();
        assert!(plan.commands.is_empty() && plan.probe.is_empty(), "nothing changed, and yet: {plan:?}");
        took
    });
    let idle = idle.max().unwrap_or_default();
    report.tell(Figure::new("nothing_changed", idle.as_secs_f64() * 1e3, "ms").at_most(0.1));
    // As many tasks as there may be are there: others make room for the late ones.
    let name = |text: &str| (AppName::new(text).expect("a label"), JobName::new("web").expect("a label"));
    let (first, job) = name("a0");
    world.apply(&Command::Scale { app: first, job, count: INSTANCES - 10 });
    world.settle();
    world.deploy(app("late", 10));
    let (plan, took) = world.plan();
    assert_eq!(moves(&plan), 10);
    report.tell(Figure::new("deploy_10", took.as_secs_f64() * 1e3, "ms").at_most(5.0));
    plan.commands.iter().for_each(|command| world.apply(command));
    world.settle();
    let crowd = world.state.tasks.of_machine(dying).count();
    world.see(dying, Liveness::Down);
    let (plan, took) = world.plan();
    assert!(crowd as u64 >= CROWD && moves(&plan) == crowd, "{crowd} tasks were there, {} move", moves(&plan));
    report.tell(Figure::new("machine_dies", took.as_secs_f64() * 1e3, "ms").at_most(20.0));
    plan.commands.iter().for_each(|command| world.apply(command));
    world.settle();
    if agents {
        let cores = agents_cores(&mut world);
        report.tell(Figure::new("agents", cores, "cores").at_most(1.0));
    }
}

fn moves(plan: &Plan) -> usize {
    let moves = |command: &Command| if let Command::Place(placed) = command { placed.len() } else { 0 };
    plan.commands.iter().map(moves).sum()
}

/// What a leader computes while each agent pulls its whole set, encoded, and reports all its tasks every few seconds, each
/// time in another phase, spread evenly over time. What the network costs is not in it.
fn agents_cores(world: &mut World) -> f64 {
    let nodes: Vec<NodeId> = world.state.members.keys().copied().collect();
    let turns = AGENTS_EVERY * 1000 / u64::try_from(TURN_PAUSE.as_millis()).unwrap_or(u64::MAX);
    let begin = Instant::now();
    let mut bytes = 0;
    for turn in 0..turns {
        let part = |turn: u64| (nodes.len() as u64 * turn / turns) as usize;
        for node in &nodes[part(turn)..part(turn + 1)] {
            let set = world.state.assigned_to(*node).expect("a member");
            bytes += postcard::to_allocvec(&set).expect("a set can be encoded").len();
            let tasks: Vec<TaskId> = set.tasks.into_keys().collect();
            world.report(&tasks, if turn % 2 == 0 { Phase::Unhealthy } else { Phase::Running });
        }
        world.now = Millis(world.now.0 + TURN_PAUSE.as_millis() as u64);
        let (plan, _) = world.plan();
        assert_eq!(moves(&plan), 0, "nothing has to move");
    }
    assert!(bytes > 0);
    begin.elapsed().as_secs_f64() / AGENTS_EVERY as f64
}

fn resident_mib() -> f64 {
    taffeta_harness::resident_mib(std::process::id())
}
