//! Drives the ring's machine: packets and time in, packets and a view of the members out.

mod flaps;
mod watchdog;

pub(crate) use flaps::Flaps;

use crate::{
    config::RingPreset,
    generation::Generation,
    node::guarded,
    wire::{Ask, Told, decode, encode},
};
use bytes::Bytes;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use taffeta_model::{Liveness, Millis, NodeId};
use taffeta_net::{Lane, Net};
use taffeta_swim::{Effect, FACTS_MAX, Identity, Incarnation, MemberFact, Members, PacketError, Swim};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use watchdog::Watchdog;

/// Packets that wait for the driver; more are dropped, as the network would: the ring repeats itself.
const INBOX_MAX: usize = 1_024;
/// Starts by which a data folder may have been set back.
const START_LEAP_MAX: u64 = 1_000_000;
/// How long an exchange of facts with one member may take.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(3);
/// Exchanges under way at once, of those that this node begins: the next comparison comes soon.
const EXCHANGES_MAX: usize = 2;
/// Facts that are taken in at one go, so that packets are answered in between: Foca takes up to 20 us for each.
const FACTS_PER_TURN: usize = 200;
/// The settings follow the size of the ring when it has changed by this factor.
const RESIZED: usize = 2;

/// The ring as seen from here.
#[derive(Clone, Debug, Default)]
pub(crate) struct RingState {
    /// The others.
    pub(crate) members: Members,
    /// Whether this node sees more than half of the ring.
    pub(crate) majority: bool,
    /// This node's present incarnation.
    pub(crate) incarnation: Incarnation,
    /// Members that were not there several times lately, and until when new tasks rather go elsewhere.
    pub(crate) unsteady: BTreeMap<NodeId, Millis>,
}

impl RingState {
    /// Members that answer.
    pub(crate) fn alive(&self) -> Vec<NodeId> {
        let alive = self.members.iter().filter(|(_, m)| m.liveness == Liveness::Alive);
        alive.map(|(id, _)| *id).collect()
    }

    /// Members that are there as far as is known: a suspicion does not take a neighbour's place away.
    pub(crate) fn present(&self) -> Vec<NodeId> {
        let there = |l| matches!(l, Liveness::Alive | Liveness::Suspect);
        self.members.iter().filter(|(_, m)| there(m.liveness)).map(|(id, _)| *id).collect()
    }

    /// What the ring thinks of a node.
    pub(crate) fn liveness(&self, id: NodeId) -> Option<Liveness> {
        self.members.get(&id).map(|m| m.liveness)
    }
}

enum Input {
    Packet(NodeId, Bytes),
    Join(Vec<Identity>),
    /// Whoever waits is told when they are taken in.
    Merge(Vec<MemberFact>, Option<oneshot::Sender<()>>),
    Adopt(Vec<MemberFact>, oneshot::Sender<()>),
    Left(NodeId, Incarnation),
    Answered(Identity),
    Facts(Option<u64>, oneshot::Sender<Vec<MemberFact>>),
    Removed(NodeId),
    Resign,
    Leave,
}

/// Talks to the driver. Clones talk to one.
#[derive(Clone)]
pub(crate) struct Ring {
    inbox: mpsc::Sender<Input>,
    state: watch::Receiver<Arc<RingState>>,
}

impl Ring {
    /// A packet came in.
    pub(crate) fn packet(&self, from: NodeId, packet: Bytes) {
        let _ = self.inbox.try_send(Input::Packet(from, packet));
    }

    /// Announces this node to others.
    pub(crate) async fn join(&self, seeds: Vec<(NodeId, SocketAddr)>) {
        let seeds = seeds.into_iter().map(|(id, address)| Identity::seed(id, address)).collect();
        let _ = self.inbox.send(Input::Join(seeds)).await;
    }

    /// Announces this node to members that it has not met yet. If the driver is busy, the next directory tells it again.
    pub(crate) fn meet(&self, unmet: Vec<(NodeId, SocketAddr)>) {
        if !unmet.is_empty() {
            let seeds = unmet.into_iter().map(|(id, address)| Identity::seed(id, address)).collect();
            let _ = self.inbox.try_send(Input::Join(seeds));
        }
    }

