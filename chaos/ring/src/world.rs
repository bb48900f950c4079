//! All members, the network between them, and what happens next.

mod opening;
mod plan;

use crate::{
    RingConfig, RingReport,
    config::Timeline,
    event::{Event, Message, Queue},
    memory,
    network::Network,
    node::{Condition, Ids, Node, Outgoing},
    tally::Tally,
    trace::{Kind, Trace},
};
use std::time::Duration;
use taffeta_model::{Millis, NodeId};
use taffeta_swim::Effect;

/// How often a node compares its catalogue with another one's.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

/// All members and what is between them. Between two events nothing changes, and one seed makes them all.
pub(crate) struct World {
    now: Millis,
    ids: Ids,
    nodes: Vec<Node>,
    queue: Queue,
    network: Network,
    tally: Tally,
    trace: Trace,
    timeline: Timeline,
    /// At the end of the idle time.
    connections_per_node: f64,
}

impl World {
    /// Runs until the given second, and closes its account.
    pub(crate) fn run_until(&mut self, second: u64) {
        let end = Millis(second * 1000);
        while let Some((now, events)) = self.queue.take_next(end) {
            self.now = now;
            events.into_iter().for_each(|event| self.handle(event));
        }
        self.now = end;
        self.tally.note_second(self.network.sent);
        if second == self.timeline.idle.end {
            self.connections_per_node = self.network.connection_ends(end) as f64 / self.nodes.len() as f64;
        }
    }

    pub(crate) fn report(self, config: &RingConfig) -> RingReport {
        let nodes = self.nodes.len() as f64;
        let (idle_bytes, idle_packets) = self.tally.rate(self.timeline.idle);
        let (busy_bytes, _) = self.tally.rate(self.timeline.changes);
        let survivor = (0..).find(|index| !self.tally.is_victim(*index)).expect("one survives") as usize;
        RingReport {
            seed: config.seed,
            nodes: config.nodes,
            know50: self.tally.know50(),
            know99: self.tally.know99(),
            false_suspect: self.tally.false_suspect,
            false_down: self.tally.false_down,
            idle_bytes_per_s: idle_bytes / nodes,
            idle_packets_per_s: idle_packets / nodes,
            change99: self.tally.change99(),
            change_bits_per_s: (busy_bytes - idle_bytes) * 8.0 / nodes,
            memory_bytes_per_node: memory::estimate(&self.nodes[survivor], config.nodes, self.connections_per_node),
            trace: self.trace.hex(),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Timer(at) => self.handle_timer(at),
            Event::Tick(at) => self.handle_tick(at),
            Event::Message { from, to, message } => self.handle_message(from, to, message),
            Event::Publish(at) => self.publish(at),
            Event::Kill(at) => {
                self.note(Kind::Kill, at, at, 0);
                self.nodes[at as usize].condition = Condition::Dead;
                self.tally.note_kill(self.now, at);
            }
            Event::Stall(at) => {
                self.note(Kind::Stall, at, at, 0);
                self.nodes[at as usize].condition = Condition::Stalled(Vec::new());
            }
            Event::Resume(at) => self.resume(at),
        }
    }

    fn handle_timer(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        if node.armed != Some(self.now) || !node.is_running() {
            return; // it waits for another time; or it stands still and looks at its timers when it goes on
        }
        node.armed = None;
        node.swim.handle_timeout(self.now);
        self.note(Kind::Timer, at, at, 0);
        self.perform(at, Vec::new());
    }

    fn handle_tick(&mut self, at: u32) {
        if self.hold(at, || Event::Tick(at)) {
            return;
        }
        self.note(Kind::Tick, at, at, 0);
        self.queue.add(self.now + COMPARE_EVERY, Event::Tick(at));
        let outgoing = self.nodes[at as usize].compare(&self.ids);
        self.perform(at, outgoing.into_iter().collect());
    }

