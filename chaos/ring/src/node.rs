//! One member: the two machines, driven as `taffeta-node` drives them. A turn touches this member alone, so that turns
//! of different members at one moment may be taken on different threads.

mod join;

use crate::{
    event::{Message, What},
    records::{Seal, SealCheck, info, records},
    tally::Phase,
    trace::Kind,
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use taffeta_catalogue::{Held, Spread, SpreadEffect, encode};
use taffeta_model::{Liveness, Millis, NodeId};
use taffeta_swim::{Effect, Identity, Incarnation, MemberChange, Swim};

/// Whether it takes part.
pub(crate) enum Condition {
    /// It is still to join.
    Absent,
    /// It does.
    Running,
    /// It neither reads nor acts; what waits for it, in order.
    Stalled(Vec<What>),
    /// It was killed.
    Dead,
}

/// One member.
pub(crate) struct Node {
    index: u32,
    pub(crate) swim: Swim,
    pub(crate) spread: Spread,
    /// How often it has published since the common start.
    changes: u32,
    pub(crate) condition: Condition,
    /// For when a [`What::Timer`] was queued last; earlier queued ones are stale.
    armed: Option<Millis>,
}

/// What came of one event.
#[derive(Default)]
pub(crate) struct Turn {
    /// Kind, sender and size of what was taken, for the trace.
    pub(crate) took: Option<(Kind, u32, usize)>,
    pub(crate) sends: Vec<(u32, Message)>,
    /// Members to be asked on a live connection, if there is one.
    pub(crate) asks: Vec<u32>,
    pub(crate) changes: Vec<MemberChange>,
    /// Sets that it came to hold.
    pub(crate) held: Vec<Arc<Held>>,
    /// When it was news of its own, which.
    pub(crate) published: Option<(Phase, u64)>,
    /// Wake it then.
    pub(crate) arm: Option<Millis>,
}

/// The address of a member; carries its index.
pub(crate) fn address(index: u32) -> SocketAddr {
    let [_, a, b, c] = index.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 7400))
}

/// The index of a member.
pub(crate) fn index(identity: &Identity) -> u32 {
    let IpAddr::V4(ip) = identity.address.ip() else { unreachable!("made above") };
    let [_, a, b, c] = ip.octets();
    u32::from_be_bytes([0, a, b, c])
}

/// The ids of all members, ascending.
pub(crate) struct Ids(pub(crate) Vec<NodeId>);

impl Ids {
    pub(crate) fn index(&self, id: NodeId) -> u32 {
        self.0.binary_search(&id).expect("a member") as u32
    }
}

/// A member as the ring knows it from the start.
pub(crate) fn identity(id: NodeId, index: u32) -> Identity {
    Identity { incarnation: Incarnation { start: 1, renewal: 0 }, ..Identity::seed(id, address(index)) }
}

