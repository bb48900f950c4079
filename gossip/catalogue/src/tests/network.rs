//! A network in virtual time: messages take 1 to 3 ms and are lost with a chance, and every wait is one event.

use super::{Checker, Keys, info, record};
use crate::{Message, Spread, SpreadEffect, Update, decode, encode};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::collections::{BTreeMap, BTreeSet};
use taffeta_model::{Millis, NodeId, TaskRecord, mix};

enum Event {
    Message { from: usize, to: usize, bytes: Vec<u8> },
    Timer(usize),
}

/// What was counted since [`Network::reset_counts`].
#[derive(Default, Debug)]
pub(super) struct Counts {
    /// Updates that arrived in pushes.
    pub(super) updates: usize,
    /// Sets among them that were whole.
    pub(super) wholes: usize,
    /// Bytes by kind of message, as they travel.
    pub(super) bytes: BTreeMap<&'static str, usize>,
    pub(super) messages: BTreeMap<&'static str, usize>,
}

pub(super) struct Network {
    pub(super) now: Millis,
    pub(super) nodes: Vec<Spread>,
    pub(super) counts: Counts,
    pub(super) loss: f64,
    /// Killed: neither take nor send.
    pub(super) dead: BTreeSet<usize>,
    /// Messages between nodes of different sides do not arrive.
    pub(super) sides: Vec<usize>,
    /// Milliseconds from publication to every arrival.
    pub(super) arrivals: Vec<u64>,
    pub(super) trace: u64,
    published_at: BTreeMap<(NodeId, u64), Millis>,
    ids: Vec<NodeId>,
    versions: Vec<u64>,
    events: BTreeMap<(Millis, u64), Event>,
    armed: Vec<Option<Millis>>,
    sequence: u64,
    rng: SmallRng,
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Push(_) => "push",
        Message::Have(_) => "have",
        Message::Want(_) => "want",
        Message::Prune => "prune",
        Message::Summary { .. } => "summary",
        Message::Buckets { .. } => "buckets",
        Message::Check(_) => "check",
        Message::Heads { .. } => "heads",
    }
}

impl Network {
    /// All know all.
    pub(super) fn new(size: usize, seed: u64) -> Self {
        let ids: Vec<NodeId> = BTreeSet::from_iter((0..size as u64).map(|n| NodeId(mix(n)))).into_iter().collect();
        let nodes = ids.iter().map(|id| Spread::new(*id, 1, mix(id.0 ^ seed))).collect();
        let mut network = Self {
            now: Millis(0),
            nodes,
            counts: Counts::default(),
            loss: 0.0,
            dead: BTreeSet::new(),
            sides: vec![0; size],
            arrivals: Vec::new(),
            trace: 0,
            published_at: BTreeMap::new(),
            ids,
            versions: vec![0; size],
            events: BTreeMap::new(),
            armed: vec![None; size],
            sequence: 0,
            rng: SmallRng::seed_from_u64(seed),
        };
        network.introduce();
        network
    }

    pub(super) fn index(&self, id: NodeId) -> usize {
        self.ids.binary_search(&id).expect("a member")
    }

    /// Every node learns who lives on its side.
    pub(super) fn introduce(&mut self) {
        for node in 0..self.nodes.len() {
            let is_peer =
                |other: &usize| *other != node && !self.dead.contains(other) && self.sides[*other] == self.sides[node];
            let alive: Vec<NodeId> = (0..self.nodes.len()).filter(is_peer).map(|other| self.ids[other]).collect();
            self.nodes[node].set_peers(self.now, &alive);
            self.perform(node);
        }
    }

    /// The node changes one of its ten tasks.
    pub(super) fn publish(&mut self, node: usize) {
        self.versions[node] += 1;
        let version = self.versions[node];
        let of = |index| TaskRecord { version: if index == 1 { version } else { 0 }, ..record(index) };
        let id = self.ids[node];
        self.published_at.insert((id, version), self.now);
        let records = (1..=10).map(of).collect();
        assert!(self.nodes[node].publish(self.now, info(id), records, &Keys(id)).expect("valid"));
        self.perform(node);
    }

