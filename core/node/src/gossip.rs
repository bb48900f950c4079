//! Drives the catalogue: this node's set goes out, others' come in, and what packets lost is mended by comparing.

use crate::{
    ring::Ring,
    wire::{Gossip, GossipReply, decode, encode},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};
use taffeta_catalogue::{Catalogue, Merged, OwnerSet, Sign, SignedSet, Verify, forward};
use taffeta_model::{Bug, Directory, Liveness, Millis, NodeId, NodeInfo, TaskRecord, planted};
use taffeta_net::{Entropy, Lane, Net, NodeKey, PublicKey};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, interval},
};

/// How often two nodes compare what they hold. Pushes bring news; this mends what they lost.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// How long a push or a comparison may take.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(2);
/// Pushes under way at once; more wait for a comparison.
const PUSHES_MAX: usize = 256;

/// Everything that is held, by owner.
pub(crate) type Sets = BTreeMap<NodeId, Arc<OwnerSet>>;

/// The catalogue with its transport. Clones are one.
#[derive(Clone)]
pub(crate) struct GossipHub {
    inner: Arc<Inner>,
}

struct Inner {
    me: NodeId,
    key: Arc<NodeKey>,
    catalogue: Mutex<Catalogue>,
    sets: watch::Sender<Arc<Sets>>,
    /// Whether a comparison with a live member has been completed, or there was nobody to compare with.
    complete: watch::Sender<bool>,
    net: Arc<OnceLock<Net>>,
    ring: Ring,
    directory: watch::Receiver<Arc<Directory>>,
    entropy: Arc<dyn Entropy>,
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
    pub(crate) epoch: Instant,
}

