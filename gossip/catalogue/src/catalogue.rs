//! All sets that a node holds, its own among them.

use crate::{
    Digest, Head, InvalidSet, OwnerSet, SET_BYTES_MAX, Sign, SignedSet, Verify,
    check::{check, shorten},
    digest,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taffeta_model::{Liveness, MEMBERS_MAX, Millis, NodeId, NodeInfo, TaskRecord};
use thiserror::Error;

/// How long the records of a node that is down are kept: if it comes back within, nothing has to be sent again.
pub const DOWN_KEPT: Duration = Duration::from_secs(600);

/// Most bytes of sets sent in one exchange; a peer that lacks more gets them in the next ones.
pub const EXCHANGE_BYTES_MAX: usize = 4 << 20;

/// Most bytes of encoded sets that are held: five times the largest cluster's (100,000 tasks of 400 bytes).
pub const TOTAL_BYTES_MAX: usize = 200 << 20;

/// What a merge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// It replaced what was held; pass it on.
    New,
    /// A newer one is held already.
    Old,
    /// It is the one that is held.
    Same,
}

/// Why a set of another node was refused. Nothing was changed, and it is not to be passed on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MergeError {
    /// Beyond [`SET_BYTES_MAX`].
    #[error("a set of {0} bytes; at most {SET_BYTES_MAX} are taken")]
    TooLarge(usize),
    /// Not a set, or not of this version.
    #[error("a set that cannot be decoded")]
    Malformed,
    /// Its owner is not a member; a joiner may ask again once it knows the members.
    #[error("a set of {0}, which is not a member")]
    UnknownOwner(NodeId),
    /// Whoever sent it made it up or damaged it.
    #[error("a set of {0} with a wrong signature")]
    BadSignature(NodeId),
    /// Signed by its owner, but not valid: the owner is faulty.
    #[error("a set of {owner} that is not valid")]
    Invalid {
        /// The owner.
        owner: NodeId,
        /// What is wrong.
        #[source]
        source: InvalidSet,
    },
    /// Rightly signed as ours, but newer than what we wrote: our start counter went back, or our data folder runs
    /// twice. Raise the start counter beyond this epoch, or nobody will hear of our tasks.
    #[error("a newer set of our own exists (epoch {}, set {}): this node's data was restored or runs twice", .0.epoch, .0.seq)]
    OwnIsNewer(Head),
    /// Beyond [`MEMBERS_MAX`] owners or [`TOTAL_BYTES_MAX`].
    #[error("the catalogue is full")]
    Full,
}

/// Why our own set was not published. The one before stays in force.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// A record or the machine's description is not valid.
    #[error("the records of this node are not valid")]
    Invalid(#[from] InvalidSet),
    /// Beyond [`SET_BYTES_MAX`].
    #[error("the records of this node take {0} bytes; at most {SET_BYTES_MAX} are allowed")]
    TooLarge(usize),
}

struct Entry {
    head: Head,
    signed: Arc<SignedSet>,
    set: Arc<OwnerSet>,
}

/// The sets of all owners. Cheap to read: views share the decoded sets.
pub struct Catalogue {
    me: NodeId,
    epoch: u64,
    /// At most [`MEMBERS_MAX`], together at most [`TOTAL_BYTES_MAX`].
    entries: BTreeMap<NodeId, Entry>,
    /// Heads of sets that were dropped, so that a peer that still has one does not bring it back. At most [`MEMBERS_MAX`].
    dropped: BTreeMap<NodeId, Head>,
    bytes: usize,
    revision: u64,
}

impl Catalogue {
    /// An empty catalogue; `epoch` is the start counter, higher than in any earlier life of this node.
    pub fn new(me: NodeId, epoch: u64) -> Self {
        Self { me, epoch, entries: BTreeMap::new(), dropped: BTreeMap::new(), bytes: 0, revision: 0 }
    }

    /// Grows with every change of what is held.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All sets in the order of owners, our own included.
    pub fn owners(&self) -> impl ExactSizeIterator<Item = &Arc<OwnerSet>> {
        self.entries.values().map(|entry| &entry.set)
    }

