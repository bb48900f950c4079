//! Performs a fault plan on the machines of a run, and undoes what has had its time.

mod director;
mod interrupter;
mod losses;
mod rolling;

use crate::{
    cluster::Cluster,
    machine::{Condition, Machine, Rest},
    moments::Moment,
    random::stream,
    tasks::Ill,
    trace::Event,
    wire::Link,
    workload::Chore,
};
pub(crate) use director::Director;
pub(crate) use interrupter::Interrupter;
use losses::{Losses, can_spare};
use rand::{RngExt, rngs::SmallRng, seq::SliceRandom};
use rolling::Roll;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};
use taffeta_chaos_plan::{Fault, FaultKind, FaultPlan, PartitionShape, Planned, Target};
use taffeta_node::Inspect;

/// A fault that is on.
struct Active {
    fault: Fault,
    /// The machines that it is about.
    machines: BTreeSet<usize>,
    began: Duration,
    until: Option<Duration>,
    /// Machines in the order in which a swizzled partition takes their links away and gives them back.
    order: Vec<usize>,
}

/// Performs a plan.
pub(crate) struct Injector {
    since: Duration,
    due: VecDeque<Planned>,
    active: Vec<Active>,
    /// Machines whose power goes in the middle of a write, by then at the latest, and when they come back.
    fuses: Vec<(usize, Duration, Rest)>,
    /// Restarts of all machines: the first is under way, the others come after it.
    rolls: VecDeque<Roll>,
    losses: Losses,
    rng: SmallRng,
    /// Says which tasks that crash do so with their shim.
    shims: SmallRng,
    /// When lies are told next.
    lie_at: Duration,
    /// How many faults of each kind were performed.
    pub(crate) performed: BTreeMap<FaultKind, u64>,
}

/// A power cut that waits for the middle of a write comes without one after this time.
const FUSE_MAX: Duration = Duration::from_millis(400);

/// A liar does not leave it at one lie.
const LIE_EVERY: Duration = Duration::from_millis(700);

/// For how long without an end.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

impl Injector {
    pub(crate) fn new(seed: u64, plan: FaultPlan) -> Self {
        let since = Duration::ZERO;
        Self {
            since,
            due: plan.faults.into(),
            active: vec![],
            fuses: vec![],
            rolls: VecDeque::new(),
            losses: Losses::default(),
            rng: stream(seed, "faults"),
            shims: stream(seed, "shims"),
            lie_at: Duration::ZERO,
            performed: BTreeMap::new(),
        }
    }

    /// The plan's time begins.
    pub(crate) fn begin_at(&mut self, since: Duration) {
        self.since = since;
    }

    /// Begins and ends what is due.
    pub(crate) fn step(&mut self, cluster: &mut Cluster) {
        let (now, since) = (cluster.now(), self.since);
        let mut changed = false;
        self.watch_fuses(cluster);
        // Two at once would not restart the machines one after the other.
        if self.rolls.front_mut().is_some_and(|roll| !roll.step(cluster)) {
            self.rolls.pop_front();
        }
        self.losses.step(cluster);
        while let Some(planned) = self.due.pop_front_if(|planned| since + planned.at <= now) {
            self.begin(cluster, planned);
            changed = true;
        }
        let (over, active) =
            std::mem::take(&mut self.active).into_iter().partition(|a| a.until.is_some_and(|t| t <= now));
        self.active = active;
        for ended in over {
            self.end(cluster, &ended);
            changed = true;
        }
        let swizzles =
            self.active.iter().any(|a| matches!(a.fault, Fault::Partition { shape: PartitionShape::Swizzle }));
        if changed || swizzles {
            self.apply(cluster);
        }
        self.lie(cluster);
        self.mark(cluster);
    }