    pub(super) fn publish_anywhere(&mut self) -> usize {
        let node = loop {
            let node = self.rng.random_range(0..self.nodes.len());
            if !self.dead.contains(&node) {
                break node;
            }
        };
        self.publish(node);
        node
    }

    pub(super) fn reset_counts(&mut self) {
        self.counts = Counts::default();
        self.arrivals.clear();
    }

    pub(super) fn run(&mut self, millis: u64) {
        let end = Millis(self.now.0 + millis);
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            self.now = entry.key().0;
            match entry.remove() {
                Event::Message { from, to, bytes } => self.deliver(from, to, &bytes),
                Event::Timer(node) => {
                    if self.armed[node].is_some_and(|at| at <= self.now) {
                        self.armed[node] = None;
                        self.nodes[node].handle_timeout(self.now);
                        self.perform(node);
                    }
                }
            }
        }
        self.now = end;
    }

    /// Runs until all living nodes hold the same; gives the milliseconds that it took.
    pub(super) fn run_until_equal(&mut self, limit: u64) -> u64 {
        let start = self.now;
        while !self.is_equal() {
            self.run(10);
            assert!(self.now.since(start).as_millis() < u128::from(limit), "not the same after {limit} ms");
        }
        self.now.0 - start.0
    }

    fn is_equal(&self) -> bool {
        let mut living = (0..self.nodes.len()).filter(|node| !self.dead.contains(node));
        let hash = |node: usize| self.nodes[node].catalogue().digest_hash();
        let first = living.next().map(hash);
        living.all(|node| Some(hash(node)) == first)
    }

    fn deliver(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if self.dead.contains(&to) || self.sides[from] != self.sides[to] {
            return;
        }
        let message = decode(bytes).expect("encoded here");
        *self.counts.bytes.entry(kind(&message)).or_default() += bytes.len();
        *self.counts.messages.entry(kind(&message)).or_default() += 1;
        if let Message::Push(updates) = &message {
            self.counts.updates += updates.len();
            self.counts.wholes += updates.iter().filter(|u| matches!(u, Update::Whole(_))).count();
        }
        self.trace = mix(self.trace ^ mix(self.now.0 ^ mix(from as u64 ^ mix(to as u64 ^ bytes.len() as u64))));
        self.nodes[to].handle(self.now, self.ids[from], message, &Checker, &super::everyone);
        self.perform(to);
    }

    fn perform(&mut self, node: usize) {
        for effect in self.nodes[node].take_effects() {
            match effect {
                SpreadEffect::Send { to, message, way: _ } => self.send(node, self.index(to), &message),
                SpreadEffect::Changed(owner) => self.note_arrival(node, owner),
                SpreadEffect::Refused { .. } | SpreadEffect::Outranked(_) => panic!("{effect:?}"),
            }
        }
        let next = self.nodes[node].next_timeout().map(|at| at.max(self.now));
        if let Some(at) = next.filter(|at| self.armed[node].is_none_or(|armed| *at < armed)) {
            self.armed[node] = Some(at);
            self.push_event(at, Event::Timer(node));
        }
    }

    fn note_arrival(&mut self, node: usize, owner: NodeId) {
        let Some(held) = self.nodes[node].catalogue().get(owner) else { return };
        if let Some(at) = self.published_at.get(&(owner, held.seq)).filter(|_| self.ids[node] != owner) {
            self.arrivals.push(self.now.0 - at.0);
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Message) {
        if self.dead.contains(&from) || self.rng.random_bool(self.loss) {
            return;
        }
        let at = Millis(self.now.0 + self.rng.random_range(1..=3));
        self.push_event(at, Event::Message { from, to, bytes: encode(message) });
    }

    fn push_event(&mut self, at: Millis, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }
}
