//! A client that gives the scheduler work: updates, cron jobs, runs by hand, drains, quotas, and tasks that make way.

use super::{
    Ending, Question, pause,
    work::{TEAM, TEAM_MAX, Tide, Work},
};
use crate::{cluster::Cluster, random::stream};
use rand::{RngExt, rngs::SmallRng};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use taffeta_model::{AppName, JobName, NodeId, State, TeamName};
use taffeta_node::{
    Inspect,
    api::{ApiError, Backend, DeployRequest, QuotaRequest, Steer},
};

/// Pause between two changes.
const THINKS: Duration = Duration::from_secs(3);

/// Pause before something that must be acknowledged is said again.
const INSISTS: Duration = Duration::from_millis(500);

/// A command that was given up on takes effect within this time or never.
const LATE: Duration = Duration::from_secs(10);

/// A client gives up after this.
const PATIENCE: Duration = Duration::from_secs(20);

/// Cron jobs, drains and quotas are there from this version of the protocol on.
const LEVEL: u32 = 2;

/// Machines that are needed for one of them to be drained in the end: three are left for what goes on each once.
const DRAINS_FROM: usize = 4;

/// Something that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    Deploy(Work),
    Promote,
    Run,
    Drain(NodeId),
    Undrain(NodeId),
    Limit(bool),
}

pub(super) struct Planner {
    rng: SmallRng,
    next: Duration,
    version: u32,
    asking: Option<(Order, Duration, Question<()>)>,
    /// What has to be acknowledged before the run ends; `None` before that.
    last: Option<VecDeque<Order>>,
    wanted: BTreeMap<&'static str, Work>,
    /// Whether the last change of all, under calm, was asked for.
    encored: bool,
}

impl Planner {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: stream(seed, "planner"),
            next: Duration::ZERO,
            version: 0,
            asking: None,
            last: None,
            wanted: BTreeMap::new(),
            encored: false,
        }
    }

    /// From now on only what is wanted last is asked for: no machine drained, no limit, versions that work.
    pub(super) fn settle(&mut self, cluster: &Cluster) {
        self.version += 1;
        let machines = u32::try_from(cluster.present().count()).unwrap_or(1);
        let works = [
            Work::Low { count: machines / 2 },
            Work::Tide(Tide::sound(&mut self.rng, self.version)),
            Work::High { count: 1 },
        ];
        self.last = Some([Order::Limit(false)].into_iter().chain(works.map(Order::Deploy)).collect());
        self.wanted.clear();
        // What was asked before may still take effect until its time is up, and must not come after the last word.
        self.next = cluster.now() + LATE;
    }

    /// In half of the runs, one more change of each kind while nothing is broken; `false` if there is none.
    pub(super) fn encore(&mut self, cluster: &Cluster) -> bool {
        if self.encored || self.wanted.is_empty() {
            return false;
        }
        self.encored = true;
        if self.rng.random_bool(0.5) {
            return false; // half of the runs are enough, and short ones are cheap
        }
        self.version += 1;
        let tide = Order::Deploy(Work::Tide(Tide::sound(&mut self.rng, self.version)));
        let mut last = VecDeque::from([tide]);
        let places: Vec<NodeId> = cluster.present().filter_map(|m| m.id).collect();
        if places.len() >= DRAINS_FROM {
            last.push_back(Order::Drain(places[self.rng.random_range(0..places.len())]));
        }
        self.last = Some(last);
        true
    }

    pub(super) fn is_settled(&self) -> bool {
        self.last.as_ref().is_some_and(VecDeque::is_empty)
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = &Work> {
        self.wanted.values()
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        if let Some((order, began, question)) = &mut self.asking {
            let (done, how) = match question.ending(cluster) {
                Some(Ending::Done(())) => (true, String::new()),
                Some(Ending::Refused(error)) => (false, format!(": {}", error.message)),
                Some(Ending::Unknown) => (false, ": it is not known whether that was done".into()),
                None if now - *began > PATIENCE => (false, ": no answer".into()),
                None => return,
            };
            let word = if done { "did" } else { "could not" };
            cluster.tell(format!("the planner {word} {}{how}", describe(cluster, order)));
            if done && let Some(last) = &mut self.last {
                last.retain(|wanted| wanted != order);
                if let Order::Deploy(work) = order {
                    self.wanted.insert(work.app(), work.clone());
                }
            }
            self.asking = None;
            let thinks = if self.last.is_some() { INSISTS } else { THINKS };
            self.next = self.next.max(now + pause(&mut self.rng, thinks));
        }
        if now < self.next || self.is_settled() {
            return;
        }
        let thinks = if self.last.is_some() { INSISTS } else { THINKS };
        self.next = now + pause(&mut self.rng, thinks);
        let Some((level, drained)) = look(cluster, |state| (state.spoken_level(), drained_of(state))) else { return };
        if level < LEVEL {
            // Some machines are of the older version, and may stay so for good.
            self.last.iter_mut().for_each(VecDeque::clear);
            return;
        }
        let order = match &self.last {
            Some(_) if !self.encored && !drained.is_empty() => drained.first().copied().map(Order::Undrain),
            Some(last) => last.front().cloned(),
            None => Some(self.any_order(cluster, &drained)),
        };
        let Some(order) = order else { return };
        let given = order.clone();
        let question = Question::ask(cluster, &mut self.rng, |backend| perform(backend, given));
        self.asking = question.map(|question| (order, now, question));
    }

    fn any_order(&mut self, cluster: &Cluster, drained: &[NodeId]) -> Order {
        let rng = &mut self.rng;
        self.version += 1;
        // The first orders make sure that there is something to work on.
        let what = if self.version <= 3 { [0, 3, 5][self.version as usize - 1] } else { rng.random_range(0..14) };
        match what {
            0..=2 => Order::Deploy(Work::Tide(Tide::any(rng, self.version))),
            3 | 4 => Order::Deploy(Work::Low { count: rng.random_range(4..=8) }),
            5 | 6 => Order::Deploy(Work::High { count: rng.random_range(0..=3) }),
            7 | 8 => Order::Promote,
            9 => Order::Run,
            10 => Order::Limit(rng.random_bool(0.6)),
            _ => match drained.first() {
                Some(node) => Order::Undrain(*node),
                None => {
                    let there: Vec<NodeId> = cluster.present().filter_map(|m| m.id).collect();
                    let one = there.get(rng.random_range(0..there.len().max(1))).copied();
                    one.map_or(Order::Promote, Order::Drain)
                }
            },
        }
    }
}

