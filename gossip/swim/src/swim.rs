//! The machine itself: inputs, timers, and the comparison that turns Foca's table into changes.

mod compare;
mod health;
mod push_pull;
mod upkeep;

pub use push_pull::FACTS_MAX;

use crate::{
    Identity, Incarnation, InvalidConfig, MemberChange, MemberFact, MemberState, PacketError, SwimConfig,
    codec::{FAREWELL, RingCodec},
    digest::Digest,
    outbox::Outbox,
    packet,
    packet::{Kind, is_stale},
};
use foca::{Foca, Member, Message, NoCustomBroadcast, State, Timer};
use imbl::OrdMap;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{BEAT, Bug, Liveness, Millis, NodeId, planted, pulse_until};

/// In a ring of up to so many other members an idle machine wakes for little but its probes.
const SMALL_RING: usize = 16;

/// Seeds that are kept: a joiner needs one that answers.
pub const SEEDS_MAX: usize = 64;

/// Further rounds of the farewell, one in each gossip interval: the first one may be lost.
const FAREWELL_ROUNDS: u8 = 4;

/// Members by id.
pub type Members = OrdMap<NodeId, MemberState>;

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
    /// Before the member is suspected: if there is a live connection to it, ask there for an answer within the time, and
    /// tell of one by [`Swim::note_answer`]. Without a connection there is nothing to do.
    PingConnection {
        /// Whom.
        to: Identity,
        /// How long an answer is worth something.
        within: Duration,
    },
    /// Give these facts to the member on a stream, and [`Swim::merge`] those that it gives in return, which are
    /// [`Swim::facts_in`] of the parts on its side: the two believe different things of these.
    Exchange {
        /// With whom.
        with: NodeId,
        /// Which parts of the ring, as bits.
        parts: u64,
        /// What is believed here.
        facts: Vec<MemberFact>,
    },
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
    /// A probe of this member, by its number, has its last chance.
    Confirm(Identity, u8),
    /// Tell the member that it is suspected, and so many times more.
    Remind(Member<Identity>, u8),
    PushPull,
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
    foca: Foca<Identity, RingCodec, SmallRng, NoCustomBroadcast>,
    /// Sees what Foca does: shared with it.
    codec: RingCodec,
    config: SwimConfig,
    rng: SmallRng,
    /// By due time, then by order of submission. Foca has a handful of periodic timers and one for each suspect, so
    /// its size is bounded by the number of members.
    timers: BTreeMap<(Millis, u64), Due>,
    timers_made: u64,
    /// Foca's timer of gossip and when it was due, while there is nothing to pass on.
    resting: Option<(Millis, Timer<Identity>)>,
    /// At most [`MEMBERS_MAX`]. Persistent: a view of it is a clone in constant time.
    table: Members,
    /// Over the table and this node itself.
    digest: Digest,
    alive: usize,
    /// Members that have left.
    gone: usize,
    /// With whom this node compares, until the answer is there.
    compared: Option<NodeId>,
    /// See [`Swim::slowness`].
    slowness: u8,
    /// Whether a packet came in since the last probe began.
    heard: bool,
    /// How many suspicions this node had refuted when last looked at.
    refuted: u16,
    /// Probes in a row that had no answer while nothing was heard.
    silent_probes: u8,
    /// What was passed on last of a member, as far as anything was: most of what packets tell is this once more. At most
    /// [`MEMBERS_MAX`].
    passed: BTreeMap<NodeId, Member<Identity>>,
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
        let codec = RingCodec::new(me);
        let mut rng = SmallRng::seed_from_u64(seed);
        let foca_rng = SmallRng::seed_from_u64(rng.random());
        let foca = Foca::new(me, config.to_foca(), foca_rng, codec.clone());
        let mut digest = Digest::new();
        digest.add(&me, Liveness::Alive);
        let mut swim = Self {
            foca,
            codec,
            config,
            rng,
            timers: BTreeMap::new(),
            timers_made: 0,
            resting: None,
            table: Members::new(),
            digest,
            alive: 0,
            gone: 0,
            compared: None,
            slowness: 1,
            heard: false,
            refuted: 0,
            silent_probes: 0,
            passed: BTreeMap::new(),
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
        let first = swim.config.push_pull_every.mul_f64(swim.rng.random_range(0.0..1.0));
        swim.schedule(now + first, Due::PushPull);
        Ok(swim)
    }

    /// This node's identity; renewed when the ring had declared it down.
    pub fn me(&self) -> Identity {
        *self.foca.identity()
    }

    /// All other members that were ever met, the dead included.
    pub fn members(&self) -> &Members {
        &self.table
    }

    /// Grows with every change of [`Swim::members`]: whoever builds a view from it need not do so while it stands.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether more than half of the members that have not left are alive, this node included. A node that does not
    /// see that may itself be the one cut off: its *down* is worth no more than *suspect*.
    pub fn sees_majority(&self) -> bool {
        let (alive, known) = (1 + self.alive, 1 + self.table.len() - self.gone);
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
        let (kind, packet) = packet::split(packet, self.config.packet_bytes_max)?;
        match kind {
            Kind::Swim => self.handle_swim(now, from, packet)?,
            Kind::Digest => self.handle_digest(from, packet)?,
            Kind::Parts => self.handle_parts(from, packet)?,
        }
        self.heard = true;
        Ok(())
    }

    fn handle_swim(&mut self, now: Millis, from: NodeId, packet: &[u8]) -> Result<(), PacketError> {
        let read = packet::read(&self.me(), packet)?;
        let src = read.header.src;
        if src.id != from {
            return Err(PacketError::WrongSender { claimed: src.id, actual: from });
        }
        if src.id == self.me().id {
            return Err(PacketError::FromOurselves(src.id));
        }
        self.check_room(read.updates.iter().map(|u| u.id().id).chain([src.id]))?;
        // Foca looks through all members for each update that it is given.
        let news = read.without(packet, |update| self.passed.get(&update.id().id).is_some_and(|k| is_stale(update, k)));
        self.drive(now, |foca, out| foca.handle_data(&news, out));
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
            let due = entry.key().0;
            match entry.remove() {
                Due::Foca(timer) if self.is_refuted(&timer) => {}
                // Of two of them, one of which is of an earlier time among members, one goes on.
                Due::Foca(timer @ Timer::PeriodicGossip(_)) if self.resting.is_none() && self.is_quiet() => {
                    self.resting = Some((due, timer));
                }
                Due::Foca(timer) => self.fire(now, timer),
                Due::Confirm(target, number) => self.ask_connection(target, number),
                Due::Remind(suspect, left) => self.tell_suspect(now, suspect, left),
                Due::PushPull => self.compare_with_someone(now),
                Due::ReachOut => self.reach_out_again(now),
                Due::Renew => self.renew(now),
                Due::Farewell(rounds) => self.farewell(now, rounds),
            }
        }
        self.end_rest(now);
    }

    /// Announces this node to seeds, and again every few seconds until they are met. Id and address are enough. Of more
    /// than [`SEEDS_MAX`] the ones that were given last are kept.
    pub fn join(&mut self, now: Millis, seeds: &[Identity]) {
        let me = self.me().id;
        let given: Vec<Identity> = seeds.iter().filter(|s| s.id != me).take(SEEDS_MAX).copied().collect();
        let is_given = |id: NodeId| given.iter().any(|seed| seed.id == id);
        self.seeds.retain(|seed| !self.table.contains_key(&seed.id) && !is_given(seed.id));
        self.seeds.extend(&given);
        let excess = self.seeds.len().saturating_sub(SEEDS_MAX);
        self.seeds.drain(..excess);
        for seed in given {
            self.drive(now, |foca, out| foca.announce(seed, out));
        }
    }

    /// Begins with members that the ring knows already, as given, so that nobody has to be told of them.
    pub fn begin_with(&mut self, now: Millis, members: &Members) {
        let me = self.me().id;
        let believed =
            |m: &MemberState| MemberFact { identity: m.identity, refutations: 0, liveness: m.liveness }.to_foca();
        let others = members.values().filter(|m| m.identity.id != me).map(believed);
        self.drive(now, |foca, out| foca.apply_many(others, false, out));
        // Equal tables of many nodes share their memory as long as they stay equal.
        self.table = members.clone();
        self.table.remove(&me);
        self.sum_up();
    }

    /// Takes in what a member told a newcomer. As [`Swim::merge`], but it is not passed on: the ring knows it.
    pub fn adopt(&mut self, now: Millis, facts: &[MemberFact]) -> Result<(), PacketError> {
        self.check_room(facts.iter().map(|f| f.identity.id))?;
        let me = self.me();
        self.check_own(&me, facts);
        let others: Vec<Member<Identity>> =
            facts.iter().filter(|f| f.identity.id != me.id).map(|f| f.to_foca()).collect();
        self.note_farewells(&me, facts);
        self.drive(now, |foca, out| foca.apply_many(others.into_iter(), false, out));
        let told: BTreeSet<NodeId> = facts.iter().map(|f| f.identity.id).collect();
        self.settle_all(now, &told);
        Ok(())
    }

    /// Takes in what another member knows. Foca's cost grows with facts times members: give a large ring's in pieces of
    /// about 200, so that packets are answered in between.
    pub fn merge(&mut self, now: Millis, facts: &[MemberFact]) -> Result<(), PacketError> {
        self.check_room(facts.iter().map(|f| f.identity.id))?;
        let me = self.me();
        self.check_own(&me, facts);
        self.note_farewells(&me, facts);
        // Of earlier lives of ours nothing new can be learnt.
        let news = facts.iter().filter(|f| f.identity.id != me.id || f.identity == me).map(|f| f.to_foca());
        self.drive(now, |foca, out| foca.apply_many(news, true, out));
        let left = facts.iter().filter(|f| f.liveness == Liveness::Left);
        left.for_each(|fact| self.settle_farewell(now, fact.identity.id)); // a farewell may be the only news
        let alive = facts.iter().filter(|f| f.liveness == Liveness::Alive).map(|f| f.identity).collect();
        self.call_disputed(now, alive);
        Ok(())
    }

    /// All that this node knows, itself included: what [`Swim::merge`] takes on the other side.
    pub fn facts(&self) -> Vec<MemberFact> {
        self.all_facts().collect()
    }

    fn all_facts(&self) -> impl Iterator<Item = MemberFact> {
        let me = MemberFact { identity: self.me(), refutations: 0, liveness: Liveness::Alive };
        let others = self.foca.iter_membership_state().filter(move |m| m.id().id != me.identity.id).map(|m| {
            MemberFact { identity: *m.id(), refutations: m.incarnation(), liveness: compare::liveness(m, &self.left) }
        });
        [me].into_iter().filter(|_| self.presence != Presence::Leaving).chain(others)
    }

    /// Whether this node speaks for itself.
    fn takes_part(&self) -> bool {
        match self.presence {
            Presence::Present | Presence::Declined => true,
            Presence::Resigned | Presence::Leaving => false,
        }
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
            let gone = Member::new(Identity { incarnation, ..known.identity }, FAREWELL, State::Down);
            self.drive(now, |foca, out| foca.apply_many([gone].into_iter(), true, out));
        }
        self.settle_farewell(now, id);
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
        self.count(&known, false);
        self.table.remove(&id);
        self.passed.remove(&id);
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
        self.codec.notes().leaving = true;
        self.drive(now, |foca, out| foca.leave_cluster(out));
        self.schedule(now + self.config.gossip_every, Due::Farewell(FAREWELL_ROUNDS));
    }

    /// Goes on under a higher start counter, which the caller has persisted: the answer to [`Effect::Outranked`].
    /// Does nothing if it is not higher.
    pub fn raise_start(&mut self, now: Millis, start: u64) {
        let me = self.me();
        if start > me.incarnation.start && self.takes_part() {
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
            &mut Foca<Identity, RingCodec, SmallRng, NoCustomBroadcast>,
            &mut Outbox,
        ) -> Result<(), foca::Error>,
    ) {
        let mut out = Outbox::default();
        self.codec.begin();
        if let Err(fault) = call(&mut self.foca, &mut out) {
            self.effects.push(Effect::Fault(fault.to_string()));
        }
        let me = self.me().id;
        // Foca keeps earlier lives of ours as members that are down, and would talk to them.
        let sends = out.sends.into_iter().filter(|(to, _)| to.id != me);
        let framed = |(to, packet): (Identity, Vec<u8>)| Effect::Send { to, packet: packet::join(Kind::Swim, &packet) };
        self.effects.extend(sends.map(framed));
        for (timer, after) in out.timers {
            self.note_accusation(now, &timer);
            let after = self.stretched(&timer, after).max(Duration::from_millis(1));
            let small = self.foca.num_members() <= SMALL_RING;
            let at = if small { on_pulse(now, after, &timer) } else { now + after };
            self.schedule(at, Due::Foca(timer));
        }
        self.end_rest(now);
        self.take_over(now);
        if out.defunct && self.presence == Presence::Present {
            self.become_declined(now);
        }
    }

    fn fire(&mut self, now: Millis, timer: Timer<Identity>) {
        let direct_is_over = matches!(timer, Timer::SendIndirectProbe { .. });
        if matches!(timer, Timer::ProbeRandomMember(_)) {
            self.judge_probe();
        }
        self.drive(now, |foca, out| foca.handle_timer(timer, out));
        if direct_is_over {
            self.await_indirect(now);
        }
    }

    /// Whether there is nothing to pass on, and no verdict is near for which the frequent timer of gossip would show that
    /// this node stood still: of a suspect, or of who has not answered a probe in the first time-out.
    fn is_quiet(&self) -> bool {
        if self.foca.updates_backlog() > 0 {
            return false; // before all timers are looked through, of which a large ring that breaks has many
        }
        let asked = |due: &Due| matches!(due, Due::Foca(Timer::SendIndirectProbe { .. }));
        let judges = |due: &Due| match due {
            Due::Foca(Timer::ChangeSuspectToDown { .. }) | Due::Confirm(..) | Due::Remind(..) => true,
            Due::Foca(_) | Due::PushPull | Due::ReachOut | Due::Renew | Due::Farewell(_) => false,
        };
        let unanswered = self.codec.notes().probe.is_some_and(|probe| !probe.answered);
        let in_doubt = unanswered && !self.timers.values().any(asked);
        !in_doubt && !self.timers.values().any(judges)
    }

    /// Gossip goes on, at the instants at which it would have been due all along, if there is need.
    fn end_rest(&mut self, now: Millis) {
        if self.resting.is_none() || self.is_quiet() {
            return;
        }
        if let Some((due, timer)) = self.resting.take() {
            let every = self.config.gossip_every;
            let rounds = now.since(due).as_nanos() / every.as_nanos() + 1;
            self.schedule(due + every * u32::try_from(rounds).unwrap_or(u32::MAX), Due::Foca(timer));
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
        planted(Bug::SuspectForEver) || !self.foca.iter_membership_state().any(|known| *known == suspect)
    }

    /// The sums kept over the table are those of the table, and the table is what Foca's says.
    #[cfg(test)]
    pub(crate) fn check_sums(&self) {
        let mut digest = Digest::new();
        digest.add(&self.me(), Liveness::Alive);
        self.table.values().for_each(|m| digest.add(&m.identity, m.liveness));
        let count = |liveness| self.table.values().filter(|m| m.liveness == liveness).count();
        assert_eq!((self.alive, self.gone), (count(Liveness::Alive), count(Liveness::Left)));
        assert_eq!(self.digest.hash(), digest.hash());
        let others = self.foca.iter_membership_state().filter(|m| m.id().id != self.me().id);
        let believed = |m: &Member<Identity>| (m.id().id, (*m.id(), compare::liveness(m, &self.left)));
        let expected: BTreeMap<_, _> = others.map(believed).collect();
        let shown: BTreeMap<_, _> = self.table.iter().map(|(id, m)| (*id, (m.identity, m.liveness))).collect();
        assert_eq!(shown, expected);
    }
}

/// When a timer fires that is due so long after now. Probes, of which an idle ring is full, begin and end when heartbeats are
/// due on a LAN: an idle machine is awake then. Unless they are shorter than that.
fn on_pulse(now: Millis, after: Duration, timer: &Timer<Identity>) -> Millis {
    let at = now + after;
    match timer {
        Timer::ProbeRandomMember(_) | Timer::SendIndirectProbe { .. } if after >= 2 * BEAT => {
            Millis(u64::try_from(pulse_until(Duration::from_millis(at.0)).as_millis()).unwrap_or(u64::MAX))
        }
        Timer::ProbeRandomMember(_)
        | Timer::SendIndirectProbe { .. }
        | Timer::PeriodicAnnounce(_)
        | Timer::PeriodicAnnounceDown(_)
        | Timer::PeriodicGossip(_)
        | Timer::ChangeSuspectToDown { .. }
        | Timer::RemoveDown(_) => at,
    }
}
