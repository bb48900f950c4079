//! One run from its seed to its verdict: first survive faults, then heal a majority and demand progress.

use crate::{
    check::{Broken, Checker, invariant_no_acknowledged_write_is_lost, serials},
    cluster::Cluster,
    faults::{Director, Injector, Interrupter},
    goal,
    machine::Rest,
    moments::Moment,
    panics,
    random::stream,
    report::{Report, Verdict},
    trace::Trace,
    workload::{Fate, Workload},
};
use rand::{RngExt, seq::SliceRandom};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_chaos_plan::{Fault, FaultKind, FaultPlan, InvalidPlan, Swarm, SwarmConfig};
use taffeta_model::NodeId;
use taffeta_node::Inspect;
use thiserror::Error;

/// Fewest and most nodes of a run: below three there is nothing to lose, and above fifteen the cheaper tier is for.
pub const NODES: std::ops::RangeInclusive<usize> = 3..=15;

/// Longest time under faults.
pub const LASTS_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Progress that is not made within this time after the last fault is not made: restarts back off up to 30 s, machines
/// are given up after some 10 s, and updates go one by one. Voters that are replaced take half a minute to be given up,
/// and a minute lies between two.
const PROGRESS_MAX: Duration = Duration::from_secs(330);

/// What is reached must last for so long.
const STAYS: Duration = Duration::from_secs(3);

/// What is to be simulated. Everything else comes from the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct SimConfig {
    /// Decides all that happens.
    pub seed: u64,
    /// Number of nodes, within [`NODES`].
    pub nodes: usize,
    /// Virtual time under faults; the progress that is demanded after it takes up to five minutes and a half more.
    pub lasts: Duration,
    /// Kinds of faults that may happen.
    pub faults: BTreeSet<FaultKind>,
    /// Exactly these faults, instead of some that are drawn.
    pub plan: Option<FaultPlan>,
    /// Mean pause of each of the two writers between two writes.
    pub thinks: Duration,
    /// Length of one step: datagrams are handed out at the beginning of each. 1 to 20 ms.
    pub tick: Duration,
    /// Whether no node's log is compared with what it has acknowledged: what is lost then shows where clients see it.
    pub trusts_logs: bool,
    /// Whether to keep every event in words, to look for where two runs part.
    pub in_words: bool,
}

/// A configuration that cannot be run. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidSim {
    /// The number of nodes.
    #[error("nodes: {0}; expected 3 to 15")]
    Nodes(usize),
    /// The time under faults.
    #[error("minutes: {0:?}; expected up to {LASTS_MAX:?}")]
    Lasts(Duration),
    /// The step.
    #[error("tick: {0:?}; expected 1 to 20 ms")]
    Tick(Duration),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] Box<InvalidPlan>),
}

impl SimConfig {
    /// Five nodes for five minutes under all kinds of faults.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            nodes: 5,
            lasts: Duration::from_secs(300),
            faults: FaultKind::SIMULATED.into_iter().collect(),
            plan: None,
            thinks: Duration::from_millis(600),
            tick: Duration::from_millis(5),
            trusts_logs: false,
            in_words: false,
        }
    }

    /// Checks what [`run`] would refuse.
    pub fn check(&self) -> Result<(), InvalidSim> {
        if !NODES.contains(&self.nodes) {
            return Err(InvalidSim::Nodes(self.nodes));
        }
        if self.lasts > LASTS_MAX {
            return Err(InvalidSim::Lasts(self.lasts));
        }
        if !(1..=20).contains(&self.tick.as_millis()) || !self.tick.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(InvalidSim::Tick(self.tick));
        }
        self.plan.as_ref().map_or(Ok(()), FaultPlan::check).map_err(|e| InvalidSim::Plan(Box::new(e)))
    }

    /// Whether the leader is killed at instants that are chosen as they come: where agents are killed by drawn plans, and
    /// not in runs in which nothing, or nothing but clean restarts, is to happen.
    fn directs(&self) -> bool {
        let drawn = self.plan.is_none() && self.faults.contains(&FaultKind::KillAgent);
        drawn && !only_rolls(&self.faults())
    }

    fn faults(&self) -> FaultPlan {
        let drawn = || {
            let swarm = SwarmConfig { nodes: self.nodes, lasts: self.lasts, allowed: self.faults.clone() };
            Swarm::draw(self.seed, &swarm).plan
        };
        self.plan.clone().unwrap_or_else(drawn)
    }
}

