//! All machines of a run, the wire between them, and one step of time.

use crate::{
    crypto::provider,
    machine::{self, Machine, Rest, Site},
    moments::{Moment, Moments},
    process::Process,
    random::stream,
    time::Run,
    trace::Trace,
    wire::Wire,
    workload::Chore,
};
use rand::{RngExt, rngs::SmallRng, seq::SliceRandom};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use taffeta_model::{Bug, NodeId, NodeName, TaskId, planted};
use taffeta_net::JoinToken;
use taffeta_node::{Inspect, REMOVED};
use taffeta_store::Leadership;

/// Zones of the machines, in turn.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// Addresses from this one on are those of machines that have moved.
const MOVED_FROM: usize = 10_000;

/// What is written into a timeline at most: a person reads it.
const TIMELINE_MAX: usize = 20_000;

/// For so long nothing was wrong, where all is calm.
const CALM: Duration = Duration::from_secs(1);

/// A process that ended by itself.
pub(crate) struct Ended {
    pub(crate) machine: usize,
    pub(crate) why: String,
}

/// The machines, and what is known of the run so far.
pub(crate) struct Cluster {
    pub(crate) site: Site,
    /// All machines that ever were; those that were replaced are gone.
    pub(crate) machines: Vec<Machine>,
    /// Which machine stands in which place at present.
    pub(crate) places: Vec<usize>,
    pub(crate) tick: Duration,
    pub(crate) moments: Moments,
    pub(crate) timeline: Vec<(Duration, String)>,
    /// The voters, as the last leader had them.
    pub(crate) voters: BTreeSet<NodeId>,
    /// Sets of voters of each of which a majority may be needed: of the newest membership, and of the one before until that
    /// is known to be over. Two each in the middle of a change.
    pub(crate) electorates: BTreeSet<BTreeSet<NodeId>>,
    /// The newest two memberships; one, once it is known to be committed.
    pub(crate) memberships: Vec<Vec<BTreeSet<NodeId>>>,
    /// When each node ran last.
    pub(crate) ran: BTreeMap<NodeId, Duration>,
    /// Since when no majority of the voters runs, if that is so.
    pub(crate) quorum_lost: Option<Duration>,
    /// The newest generation of any node's state.
    pub(crate) generation: u64,
    /// What an administrator is to do.
    pub(crate) chores: VecDeque<Chore>,
    /// Members that were removed, and those whose removal was asked for and may have taken effect.
    pub(crate) removed: BTreeSet<NodeId>,
    /// How often each task was to begin without its data, by requests that may have taken effect.
    pub(crate) resets: BTreeMap<TaskId, u32>,
    /// Processes that ended by themselves, and why, since it was asked last.
    pub(crate) ended: Vec<Ended>,
    /// Who leads, and since when.
    pub(crate) led: Option<(usize, Duration)>,
    step: u64,
    moves: usize,
    /// A machine that joins for the first time while something is broken, and how long after the faults have begun.
    pub(crate) late: Option<(usize, Duration)>,
    order: SmallRng,
}

impl Cluster {
    pub(crate) fn new(seed: u64, nodes: usize, tick: Duration, trace: Trace, older_at_first: bool) -> Self {
        let run = Run::new(trace);
        let mut rng = stream(seed, "site");
        let least = Duration::from_micros(rng.random_range(200..2_000));
        let most = least + Duration::from_micros(rng.random_range(500..12_000));
        let wire = Wire::new(Arc::clone(&run), stream(seed, "wire"), (least, most));
        let snapshot_every = rng.random_range(20..200);
        let site = Site { run, wire, crypto: provider(seed), seed, snapshot_every, older_at_first, join: None };
        let machine = |i: usize| Machine::new(&site, i, &format!("n{}", i + 1), ZONES[i % ZONES.len()]);
        let machines = (0..nodes).map(machine).collect();
        Self {
            site,
            machines,
            places: (0..nodes).collect(),
            tick,
            moments: Moments::default(),
            timeline: vec![],
            voters: BTreeSet::new(),
            electorates: BTreeSet::new(),
            memberships: vec![],
            ran: BTreeMap::new(),
            quorum_lost: None,
            generation: 0,
            chores: VecDeque::new(),
            removed: BTreeSet::new(),
            resets: BTreeMap::new(),
            ended: vec![],
            led: None,
            step: 0,
            moves: 0,
            late: None,
            order: stream(seed, "order"),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.site.run.now()
    }

    /// Writes a line for people.
    pub(crate) fn tell(&mut self, line: impl Into<String>) {
        if self.timeline.len() < TIMELINE_MAX {
            let line = line.into();
            tracing::info!(target: "taffeta_sim", "{line}");
            self.timeline.push((self.now(), line));
        }
    }

    /// One step: what has arrived is handed out, then every machine lives through a tick, in random order.
    pub(crate) fn step(&mut self) {
        self.site.run.set_now(self.tick * u32::try_from(self.step).unwrap_or(u32::MAX));
        self.site.wire.deliver();
        let mut order: Vec<usize> = (0..self.machines.len()).collect();
        order.shuffle(&mut self.order);
        for i in order {
            let ended = self.machines[i].step(&self.site, self.step, self.tick);
            if self.machines[i].condition().full && self.machines[i].look(Inspect::disk_full) == Some(true) {
                self.moments.note(Moment::DiskFull);
            }
            if let Some(why) = ended {
                if self.machines[i].removed && why.as_deref() == Some(REMOVED) {
                    self.moments.note(Moment::RemovedRefused);
                }
                let name = self.machines[i].name.clone();
                self.ended.extend(why.clone().map(|why| Ended { machine: i, why }));
                let why = why.map_or_else(|| "it was stopped".into(), |why| why.chars().take(200).collect::<String>());
                self.tell(format!("{name} ended: {why}"));
            }
        }
        self.step += 1;
    }

    /// The machines that stand in a place now.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Machine> {
        self.places.iter().map(|i| &self.machines[*i])
    }

