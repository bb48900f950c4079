//! All sets that a node holds, its own among them.

use crate::{
    Head, Held, InvalidSet, OwnerSet, SET_BYTES_MAX, SetDelta, Sets, ShortHash, Sign, SignedSet, Update, Verify,
    check::{check, shorten},
    digest::Buckets,
    held::share,
    set::encode_set,
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
    /// A delta that builds on a set that is not held: ask for the whole one.
    Gap,
}

/// Why a set of another node was refused. Nothing was changed, and it is not to be passed on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MergeError {
    /// Beyond [`SET_BYTES_MAX`].
    #[error("a set of {0} bytes; at most {SET_BYTES_MAX} are taken")]
    TooLarge(usize),
    /// Not a set, not of this version, or not in the only encoding that is taken.
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

/// The sets of all owners. Readers take [`Self::sets`], which later changes leave as it is.
pub struct Catalogue {
    me: NodeId,
    epoch: u64,
    /// At most [`MEMBERS_MAX`], together at most [`TOTAL_BYTES_MAX`].
    sets: Sets,
    /// Heads of sets that were dropped, so that a peer that still has one does not bring it back. At most [`MEMBERS_MAX`].
    dropped: BTreeMap<NodeId, Head>,
    buckets: Buckets,
    bytes: usize,
    revision: u64,
}

impl Catalogue {
    /// An empty catalogue; `epoch` is the start counter, higher than in any earlier life of this node.
    pub fn new(me: NodeId, epoch: u64) -> Self {
        let (sets, dropped, buckets) = (Sets::new(), BTreeMap::new(), Buckets::new());
        Self { me, epoch, sets, dropped, buckets, bytes: 0, revision: 0 }
    }

    /// What another member holds who holds the same, as a start. Takes little memory as long as the two hold the same.
    pub fn copy_for(&self, me: NodeId, epoch: u64) -> Self {
        let (sets, dropped, buckets) = (self.sets.clone(), self.dropped.clone(), self.buckets.clone());
        Self { me, epoch, sets, dropped, buckets, bytes: self.bytes, revision: 0 }
    }

    /// Puts a set that another catalogue of this process holds in the place of an equal one: then it is in memory once.
    pub fn share(&mut self, held: &Arc<Held>) {
        if self.get(held.owner).is_some_and(|mine| mine == held && !Arc::ptr_eq(mine, held)) {
            self.sets.insert(held.owner, Arc::clone(held));
        }
    }

    /// Grows with every change of what is held.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All sets by owner, our own included.
    pub fn sets(&self) -> &Sets {
        &self.sets
    }

    /// The set of one owner.
    pub fn get(&self, owner: NodeId) -> Option<&Arc<Held>> {
        self.sets.get(&owner)
    }

    /// Bytes of all sets in their encoding; at most [`TOTAL_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Publishes all records of this node; `None` if they are the same as before. The order does not matter; reasons
    /// that are too long are shortened. The first set of a life may well be empty: it replaces that of the life before.
    /// What is to be sent is the shorter of the whole set and what is different.
    pub fn publish(
        &mut self,
        info: NodeInfo,
        mut records: Vec<TaskRecord>,
        signer: &dyn Sign,
    ) -> Result<Option<Update>, PublishError> {
        records.iter_mut().for_each(shorten);
        records.sort_by(|a, b| a.task.cmp(&b.task));
        let before = self.get(self.me).cloned();
        let mut records: Vec<_> = records.into_iter().map(Arc::new).collect();
        share(&mut records, before.as_ref().map_or(&[], |held| &held.records));
        if before.as_ref().is_some_and(|held| held.info == info && held.records == records) {
            return Ok(None);
        }
        let seq = before.as_ref().map_or(0, |held| held.seq) + 1;
        let set = OwnerSet { owner: self.me, epoch: self.epoch, seq, info, records };
        check(&set)?;
        let bytes = encode_set(&set);
        if bytes.len() > SET_BYTES_MAX {
            return Err(PublishError::TooLarge(bytes.len()));
        }
        let signed = SignedSet::sign(bytes, signer);
        let delta = before.map(|base| SetDelta::between(&base, &set, signed.signature));
        let head = signed.head().expect("just encoded");
        self.insert(Held::new(set, head, &signed));
        let whole = Update::from(signed);
        let shorter = delta.map(|delta| Update::Delta(Arc::new(delta))).filter(|delta| delta.size() < whole.size());
        Ok(Some(shorter.unwrap_or(whole)))
    }