    /// Each liar tells of a random other machine that it is down, a few times a second.
    fn lie(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        if now < self.lie_at {
            return;
        }
        self.lie_at = now + LIE_EVERY;
        let lies = self.active.iter().filter(|a| a.fault == Fault::Lie);
        let pairs: Vec<(usize, usize)> = lies
            .flat_map(|a| a.machines.iter())
            .map(|liar| (*liar, cluster.places[self.rng.random_range(0..cluster.places.len())]))
            .collect();
        for (liar, victim) in pairs {
            let (Some(id), true) = (cluster.machines[victim].id, cluster.machines[liar].runs()) else { continue };
            let told = liar != victim && cluster.machines[liar].look(|inspect| inspect.slander(id)).unwrap_or(false);
            if told {
                cluster.machines[victim].slandered = now;
                cluster.moments.note(Moment::LiedAbout);
            }
        }
    }

    /// Undoes everything that is still on. What would come is dropped.
    pub(crate) fn heal(&mut self, cluster: &mut Cluster) {
        self.due.clear();
        self.rolls.clear();
        self.losses.heal(cluster);
        for (i, _, back) in std::mem::take(&mut self.fuses) {
            self.cut_power(cluster, i, back);
        }
        for ended in std::mem::take(&mut self.active) {
            self.end(cluster, &ended);
        }
        self.apply(cluster);
        cluster.machines.iter().for_each(|machine| machine.tasks.cure());
    }

    /// Cuts these machines off from all others, for good.
    pub(crate) fn cut_off(&mut self, cluster: &mut Cluster, machines: BTreeSet<usize>) {
        let fault = Fault::Partition { shape: PartitionShape::Split };
        self.active.push(Active { fault, machines, began: cluster.now(), until: None, order: vec![] });
        self.apply(cluster);
    }

    fn begin(&mut self, cluster: &mut Cluster, planned: Planned) {
        let now = cluster.now();
        let machines = self.choose(cluster, &planned);
        let names: Vec<_> = machines.iter().map(|i| cluster.machines[*i].name.to_string()).collect();
        if machines.is_empty() {
            return cluster.tell(format!("{planned}: there is none"));
        }
        cluster.tell(format!("{} at {} ({})", planned.fault, planned.target, names.join(", ")));
        let kind = planned.fault.kind();
        *self.performed.entry(kind).or_default() += 1;
        for i in &machines {
            cluster.site.run.note(now, Event::Fault, *i as u64, kind as u64, 0);
        }
        let until = planned.lasts.map(|lasts| now + lasts);
        let back = until.map_or(Rest::Told, Rest::Until);
        let each = machines.iter().copied();
        match planned.fault {
            Fault::KillAgent => each.for_each(|i| down(cluster, i, |machine, site| machine.kill(site, back))),
            Fault::KillMachine => each.for_each(|i| {
                down(cluster, i, |machine, site| {
                    machine.switch_off(site, back, None);
                });
            }),
            Fault::PowerCut => {
                // A commit is written and synced in one go, so half of the cuts wait for the middle of one.
                for i in each {
                    let writes = self.rng.random_range(1..12);
                    if self.rng.random_bool(0.5)
                        && !cluster.machines[i].is_gone()
                        && cluster.machines[i].light_fuse(writes)
                    {
                        self.fuses.push((i, now + FUSE_MAX, back));
                    } else {
                        self.cut_power(cluster, i, back);
                    }
                }
            }
            Fault::Stop => each.for_each(|i| down(cluster, i, |machine, site| machine.stop(site, back))),
            Fault::Wipe | Fault::Remove => {
                each.for_each(|i| {
                    down(cluster, i, |machine, site| {
                        machine.switch_off(site, Rest::Ever, None);
                    });
                    if let Some(id) = cluster.machines[i].id.filter(|_| planned.fault == Fault::Remove) {
                        let name = cluster.machines[i].name.clone();
                        cluster.chores.push_back(Chore::Remove(name, id));
                    }
                });
                self.push(planned.fault, machines, now, until);
            }
            Fault::Move => {
                each.for_each(|i| {
                    down(cluster, i, |machine, site| {
                        machine.switch_off(site, Rest::Told, None);
                    });
                });
                self.push(planned.fault, machines, now, until);
            }
            Fault::Rolling => self.rolls.push_back(Roll::new(&machines, planned.lasts, false)),
            Fault::Upgrade => {
                cluster.begin_upgrade();
                self.rolls.push_back(Roll::new(&machines, planned.lasts, true));
            }
            Fault::Copy { used } => {
                let lasts = planned.lasts.unwrap_or_default();
                each.for_each(|i| self.losses.copy(cluster, i, used, lasts));
            }
            Fault::QuorumLost => {
                let lasts = planned.lasts.unwrap_or_default();
                self.losses.lose_quorum(cluster, &machines, lasts, &mut self.rng);
            }
            Fault::Rotate => cluster.chores.push_back(Chore::Rotate),
            Fault::Bandwidth { .. }
            | Fault::Cpu { .. }
            | Fault::Memory { .. }
            | Fault::Dns { .. }
            | Fault::Drain
            | Fault::Leader => unreachable!("a plan with it is refused before the run: `FaultPlan::check_simulated`"),
            Fault::TaskCrash => {
                let ill = self.crash();
                self.strike(cluster, &planned, &machines, ill);
            }
            Fault::TaskHang => self.strike(cluster, &planned, &machines, Ill::Hang(until.unwrap_or(now + FOR_EVER))),
            Fault::TaskIgnoreTerm => self.strike(cluster, &planned, &machines, Ill::IgnoreTerm),
            Fault::TaskFailHealth => {
                self.strike(cluster, &planned, &machines, Ill::FailHealth(until.unwrap_or(now + FOR_EVER)));
            }
            Fault::Pause
            | Fault::Slow { .. }
            | Fault::DiskFull
            | Fault::Partition { .. }
            | Fault::Loss { .. }
            | Fault::Delay { .. }
            | Fault::Duplicate { .. }
            | Fault::Reorder { .. }
            | Fault::ClockOffset { .. }
            | Fault::ClockDrift { .. }
            | Fault::Lie
            | Fault::Lag => self.push(planned.fault, machines, now, until),
        }
    }