/// No write waits longer for machines that are only restarted cleanly, one after the other.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// A follower that is well is behind its leader by less.
const LATE: Duration = Duration::from_secs(2);

/// Whether machines are restarted cleanly, one after the other, and nothing else happens.
fn only_rolls(plan: &FaultPlan) -> bool {
    plan.faults.iter().all(|planned| planned.fault == Fault::Rolling)
}

/// How a run ended before its time.
enum Failure {
    Wrong(Broken),
    Stuck(String),
    Crash(String),
}

/// Runs it. `progress` is told the virtual time now and then.
pub fn run(config: &SimConfig, progress: &mut dyn FnMut(Duration)) -> Result<Report, InvalidSim> {
    config.check()?;
    #[expect(clippy::disallowed_methods, reason = "how long a run takes in reality is a figure of its report")]
    let began = std::time::Instant::now();
    let _watched = panics::watch();
    let faults = config.faults();
    let upgrades = faults.faults.iter().any(|planned| planned.fault == Fault::Upgrade);
    let mut sim = Sim {
        cluster: Cluster::new(config.seed, config.nodes, config.tick, Trace::new(config.in_words), upgrades),
        workload: Workload::new(config.seed, config.thinks),
        checker: Checker::new(config.seed, config.trusts_logs),
        injector: Injector::new(config.seed, faults),
        director: config.directs().then(|| Director::new(config.seed)),
        interrupter: config.directs().then(|| Interrupter::new(config.seed)),
    };
    let failure = sim.run(config, progress).err();
    sim.cluster.end();
    let (verdict, why) = match failure {
        None => (Verdict::Pass, None),
        Some(Failure::Wrong(why)) => (Verdict::Wrong, Some(why)),
        Some(Failure::Stuck(why)) => (Verdict::Stuck, Some(why)),
        Some(Failure::Crash(why)) => (Verdict::Crash, Some(why)),
    };
    let now = sim.cluster.now();
    if let Some(why) = &why {
        sim.cluster.tell(format!("{verdict}: {why}"));
    }
    let (trace, events, words) = sim.cluster.site.run.with_trace(|t| (t.hash(), t.events(), t.take_lines()));
    let writes = [Fate::Refused, Fate::Unknown].map(|fate| sim.workload.history.all(|f| f == fate).count());
    let acknowledged = sim.workload.history.all(|f| matches!(f, Fate::Acknowledged(_))).count();
    Ok(Report {
        seed: config.seed,
        nodes: config.nodes,
        lasts: config.lasts,
        verdict,
        why,
        virtual_time: now,
        real_time: began.elapsed(),
        faults: sim.injector.performed,
        sometimes: sim.cluster.moments,
        trace,
        events,
        writes: BTreeMap::from([("acknowledged", acknowledged), ("refused", writes[0]), ("unknown", writes[1])]),
        slowest_write: sim.workload.history.slowest().0,
        timeline: sim.cluster.timeline,
        words,
    })
}

struct Sim {
    cluster: Cluster,
    workload: Workload,
    checker: Checker,
    injector: Injector,
    /// Kills the leader at chosen instants.
    director: Option<Director>,
    /// Kills agents in the middle of starts.
    interrupter: Option<Interrupter>,
}

