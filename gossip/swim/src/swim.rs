//! The machine itself: inputs, timers, and the comparison that turns Foca's table into changes.

mod compare;
mod upkeep;

use crate::{
    Identity, Incarnation, InvalidConfig, MemberChange, MemberFact, MemberState, PacketError, SwimConfig,
    outbox::{MarkingCodec, Outbox},
    packet,
};
use foca::{Foca, Member, Message, NoCustomBroadcast, State, Timer};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use taffeta_model::{Liveness, Millis, NodeId};

/// Seeds that are kept: a joiner needs one that answers.
const SEEDS_MAX: usize = 64;

/// Further rounds of the farewell, one in each gossip interval: the first one may be lost.
const FAREWELL_ROUNDS: u8 = 4;

/// Something the machine wants done or known, in the order in which it came up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the packet to the member, unreliably and soon; a late one is worth nothing.
    Send {
        /// To whom.
        to: Identity,
        /// At most [`SwimConfig::packet_bytes_max`] bytes.
        packet: Vec<u8>,
    },
    /// The view changed; [`Swim::members`] has the new one already.
    Changed(MemberChange),
    /// The ring had declared this node down; it now goes by this identity.
    Renewed(Identity),
    /// The ring remembers a later incarnation of this node, so nobody will believe it: its start counter went back
    /// (a restored disk) or its data folder runs twice. Persist a higher counter, then call [`Swim::raise_start`].
    Outranked(Incarnation),
    /// An invariant of the protocol library broke; it goes on. For the log.
    Fault(String),
}

/// Where this node stands with the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Present,
    /// Declared down; a renewal is due, but not yet.
    Declined,
    /// About to leave: whoever holds it for down is right soon.
    Resigned,
    Leaving,
}

/// What a timer is about.
enum Due {
    Foca(Timer<Identity>),
    ReachOut,
    Renew,
    Farewell(u8),
}

/// Membership of one node. Feed it packets and time, then drain [`Swim::take_effects`] and look at
/// [`Swim::next_timeout`]. The same inputs with the same seed give the same effects.
///
/// ```
/// # use taffeta_swim::{Identity, Swim, SwimConfig};
/// # use taffeta_model::{Millis, NodeId};
/// let me = Identity::seed(NodeId(1), "127.0.0.1:7400".parse().unwrap());
/// let other = Identity::seed(NodeId(2), "127.0.0.2:7400".parse().unwrap());
/// let mut swim = Swim::new(Millis(0), me, SwimConfig::lan(3), 42).unwrap();
/// swim.join(Millis(0), &[other]);
/// assert_eq!(swim.take_effects().len(), 1);
/// ```
pub struct Swim {
    foca: Foca<Identity, MarkingCodec, SmallRng, NoCustomBroadcast>,
    /// Set by the codec when Foca's table may have changed.
    changed: Arc<AtomicBool>,
    config: SwimConfig,
    rng: SmallRng,
    /// By due time, then by order of submission. Foca has a handful of periodic timers and one for each suspect, so
    /// its size is bounded by the number of members.
    timers: BTreeMap<(Millis, u64), Due>,
    timers_made: u64,
    table: BTreeMap<NodeId, MemberState>,
    /// Incarnations that said farewell; at most [`MEMBERS_MAX`].
    left: BTreeMap<NodeId, Incarnation>,
    seeds: Vec<Identity>,
    presence: Presence,
    renewed_at: Option<Millis>,
    outranked: Option<Incarnation>,
    effects: Vec<Effect>,
    revision: u64,
}

impl Swim {
    /// A node that knows nobody. `me.incarnation.start` must be higher than in any earlier life of the node.
    pub fn new(now: Millis, me: Identity, config: SwimConfig, seed: u64) -> Result<Self, InvalidConfig> {
        config.check()?;
        let changed = Arc::new(AtomicBool::new(false));
        let mut rng = SmallRng::seed_from_u64(seed);
        let foca_rng = SmallRng::seed_from_u64(rng.random());
        let foca = Foca::new(me, config.to_foca(), foca_rng, MarkingCodec(changed.clone()));
        let mut swim = Self {
            foca,
            changed,
            config,
            rng,
            timers: BTreeMap::new(),
            timers_made: 0,
            table: BTreeMap::new(),
            left: BTreeMap::new(),
            seeds: Vec::new(),
            presence: Presence::Present,
            renewed_at: None,
            outranked: None,
            effects: Vec::new(),
            revision: 0,
        };
        let period = swim.config.reach_out_alone_every;
        // A random part of a period, so that machines started together do not call together.
        let first = period.mul_f64(swim.rng.random_range(0.5..1.0));
        swim.schedule(now + first, Due::ReachOut);
        Ok(swim)
    }

