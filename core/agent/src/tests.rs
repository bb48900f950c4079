//! Builders that the tests share: a node whose processes are made and ended by hand.

mod health;
mod leases;
mod life;
mod names;
mod ports;
mod properties;
mod recovery;
mod room;
mod transcript;

use crate::{Action, Agent, AgentConfig, FoundRun, FoundState, RunId};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use taffeta_model::{
    Assigned, AssignedSet, Cpus, Exit, Fence, Health, HealthProbe, Job, JobKind, Millis, PortSpec, Resources, TaskId,
    TaskRecord, UnixMillis,
};

fn config() -> AgentConfig {
    AgentConfig {
        address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
        drain: Duration::from_millis(1500),
        capacity: Resources { cpus: Cpus(3000), memory: 3 << 30, disk: 3 << 30, ports: 12_000 },
        custom: [("gpu".to_owned(), 3)].into(),
    }
}

fn task(s: &str) -> TaskId {
    s.parse().unwrap()
}

fn fence(index: u64) -> Fence {
    Fence { generation: 0, term: 1, index }
}

fn run(s: &str) -> RunId {
    s.parse().unwrap()
}

fn service() -> Job {
    Job {
        run: vec!["./server".into()],
        ports: vec![PortSpec { name: "http".into(), fixed: None }],
        resources: Resources { ports: 1, ..Resources::default() },
        pids_max: 64,
        tags: vec!["blue".into()],
        ..Job::new(JobKind::Service)
    }
}

fn checked() -> Job {
    let probe = HealthProbe::Http { path: "/health".into(), port: "http".into() };
    let (every, timeout) = (Duration::from_secs(1), Duration::from_millis(500));
    Job { health: Some(Health { probe, every, timeout, failures: 3 }), ..service() }
}

fn batch(retries: u32) -> Job {
    Job { kind: JobKind::Batch { retries }, ports: vec![], ..service() }
}

fn assigned(placed: u64, job: Job) -> Assigned {
    Assigned {
        attempt: 1,
        version: 1,
        fence: fence(placed),
        job,
        files: BTreeMap::new(),
        hidden: false,
        ended: None,
        args: vec![],
        secrets: BTreeMap::new(),
        volume: None,
    }
}

/// A set of tasks, each with the index of its placement.
fn set(at: u64, tasks: &[(&str, u64, Job)]) -> AssignedSet {
    let tasks = tasks.iter().map(|(id, placed, job)| (task(id), assigned(*placed, job.clone()))).collect();
    AssignedSet { fence: fence(at), tasks, volumes: None }
}

fn found(id: &str, state: FoundState) -> FoundRun {
    FoundRun { run: run(id), ports: vec![("http".into(), 20_007)], exclusive: false, state, words: None }
}

fn running() -> FoundState {
    FoundState::Running { pid: 7, started_at: UnixMillis(1) }
}

/// An agent, its time, and what it asked for.
struct Node {
    agent: Agent,
    now: Millis,
}

impl Node {
    /// Confirmed by a leader, with nothing on the machine.
    fn with(set: AssignedSet) -> Self {
        let mut node = Self { agent: Agent::recover(Millis(0), config(), vec![], None), now: Millis(0) };
        node.agent.accept(node.now, set, true).unwrap();
        node
    }

    fn recovered(found: Vec<FoundRun>, persisted: Option<AssignedSet>) -> Self {
        Self { agent: Agent::recover(Millis(0), config(), found, persisted), now: Millis(0) }
    }

    /// One task placed at 3, its first run up.
    fn up(job: Job) -> Self {
        let mut node = Self::with(set(3, &[("shop/web.1", 3, job)]));
        assert_eq!(node.step(), ["start shop.web.1-0.1.3-0"]);
        node.started("shop.web.1-0.1.3-0");
        node
    }

    fn accept(&mut self, set: AssignedSet) {
        self.agent.accept(self.now, set, true).unwrap();
    }

    fn actions(&mut self) -> Vec<Action> {
        self.agent.reconcile(self.now)
    }

    /// The actions of now in words.
    fn step(&mut self) -> Vec<String> {
        self.actions().iter().map(words).collect()
    }

    /// Lets time pass without a step.
    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
    }

    /// Lets time pass, with a step at each wake, as the driver does; gives the actions with their times.
    fn run_for(&mut self, ms: u64) -> Vec<String> {
        let end = self.now + Duration::from_millis(ms);
        let mut all = self.step();
        while let Some(wake) = self.agent.next_wake().filter(|wake| *wake <= end) {
            assert!(wake > self.now, "a wake in the past: the driver would spin");
            self.now = wake;
            all.extend(self.step().into_iter().map(|action| format!("{} {action}", wake.0)));
        }
        self.now = end;
        all
    }

    fn started(&mut self, id: &str) {
        self.agent.handle_started(self.now, &run(id), 42, UnixMillis(1000), vec![]);
    }

    fn exits(&mut self, id: &str, exit: Exit) {
        self.agent.handle_exit(self.now, &run(id), exit, None);
    }

    fn check(&mut self, id: &str, outcome: Result<(), &str>) {
        self.agent.handle_check(self.now, &run(id), outcome.map_err(Into::into));
    }

    /// The record of the only task.
    fn record(&self) -> TaskRecord {
        let records = self.agent.records();
        assert_eq!(records.len(), 1, "{records:?}");
        records[0].clone()
    }

    /// Phase, whether it serves, and the reason.
    fn says(&self) -> String {
        let r = self.record();
        let serving = if r.serving { " serving" } else { "" };
        format!("{}{serving} [{}]", r.phase, r.reason)
    }
}

fn words(action: &Action) -> String {
    let verb = match action {
        Action::Start { .. } => "start",
        Action::Extend { .. } => "extend",
        Action::Check { .. } => "check",
        Action::Terminate { .. } => "terminate",
        Action::Kill { .. } => "kill",
        Action::Forget { .. } => "forget",
    };
    format!("{verb} {}", action.run())
}
