//! A ring in one thread on virtual time: one seed makes latency, loss and every machine's choices.

use crate::{Effect, Identity, Incarnation, MemberChange, MemberFact, Swim, SwimConfig};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::RangeInclusive,
    time::Duration,
};
use taffeta_model::{Liveness, Millis, NodeId};

/// A change, and who saw it when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) at: Millis,
    pub(super) by: NodeId,
    pub(super) change: MemberChange,
}

pub(super) struct Cluster {
    pub(super) now: Millis,
    pub(super) nodes: BTreeMap<NodeId, Swim>,
    /// Neither reads nor acts; its packets wait.
    pub(super) paused: BTreeSet<NodeId>,
    /// Nodes of different groups do not hear each other; 0 unless set.
    pub(super) group: BTreeMap<NodeId, u8>,
    /// What these send is lost.
    pub(super) mute: BTreeSet<NodeId>,
    pub(super) loss: f64,
    /// Of packets, one way, in milliseconds.
    pub(super) delay: RangeInclusive<u64>,
    /// The settings of members in a ring of so many.
    preset: fn(usize) -> SwimConfig,
    pub(super) seen: Vec<Seen>,
    pub(super) other_effects: Vec<(NodeId, Effect)>,
    pub(super) packets: u64,
    /// How often members were woken by their timers.
    pub(super) woken: u64,
    /// Whether members have connections, on which nothing is lost.
    pub(super) connections: bool,
    /// Answers on connections.
    pub(super) answered: u64,
    /// Facts given on streams.
    pub(super) exchanged: usize,
    wire: BTreeMap<(Millis, u64), (NodeId, NodeId, Vec<u8>)>,
    inbox: BTreeMap<NodeId, Vec<(NodeId, Vec<u8>)>>,
    rng: SmallRng,
}

pub(super) fn address(id: NodeId) -> SocketAddr {
    SocketAddr::from(([127, 0, (id.0 >> 8) as u8, id.0 as u8], 7400))
}

pub(super) fn identity(id: u64, start: u64) -> Identity {
    let incarnation = Incarnation { start, renewal: 0 };
    Identity { incarnation, ..Identity::seed(NodeId(id), address(NodeId(id))) }
}

impl Cluster {
    /// Nodes 1 to `n`, all knowing node 1 and 2 as seeds; not run yet.
    pub(super) fn new(n: u64, seed: u64) -> Self {
        println!("seed {seed}");
        let mut cluster = Self {
            now: Millis(0),
            nodes: BTreeMap::new(),
            paused: BTreeSet::new(),
            group: BTreeMap::new(),
            mute: BTreeSet::new(),
            loss: 0.0,
            delay: 1..=3,
            preset: SwimConfig::lan,
            seen: Vec::new(),
            other_effects: Vec::new(),
            packets: 0,
            woken: 0,
            connections: false,
            answered: 0,
            exchanged: 0,
            wire: BTreeMap::new(),
            inbox: BTreeMap::new(),
            rng: SmallRng::seed_from_u64(seed),
        };
        (1..=n).for_each(|id| cluster.start(id, 1, n as usize));
        cluster
    }

    /// Members on several continents.
    pub(super) fn formed_far_apart(n: u64, seed: u64) -> Self {
        let mut cluster = Self { delay: 40..=160, preset: SwimConfig::wan, ..Self::new(0, seed) };
        (1..=n).for_each(|id| cluster.start(id, 1, n as usize));
        let formed = cluster.run_until(Duration::from_secs(60), |c| c.all_see(Liveness::Alive, &c.ids()));
        assert!(formed, "no ring of {n} after 60 s");
        cluster
    }

    /// As [`Cluster::new`], run until everyone sees everyone.
    pub(super) fn formed(n: u64, seed: u64) -> Self {
        let mut cluster = Self::new(n, seed);
        let formed = cluster.run_until(Duration::from_secs(15), |c| c.all_see(Liveness::Alive, &c.ids()));
        assert!(formed, "no ring of {n} after 15 s");
        cluster
    }

    pub(super) fn start(&mut self, id: u64, start: u64, n: usize) {
        let seed = self.rng.random();
        let swim = Swim::new(self.now, identity(id, start), (self.preset)(n), seed).expect("a preset");
        self.nodes.insert(NodeId(id), swim);
        self.on(id, |swim, now| swim.join(now, &[identity(1, 0), identity(2, 0)]));
    }

    /// Its machine is gone: no farewell.
    pub(super) fn kill(&mut self, id: u64) {
        self.nodes.remove(&NodeId(id)).expect("it runs");
    }