    /// Takes in what another member believes, and passes on what is news.
    pub(crate) async fn merge(&self, facts: Vec<MemberFact>) {
        in_pieces(&self.inbox, &facts, |piece, taken| Input::Merge(piece, Some(taken))).await;
    }

    /// Takes in what a member told this newcomer: the ring knows it.
    pub(crate) async fn adopt(&self, facts: Vec<MemberFact>) {
        in_pieces(&self.inbox, &facts, Input::Adopt).await;
    }

    /// Says of a member that it is down, whatever this node knows of it.
    pub(crate) fn slander(&self, member: NodeId) -> bool {
        let known = self.state().members.get(&member).map(|m| m.identity);
        let down = |identity| MemberFact { identity, refutations: 0, liveness: Liveness::Down };
        known.is_some_and(|identity| self.inbox.try_send(Input::Merge(vec![down(identity)], None)).is_ok())
    }

    /// A member said farewell.
    pub(crate) async fn left(&self, id: NodeId, incarnation: Incarnation) {
        let _ = self.inbox.send(Input::Left(id, incarnation)).await;
    }

    /// A member was removed from the cluster: it is taken for one that has left. If the driver is busy, its probes find out.
    pub(crate) fn removed(&self, id: NodeId) {
        let _ = self.inbox.try_send(Input::Removed(id));
    }

    /// All that this node knows.
    pub(crate) async fn facts(&self) -> Vec<MemberFact> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.inbox.send(Input::Facts(None, sender)).await;
        receiver.await.unwrap_or_default()
    }

    /// What this node knows in these parts of the ring, as bits: see [`Swim::facts_in`].
    pub(crate) async fn facts_in(&self, parts: u64) -> Vec<MemberFact> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.inbox.send(Input::Facts(Some(parts), sender)).await;
        receiver.await.unwrap_or_default()
    }

    /// This node is about to leave, and does not defend itself any more.
    pub(crate) async fn resign(&self) {
        let _ = self.inbox.send(Input::Resign).await;
    }

    /// Says farewell.
    pub(crate) async fn leave(&self) {
        let _ = self.inbox.send(Input::Leave).await;
    }

    /// The newest view.
    pub(crate) fn state(&self) -> Arc<RingState> {
        Arc::clone(&self.state.borrow())
    }

    /// The view as it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<RingState>> {
        self.state.clone()
    }
}

/// Gives facts to the driver piece by piece, each when the one before is taken in: packets get their turn in between, and
/// when this returns the view holds them all.
async fn in_pieces(
    inbox: &mpsc::Sender<Input>,
    facts: &[MemberFact],
    input: impl Fn(Vec<MemberFact>, oneshot::Sender<()>) -> Input,
) {
    for piece in facts.chunks(FACTS_PER_TURN) {
        let (done, taken) = oneshot::channel();
        if inbox.send(input(piece.to_vec(), done)).await.is_err() || taken.await.is_err() {
            return; // the node ends
        }
    }
}

/// What the driver needs besides its machine.
pub(crate) struct RingDriver {
    pub(crate) swim: Swim,
    /// How often members were suspected.
    pub(crate) flaps: Flaps,
    pub(crate) preset: RingPreset,
    pub(crate) generation: Generation,
    pub(crate) net: Arc<std::sync::OnceLock<Net>>,
    /// Start of this node's monotonic time.
    pub(crate) epoch: Instant,
    /// Persists a raised start counter, unless the node holds a log; says whether it did.
    pub(crate) raise: Box<dyn Fn(u64) -> bool + Send>,
    /// Told when the node cannot go on.
    pub(crate) failed: watch::Sender<Option<String>>,
}

impl RingDriver {
    /// Starts the driver as one of the node's loops.
    pub(crate) fn spawn(self, loops: &mut JoinSet<()>) -> Ring {
        let (inbox, inputs) = mpsc::channel(INBOX_MAX);
        let first = RingState { majority: true, incarnation: self.swim.me().incarnation, ..RingState::default() };
        let (view, state) = watch::channel(Arc::new(first));
        let watchdog = Watchdog::new(self.epoch);
        loops.spawn(guarded("ring watchdog", self.failed.clone(), watchdog.clone().run()));
        let failed = self.failed.clone();
        // Weakly: the driver ends when nobody talks to it any more.
        let own = inbox.downgrade();
        loops.spawn(guarded("ring", failed, self.run(inputs, own, view, watchdog)));
        Ring { inbox, state }
    }