impl Sim {
    fn run(&mut self, config: &SimConfig, progress: &mut dyn FnMut(Duration)) -> Result<(), Failure> {
        // Where nothing is to go wrong, nobody is missing either.
        if !config.faults().faults.is_empty() {
            self.cluster.draw_late(config.lasts);
        }
        if let Err(stuck) = self.cluster.form() {
            // What is wrong may be why.
            self.checker.step(&mut self.cluster, &self.workload.history).map_err(Failure::Wrong)?;
            return Err(Failure::Stuck(stuck));
        }
        let since = self.cluster.now();
        let mut told = Duration::ZERO;
        self.injector.begin_at(since);
        while self.cluster.now() < since + config.lasts {
            self.cluster.start_late(since);
            self.step()?;
            if self.cluster.now() - told >= Duration::from_secs(1) {
                told = self.cluster.now();
                progress(told);
            }
        }
        self.invariant_clean_restarts_hold_no_write_up(config).map_err(Failure::Wrong)?;
        self.heal(config.seed);
        self.demand_progress(progress)?;
        // Then everything once more where nothing else is wrong.
        if self.workload.encore(&mut self.cluster) {
            self.director.iter_mut().for_each(Director::begin_anew);
            self.demand_progress(progress)?;
        }
        self.settle_accounts()
    }

    /// Writes go on while machines are restarted cleanly, one after the other, if nothing else is wrong.
    fn invariant_clean_restarts_hold_no_write_up(&self, config: &SimConfig) -> Result<(), Broken> {
        if !only_rolls(&config.faults()) {
            return Ok(());
        }
        let history = &self.workload.history;
        if let Some(serial) = history.all(|fate| matches!(fate, Fate::Refused | Fate::Unknown)).next() {
            let began = history.began(serial).unwrap_or_default();
            return Err(format!(
                "the write {serial} of {began:?} was not acknowledged, although machines were only restarted"
            ));
        }
        let (slowest, serial) = history.slowest();
        if slowest > PAUSE_MAX {
            let began = history.began(serial).unwrap_or_default();
            Err(format!("the write {serial} of {began:?} took {slowest:?}, although machines were only restarted"))
        } else {
            Ok(())
        }
    }

    /// One step of everything, and all checks.
    fn step(&mut self) -> Result<(), Failure> {
        self.injector.step(&mut self.cluster);
        if let Some(director) = &mut self.director {
            director.step(&mut self.cluster);
        }
        if let Some(interrupter) = &mut self.interrupter {
            interrupter.step(&mut self.cluster);
        }
        self.cluster.step();
        self.cluster.meet();
        self.workload.step(&mut self.cluster);
        self.learn_generation();
        let checked = self.checker.step(&mut self.cluster, &self.workload.history);
        if let Some(panic) = panics::take() {
            return Err(Failure::Crash(panic));
        }
        checked.map_err(Failure::Wrong)
    }

    /// A cluster that was recovered goes on with what the one had on which it was.
    fn learn_generation(&mut self) {
        let known = self.cluster.generation;
        let look = |inspect: &Inspect| {
            inspect.state(|state| {
                (state.generation > known).then(|| (state.generation, serials(state).collect::<BTreeSet<u32>>()))
            })
        };
        let newer = self.cluster.machines.iter().filter(|m| m.runs()).find_map(|machine| machine.look(look).flatten());
        if let Some((generation, there)) = newer {
            self.cluster.generation = generation;
            self.workload.history.go_on_from(&there);
        }
    }