    fn handle_message(&mut self, from: u32, to: u32, message: Message) {
        if self.hold(to, || Event::Message { from, to, message: message.clone() }) {
            return;
        }
        self.note(message.kind(), from, to, message.bytes(self.nodes.len()));
        let sender = self.nodes[from as usize].me;
        let (outgoing, news) = self.nodes[to as usize].handle_message(self.now, sender, message, &self.ids);
        news.iter().for_each(|news| self.tally.note_news(self.now, news.owner));
        self.perform(to, outgoing);
    }

    /// Keeps an event for a node that stands still; says whether the node cannot take it now.
    fn hold(&mut self, at: u32, event: impl FnOnce() -> Event) -> bool {
        match &mut self.nodes[at as usize].condition {
            Condition::Running => false,
            Condition::Stalled(held) => {
                held.push(event());
                true
            }
            Condition::Dead => true,
        }
    }

    fn publish(&mut self, at: u32) {
        self.note(Kind::Publish, at, at, 0);
        let outgoing = self.nodes[at as usize].publish(at, false, &self.ids);
        self.tally.note_publish(self.now, at);
        self.perform(at, outgoing);
    }

    /// The worst case: timers are served before the packets that waited.
    fn resume(&mut self, at: u32) {
        self.note(Kind::Resume, at, at, 0);
        let node = &mut self.nodes[at as usize];
        let Condition::Stalled(held) = std::mem::replace(&mut node.condition, Condition::Running) else {
            unreachable!("only who stands still goes on");
        };
        node.swim.handle_timeout(self.now);
        self.perform(at, Vec::new());
        held.into_iter().for_each(|event| self.handle(event));
    }

    /// Does what a node wants after an input.
    fn perform(&mut self, at: u32, outgoing: Vec<Outgoing>) {
        for effect in self.nodes[at as usize].swim.take_effects() {
            match effect {
                Effect::Send { to, packet } => self.send(at, self.ids.index(to.id), Message::Swim(packet)),
                Effect::Changed(change) => {
                    let of = self.ids.index(change.id);
                    let runs = self.nodes[of as usize].is_running();
                    self.tally.note_change(self.now, at, of, &change, runs);
                }
                Effect::Fault(fault) => panic!("node {at} at {:?}: {fault}", self.now),
                Effect::Renewed(_) | Effect::Outranked(_) => {} // the ring's own business: others see it as a change
            }
        }
        outgoing.into_iter().for_each(|Outgoing { to, message }| self.send(at, to, message));
        self.arm(at);
    }

    fn arm(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        let due = node.swim.next_timeout();
        if due != node.armed {
            node.armed = due.map(|due| due.max(self.now));
            node.armed.into_iter().for_each(|due| self.queue.add(due, Event::Timer(at)));
        }
    }

    fn send(&mut self, from: u32, to: u32, message: Message) {
        let (bytes, answers) = (message.bytes(self.nodes.len()), !self.is_dead(to));
        let way = (from, to);
        let arrives = match message {
            Message::Swim(_) => self.network.send_datagram(self.now, way, bytes, answers),
            Message::Set(_)
            | Message::Compare(_)
            | Message::Same
            | Message::Digest(_)
            | Message::Fetch(_)
            | Message::Sets(_) => self.network.send_stream(self.now, way, bytes, answers),
        };
        match arrives {
            Some(at) => self.queue.add(at, Event::Message { from, to, message }),
            None => self.note(Kind::Lost, from, to, bytes),
        }
    }

    fn is_dead(&self, at: u32) -> bool {
        matches!(self.nodes[at as usize].condition, Condition::Dead)
    }

    fn note(&mut self, kind: Kind, from: u32, to: u32, bytes: usize) {
        self.trace.note(kind, from, to, bytes, self.now);
    }

    /// Its own set and what it holds of others, from before the run.
    fn know(nodes: &mut [Node], owner: u32, ids: &Ids) {
        nodes[owner as usize].publish(owner, true, ids);
        let me: NodeId = ids.0[owner as usize];
        let sets = nodes[owner as usize].catalogue.sets_of(&[me], 0);
        let others = nodes.iter_mut().filter(|node| node.me != me);
        others.for_each(|node| sets.iter().for_each(|set| assert!(node.take(set), "it is new")));
    }
}