    async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        own: mpsc::WeakSender<Input>,
        view: watch::Sender<Arc<RingState>>,
        watchdog: Watchdog,
    ) {
        let mut published = self.swim.revision();
        let mut sized_for = self.swim.members().len() + 1;
        let mut told_slowness = None;
        let exchanges = Arc::new(Semaphore::new(EXCHANGES_MAX));
        loop {
            let due = self.swim.next_timeout().map(|at| self.epoch + Duration::from_millis(at.0));
            let input = tokio::select! {
                biased;
                () = sleep_until(due.unwrap_or(self.epoch)), if due.is_some() => None,
                input = inputs.recv() => match input {
                    Some(input) => Some(input),
                    None => return,
                },
            };
            let turn = watchdog.begin_turn();
            let waiting = match input {
                Some(input) => self.take(input),
                None => {
                    self.swim.handle_timeout(self.now());
                    None
                }
            };
            self.perform(&own, &exchanges);
            if self.swim.revision() != published {
                published = self.swim.revision();
                self.resize(&mut sized_for);
                view.send_replace(Arc::new(self.look()));
            }
            if let Some(waiting) = waiting {
                let _ = waiting.send(());
            }
            // A gauge is looked up by its name, dozens of times a second in an idle ring.
            if told_slowness.replace(self.swim.slowness()) != Some(self.swim.slowness()) {
                metrics::gauge!("taffeta_ring_slowness").set(f64::from(self.swim.slowness()));
            }
            drop(turn);
        }
    }

    /// Lets the settings follow the size of the ring: news has farther to go in a larger one.
    fn resize(&mut self, sized_for: &mut usize) {
        let size = self.swim.members().len() + 1;
        if size >= *sized_for * RESIZED || size * RESIZED <= *sized_for {
            match self.swim.set_config(self.preset.swim(size)) {
                Ok(()) => *sized_for = size,
                Err(error) => tracing::error!(%error, "the settings of the ring could not follow its size"),
            }
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes an input; gives who waits until the view shows what came of it.
    fn take(&mut self, input: Input) -> Option<oneshot::Sender<()>> {
        let now = self.now();
        match input {
            Input::Packet(from, packet) => {
                if let Err(error) = self.swim.handle_packet(now, from, &packet) {
                    metrics::counter!("taffeta_ring_refused_total", "reason" => reason(&error)).increment(1);
                    tracing::debug!(%from, %error, "a packet of the ring was refused");
                }
            }
            Input::Join(seeds) => self.swim.join(now, &seeds),
            Input::Merge(facts, waiting) => {
                if let Err(error) = self.swim.merge(now, &facts) {
                    tracing::debug!(%error, "facts about members were refused");
                }
                return waiting;
            }
            Input::Adopt(facts, waiting) => {
                if let Err(error) = self.swim.adopt(now, &facts) {
                    tracing::debug!(%error, "facts about members were refused");
                }
                return Some(waiting);
            }
            Input::Left(id, incarnation) => self.swim.mark_left(now, id, incarnation),
            Input::Removed(id) => {
                if let Some(known) = self.swim.members().get(&id).copied() {
                    self.swim.mark_left(now, id, known.identity.incarnation);
                }
                self.swim.forget(now, id);
            }
            Input::Answered(of) => self.swim.note_answer(now, of),
            Input::Facts(parts, reply) => {
                let facts = parts.map_or_else(|| self.swim.facts(), |parts| self.swim.facts_in(parts));
                let _ = reply.send(facts);
            }
            Input::Resign => self.swim.resign(),
            Input::Leave => self.swim.leave(now),
        }
        None
    }

    fn perform(&mut self, own: &mpsc::WeakSender<Input>, exchanges: &Arc<Semaphore>) {
        for effect in self.swim.take_effects() {
            match effect {
                Effect::Send { to, packet } => {
                    if let Some(net) = self.net.get() {
                        if net.address(to.id).is_none() {
                            net.set_address(to.id, to.address);
                        }
                        net.send_datagram(to.id, self.generation.mark(&packet).into());
                    }
                }
                Effect::PingConnection { to, within } => self.ping_connection(own, to, within),
                Effect::Exchange { with, parts, facts } => {
                    if let Ok(permit) = Arc::clone(exchanges).try_acquire_owned()
                        && let (Some(net), Some(own)) = (self.net.get().cloned(), own.upgrade())
                    {
                        let ask = self.generation.mark(&encode(&Ask::Exchange { parts, facts }));
                        tokio::spawn(async move {
                            exchange(&net, with, &ask, &own).await;
                            drop(permit);
                        });
                    }
                }
                Effect::Changed(change) => {
                    let now = self.now();
                    self.flaps.note(now, change.id, change.before, change.after);
                    if let Some(net) = self.net.get() {
                        net.set_address(change.id, change.identity.address);
                    }
                    tracing::info!(node = %change.id, was = ?change.before, is = ?change.after, "the ring changed");
                }
                Effect::Renewed(identity) => {
                    tracing::warn!(incarnation = ?identity.incarnation, "the ring had declared this node down");
                }
                Effect::Outranked(theirs) => self.give_way(theirs),
                Effect::Fault(why) => tracing::error!(why, "an invariant of the ring broke"),
            }
        }
    }

    /// Asks on the connection to a member, if there is one.
    fn ping_connection(&self, own: &mpsc::WeakSender<Input>, to: Identity, within: Duration) {
        let (Some(net), Some(own)) = (self.net.get().cloned(), own.upgrade()) else { return };
        tokio::spawn(async move {
            if net.probe_live(to.id, within).await == Some(true) {
                let _ = own.send(Input::Answered(to)).await;
            }
        });
    }

    /// The ring remembers a later start of this node. What it says is hearsay, so a leap is not followed: it could
    /// only be made to use the counter up.
    fn give_way(&self, theirs: Incarnation) {
        let mine = self.swim.me().incarnation.start;
        if theirs.start > mine.saturating_add(START_LEAP_MAX) {
            return tracing::error!(?theirs, mine, "the ring tells of a start of this node that cannot have been");
        }
        let why = if (self.raise)(theirs.start) {
            "the ring knows a later start of this node: its data folder was restored, or is in use twice; its start \
             counter was raised, start it again"
        } else {
            "the ring knows a later start of this node: its data folder is an older copy, or in use twice; with its log \
             it cannot go on from there: move the folder away and join again with a new token"
        };
        self.failed.send_replace(Some(why.into()));
    }

    fn look(&self) -> RingState {
        RingState {
            members: self.swim.members().clone(),
            majority: self.swim.sees_majority(),
            incarnation: self.swim.me().incarnation,
            unsteady: self.flaps.avoided(),
        }
    }
}

/// Gives facts to a member and takes those that it gives in return.
async fn exchange(net: &Net, with: NodeId, ask: &[u8], own: &mpsc::Sender<Input>) {
    let reply = net.call(with, Lane::Control, ask, EXCHANGE_LIMIT).await;
    match reply.map_err(|e| e.to_string()).and_then(|reply| decode(&reply)) {
        Ok(Told::Facts(theirs)) if theirs.len() <= FACTS_MAX => {
            in_pieces(own, &theirs, |piece, taken| Input::Merge(piece, Some(taken))).await;
        }
        Ok(_) => tracing::debug!(%with, "an unexpected reply to facts"),
        Err(error) => tracing::debug!(%with, error, "facts could not be exchanged"),
    }
}

fn reason(error: &PacketError) -> &'static str {
    match error {
        PacketError::TooLarge { .. } => "oversized",
        PacketError::Malformed(_) => "malformed",
        PacketError::WrongSender { .. } => "wrong_sender",
        PacketError::FromOurselves(_) => "from_ourselves",
        PacketError::TooManyMembers(_) => "full",
    }
}