    /// All faults end. A majority of the nodes and of the voters is started and left alone; the rest stays broken for
    /// good, so that the majority has to do without it.
    fn heal(&mut self, seed: u64) {
        self.injector.heal(&mut self.cluster);
        let cluster = &mut self.cluster;
        let mut rng = stream(seed, "core");
        let mut order = cluster.places.clone();
        order.shuffle(&mut rng);
        let is_in =
            |i: &usize, voters: &BTreeSet<NodeId>| cluster.machines[*i].id.is_some_and(|id| voters.contains(&id));
        let known = cluster.machines.iter().filter(|machine| machine.id.is_some()).count();
        // Where a change of who votes is half done, a majority of the old and one of the new voters are needed to end it.
        let mut core: Vec<usize> = vec![];
        for i in &order {
            let lacks =
                |voters: &&BTreeSet<NodeId>| core.iter().filter(|i| is_in(i, voters)).count() <= voters.len() / 2;
            if cluster.electorates.iter().filter(lacks).any(|voters| is_in(i, voters)) {
                core.push(*i);
            }
        }
        let others: Vec<usize> = order.iter().copied().filter(|i| !core.contains(i)).collect();
        let more = (known / 2 + 1).saturating_sub(core.len()) + rng.random_range(0..=1);
        core.extend(others.into_iter().take(more));
        let rest: BTreeSet<usize> = order.iter().copied().filter(|i| !core.contains(i)).collect();
        let (dead, cut_off): (BTreeSet<usize>, BTreeSet<usize>) =
            rest.iter().copied().partition(|_| rng.random_bool(0.5));
        for i in &dead {
            cluster.machines[*i].switch_off(&cluster.site, Rest::Ever, None);
        }
        for i in &core {
            // Whoever wants to join may have been told of nobody who is still where he was.
            if !cluster.machines[*i].disk.has_file("membership") {
                cluster.machines[*i].kill(&cluster.site, Rest::Told);
            }
            cluster.machines[*i].start(&cluster.site);
        }
        let names = |these: &mut dyn Iterator<Item = usize>| {
            these.map(|i| cluster.machines[i].name.to_string()).collect::<Vec<_>>().join(", ")
        };
        let (well, gone) = (names(&mut core.iter().copied()), names(&mut rest.iter().copied()));
        cluster.tell(format!("all faults end; well from now on: {well}; broken for good: {gone}"));
        cluster.places = core;
        self.injector.cut_off(cluster, cut_off);
        self.workload.settle(cluster);
    }

    /// Waits for a leader, for every deploy to be accepted and healthy, and for every name to be right.
    fn demand_progress(&mut self, progress: &mut dyn FnMut(Duration)) -> Result<(), Failure> {
        let deadline = self.cluster.now() + PROGRESS_MAX;
        let mut since = None;
        loop {
            self.step()?;
            let now = self.cluster.now();
            if !now.as_millis().is_multiple_of(100) {
                continue;
            }
            progress(now);
            match goal::missing(&self.cluster, &self.workload) {
                None if now - *since.get_or_insert(now) >= STAYS => return Ok(()),
                None => {}
                Some(what) if now >= deadline => {
                    return Err(Failure::Stuck(format!("{} s after all faults ended, {what}", PROGRESS_MAX.as_secs())));
                }
                Some(_) => since = None,
            }
        }
    }

    /// Every acknowledged write is with every voter that is left; the unknown ones went either way.
    fn settle_accounts(&mut self) -> Result<(), Failure> {
        self.workload.end(&self.cluster);
        let (history, cluster) = (&self.workload.history, &mut self.cluster);
        let mut there = BTreeSet::new();
        let long_ago = cluster.now().saturating_sub(LATE);
        for machine in cluster.present().filter(|m| m.id.is_some_and(|id| cluster.voters.contains(&id))) {
            let checked = machine.look(|inspect| {
                inspect.state(|state| {
                    there.extend(serials(state));
                    invariant_no_acknowledged_write_is_lost(machine, state, history, long_ago)
                })
            });
            checked.unwrap_or(Ok(())).map_err(Failure::Wrong)?;
        }
        let unknown: Vec<bool> = history.all(|f| f == Fate::Unknown).map(|serial| there.contains(&serial)).collect();
        for took_effect in unknown {
            cluster.moments.note(if took_effect { Moment::UnknownTookEffect } else { Moment::UnknownWasLost });
        }
        let end = cluster.now();
        cluster.tell(format!("all is well at {:.1} s", end.as_secs_f64()));
        Ok(())
    }
}