    /// The machines that a planned fault strikes.
    fn choose(&mut self, cluster: &Cluster, planned: &Planned) -> BTreeSet<usize> {
        // A leader does not fall behind, and neither does who does not follow.
        if planned.fault == Fault::Lag && planned.target == Target::One {
            let leader = cluster.leader().map(|(i, _)| i);
            let follows = |m: &&Machine| Some(m.number) != leader && m.look(Inspect::follows).unwrap_or(false);
            let mut followers: Vec<usize> = cluster.present().filter(follows).map(|m| m.number).collect();
            followers.shuffle(&mut self.rng);
            return followers.into_iter().take(1).collect();
        }
        let mut machines = self.resolve(cluster, &planned.target);
        if matches!(planned.fault, Fault::Wipe | Fault::Remove) {
            machines.retain(|i| can_spare(cluster, *i));
        }
        machines
    }

    fn cut_power(&mut self, cluster: &mut Cluster, i: usize, back: Rest) {
        let mut lost = 0;
        let rng = &mut self.rng;
        down(cluster, i, |machine, site| lost = machine.switch_off(site, back, Some(rng)));
        if lost > 0 {
            cluster.moments.note(Moment::WriteTorn);
        }
    }

    /// Cuts the power of machines whose fuse has burnt down.
    fn watch_fuses(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        let burnt = |(i, latest, _): &(usize, Duration, Rest)| *latest <= now || cluster.machines[*i].disk.is_dead();
        let (over, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.fuses).into_iter().partition(burnt);
        self.fuses = left;
        for (i, _, back) in over {
            self.cut_power(cluster, i, back);
        }
    }

    fn push(&mut self, fault: Fault, machines: BTreeSet<usize>, began: Duration, until: Option<Duration>) {
        let mut order: Vec<usize> = machines.iter().copied().collect();
        order.shuffle(&mut self.rng);
        self.active.push(Active { fault, machines, began, until, order });
    }