impl Node {
    /// A member that knows what its machines know.
    pub(crate) fn new(index: u32, swim: Swim, spread: Spread, condition: Condition) -> Self {
        let mut node = Self { index, swim, spread, changes: 0, condition, armed: None };
        node.choose_neighbours(Millis(0));
        node
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.condition, Condition::Running)
    }

    /// Whether it runs or will run again.
    pub(crate) fn is_there(&self) -> bool {
        matches!(self.condition, Condition::Running | Condition::Stalled(_))
    }

    /// Takes an event; adds what came of it. One that waits or is stale adds nothing.
    pub(crate) fn handle(&mut self, now: Millis, what: What, ids: &Ids, turns: &mut Vec<Turn>) {
        match (&mut self.condition, what) {
            (Condition::Absent, What::Join { seed }) => self.join(now, seed, ids, turns),
            (Condition::Dead | Condition::Absent, _) | (_, What::Join { .. }) => {}
            (Condition::Stalled(held), what @ (What::Message { .. } | What::Publish(_))) => held.push(what),
            (Condition::Stalled(_), What::Timer | What::Stall) => {} // it looks at its timers when it goes on
            (_, What::Kill) => {
                self.condition = Condition::Dead;
                turns.push(Turn::of(Kind::Kill));
            }
            (Condition::Running, What::Stall) => {
                self.condition = Condition::Stalled(Vec::new());
                turns.push(Turn::of(Kind::Stall));
            }
            (Condition::Stalled(_), What::Resume) => self.resume(now, ids, turns),
            (Condition::Running, What::Resume) => {}
            (Condition::Running, What::Timer) => self.handle_timer(now, ids, turns),
            (Condition::Running, What::Message { from, message }) => {
                let took = Some((message.kind(), from, message.bytes()));
                let sends = self.handle_message(now, from, ids.0[from as usize], message);
                turns.push(self.end(now, ids, Turn { took, sends, ..Turn::default() }));
            }
            (Condition::Running, What::Publish(phase)) => {
                self.publish(now);
                let seq = self.spread.catalogue().get(self.swim.me().id).map(|held| held.head.seq);
                let published = seq.map(|seq| (phase, seq));
                turns.push(self.end(now, ids, Turn { published, ..Turn::of(Kind::Publish) }));
            }
        }
    }

    /// When the machines want to be woken first.
    pub(crate) fn arm(&mut self, now: Millis) -> Option<Millis> {
        let due = self.swim.next_timeout().into_iter().chain(self.spread.next_timeout()).min();
        let due = due.map(|due| due.max(Millis(now.0 + 1))); // a turn is done with what is due now
        if due == self.armed {
            return None;
        }
        self.armed = due;
        due
    }

    fn handle_timer(&mut self, now: Millis, ids: &Ids, turns: &mut Vec<Turn>) {
        if self.armed != Some(now) {
            return; // it waits for another time
        }
        self.armed = None;
        self.fire(now);
        turns.push(self.end(now, ids, Turn::of(Kind::Timer)));
    }

    fn fire(&mut self, now: Millis) {
        let is_due = |due: Option<Millis>| due.is_some_and(|due| due <= now);
        if is_due(self.swim.next_timeout()) {
            self.swim.handle_timeout(now);
        }
        if is_due(self.spread.next_timeout()) {
            self.spread.handle_timeout(now);
        }
    }

    /// The worst case: timers are served before the packets that waited.
    fn resume(&mut self, now: Millis, ids: &Ids, turns: &mut Vec<Turn>) {
        let Condition::Stalled(held) = std::mem::replace(&mut self.condition, Condition::Running) else { return };
        self.fire(now);
        turns.push(self.end(now, ids, Turn::of(Kind::Resume)));
        held.into_iter().for_each(|what| self.handle(now, what, ids, turns));
    }

    fn publish(&mut self, now: Millis) {
        self.changes += 1;
        let signer = Seal(self.swim.me().id);
        let published = self.spread.publish(now, info(self.index), records(self.index, self.changes), &signer);
        assert_eq!(published, Ok(true), "a task has changed");
    }

    /// Gives what is to be answered.
    fn handle_message(&mut self, now: Millis, from: u32, sender: NodeId, message: Message) -> Vec<(u32, Message)> {
        match message {
            Message::Swim(packet) => self.swim.handle_packet(now, sender, &packet).expect("a good packet"),
            Message::Exchange { parts, facts } => {
                let mine = self.swim.facts_in(parts).into();
                self.swim.merge(now, &facts).expect("room for a ring");
                return vec![(from, Message::Facts(mine))];
            }
            Message::Facts(facts) => self.swim.merge(now, &facts).expect("room for a ring"),
            Message::Ask => return vec![(from, Message::Answer)],
            Message::Answer => {
                let known = self.swim.members().get(&sender).map(|member| member.identity);
                known.into_iter().for_each(|identity| self.swim.note_answer(now, identity));
            }
            Message::Spread(message, _, _) => {
                let (me, members) = (self.swim.me().id, self.swim.members());
                let known = |id| id == me || members.contains_key(&id);
                self.spread.handle(now, sender, Arc::unwrap_or_clone(message), &SealCheck, &known);
            }
            Message::Join => return self.tell_newcomer(from),
            Message::Members(facts) => self.swim.adopt(now, &facts).expect("room for a ring"),
            Message::Chunk(sets, _) => self.take_chunk(sender, &sets),
        }
        Vec::new()
    }

    /// Collects what the machines want done.
    fn end(&mut self, now: Millis, ids: &Ids, mut turn: Turn) -> Turn {
        for effect in self.swim.take_effects() {
            match effect {
                Effect::Send { to, packet } => turn.sends.push((index(&to), Message::Swim(packet))),
                Effect::Changed(change) => turn.changes.push(change),
                Effect::PingConnection { to, within: _ } => turn.asks.push(index(&to)),
                Effect::Exchange { with, parts, facts } => {
                    turn.sends.push((ids.index(with), Message::Exchange { parts, facts: facts.into() }));
                }
                Effect::Fault(fault) => panic!("{:?} at {now:?}: {fault}", self.swim.me()),
                Effect::Renewed(_) | Effect::Outranked(_) => {} // the ring's own business: others see it as a change
            }
        }
        if turn.changes.iter().any(|change| change.before.is_some_and(is_peer) != change.after.is_some_and(is_peer)) {
            self.choose_neighbours(now);
        }
        for effect in self.spread.take_effects() {
            match effect {
                SpreadEffect::Send { to, message, way } => {
                    let bytes = encode(&message).len();
                    turn.sends.push((ids.index(to), Message::Spread(Arc::new(message), bytes, way)));
                }
                SpreadEffect::Changed(owner) => turn.held.extend(self.spread.catalogue().get(owner).cloned()),
                // A newcomer hears of sets before it knows all members; nothing else is refused here.
                SpreadEffect::Refused { .. } | SpreadEffect::Outranked(_) => {}
            }
        }
        turn.arm = self.arm(now);
        turn
    }

    /// Who is suspected stays a neighbour: most are not down.
    fn choose_neighbours(&mut self, now: Millis) {
        let members = self.swim.members().values().filter(|member| is_peer(member.liveness));
        let peers: Vec<NodeId> = members.map(|member| member.identity.id).collect();
        self.spread.set_peers(now, &peers);
    }
}

fn is_peer(liveness: Liveness) -> bool {
    match liveness {
        Liveness::Alive | Liveness::Suspect => true,
        Liveness::Down | Liveness::Left => false,
    }
}

impl Turn {
    fn of(kind: Kind) -> Self {
        Self { took: Some((kind, u32::MAX, 0)), ..Self::default() }
    }
}
