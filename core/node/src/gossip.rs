//! Drives the catalogue's machine: this node's set goes out, others' come in, and a newcomer gets all at once.

mod newcomer;

use crate::{generation::Generation, ring::Ring};
use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};
use taffeta_catalogue::{
    MergeError, Message, Sign, SignedSet, SnapshotChunks, Spread, SpreadEffect, Update, Verify, Way, decode, encode,
};
use taffeta_model::{Bug, Directory, Liveness, Millis, NodeId, NodeInfo, TaskRecord, next_beat, planted};
use taffeta_net::{Bytes, Entropy, Lane, Net, NodeKey, PublicKey};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep_until},
};

pub use taffeta_catalogue::Sets;

/// How often it is looked for sets that are to be dropped.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// How long a push may take.
const PUSH_LIMIT: Duration = Duration::from_secs(2);
/// Pushes under way at once; what more is wanted is mended by comparisons.
const PUSHES_MAX: usize = 256;

/// Stands before a catalogue's packet: the ring's own kinds of packets begin with lower numbers.
pub(crate) const PACKET: u8 = 16;

/// The catalogue with its transport. Clones are one.
#[derive(Clone)]
pub(crate) struct GossipHub {
    inner: Arc<Inner>,
}

struct Inner {
    me: NodeId,
    key: Arc<NodeKey>,
    spread: Mutex<Spread>,
    /// Told when the machine may want to be woken earlier.
    rearm: Notify,
    sets: watch::Sender<Arc<Sets>>,
    /// Whether a member has told this node all that it holds, or there was nobody to ask.
    complete: watch::Sender<bool>,
    net: Arc<OnceLock<Net>>,
    ring: Ring,
    directory: watch::Receiver<Arc<Directory>>,
    entropy: Arc<dyn Entropy>,
    generation: Generation,
    pushes: Arc<Semaphore>,
    epoch: Instant,
}

struct Signer<'a>(&'a NodeKey);

impl Sign for Signer<'_> {
    fn public_key(&self) -> [u8; 32] {
        self.0.public().0
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

/// A key must hash to the owner's id, and be the one that the directory binds to it, where the owner is in there.
struct Verifier<'a>(&'a Directory);

impl Verify for Verifier<'_> {
    fn verify(&self, owner: NodeId, public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        let key = PublicKey(*public_key);
        let bound = self.0.members.get(&owner).is_none_or(|member| member.public_key == *public_key);
        planted(Bug::ForgeRecord) || bound && key.node_id() == owner && key.verify(message, signature)
    }
}

/// What a hub is made of.
pub(crate) struct GossipParts {
    pub(crate) me: NodeId,
    pub(crate) key: Arc<NodeKey>,
    pub(crate) starts: u64,
    pub(crate) net: Arc<OnceLock<Net>>,
    pub(crate) ring: Ring,
    pub(crate) directory: watch::Receiver<Arc<Directory>>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) generation: Generation,
    pub(crate) epoch: Instant,
}

impl GossipHub {
    pub(crate) fn new(parts: GossipParts) -> Self {
        let GossipParts { me, key, starts, net, ring, directory, entropy, generation, epoch } = parts;
        let spread = Spread::new(me, starts, entropy.seed());
        Self {
            inner: Arc::new(Inner {
                me,
                key,
                spread: Mutex::new(spread),
                rearm: Notify::new(),
                sets: watch::Sender::new(Arc::default()),
                complete: watch::Sender::new(false),
                net,
                ring,
                directory,
                entropy,
                generation,
                pushes: Arc::new(Semaphore::new(PUSHES_MAX)),
                epoch,
            }),
        }
    }

