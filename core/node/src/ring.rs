//! Drives the ring's machine: packets and time in, packets and a view of the members out.

use crate::node::guarded;
use bytes::Bytes;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use taffeta_model::{Liveness, Millis, NodeId};
use taffeta_net::Net;
use taffeta_swim::{Effect, Identity, Incarnation, MemberFact, MemberState, Swim};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Packets that wait for the driver; more are dropped, as the network would: the ring repeats itself.
const INBOX_MAX: usize = 1_024;
/// Starts by which a data folder may have been set back.
const START_LEAP_MAX: u64 = 1_000_000;
/// A turn that takes longer may make this node look dead to others.
const TURN_MAX: Duration = Duration::from_millis(100);

/// The ring as seen from here.
#[derive(Clone, Debug, Default)]
pub(crate) struct RingState {
    /// The others.
    pub(crate) members: BTreeMap<NodeId, MemberState>,
    /// Whether this node sees more than half of the ring.
    pub(crate) majority: bool,
    /// This node's present incarnation.
    pub(crate) incarnation: Incarnation,
}

impl RingState {
    /// Members that answer.
    pub(crate) fn alive(&self) -> Vec<NodeId> {
        let alive = self.members.iter().filter(|(_, m)| m.liveness == Liveness::Alive);
        alive.map(|(id, _)| *id).collect()
    }

    /// What the ring thinks of a node.
    pub(crate) fn liveness(&self, id: NodeId) -> Option<Liveness> {
        self.members.get(&id).map(|m| m.liveness)
    }
}

enum Input {
    Packet(NodeId, Bytes),
    Join(Vec<Identity>),
    Merge(Vec<MemberFact>),
    Left(NodeId, Incarnation),
    Facts(oneshot::Sender<Vec<MemberFact>>),
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

    /// Takes in what another member knows, in pieces, so that packets are answered in between.
    pub(crate) async fn merge(&self, facts: Vec<MemberFact>) {
        for piece in facts.chunks(200) {
            let _ = self.inbox.send(Input::Merge(piece.to_vec())).await;
        }
    }

    /// A member said farewell.
    pub(crate) async fn left(&self, id: NodeId, incarnation: Incarnation) {
        let _ = self.inbox.send(Input::Left(id, incarnation)).await;
    }

    /// All that this node knows.
    pub(crate) async fn facts(&self) -> Vec<MemberFact> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.inbox.send(Input::Facts(sender)).await;
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

/// What the driver needs besides its machine.
pub(crate) struct RingDriver {
    pub(crate) swim: Swim,
    pub(crate) net: Arc<std::sync::OnceLock<Net>>,
    /// Start of this node's monotonic time.
    pub(crate) epoch: Instant,
    /// Persists a raised start counter.
    pub(crate) raise: Box<dyn Fn(u64) + Send>,
    /// Told when the node cannot go on.
    pub(crate) failed: watch::Sender<Option<String>>,
}

impl RingDriver {
    /// Starts the driver as one of the node's loops.
    pub(crate) fn spawn(self, loops: &mut JoinSet<()>) -> Ring {
        let (inbox, inputs) = mpsc::channel(INBOX_MAX);
        let first = RingState { majority: true, incarnation: self.swim.me().incarnation, ..RingState::default() };
        let (view, state) = watch::channel(Arc::new(first));
        let failed = self.failed.clone();
        loops.spawn(guarded("ring", failed, self.run(inputs, view)));
        Ring { inbox, state }
    }

    async fn run(mut self, mut inputs: mpsc::Receiver<Input>, view: watch::Sender<Arc<RingState>>) {
        let mut published = self.swim.revision();
        loop {
            let due = self.swim.next_timeout().map(|at| self.epoch + Duration::from_millis(at.0));
            tokio::select! {
                biased;
                () = sleep_until(due.unwrap_or(self.epoch)), if due.is_some() => {
                    let now = self.now();
                    self.swim.handle_timeout(now);
                }
                input = inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
            }
            let turn = Instant::now();
            self.perform();
            if self.swim.revision() != published {
                published = self.swim.revision();
                view.send_replace(Arc::new(self.look()));
            }
            if turn.elapsed() > TURN_MAX {
                tracing::warn!(took = ?turn.elapsed(), "a turn of the ring took long");
            }
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn take(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Packet(from, packet) => {
                if let Err(error) = self.swim.handle_packet(now, from, &packet) {
                    tracing::debug!(%from, %error, "a packet of the ring was refused");
                }
            }
            Input::Join(seeds) => self.swim.join(now, &seeds),
            Input::Merge(facts) => {
                if let Err(error) = self.swim.merge(now, &facts) {
                    tracing::debug!(%error, "facts about members were refused");
                }
            }
            Input::Left(id, incarnation) => self.swim.mark_left(now, id, incarnation),
            Input::Facts(reply) => {
                let _ = reply.send(self.swim.facts());
            }
            Input::Resign => self.swim.resign(),
            Input::Leave => self.swim.leave(now),
        }
    }

    fn perform(&mut self) {
        for effect in self.swim.take_effects() {
            match effect {
                Effect::Send { to, packet } => {
                    if let Some(net) = self.net.get() {
                        if net.address(to.id).is_none() {
                            net.set_address(to.id, to.address);
                        }
                        net.send_datagram(to.id, packet.into());
                    }
                }
                Effect::Changed(change) => {
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

    /// The ring remembers a later start of this node. What it says is hearsay, so a leap is not followed: it could
    /// only be made to use the counter up.
    fn give_way(&self, theirs: Incarnation) {
        let mine = self.swim.me().incarnation.start;
        if theirs.start > mine.saturating_add(START_LEAP_MAX) {
            return tracing::error!(?theirs, mine, "the ring tells of a start of this node that cannot have been");
        }
        (self.raise)(theirs.start);
        let why = "the ring knows a later start of this node: its data folder was restored, or is in use twice; \
                   its start counter was raised, start it again";
        self.failed.send_replace(Some(why.into()));
    }

    fn look(&self) -> RingState {
        RingState {
            members: self.swim.members().clone(),
            majority: self.swim.sees_majority(),
            incarnation: self.swim.me().incarnation,
        }
    }
}