    /// This node's identity; renewed when the ring had declared it down.
    pub fn me(&self) -> Identity {
        *self.foca.identity()
    }

    /// All other members that were ever met, the dead included.
    pub fn members(&self) -> &BTreeMap<NodeId, MemberState> {
        &self.table
    }

    /// Grows with every change of [`Swim::members`]: whoever builds a view from it need not do so while it stands.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether more than half of the members that have not left are alive, this node included. A node that does not
    /// see that may itself be the one cut off: its *down* is worth no more than *suspect*.
    pub fn sees_majority(&self) -> bool {
        let count = |wanted: fn(Liveness) -> bool| self.table.values().filter(|m| wanted(m.liveness)).count();
        let alive = 1 + count(|l| l == Liveness::Alive);
        let known = 1 + count(|l| l != Liveness::Left);
        alive * 2 > known
    }

    /// When [`Swim::handle_timeout`] is to be called next.
    pub fn next_timeout(&self) -> Option<Millis> {
        self.timers.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes what is to be done since the last call. Call it after every input.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// A packet that the transport has authenticated as coming from `from`. A refused packet changes nothing.
    pub fn handle_packet(&mut self, now: Millis, from: NodeId, packet: &[u8]) -> Result<(), PacketError> {
        let read = packet::read(packet, self.config.packet_bytes_max)?;
        let src = read.header.src;
        if src.id != from {
            return Err(PacketError::WrongSender { claimed: src.id, actual: from });
        }
        if src.id == self.me().id {
            return Err(PacketError::FromOurselves(src.id));
        }
        self.check_room(read.updates.iter().map(|u| u.id().id).chain([src.id]))?;
        self.drive(now, |foca, out| foca.handle_data(packet, out));
        if read.header.message == Message::Feed {
            let alive = read.updates.iter().filter(|u| u.state() == State::Alive).map(|u| *u.id()).collect();
            self.call_disputed(now, alive);
        }
        Ok(())
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Millis) {
        self.forgive_standstill(now);
        // Ends: whatever a timer submits is due at least a millisecond later.
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Due::Foca(timer) if self.is_refuted(&timer) => {}
                Due::Foca(timer) => self.drive(now, |foca, out| foca.handle_timer(timer, out)),
                Due::ReachOut => self.reach_out_again(now),
                Due::Renew => self.renew(now),
                Due::Farewell(rounds) => self.farewell(now, rounds),
            }
        }
    }

    /// Announces this node to seeds, and again every few seconds until they are met. Id and address are enough.
    pub fn join(&mut self, now: Millis, seeds: &[Identity]) {
        let me = self.me().id;
        for seed in seeds.iter().filter(|s| s.id != me) {
            self.seeds.retain(|known| known.id != seed.id);
            if self.seeds.len() < SEEDS_MAX {
                self.seeds.push(*seed);
            }
        }
        for seed in self.seeds.clone() {
            self.drive(now, |foca, out| foca.announce(seed, out));
        }
    }

    /// Takes in what another member knows. Foca's cost grows with facts times members: give a large ring's in pieces of
    /// about 200, so that packets are answered in between.
    pub fn merge(&mut self, now: Millis, facts: &[MemberFact]) -> Result<(), PacketError> {
        self.check_room(facts.iter().map(|f| f.identity.id))?;
        let me = self.me();
        if let Some(later) = facts.iter().map(|f| f.identity).find(|i| i.id == me.id && i.incarnation > me.incarnation)
        {
            self.report_outranked(later.incarnation);
        }
        for fact in facts.iter().filter(|f| f.liveness == Liveness::Left && f.identity.id != me.id) {
            self.note_left(fact.identity.id, fact.identity.incarnation);
        }
        // Of earlier lives of ours nothing new can be learnt.
        let news = facts.iter().filter(|f| f.identity.id != me.id || f.identity == me).map(|f| f.to_foca());
        self.drive(now, |foca, out| foca.apply_many(news, true, out));
        self.compare(now); // a farewell may be the only news
        let alive = facts.iter().filter(|f| f.liveness == Liveness::Alive).map(|f| f.identity).collect();
        self.call_disputed(now, alive);
        Ok(())
    }

    /// All that this node knows, itself included: what [`Swim::merge`] takes on the other side.
    pub fn facts(&self) -> Vec<MemberFact> {
        let me = MemberFact { identity: self.me(), refutations: 0, liveness: Liveness::Alive };
        let others = self.foca.iter_membership_state().filter(|m| m.id().id != me.identity.id).map(|m| MemberFact {
            identity: *m.id(),
            refutations: m.incarnation(),
            liveness: compare::liveness(m, &self.left),
        });
        [me].into_iter().filter(|_| self.presence != Presence::Leaving).chain(others).collect()
    }

    /// The member itself said, in a way that only it could, that this incarnation of it leaves. It is down at once, and
    /// shown as left until it comes back with a later incarnation.
    pub fn mark_left(&mut self, now: Millis, id: NodeId, incarnation: Incarnation) {
        let known = self.table.get(&id).copied();
        if id == self.me().id || known.is_some_and(|m| m.identity.incarnation > incarnation) {
            return;
        }
        self.note_left(id, incarnation);
        if let Some(known) = known {
            let gone = Member::down(Identity { incarnation, ..known.identity });
            self.drive(now, |foca, out| foca.apply_many([gone].into_iter(), true, out));
        }
        self.compare(now);
    }

    /// Forgets a member that was removed from the cluster, if it is down or has left; says whether it did. Others may
    /// still tell of it until they have forgotten it too.
    pub fn forget(&mut self, now: Millis, id: NodeId) -> bool {
        let Some(known) = self.table.get(&id).copied() else { return false };
        let gone = matches!(known.liveness, Liveness::Down | Liveness::Left);
        if !gone || self.foca.iter_members().any(|m| m.id().id == id) {
            return false;
        }
        self.drive(now, |foca, out| foca.handle_timer(Timer::RemoveDown(known.identity), out));
        self.table.remove(&id);
        self.left.remove(&id);
        self.seeds.retain(|seed| seed.id != id);
        self.note_change(MemberChange { id, before: Some(known.liveness), after: None, identity: known.identity });
        true
    }

    /// From now on the node does not come back when others hold it for down: it is about to leave, and has told some of
    /// them, who tell it on.
    pub fn resign(&mut self) {
        if self.presence != Presence::Leaving {
            self.presence = Presence::Resigned;
        }
    }

    /// Says farewell. Keep the machine running for half a second more, so that the news gets through.
    pub fn leave(&mut self, now: Millis) {
        if self.presence == Presence::Leaving {
            return;
        }
        self.presence = Presence::Leaving;
        self.drive(now, |foca, out| foca.leave_cluster(out));
        self.schedule(now + self.config.gossip_every, Due::Farewell(FAREWELL_ROUNDS));
    }

    /// Goes on under a higher start counter, which the caller has persisted: the answer to [`Effect::Outranked`].
    /// Does nothing if it is not higher.
    pub fn raise_start(&mut self, now: Millis, start: u64) {
        let me = self.me();
        let stays = matches!(self.presence, Presence::Present | Presence::Declined);
        if start > me.incarnation.start && stays {
            self.become_identity(now, Identity { incarnation: Incarnation { start, renewal: 0 }, ..me });
        }
    }

    /// Changes the settings, usually to those of a ring that has grown. On error nothing changes.
    pub fn set_config(&mut self, config: SwimConfig) -> Result<(), InvalidConfig> {
        self.config.check_change(&config)?;
        self.foca.set_config(config.to_foca()).map_err(|_| InvalidConfig::Fixed("a timing"))?;
        self.config = config;
        Ok(())
    }

    /// Calls into Foca, then takes over what it wants.
    fn drive(
        &mut self,
        now: Millis,
        call: impl FnOnce(
            &mut Foca<Identity, MarkingCodec, SmallRng, NoCustomBroadcast>,
            &mut Outbox,
        ) -> Result<(), foca::Error>,
    ) {
        let mut out = Outbox::default();
        if let Err(fault) = call(&mut self.foca, &mut out) {
            self.effects.push(Effect::Fault(fault.to_string()));
        }
        let me = self.me().id;
        // Foca keeps earlier lives of ours as members that are down, and would talk to them.
        let sends = out.sends.into_iter().filter(|(to, _)| to.id != me);
        self.effects.extend(sends.map(|(to, packet)| Effect::Send { to, packet }));
        for (timer, after) in out.timers {
            self.schedule(now + after.max(Duration::from_millis(1)), Due::Foca(timer));
        }
        if self.changed.swap(false, Ordering::Relaxed) {
            self.compare(now);
        }
        if out.defunct && self.presence == Presence::Present {
            self.become_declined(now);
        }
    }

    fn schedule(&mut self, at: Millis, due: Due) {
        self.timers.insert((at, self.timers_made), due);
        self.timers_made += 1;
    }

    /// Whether the timer would end a suspicion that was refuted meanwhile. Foca 2.0 changes nothing then, but tells the
    /// member that it is down all the same, and so makes a live one give up its identity.
    fn is_refuted(&self, timer: &Timer<Identity>) -> bool {
        let Timer::ChangeSuspectToDown { member_id, incarnation, token: _ } = timer else { return false };
        let suspect = Member::new(*member_id, *incarnation, State::Suspect);
        !self.foca.iter_membership_state().any(|known| *known == suspect)
    }
}