    /// The same as they travel.
    pub fn signed(&self) -> impl ExactSizeIterator<Item = &Arc<SignedSet>> {
        self.entries.values().map(|entry| &entry.signed)
    }

    /// The set of one owner.
    pub fn get(&self, owner: NodeId) -> Option<&Arc<OwnerSet>> {
        self.entries.get(&owner).map(|entry| &entry.set)
    }

    /// Publishes all records of this node; `None` if they are the same as before. The order does not matter; reasons
    /// that are too long are shortened. The first set of a life may well be empty: it replaces that of the life before.
    pub fn publish(
        &mut self,
        info: NodeInfo,
        mut records: Vec<TaskRecord>,
        signer: &dyn Sign,
    ) -> Result<Option<Arc<SignedSet>>, PublishError> {
        records.iter_mut().for_each(shorten);
        records.sort_by(|a, b| a.task.cmp(&b.task));
        let before = self.get(self.me);
        if before.is_some_and(|set| set.info == info && set.records == records) {
            return Ok(None);
        }
        let seq = before.map_or(0, |set| set.seq) + 1;
        let set = OwnerSet { owner: self.me, epoch: self.epoch, seq, info, records };
        check(&set)?;
        let bytes = postcard::to_stdvec(&set).expect("plain data can be encoded");
        if bytes.len() > SET_BYTES_MAX {
            return Err(PublishError::TooLarge(bytes.len()));
        }
        let signed = Arc::new(SignedSet::sign(bytes, signer));
        let head = signed.head().expect("just encoded");
        self.insert(head, signed.clone(), Arc::new(set));
        Ok(Some(signed))
    }

    /// Takes a set that came from anyone. `known` says who is a member. What is checked first is cheap, so that a flood
    /// of repetitions costs little.
    pub fn merge(
        &mut self,
        signed: impl Into<Arc<SignedSet>>,
        verifier: &dyn Verify,
        known: &dyn Fn(NodeId) -> bool,
    ) -> Result<Merged, MergeError> {
        let signed = signed.into();
        if signed.bytes.len() > SET_BYTES_MAX {
            return Err(MergeError::TooLarge(signed.bytes.len()));
        }
        let head = signed.head().ok_or(MergeError::Malformed)?;
        if let Some(held) = self.seen(head.owner).filter(|held| !head.is_newer_than(held)) {
            return Ok(if head == *held { Merged::Same } else { Merged::Old });
        }
        if head.owner == self.me && head.epoch < self.epoch {
            return Ok(Merged::Old);
        }
        if head.owner != self.me && !known(head.owner) {
            return Err(MergeError::UnknownOwner(head.owner));
        }
        if !signed.is_signed_by(head.owner, verifier) {
            return Err(MergeError::BadSignature(head.owner));
        }
        if head.owner == self.me {
            return Err(MergeError::OwnIsNewer(head));
        }
        let set = signed.decode().ok_or(MergeError::Malformed)?;
        check(&set).map_err(|source| MergeError::Invalid { owner: head.owner, source })?;
        self.check_room(&head, signed.bytes.len())?;
        self.insert(head, signed, Arc::new(set));
        Ok(Merged::New)
    }

    /// Drops the sets of nodes that are no members any more, and of those that have been down or away for
    /// [`DOWN_KEPT`]; gives their owners. `verdict` says what the ring thinks of a node and since when.
    pub fn expire(
        &mut self,
        now: Millis,
        verdict: &dyn Fn(NodeId) -> Option<(Liveness, Millis)>,
        known: &dyn Fn(NodeId) -> bool,
    ) -> Vec<NodeId> {
        let is_over = |owner: NodeId| match verdict(owner) {
            Some((Liveness::Down | Liveness::Left, since)) => now.since(since) >= DOWN_KEPT,
            Some((Liveness::Alive | Liveness::Suspect, _)) | None => false,
        };
        self.dropped.retain(|owner, _| known(*owner));
        let others = self.entries.keys().copied().filter(|owner| *owner != self.me);
        let gone: Vec<NodeId> = others.filter(|owner| !known(*owner) || is_over(*owner)).collect();
        for owner in &gone {
            let Some(entry) = self.entries.remove(owner) else { continue };
            self.bytes -= entry.signed.bytes.len();
            if known(*owner) && self.dropped.len() < MEMBERS_MAX {
                self.dropped.insert(*owner, entry.head);
            }
            self.revision += 1;
        }
        gone
    }