    fn end(&mut self, cluster: &mut Cluster, ended: &Active) {
        let names: Vec<_> = ended.machines.iter().map(|i| cluster.machines[*i].name.to_string()).collect();
        cluster.tell(format!("{} at {} is over", ended.fault, names.join(", ")));
        for i in &ended.machines {
            cluster.site.run.note(cluster.now(), Event::Heal, *i as u64, ended.fault.kind() as u64, 0);
        }
        for machine in cluster.machines.iter_mut().filter(|m| ended.machines.contains(&m.number)) {
            if ended.fault == Fault::Lag {
                machine.lagged = machine.lagged.max(machine.disturbed);
            }
            let lived =
                ended.fault == Fault::DiskFull && machine.started < ended.began && machine.look(|_| ()).is_some();
            if lived {
                cluster.moments.note(Moment::LivedWithFullDisk);
            }
        }
        if matches!(ended.fault, Fault::Wipe | Fault::Remove) {
            for i in &ended.machines {
                if let Some(place) = cluster.places.iter().position(|at| at == i) {
                    cluster.replace(place);
                }
            }
        }
        if ended.fault == Fault::Move {
            ended.machines.iter().for_each(|i| cluster.relocate(*i));
        }
    }

    /// Which machines a target means now.
    fn resolve(&mut self, cluster: &Cluster, target: &Target) -> BTreeSet<usize> {
        let mut places: Vec<usize> = cluster.places.clone();
        places.shuffle(&mut self.rng);
        let n = places.len();
        let some = |count: usize| places.iter().copied().take(count).collect();
        match target {
            Target::Node(name) => {
                let position = name.strip_prefix('n').and_then(|number| number.parse::<usize>().ok());
                position.and_then(|p| cluster.places.get(p.checked_sub(1)?)).copied().into_iter().collect()
            }
            Target::Leader => cluster.leader().map(|(i, _)| i).into_iter().collect(),
            Target::Voters => {
                let voters = cluster.leader().map(|(_, leadership)| leadership.voters).unwrap_or_default();
                voters.into_iter().filter_map(|id| cluster.machine_of(id)).map(|m| m.number).collect()
            }
            Target::One => some(1),
            Target::Minority => some((n - 1) / 2),
            Target::Majority => some(n / 2 + 1),
            Target::All => some(n),
            Target::Zone(zone) => cluster.present().filter(|m| m.zone == *zone).map(|m| m.number).collect(),
            Target::Service { app, service } => {
                let runs = |machine: &Machine| {
                    let living = machine.tasks.living();
                    living.iter().any(|run| {
                        let task = run.id.task();
                        task.app.as_str() == app && task.job.as_str() == service
                    })
                };
                cluster.present().filter(|m| runs(m)).map(|m| m.number).collect()
            }
        }
    }

    /// A task ends of itself, or with its shim, which may leave something of it.
    fn crash(&mut self) -> Ill {
        match self.shims.random_range(0..3) {
            0 => Ill::LoseShim { leaves: true },
            1 => Ill::LoseShim { leaves: false },
            _ => Ill::Crash,
        }
    }

    /// Afflicts tasks: all of a service, or one on each machine.
    fn strike(&mut self, cluster: &mut Cluster, planned: &Planned, machines: &BTreeSet<usize>, ill: Ill) {
        let now = cluster.now();
        for i in machines {
            let tasks = &cluster.machines[*i].tasks;
            if let Target::Service { app, service } = &planned.target {
                tasks.afflict(now, ill, |run| run.task().app.as_str() == app && run.task().job.as_str() == service);
                continue;
            }
            let living = tasks.living();
            if !living.is_empty() {
                let one = living[self.rng.random_range(0..living.len())].id.clone();
                tasks.afflict(now, ill, |run| *run == one);
            }
        }
    }