impl GossipHub {
    pub(crate) fn new(parts: GossipParts) -> Self {
        let GossipParts { me, key, starts, net, ring, directory, entropy, epoch } = parts;
        Self {
            inner: Arc::new(Inner {
                me,
                key,
                catalogue: Mutex::new(Catalogue::new(me, starts)),
                sets: watch::Sender::new(Arc::default()),
                complete: watch::Sender::new(false),
                net,
                ring,
                directory,
                entropy,
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
        self.catalogue().signed().cloned().collect()
    }

    /// Whether this node has had a complete view once.
    pub(crate) fn complete(&self) -> watch::Receiver<bool> {
        self.inner.complete.subscribe()
    }

    /// Publishes what this node says of itself, if it is something new.
    pub(crate) fn publish(&self, info: NodeInfo, records: Vec<TaskRecord>) {
        let published = self.catalogue().publish(info, records, &Signer(&self.inner.key));
        match published {
            Ok(Some(set)) => {
                self.announce();
                self.spread(&set, self.inner.me);
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "this node's records could not be published"),
        }
    }

    /// A record of another node, if there is any.
    pub(crate) fn foreign_record(&self) -> Option<TaskRecord> {
        let sets = self.sets();
        let others = sets.values().filter(|set| set.owner != self.inner.me);
        others.flat_map(|set| &set.records).next().cloned()
    }

    /// Takes a message that was pushed.
    pub(crate) fn take(&self, from: NodeId, message: &[u8]) {
        match decode(message) {
            Ok(Gossip::Set(set)) => self.merge(from, set),
            Ok(Gossip::Compare(_) | Gossip::Fetch(_)) => tracing::debug!(%from, "a question that was not called"),
            Err(error) => tracing::debug!(%from, error, "a catalogue message was refused"),
        }
    }

    /// Answers a call.
    pub(crate) fn answer(&self, from: NodeId, message: &[u8]) -> Result<Vec<u8>, String> {
        let reply = match decode(message)? {
            Gossip::Compare(hash) if hash == self.catalogue().digest_hash() => GossipReply::Same,
            Gossip::Compare(_) => GossipReply::Digest(self.catalogue().digest()),
            Gossip::Fetch(owners) => {
                let sets = self.catalogue().sets_of(&owners, self.inner.entropy.seed());
                GossipReply::Sets(sets.iter().map(|set| (**set).clone()).collect())
            }
            Gossip::Set(set) => {
                self.merge(from, set);
                GossipReply::Same
            }
        };
        Ok(encode(&reply))
    }

    /// Compares with a random live member now and then, until the node ends.
    pub(crate) async fn run(self) {
        let mut tick = interval(COMPARE_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ring = self.inner.ring.watch();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                changed = ring.changed(), if !*self.inner.complete.borrow() => if changed.is_err() { return },
            }
            self.expire();
            let alive = self.inner.ring.state().alive();
            if alive.is_empty() {
                continue;
            }
            let pick = self.inner.entropy.seed() % alive.len() as u64;
            let peer = alive[usize::try_from(pick).expect("smaller than a length")];
            match self.compare(peer).await {
                Ok(()) => self.set_complete(),
                Err(error) => tracing::debug!(%peer, error, "comparing catalogues failed"),
            }
        }
    }

    /// There is nobody to compare with, or a comparison was completed.
    pub(crate) fn set_complete(&self) {
        self.inner.complete.send_if_modified(|done| !std::mem::replace(done, true));
    }

    async fn compare(&self, peer: NodeId) -> Result<(), String> {
        let hash = self.catalogue().digest_hash();
        let theirs = match self.call(peer, &Gossip::Compare(hash)).await? {
            GossipReply::Digest(digest) => digest,
            GossipReply::Same | GossipReply::Sets(_) => return Ok(()),
        };
        let (missing, wanted) = {
            let catalogue = self.catalogue();
            (catalogue.missing_from(&theirs, self.inner.entropy.seed()), catalogue.wants(&theirs))
        };
        for set in missing {
            self.push(peer, &set);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        if let GossipReply::Sets(sets) = self.call(peer, &Gossip::Fetch(wanted)).await? {
            sets.into_iter().for_each(|set| self.merge(peer, set));
        }
        Ok(())
    }

    async fn call(&self, peer: NodeId, message: &Gossip) -> Result<GossipReply, String> {
        let net = self.inner.net.get().ok_or("not joined yet")?;
        let reply = net.call(peer, Lane::Catalogue, &encode(message), EXCHANGE_LIMIT).await;
        decode(&reply.map_err(|e| e.to_string())?)
    }

    fn merge(&self, from: NodeId, set: SignedSet) {
        let set = Arc::new(set);
        let Some(owner) = set.head().map(|head| head.owner) else { return };
        let (directory, ring) = (Arc::clone(&self.inner.directory.borrow()), self.inner.ring.state());
        let known = |id| directory.members.contains_key(&id) || ring.members.contains_key(&id);
        let merged = self.catalogue().merge(Arc::clone(&set), &Verifier(&directory), &known);
        match merged {
            Ok(Merged::New) => {
                self.announce();
                self.spread(&set, from);
            }
            Ok(Merged::Old | Merged::Same) => {}
            Err(error) => {
                metrics::counter!("taffeta_catalogue_refused_total").increment(1);
                tracing::warn!(%from, %owner, %error, "a set of records was refused");
            }
        }
    }

    /// Pushes a set that was news here to those who may not have it.
    fn spread(&self, set: &Arc<SignedSet>, from: NodeId) {
        let Some(head) = set.head() else { return };
        let alive = self.inner.ring.state().alive();
        for peer in forward(head.owner, from, &alive, self.inner.entropy.seed()) {
            self.push(peer, set);
        }
    }

    fn push(&self, peer: NodeId, set: &Arc<SignedSet>) {
        let (Some(net), Ok(permit)) =
            (self.inner.net.get().cloned(), Arc::clone(&self.inner.pushes).try_acquire_owned())
        else {
            return;
        };
        let mut sent = (**set).clone();
        if planted(Bug::ForgeRecord) && set.head().is_some_and(|head| head.owner != self.inner.me) {
            sent.signature[0] ^= 1;
        }
        let message = encode(&Gossip::Set(sent));
        tokio::spawn(async move {
            if let Err(error) = net.push(peer, Lane::Catalogue, &message, EXCHANGE_LIMIT).await {
                tracing::debug!(%peer, %error, "a set was not pushed");
            }
            drop(permit);
        });
    }

    fn expire(&self) {
        let ring = self.inner.ring.state();
        let verdict = |id: NodeId| match ring.members.get(&id) {
            Some(member) => Some((member.liveness, member.since)),
            None => (id == self.inner.me).then_some((Liveness::Alive, Millis(0))),
        };
        let now = Millis(u64::try_from(self.inner.epoch.elapsed().as_millis()).unwrap_or(u64::MAX));
        let directory = Arc::clone(&self.inner.directory.borrow());
        let known = |id| directory.members.contains_key(&id) || ring.members.contains_key(&id);
        if !self.catalogue().expire(now, &verdict, &known).is_empty() {
            self.announce();
        }
    }

    fn announce(&self) {
        let sets = self.catalogue().owners().map(|set| (set.owner, Arc::clone(set))).collect();
        self.inner.sets.send_replace(Arc::new(sets));
    }

    fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        self.inner.catalogue.lock().expect("no panic while the catalogue is held")
    }
}
