//! All members, the network between them, and what happens next.

mod opening;
mod plan;
mod turns;

use crate::{
    RingConfig, RingReport,
    config::Timeline,
    event::{Event, Message, Queue, What, updates},
    memory,
    network::Network,
    node::{Ids, Node, Turn, index},
    tally::{Phase, Tally},
    trace::{Kind, Trace},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taffeta_catalogue::{Held, Way};
use taffeta_model::Millis;

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
    /// The newest sets that have changed, by owner: see [`World::share`].
    newest: BTreeMap<u32, Arc<Held>>,
    /// At the end of the idle time.
    connections_per_node: f64,
}

impl World {
    /// Runs until the given second, and closes its account.
    pub(crate) fn run_until(&mut self, second: u64) {
        let end = Millis(second * 1000);
        while let Some((now, events)) = self.queue.take_next(end) {
            self.now = now;
            let events = self.take_off(events);
            for (at, turn) in turns::take(now, &mut self.nodes, &self.ids, events) {
                self.perform(at, turn);
            }
        }
        self.now = end;
        self.tally.note_second(self.network.sent);
        if second == self.timeline.idle.end {
            self.connections_per_node = self.network.connection_ends(end) as f64 / self.nodes.len() as f64;
        }
    }

    pub(crate) fn report(self, config: &RingConfig) -> RingReport {
        let nodes = self.nodes.len() as f64;
        let (idle_bytes, idle_packets) = self.tally.rate(&self.timeline.idle).expect("it is never empty");
        let busy = self.tally.rate(&self.timeline.burst);
        let (verdicts, changes) = (&self.tally.verdicts, &self.tally.changes);
        let survivor = (0..).find(|index| !verdicts.is_victim(*index)).expect("one survives") as usize;
        let ms = |time: Duration| time.as_millis() as u64;
        RingReport {
            seed: config.seed,
            nodes: config.nodes,
            know50: verdicts.know50(),
            know99: verdicts.know99(),
            false_suspect: verdicts.false_suspect,
            false_down: verdicts.false_down,
            stalled_down: verdicts.stalled_down,
            reversed_ms: verdicts.reversed().map(ms),
            unreversed: verdicts.unreversed(),
            idle_bytes_per_s: idle_bytes / nodes,
            idle_packets_per_s: idle_packets / nodes,
            change99: changes.held99(Phase::Single),
            burst99: changes.held99(Phase::Burst),
            burst50: changes.held50(Phase::Burst),
            burst_changes: changes.count(Phase::Burst),
            change_bits_per_s: busy.map(|(bytes, _)| bytes * 2.0 * 8.0 / nodes),
            messages_per_change: self.tally.copies_per_change(nodes),
            join_ms: self.tally.join.took().map(ms),
            join_bytes: self.tally.join.bytes(),
            memory_bytes_per_node: memory::estimate(&self.nodes[survivor], self.connections_per_node),
            trace: self.trace.hex(),
        }
    }

    /// Puts off what a busy processor cannot take yet.
    fn take_off(&mut self, events: Vec<Event>) -> Vec<Event> {
        let mut now = Vec::with_capacity(events.len());
        for event in events {
            let busy = match &event.what {
                What::Message { message, .. } if !message.is_for_newcomer() => {
                    self.network.busy_until(self.now, event.at, message.work_us())
                }
                What::Message { .. }
                | What::Timer
                | What::Publish(_)
                | What::Kill
                | What::Stall
                | What::Resume
                | What::Join { .. } => None,
            };
            match busy {
                Some(free) => self.queue.add(free, event),
                None => now.push(event),
            }
        }
        now
    }

    /// Does what came of a turn.
    fn perform(&mut self, at: u32, turn: Turn) {
        if let Some((kind, from, bytes)) = turn.took {
            self.trace.note(kind, from, at, bytes, self.now);
            match kind {
                Kind::Kill => self.tally.verdicts.note_kill(self.now, at),
                Kind::Join => self.tally.join.note_begin(self.now, at),
                _ => {}
            }
        }
        if let Some((phase, seq)) = turn.published {
            self.tally.changes.note_publish(self.now, at, seq, phase);
        }
        for change in &turn.changes {
            let of = index(&change.identity);
            let runs = self.nodes[of as usize].is_running();
            self.tally.verdicts.note(self.now, at, of, change, runs);
        }
        for held in &turn.held {
            self.tally.changes.note_held(self.now, at, self.ids.index(held.owner), held.head.seq);
            self.share(at, held);
        }
        let (told, sends): (Vec<_>, Vec<_>) =
            turn.sends.into_iter().partition(|(_, message)| message.is_for_newcomer());
        if let Some((to, _)) = told.first() {
            self.send_all(at, *to, told.into_iter().map(|(_, message)| message).collect());
        }
        sends.into_iter().for_each(|(to, message)| self.send(at, to, message));
        for to in turn.asks {
            if self.network.is_connected(self.now, (at, to)) {
                self.send(at, to, Message::Ask);
            }
        }
        turn.arm.into_iter().for_each(|due| self.queue.add(due, Event { at, what: What::Timer }));
        if self.tally.join.waits_for(at) && self.nodes[at as usize].knows_all(self.nodes.len()) {
            self.tally.join.note_end(self.now);
        }
    }

    fn send(&mut self, from: u32, to: u32, message: Message) {
        let (bytes, answers) = (message.bytes(), self.nodes[to as usize].is_there());
        let way = (from, to);
        let arrives = match &message {
            Message::Swim(_) | Message::Spread(_, _, Way::Datagram) => {
                self.network.send_packet(self.now, way, bytes, answers)
            }
            Message::Spread(_, _, Way::Stream)
            | Message::Exchange { .. }
            | Message::Facts(_)
            | Message::Ask
            | Message::Answer
            | Message::Join
            | Message::Members(_)
            | Message::Chunk(..) => self.network.send_stream(self.now, way, bytes, answers),
        };
        if let Message::Spread(message, _, _) = &message {
            self.tally.note_copies(self.now, updates(message) as u64);
        }
        match arrives {
            Some(at) => self.deliver(at, from, to, message),
            None => self.trace.note(Kind::Lost, from, to, bytes, self.now),
        }
    }

    /// All that a newcomer is told, on one stream. It takes each message as soon as it is done with the one before;
    /// meanwhile it takes packets as usual.
    fn send_all(&mut self, from: u32, to: u32, messages: Vec<Message>) {
        let Some(mut stream) = self.network.open_stream(self.now, (from, to), true) else { return };
        let mut free = self.now;
        for message in messages {
            let arrives = self.network.send_part(self.now, &mut stream, message.bytes());
            free = free.max(arrives) + Duration::from_micros(message.work_us());
            self.tally.join.note_told(message.bytes());
            self.deliver(free, from, to, message);
        }
    }

    /// Nothing arrives in the moment in which it is sent: turns of one moment do not see each other.
    fn deliver(&mut self, at: Millis, from: u32, to: u32, message: Message) {
        let at = at.max(Millis(self.now.0 + 1));
        self.queue.add(at, Event { at: to, what: What::Message { from, message } });
    }

    /// Sets that are equal everywhere are in memory once.
    fn share(&mut self, at: u32, held: &Arc<Held>) {
        let owner = self.ids.index(held.owner);
        let newest = self.newest.entry(owner).or_insert_with(|| Arc::clone(held));
        if held.head.is_newer_than(&newest.head) {
            *newest = Arc::clone(held);
        } else if held.head == newest.head {
            self.nodes[at as usize].spread.share(newest);
        }
    }
}