    /// Gives every machine and link the sum of what is on.
    fn apply(&self, cluster: &mut Cluster) {
        for machine in &mut cluster.machines {
            let mut condition = Condition::default();
            for active in self.active.iter().filter(|a| a.machines.contains(&machine.number)) {
                match active.fault {
                    Fault::Pause => condition.paused = true,
                    Fault::Slow { factor } => condition.slow = condition.slow.max(factor),
                    Fault::DiskFull => condition.full = true,
                    Fault::ClockOffset { by_ms } => condition.offset_ms += by_ms,
                    // Of several the strongest: together they might exceed what leases bear.
                    Fault::ClockDrift { ppm } if ppm.abs() > condition.drift_ppm.abs() => condition.drift_ppm = ppm,
                    Fault::ClockDrift { .. } => {}
                    Fault::KillAgent
                    | Fault::KillMachine
                    | Fault::PowerCut
                    | Fault::Stop
                    | Fault::Wipe
                    | Fault::Partition { .. }
                    | Fault::Loss { .. }
                    | Fault::Delay { .. }
                    | Fault::Duplicate { .. }
                    | Fault::Reorder { .. }
                    | Fault::TaskCrash
                    | Fault::TaskHang
                    | Fault::TaskIgnoreTerm
                    | Fault::TaskFailHealth
                    | Fault::Lie
                    | Fault::Move
                    | Fault::Rolling
                    | Fault::Copy { .. }
                    | Fault::QuorumLost
                    | Fault::Upgrade
                    | Fault::Remove
                    | Fault::Rotate
                    | Fault::Lag
                    | Fault::Bandwidth { .. }
                    | Fault::Cpu { .. }
                    | Fault::Memory { .. }
                    | Fault::Dns { .. }
                    | Fault::Drain
                    | Fault::Leader => {}
                }
            }
            if condition != machine.condition() {
                machine.set_condition(condition);
            }
        }
        cluster.site.wire.set_links(self.links(cluster));
    }

    fn links(&self, cluster: &Cluster) -> BTreeMap<(SocketAddr, SocketAddr), Link> {
        let mut links = BTreeMap::<_, Link>::new();
        let all: Vec<(usize, SocketAddr)> = cluster.machines.iter().map(|m| (m.number, m.address)).collect();
        for active in &self.active {
            for (from, from_address) in &all {
                for (to, to_address) in all.iter().filter(|(to, _)| to != from) {
                    let Some(change) = active.on(*from, *to, cluster.now(), &cluster.places) else { continue };
                    let link = links.entry((*from_address, *to_address)).or_default();
                    *link = link.and(change);
                }
            }
        }
        links
    }

    /// Remembers at each machine that something was wrong with it.
    fn mark(&self, cluster: &mut Cluster) {
        let now = cluster.now();
        let mut touched = BTreeSet::new();
        for active in &self.active {
            match active.fault {
                // Who is cut off for good stands in no place any more.
                Fault::Partition { .. } => touched.extend(cluster.places.iter().chain(&active.machines).copied()),
                Fault::Loss { .. }
                | Fault::Delay { .. }
                | Fault::Duplicate { .. }
                | Fault::Reorder { .. }
                | Fault::Lag => {
                    touched.extend(active.machines.iter().copied());
                }
                Fault::KillAgent
                | Fault::KillMachine
                | Fault::PowerCut
                | Fault::Stop
                | Fault::Wipe
                | Fault::Pause
                | Fault::Slow { .. }
                | Fault::DiskFull
                | Fault::ClockOffset { .. }
                | Fault::ClockDrift { .. }
                | Fault::TaskCrash
                | Fault::TaskHang
                | Fault::TaskIgnoreTerm
                | Fault::TaskFailHealth
                | Fault::Lie
                | Fault::Move
                | Fault::Rolling
                | Fault::Copy { .. }
                | Fault::QuorumLost
                | Fault::Upgrade
                | Fault::Remove
                | Fault::Rotate
                | Fault::Bandwidth { .. }
                | Fault::Cpu { .. }
                | Fault::Memory { .. }
                | Fault::Dns { .. }
                | Fault::Drain
                | Fault::Leader => {}
            }
        }
        for machine in &mut cluster.machines {
            let touched = touched.contains(&machine.number);
            if !machine.is_sound() || touched {
                machine.disturbed = now;
            }
            if !machine.keeps_tasks() || touched {
                machine.harmed = now;
            }
        }
    }
}