    /// Everything that is held, as it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Sets>> {
        self.inner.sets.subscribe()
    }

    /// Everything that is held.
    pub(crate) fn sets(&self) -> Arc<Sets> {
        Arc::clone(&self.inner.sets.borrow())
    }

    /// Everything that is held, with the owners' signatures.
    pub(crate) fn signed_sets(&self) -> Vec<Arc<SignedSet>> {
        self.sets().values().map(|held| Arc::new(held.signed())).collect()
    }

    /// Everything that is held, for a newcomer.
    pub(crate) fn snapshot(&self) -> SnapshotChunks {
        self.spread().catalogue().snapshot_chunks()
    }

    /// Whether this node has had a complete view once.
    pub(crate) fn complete(&self) -> watch::Receiver<bool> {
        self.inner.complete.subscribe()
    }

    /// There is nobody to ask, or somebody has told all.
    pub(crate) fn set_complete(&self) {
        self.inner.complete.send_if_modified(|done| !std::mem::replace(done, true));
    }

    /// Publishes what this node says of itself, if it is something new.
    pub(crate) fn publish(&self, info: NodeInfo, records: Vec<TaskRecord>) {
        let effects = {
            let mut spread = self.spread();
            if let Err(error) = spread.publish(self.now(), info, records, &Signer(&self.inner.key)) {
                tracing::error!(%error, "this node's records could not be published");
            }
            spread.take_effects()
        };
        self.perform(effects);
    }

    /// A record of another node, if there is any.
    pub(crate) fn foreign_record(&self) -> Option<TaskRecord> {
        let sets = self.sets();
        let others = sets.values().filter(|set| set.owner != self.inner.me);
        others.flat_map(|set| &set.records).next().map(|record| TaskRecord::clone(record))
    }

    /// Takes a message of another member, pushed or in a packet.
    pub(crate) fn take(&self, from: NodeId, message: &[u8]) {
        let message = match decode(message) {
            Ok(message) => message,
            Err(error) => {
                count_refused("malformed");
                return tracing::debug!(%from, %error, "a catalogue message was refused");
            }
        };
        self.drive(|spread, directory, known| spread.handle(self.now(), from, message, &Verifier(directory), known));
    }

    /// Takes sets that a member told this newcomer.
    fn adopt(&self, from: NodeId, sets: Vec<SignedSet>) {
        self.drive(|spread, directory, known| spread.handle_snapshot(from, sets, &Verifier(directory), known));
    }

    /// Keeps the machine's time, and its idea of who is there, until the node ends.
    pub(crate) async fn run(self) {
        let mut ring = self.inner.ring.watch();
        let next_look = || self.inner.epoch + next_beat(self.inner.epoch.elapsed(), EXPIRE_EVERY);
        let mut expire_at = next_look();
        let (mut seen, mut peers) = (None, vec![]);
        loop {
            let state = Arc::clone(&ring.borrow_and_update());
            if seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &state)) {
                let present = state.present();
                if present != peers {
                    self.drive(|spread, _, _| spread.set_peers(self.now(), &present));
                    peers = present;
                }
                seen = Some(state);
            }
            let due = self.spread().next_timeout().map(|at| self.inner.epoch + Duration::from_millis(at.0));
            tokio::select! {
                () = sleep_until(due.unwrap_or(expire_at)), if due.is_some() => {
                    self.drive(|spread, _, _| spread.handle_timeout(self.now()));
                }
                () = sleep_until(expire_at) => {
                    self.expire();
                    expire_at = next_look();
                }
                changed = ring.changed() => if changed.is_err() { return },
                () = self.inner.rearm.notified() => {}
            }
        }
    }

    /// Gives the machine an input and performs what it wants.
    fn drive(&self, input: impl FnOnce(&mut Spread, &Directory, &dyn Fn(NodeId) -> bool)) {
        let (directory, ring) = (Arc::clone(&self.inner.directory.borrow()), self.inner.ring.state());
        let known = |id| {
            !directory.removed.contains(&id) && (directory.members.contains_key(&id) || ring.members.contains_key(&id))
        };
        let effects = {
            let mut spread = self.spread();
            input(&mut spread, &directory, &known);
            spread.take_effects()
        };
        self.perform(effects);
    }

    fn perform(&self, effects: Vec<SpreadEffect>) {
        let mut changed = false;
        for effect in effects {
            match effect {
                SpreadEffect::Send { to, message, way: Way::Stream } => {
                    let message = if planted(Bug::ForgeRecord) { self.forged(message) } else { message };
                    self.push(to, self.inner.generation.mark(&encode(&message)));
                }
                SpreadEffect::Send { to, message, way: Way::Datagram } => {
                    if let Some(net) = self.inner.net.get() {
                        let packet = [&[PACKET], &encode(&message)[..]].concat();
                        net.send_datagram(to, Bytes::from(self.inner.generation.mark(&packet)));
                    }
                }
                SpreadEffect::Changed(_) => changed = true,
                SpreadEffect::Refused { from, owner, error } => {
                    count_refused(reason(&error));
                    tracing::warn!(%from, ?owner, %error, "a set of records was refused");
                }
                SpreadEffect::Outranked(head) => tracing::warn!(
                    epoch = head.epoch,
                    seq = head.seq,
                    "a newer set of this node exists: its data was restored, or runs twice"
                ),
            }
        }
        if changed {
            // Looked at and told in one go, so that an older view cannot follow a newer one.
            let spread = self.spread();
            self.inner.sets.send_replace(Arc::new(spread.catalogue().sets().clone()));
            metrics::gauge!("taffeta_catalogue_bytes").set(spread.catalogue().bytes() as f64);
            metrics::gauge!("taffeta_catalogue_owners").set(spread.catalogue().sets().len() as f64);
        }
        self.inner.rearm.notify_one();
    }

    /// What a relay that changes others' sets would pass on.
    fn forged(&self, message: Message) -> Message {
        let Message::Push(mut updates) = message else { return message };
        for update in updates.iter_mut().filter(|update| update.owner() != Some(self.inner.me)) {
            match update {
                Update::Whole(set) => Arc::make_mut(set).signature[0] ^= 1,
                Update::Delta(delta) => Arc::make_mut(delta).signature[0] ^= 1,
            }
        }
        Message::Push(updates)
    }

    fn push(&self, peer: NodeId, message: Vec<u8>) {
        let (Some(net), Ok(permit)) =
            (self.inner.net.get().cloned(), Arc::clone(&self.inner.pushes).try_acquire_owned())
        else {
            return count_refused("push_backlog");
        };
        tokio::spawn(async move {
            if let Err(error) = net.push(peer, Lane::Catalogue, &message, PUSH_LIMIT).await {
                tracing::debug!(%peer, %error, "a catalogue message was not pushed");
            }
            drop(permit);
        });
    }

    /// Drops the sets of those who are gone.
    pub(crate) fn expire(&self) {
        let ring = self.inner.ring.state();
        let verdict = |id: NodeId| match ring.members.get(&id) {
            Some(member) => Some((member.liveness, member.since)),
            None => (id == self.inner.me).then_some((Liveness::Alive, Millis(0))),
        };
        self.drive(|spread, _, known| spread.expire(self.now(), &verdict, known));
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.inner.epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn spread(&self) -> MutexGuard<'_, Spread> {
        self.inner.spread.lock().expect("no panic while the catalogue is held")
    }
}

fn count_refused(reason: &'static str) {
    metrics::counter!("taffeta_catalogue_refused_total", "reason" => reason).increment(1);
}

fn reason(error: &MergeError) -> &'static str {
    match error {
        MergeError::TooLarge(_) => "oversized",
        MergeError::Malformed => "malformed",
        MergeError::UnknownOwner(_) => "unknown_owner",
        MergeError::BadSignature(_) => "bad_signature",
        MergeError::Invalid { .. } => "invalid",
        MergeError::OwnIsNewer(_) => "own_is_newer",
        MergeError::Full => "full",
    }
}