    /// What is held, in short.
    pub fn digest(&self) -> Digest {
        Digest::of(self.entries.values().map(|entry| entry.head))
    }

    /// The hash alone: what two nodes compare first.
    pub fn digest_hash(&self) -> u64 {
        digest::hash(self.entries.values().map(|entry| &entry.head))
    }

    /// Sets that the other lacks or has an older one of; [`EXCHANGE_BYTES_MAX`] bytes at most. `seed` chooses where
    /// to begin, so that what a peer refuses does not keep the rest from it for ever.
    pub fn missing_from(&self, theirs: &Digest, seed: u64) -> Vec<Arc<SignedSet>> {
        let theirs = theirs.by_owner();
        let lacks = |entry: &&Entry| theirs.get(&entry.head.owner).is_none_or(|head| entry.head.is_newer_than(head));
        bounded(self.entries.values().filter(lacks).map(|entry| &entry.signed).collect(), seed)
    }

    /// Owners of whom the other has a newer set.
    pub fn wants(&self, theirs: &Digest) -> Vec<NodeId> {
        let theirs = theirs.by_owner();
        let newer = |head: &&Head| self.seen(head.owner).is_none_or(|held| head.is_newer_than(held));
        theirs.values().filter(|head| head.owner != self.me).filter(newer).map(|head| head.owner).collect()
    }

    /// The sets of these owners: the answer to what a peer wants. [`EXCHANGE_BYTES_MAX`] bytes at most.
    pub fn sets_of(&self, owners: &[NodeId], seed: u64) -> Vec<Arc<SignedSet>> {
        let wanted = owners.iter().take(MEMBERS_MAX).filter_map(|owner| self.entries.get(owner));
        bounded(wanted.map(|entry| &entry.signed).collect(), seed)
    }

    /// The other's set of ours, if it is newer than our own: see [`MergeError::OwnIsNewer`]. Not proven by a signature.
    pub fn outranked(&self, theirs: &Digest) -> Option<Head> {
        let head = theirs.by_owner().remove(&self.me).filter(|head| head.epoch >= self.epoch)?;
        Some(head).filter(|head| self.seen(self.me).is_none_or(|held| head.is_newer_than(held)))
    }

    /// The newest head that was ever held of the owner.
    fn seen(&self, owner: NodeId) -> Option<&Head> {
        self.entries.get(&owner).map(|entry| &entry.head).or_else(|| self.dropped.get(&owner))
    }

    fn check_room(&self, head: &Head, bytes: usize) -> Result<(), MergeError> {
        let replaced = self.entries.get(&head.owner).map(|entry| entry.signed.bytes.len());
        let owners = self.entries.len() + usize::from(replaced.is_none());
        let total = self.bytes - replaced.unwrap_or(0) + bytes;
        if owners > MEMBERS_MAX || total > TOTAL_BYTES_MAX { Err(MergeError::Full) } else { Ok(()) }
    }

    fn insert(&mut self, head: Head, signed: Arc<SignedSet>, set: Arc<OwnerSet>) {
        self.dropped.remove(&head.owner);
        self.bytes += signed.bytes.len();
        if let Some(before) = self.entries.insert(head.owner, Entry { head, signed, set }) {
            self.bytes -= before.signed.bytes.len();
        }
        self.revision += 1;
    }
}

/// As many as fit into one exchange, and one at least, beginning anywhere.
fn bounded(mut sets: Vec<&Arc<SignedSet>>, seed: u64) -> Vec<Arc<SignedSet>> {
    if !sets.is_empty() {
        let start = seed % sets.len() as u64;
        sets.rotate_left(start as usize);
    }
    let mut bytes = 0;
    let fits = |set: &&&Arc<SignedSet>| {
        bytes += set.bytes.len();
        bytes <= EXCHANGE_BYTES_MAX // a single set always does
    };
    sets.iter().take_while(fits).map(|set| Arc::clone(set)).collect()
}