    /// A new machine takes the place of one that is gone; it joins like any other.
    pub(crate) fn replace(&mut self, place: usize) {
        let number = self.machines.len();
        let name = format!("n{}-{}", place + 1, number);
        let mut machine = Machine::new(&self.site, number, &name, ZONES[place % ZONES.len()]);
        if planted(Bug::KeepWipedId) {
            machine.disk.take_over(&self.machines[self.places[place]].disk, "node.key");
        }
        if let Some((_, addresses)) = &mut self.site.join {
            addresses.push(machine.address.to_string());
        }
        machine.start(&self.site);
        self.tell(format!("{name} takes the place of {}", self.machines[self.places[place]].name));
        self.machines.push(machine);
        self.places[place] = number;
    }

    /// A second machine is started from the disk of this one. It stands in no place.
    pub(crate) fn add_copy(&mut self, of: usize) -> usize {
        let number = self.machines.len();
        // Whoever says of a copy that it was moved believes that the original is off: it is not, and answers. One that takes
        // leave speaks no more in consensus, and the copy would rightly be taken for its next life.
        let now = self.now();
        let answers = |m: &Machine| m.look(|_| ()).is_some() && !m.process().is_some_and(Process::is_stopping);
        let calm = |m: &Machine| answers(m) && now - m.disturbed.max(m.started) > CALM;
        let said_moved = number.is_multiple_of(2) && self.present().all(calm);
        let mut machine = Machine::copied(&self.site, number, &self.machines[of], said_moved);
        machine.start(&self.site);
        self.tell(format!("a copy of {} is started at {}", machine.name, machine.address));
        self.machines.push(machine);
        number
    }

    /// A machine that was removed is found and switched on again, in half of the cases.
    pub(crate) fn switch_on_removed(&mut self, name: &NodeName) {
        let Some(machine) = self.machines.iter_mut().find(|machine| machine.name == *name && !machine.is_copy) else {
            return;
        };
        if machine.number.is_multiple_of(2) {
            machine.removed = true;
            machine.start(&self.site);
            self.tell(format!("{name} was removed, and is switched on again"));
        }
    }

    /// A machine that was off comes up at another address.
    pub(crate) fn relocate(&mut self, i: usize) {
        // Another fault may have ended meanwhile and let it come up where it was.
        if self.machines[i].is_gone() || self.machines[i].process().is_some() {
            return;
        }
        self.moves += 1;
        let address = machine::address(MOVED_FROM + self.moves);
        let before = std::mem::replace(&mut self.machines[i].address, address);
        self.machines[i].former.push(before);
        if let Some((_, addresses)) = &mut self.site.join {
            addresses.push(address.to_string());
        }
        self.tell(format!("{} is at {address} now", self.machines[i].name));
        self.machines[i].start(&self.site);
        self.moments.note(Moment::Moved);
    }

    /// Who leads, as far as the leader itself says so; of several, the first of the newest generation.
    pub(crate) fn leader(&self) -> Option<(usize, Leadership)> {
        let leading = self.present().filter(|m| m.runs()).filter_map(|machine| {
            let (generation, leadership) =
                machine.look(|inspect| (inspect.state(|state| state.generation), inspect.leadership()))?;
            leadership.is_leader.then_some((generation, machine.number, leadership))
        });
        let newest = leading.reduce(|one, other| if other.0 > one.0 { other } else { one });
        newest.map(|(_, number, leadership)| (number, leadership))
    }

    /// New machines are of the newer version from now on.
    pub(crate) fn begin_upgrade(&mut self) {
        self.site.older_at_first = false;
        self.machines.iter_mut().for_each(Machine::install_newer);
    }