    /// Puts an input to one node and takes its effects.
    pub(super) fn on<T>(&mut self, id: u64, input: impl FnOnce(&mut Swim, Millis) -> T) -> T {
        let node = self.nodes.get_mut(&NodeId(id)).expect("it runs");
        let answer = input(node, self.now);
        self.drain(NodeId(id));
        answer
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn sees(&self, by: u64, of: u64) -> Option<Liveness> {
        self.nodes[&NodeId(by)].members().get(&NodeId(of)).map(|m| m.liveness)
    }

    /// Whether each running node sees each of `of`, other than itself, so.
    pub(super) fn all_see(&self, liveness: Liveness, of: &[NodeId]) -> bool {
        self.nodes.iter().all(|(by, swim)| {
            of.iter().filter(|of| *of != by).all(|of| swim.members().get(of).is_some_and(|m| m.liveness == liveness))
        })
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until `done`, for `time` at most; says whether it was done.
    pub(super) fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + time;
        while !done(self) {
            let Some(at) = self.next_event().filter(|at| *at <= end) else {
                self.now = end;
                return done(self);
            };
            self.now = at.max(self.now);
            self.step();
            self.check_invariants();
        }
        true
    }

    pub(super) fn resume(&mut self, id: u64) {
        self.paused.remove(&NodeId(id));
        // Worst case: timers are served before the packets that waited.
        self.on(id, |swim, now| swim.handle_timeout(now));
        for (from, packet) in self.inbox.remove(&NodeId(id)).unwrap_or_default() {
            self.on(id, |swim, now| swim.handle_packet(now, from, &packet)).expect("a good packet");
        }
    }

    fn next_event(&self) -> Option<Millis> {
        let awake = self.nodes.iter().filter(|(id, _)| !self.paused.contains(id));
        let timers = awake.filter_map(|(_, swim)| swim.next_timeout());
        timers.chain(self.wire.keys().next().map(|(at, _)| *at)).min()
    }

    fn step(&mut self) {
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (from, to, packet) = entry.remove();
            if self.paused.contains(&to) {
                self.inbox.entry(to).or_default().push((from, packet));
            } else if self.nodes.contains_key(&to) {
                self.on(to.0, |swim, now| swim.handle_packet(now, from, &packet)).expect("a good packet");
            }
        }
        for id in self.ids() {
            let due = self.nodes[&id].next_timeout().is_some_and(|due| due <= self.now);
            if due && !self.paused.contains(&id) {
                self.woken += 1;
                self.on(id.0, |swim, now| swim.handle_timeout(now));
            }
        }
    }

    fn drain(&mut self, by: NodeId) {
        for effect in self.nodes.get_mut(&by).expect("it runs").take_effects() {
            match effect {
                Effect::Send { to, packet } => self.send(by, to.id, packet),
                Effect::Changed(change) => self.seen.push(Seen { at: self.now, by, change }),
                Effect::Fault(fault) => panic!("{by} at {:?}: {fault}", self.now),
                Effect::Renewed(_) | Effect::Outranked(_) => self.other_effects.push((by, effect)),
                Effect::PingConnection { to, within: _ } => self.ping(by, to),
                Effect::Exchange { with, parts, facts } => self.exchange(by, with, parts, facts),
            }
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, packet: Vec<u8>) {
        assert!(packet.len() <= 1100 && from != to);
        self.packets += 1;
        let lost =
            self.rng.random_bool(self.loss) || self.group_of(from) != self.group_of(to) || self.mute.contains(&from);
        let at = self.now + Duration::from_millis(self.rng.random_range(self.delay.clone()));
        if !lost {
            self.wire.insert((at, self.packets), (from, to, packet));
        }
    }

    /// A connection gets through what packets do not, as long as both ends run and no partition is between them.
    fn ping(&mut self, from: NodeId, to: Identity) {
        let there = self.nodes.get(&to.id).is_some_and(|node| node.me() == to) && !self.paused.contains(&to.id);
        if self.connections && there && self.group_of(from) == self.group_of(to.id) {
            self.answered += 1;
            self.on(from.0, |swim, now| swim.note_answer(now, to));
        }
    }

    fn exchange(&mut self, from: NodeId, with: NodeId, parts: u64, facts: Vec<MemberFact>) {
        let runs = self.nodes.contains_key(&with) && !self.paused.contains(&with);
        if runs && self.group_of(from) == self.group_of(with) {
            self.exchanged += facts.len();
            self.on(with.0, |swim, now| swim.merge(now, &facts)).expect("few facts");
            let theirs = self.nodes[&with].facts_in(parts);
            self.on(from.0, |swim, now| swim.merge(now, &theirs)).expect("few facts");
        }
    }

    fn group_of(&self, id: NodeId) -> u8 {
        self.group.get(&id).copied().unwrap_or(0)
    }

    /// What holds after every event.
    fn check_invariants(&self) {
        for (id, swim) in &self.nodes {
            swim.check_sums();
            assert_eq!(swim.me().id, *id);
            assert!(!swim.members().contains_key(id), "a node is not its own peer");
            for (other, member) in swim.members() {
                let hidden = matches!(member.liveness, Liveness::Suspect | Liveness::Down);
                assert_eq!(hidden, member.suspect_since.is_some(), "{id} of {other}: {member:?}");
                assert!(member.suspect_since.is_none_or(|s| s <= member.since || member.liveness == Liveness::Suspect));
            }
        }
    }
}