    /// Takes an update that came from anyone. `known` says who is a member. What is checked first is cheap, so that a
    /// flood of repetitions costs little.
    pub fn merge(
        &mut self,
        update: &Update,
        verifier: &dyn Verify,
        known: &dyn Fn(NodeId) -> bool,
    ) -> Result<Merged, MergeError> {
        match update {
            Update::Whole(signed) => self.merge_whole(signed, verifier, known),
            Update::Delta(delta) => self.merge_delta(delta, verifier, known),
        }
    }

    fn merge_whole(
        &mut self,
        signed: &SignedSet,
        verifier: &dyn Verify,
        known: &dyn Fn(NodeId) -> bool,
    ) -> Result<Merged, MergeError> {
        if signed.bytes.len() > SET_BYTES_MAX {
            return Err(MergeError::TooLarge(signed.bytes.len()));
        }
        let head = signed.head().ok_or(MergeError::Malformed)?;
        if let Some(seen) = self.seen(head.owner).filter(|seen| !head.is_newer_than(seen)) {
            return Ok(if head == *seen { Merged::Same } else { Merged::Old });
        }
        if head.owner == self.me && head.epoch < self.epoch {
            return Ok(Merged::Old);
        }
        if head.owner != self.me && !known(head.owner) {
            return Err(MergeError::UnknownOwner(head.owner));
        }
        self.check_author(head, signed, verifier)?;
        let mut set = signed.decode().ok_or(MergeError::Malformed)?;
        if encode_set(&set) != signed.bytes {
            return Err(MergeError::Malformed);
        }
        check(&set).map_err(|source| MergeError::Invalid { owner: head.owner, source })?;
        self.check_room(&head, signed.bytes.len())?;
        share(&mut set.records, self.get(head.owner).map_or(&[], |held| &held.records));
        self.insert(Held::new(set, head, signed));
        Ok(Merged::New)
    }

    fn merge_delta(
        &mut self,
        delta: &SetDelta,
        verifier: &dyn Verify,
        known: &dyn Fn(NodeId) -> bool,
    ) -> Result<Merged, MergeError> {
        let owner = delta.owner;
        if let Some(seen) = self.seen(owner).filter(|seen| (delta.epoch, delta.seq) <= (seen.epoch, seen.seq)) {
            let is_same = (delta.epoch, delta.seq) == (seen.epoch, seen.seq);
            return Ok(if is_same { Merged::Same } else { Merged::Old });
        }
        if owner == self.me && delta.epoch < self.epoch {
            return Ok(Merged::Old);
        }
        if owner != self.me && !known(owner) {
            return Err(MergeError::UnknownOwner(owner));
        }
        let Some(base) = self.get(owner).filter(|base| delta.builds_on(&base.head)) else {
            return Ok(Merged::Gap);
        };
        let set = delta.apply(base).ok_or(MergeError::Malformed)?;
        let bytes = encode_set(&set);
        if bytes.len() > SET_BYTES_MAX {
            return Err(MergeError::TooLarge(bytes.len()));
        }
        let signed = SignedSet { bytes, public_key: base.public_key, signature: delta.signature };
        let head = signed.head().expect("just encoded");
        self.check_author(head, &signed, verifier)?;
        check(&set).map_err(|source| MergeError::Invalid { owner, source })?;
        self.check_room(&head, signed.bytes.len())?;
        self.insert(Held::new(set, head, &signed));
        Ok(Merged::New)
    }

    /// That the owner wrote it, and is not us.
    fn check_author(&self, head: Head, signed: &SignedSet, verifier: &dyn Verify) -> Result<(), MergeError> {
        if !signed.is_signed_by(head.owner, verifier) {
            return Err(MergeError::BadSignature(head.owner));
        }
        if head.owner == self.me { Err(MergeError::OwnIsNewer(head)) } else { Ok(()) }
    }