/// Takes a machine down in some way, unless it is gone already, and notes what that is the occasion of.
fn down(cluster: &mut Cluster, i: usize, act: impl FnOnce(&mut Machine, &crate::machine::Site)) {
    if cluster.machines[i].is_gone() {
        return;
    }
    let placing = cluster.leader().is_some_and(|(leader, _)| {
        let waits = |state: &taffeta_model::State| {
            state.tasks.values().any(|task| matches!(task.place, taffeta_model::Place::Waiting { .. }))
        };
        leader == i && cluster.machines[i].look(|inspect| inspect.state(waits)).unwrap_or(false)
    });
    if placing {
        cluster.moments.note(Moment::LeaderLostWhilePlacing);
    }
    act(&mut cluster.machines[i], &cluster.site);
}

impl Active {
    /// What it does to the way from one machine to another.
    fn on(&self, from: usize, to: usize, now: Duration, places: &[usize]) -> Option<Link> {
        let (from_in, to_in) = (self.machines.contains(&from), self.machines.contains(&to));
        let link = match self.fault {
            Fault::Partition { shape } => {
                let cut = match shape {
                    PartitionShape::Split => from_in != to_in,
                    PartitionShape::OneWayIn => to_in && !from_in,
                    PartitionShape::OneWayOut => from_in && !to_in,
                    PartitionShape::Bridge => {
                        let half = |i: usize| places.iter().position(|at| *at == i).unwrap_or(i) % 2;
                        !from_in && !to_in && half(from) != half(to)
                    }
                    PartitionShape::Swizzle => self.is_swizzled_away(from, now) || self.is_swizzled_away(to, now),
                };
                Link { cut, ..Link::default() }
            }
            Fault::Lag => Link { cut: true, ..Link::default() },
            Fault::Loss { fraction } => Link { loss: fraction, ..Link::default() },
            Fault::Delay { by, jitter } => Link { delay: by, jitter, ..Link::default() },
            Fault::Duplicate { fraction } => Link { duplicate: fraction, ..Link::default() },
            Fault::Reorder { fraction } => Link { reorder: fraction, ..Link::default() },
            Fault::KillAgent
            | Fault::KillMachine
            | Fault::PowerCut
            | Fault::Stop
            | Fault::Wipe
            | Fault::Pause
            | Fault::Slow { .. }
            | Fault::DiskFull
            | Fault::ClockOffset { .. }
            | Fault::ClockDrift { .. }
            | Fault::TaskCrash
            | Fault::TaskHang
            | Fault::TaskIgnoreTerm
            | Fault::TaskFailHealth
            | Fault::Lie
            | Fault::Move
            | Fault::Rolling
            | Fault::Copy { .. }
            | Fault::QuorumLost
            | Fault::Upgrade
            | Fault::Remove
            | Fault::Rotate
            | Fault::Bandwidth { .. }
            | Fault::Cpu { .. }
            | Fault::Memory { .. }
            | Fault::Dns { .. }
            | Fault::Drain
            | Fault::Leader => return None,
        };
        let partition = matches!(self.fault, Fault::Partition { .. });
        (!link.is_sound() && (partition || from_in || to_in)).then_some(link)
    }

    /// The links go down one by one over the first half of the time, and come back in reverse over the second.
    fn is_swizzled_away(&self, machine: usize, now: Duration) -> bool {
        let Some(at) = self.order.iter().position(|i| *i == machine) else { return false };
        let lasts = self.until.map_or(Duration::from_secs(20), |until| until - self.began);
        let share = (at + 1) as f64 / (self.order.len() + 1) as f64 / 2.0;
        let gone = (now - self.began).as_secs_f64() / lasts.as_secs_f64().max(0.001);
        gone >= share && gone <= 1.0 - share
    }
}

impl Link {
    /// Both at once.
    fn and(self, other: Self) -> Self {
        let either = |a: f64, b: f64| 1.0 - (1.0 - a) * (1.0 - b);
        Self {
            cut: self.cut || other.cut,
            loss: either(self.loss, other.loss),
            delay: self.delay + other.delay,
            jitter: self.jitter + other.jitter,
            duplicate: either(self.duplicate, other.duplicate),
            reorder: either(self.reorder, other.reorder),
        }
    }
}