/// What the leader's state tells.
fn look<T>(cluster: &Cluster, what: impl FnOnce(&State) -> T) -> Option<T> {
    let (leader, _) = cluster.led?;
    cluster.machines[leader].look(|inspect: &Inspect| inspect.state(what))
}

fn drained_of(state: &State) -> Vec<NodeId> {
    state.members.values().filter(|member| member.draining).map(|member| member.id).collect()
}

fn describe(cluster: &Cluster, order: &Order) -> String {
    let name = |id: &NodeId| cluster.machine_of(*id).map_or_else(|| id.to_string(), |m| m.name.to_string());
    match order {
        Order::Deploy(work) => {
            let (service, count) = work.service();
            let policy = work.file().lines().find(|l| l.starts_with("update")).unwrap_or_default().to_owned();
            format!("deploy {}/{service} x {count} {policy}", work.app())
        }
        Order::Promote => "promote tide".into(),
        Order::Run => "run tide/chore".into(),
        Order::Drain(id) => format!("drain {}", name(id)),
        Order::Undrain(id) => format!("end the drain of {}", name(id)),
        Order::Limit(true) => format!("limit the team {TEAM}"),
        Order::Limit(false) => format!("set the team {TEAM} free"),
    }
}

async fn perform(backend: Arc<dyn Backend>, order: Order) -> Result<(), ApiError> {
    let tide = || AppName::new("tide").expect("a label");
    match order {
        Order::Deploy(work) => {
            backend.deploy(DeployRequest { file: work.file(), files: BTreeMap::new() }).await.map(drop)
        }
        Order::Promote => backend.steer(tide(), Steer::Promote { job: None }).await,
        Order::Run => {
            let job = JobName::new("chore").expect("a label");
            backend.steer(tide(), Steer::Run { job, args: vec![] }).await
        }
        Order::Drain(id) => backend.drain_node(id.to_string(), false).await,
        Order::Undrain(id) => backend.drain_node(id.to_string(), true).await,
        Order::Limit(limited) => {
            let request = QuotaRequest { memory: limited.then_some(TEAM_MAX), ..QuotaRequest::default() };
            backend.set_quota(TeamName::new(TEAM).expect("a label"), request).await.map(drop)
        }
    }
}