    /// Drops the sets of nodes that are no members any more, and of those that have been down or away for
    /// [`DOWN_KEPT`]; gives their owners. `verdict` says what the ring thinks of a node and since when. The dropped set
    /// of a node that is back is welcome again: behind a partition it may have lived on without any change.
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
        let is_back = |owner| matches!(verdict(owner), Some((Liveness::Alive | Liveness::Suspect, _)));
        let dropped = self.dropped.keys().copied();
        let forgotten: Vec<NodeId> = dropped.filter(|owner| !known(*owner) || is_back(*owner)).collect();
        for owner in forgotten {
            self.dropped.remove(&owner);
            self.buckets.forget(owner);
        }
        let others = self.sets.keys().copied().filter(|owner| *owner != self.me);
        let gone: Vec<NodeId> = others.filter(|owner| !known(*owner) || is_over(*owner)).collect();
        gone.iter().for_each(|owner| self.drop_set(*owner, known(*owner)));
        gone
    }

    fn drop_set(&mut self, owner: NodeId, is_member: bool) {
        let Some(held) = self.sets.remove(&owner) else { return };
        self.bytes -= held.size();
        self.buckets.remove(&held.head);
        if is_member && self.dropped.len() < MEMBERS_MAX {
            self.dropped.insert(owner, held.head);
        } else {
            self.buckets.forget(owner);
        }
        self.revision += 1;
    }

    /// Hash of all heads: what two nodes compare first. Takes no time, as little as [`Self::bucket_hash`].
    pub fn digest_hash(&self) -> u64 {
        self.buckets.total()
    }

    /// Hash of the heads in one of [`crate::BUCKETS`]; that of nothing if there is no such bucket.
    pub fn bucket_hash(&self, bucket: u16) -> ShortHash {
        self.buckets.hash(bucket)
    }

    /// Heads of the sets in a bucket, in the order of owners.
    pub fn heads_in(&self, bucket: u16) -> impl Iterator<Item = Head> {
        self.buckets.owners(bucket).filter_map(|owner| self.get(owner)).map(|held| held.head)
    }

    /// Heads in a bucket whose sets were dropped: nothing is asked of their owners, and they are not to be sent.
    pub fn dropped_in(&self, bucket: u16) -> impl Iterator<Item = Head> {
        self.buckets.owners(bucket).filter_map(|owner| self.dropped.get(&owner)).copied()
    }

    /// Whether there is a newer set than was ever held of this owner. One of our own counts too, see
    /// [`MergeError::OwnIsNewer`]: a head is not proven by a signature, the set is.
    pub fn lacks(&self, head: &Head) -> bool {
        let is_past = head.owner == self.me && head.epoch < self.epoch;
        !is_past && self.seen(head.owner).is_none_or(|seen| head.is_newer_than(seen))
    }

    /// The sets of these owners: the answer to what a peer wants. [`EXCHANGE_BYTES_MAX`] bytes at most; `seed` chooses
    /// where to begin, so that what a peer refuses does not keep the rest from it for ever.
    pub fn sets_of(&self, owners: &[NodeId], seed: u64) -> Vec<Arc<SignedSet>> {
        let mut wanted: Vec<_> = owners.iter().take(MEMBERS_MAX).filter_map(|owner| self.get(*owner)).collect();
        if !wanted.is_empty() {
            let start = seed % wanted.len() as u64;
            wanted.rotate_left(start as usize);
        }
        let mut bytes = 0;
        let fits = |held: &&&Arc<Held>| {
            bytes += held.size();
            bytes <= EXCHANGE_BYTES_MAX // a single set always does
        };
        wanted.iter().take_while(fits).map(|held| Arc::new(held.signed())).collect()
    }

    /// The newest head that was ever held of the owner.
    fn seen(&self, owner: NodeId) -> Option<&Head> {
        self.sets.get(&owner).map(|held| &held.head).or_else(|| self.dropped.get(&owner))
    }

    fn check_room(&self, head: &Head, bytes: usize) -> Result<(), MergeError> {
        let replaced = self.get(head.owner).map(|held| held.size());
        let owners = self.sets.len() + usize::from(replaced.is_none());
        let total = self.bytes - replaced.unwrap_or(0) + bytes;
        if owners > MEMBERS_MAX || total > TOTAL_BYTES_MAX { Err(MergeError::Full) } else { Ok(()) }
    }

    fn insert(&mut self, held: Held) {
        self.dropped.remove(&held.owner);
        self.bytes += held.size();
        self.buckets.add(&held.head);
        if let Some(before) = self.sets.insert(held.owner, Arc::new(held)) {
            self.bytes -= before.size();
            self.buckets.remove(&before.head);
        }
        self.revision += 1;
    }
}