    /// Whether a majority of the voters has run since then, not necessarily at the same time, by either of the newest two
    /// memberships; also as long as none is known.
    pub(crate) fn most_ran_since(&self, since: Duration) -> bool {
        let ran = |id: &&NodeId| self.ran.get(*id).is_some_and(|at| *at >= since);
        let most = |set: &BTreeSet<NodeId>| set.iter().filter(ran).count() > set.len() / 2;
        self.memberships.is_empty() || self.memberships.iter().any(|configs| configs.iter().all(most))
    }

    /// The machine of a node.
    pub(crate) fn machine_of(&self, id: NodeId) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.id == Some(id))
    }

    /// Learns the ids of nodes that have come up, and who leads.
    pub(crate) fn meet(&mut self) {
        let (now, leader) = (self.now(), self.leader().map(|(i, _)| i));
        if self.led.map(|(i, _)| i) != leader {
            self.led = leader.map(|i| (i, now));
        }
        for machine in self.machines.iter_mut().filter(|machine| machine.id.is_none() && !machine.is_copy) {
            machine.id = machine.look(Inspect::id);
        }
    }

    /// Starts the first machine and lets the others join, with nothing broken.
    pub(crate) fn form(&mut self) -> Result<(), String> {
        self.machines[0].start(&self.site);
        self.run_until(Duration::from_secs(20), "the first node is ready", |cluster| cluster.is_ready(0))?;
        let question = self.machines[0].process().and_then(|p| {
            p.ask(|fabric| {
                let backend = fabric.backend();
                async move {
                    let life = Some(300 * 86_400);
                    let request = taffeta_node::api::TokenRequest { role: None, ttl_seconds: life, uses: None };
                    backend.create_token(request).await
                }
            })
        });
        let mut question = question.ok_or("the first node went down")?;
        let mut token = None;
        self.run_until(Duration::from_secs(20), "a join token is minted", |_| {
            token = crate::process::reply(&mut question).flatten();
            token.is_some()
        })?;
        let token = token.expect("waited for it").map_err(|e| format!("no join token: {e}"))?;
        let token: JoinToken = token.token.parse().map_err(|e| format!("the token is none: {e}"))?;
        let addresses = self.machines.iter().map(|machine| machine.address.to_string()).collect();
        self.site.join = Some((token, addresses));
        let late = self.late.map(|(i, _)| i);
        for machine in self.machines[1..].iter_mut().filter(|m| late != Some(m.number)) {
            machine.start(&self.site);
        }
        let all = self.machines.len();
        let formed = |cluster: &Self| {
            let voters = cluster.leader().map_or(0, |(_, leadership)| leadership.voters.len());
            (0..all).all(|i| late == Some(i) || cluster.is_ready(i)) && voters >= 3
        };
        self.run_until(Duration::from_secs(60), "all nodes are ready", formed)?;
        self.tell(format!("{} nodes are ready", all - usize::from(late.is_some())));
        Ok(())
    }

    /// Draws whether a machine joins late, and when.
    pub(crate) fn draw_late(&mut self, lasts: Duration) {
        let mut rng = stream(self.site.seed, "late");
        let last = self.machines.len() - 1;
        // Three are needed for a quorum that survives something.
        if last >= 3 && rng.random_bool(0.5) {
            self.late = Some((last, lasts.mul_f64(rng.random_range(0.0..0.7))));
        }
    }

    /// Starts the machine that is late, if it is time.
    pub(crate) fn start_late(&mut self, since: Duration) {
        if let Some((i, _)) = self.late.take_if(|(_, after)| self.site.run.now() >= since + *after)
            && !self.machines[i].is_gone()
        {
            self.tell(format!("{} joins", self.machines[i].name));
            self.machines[i].start(&self.site);
            self.moments.note(Moment::JoinedLate);
        }
    }

    /// Whether its node is up, was confirmed by a leader, answers names, and, if it votes, has heard of a leader.
    pub(crate) fn is_ready(&self, i: usize) -> bool {
        let machine = &self.machines[i];
        let knows = |inspect: &Inspect| inspect.leadership().leader.is_some() || !inspect.votes();
        machine.look(|inspect| inspect.obeyed().1 && inspect.has_names() && knows(inspect)).unwrap_or(false)
    }

    /// Lets time pass until the condition holds, or says what did not come about.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        what: &str,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Result<(), String> {
        let deadline = self.now() + limit;
        loop {
            self.step();
            self.meet();
            if holds(self) {
                return Ok(());
            }
            if self.now() >= deadline {
                return Err(format!("not within {} s: {what}", limit.as_secs()));
            }
        }
    }

    /// Ends every process, so that nothing of the run is left.
    pub(crate) fn end(&mut self) {
        for machine in &mut self.machines {
            machine.kill(&self.site, Rest::Ever);
        }
    }
}
