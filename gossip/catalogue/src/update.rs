//! What travels when an owner's set changes: the whole of it, or what is different.

use crate::{Head, Held, OwnerSet, SignedSet, digest::Mark, set::halves};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, sync::Arc};
use taffeta_model::{NodeId, NodeInfo, TaskId, TaskRecord};

/// News of one owner. Relays pass on the very update that they got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Update {
    /// The set itself: needs nothing else.
    Whole(Arc<SignedSet>),
    /// Of use to whoever holds the set that it builds on.
    Delta(Arc<SetDelta>),
}

/// How a set differs from an earlier one of the same epoch. The receiver makes the new set of it, and the signature is
/// over that, whole and encoded: a delta can lie as little as a set can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDelta {
    /// Whose.
    pub owner: NodeId,
    /// Of both sets.
    pub epoch: u64,
    /// Of the new set.
    pub seq: u64,
    /// Number and [`Head::content`] of the set that this builds on.
    pub base: (u64, u64),
    /// The machine, if that changed.
    pub info: Option<NodeInfo>,
    /// New records and those that replace one of the same task, ordered by task.
    pub changed: Vec<Arc<TaskRecord>>,
    /// Tasks whose records are gone, ordered.
    pub removed: Vec<TaskId>,
    /// Of the new set, by the key that signed the one before.
    #[serde(with = "halves")]
    pub signature: [u8; 64],
}

impl Update {
    /// Whose set it is; `None` if it is a whole one that cannot be decoded.
    pub fn owner(&self) -> Option<NodeId> {
        self.mark().map(|mark| mark.owner)
    }

    pub(crate) fn mark(&self) -> Option<Mark> {
        match self {
            Self::Whole(signed) => signed.head().map(|head| head.mark()),
            Self::Delta(delta) => Some(Mark { owner: delta.owner, epoch: delta.epoch, seq: delta.seq }),
        }
    }

    /// Its bytes on the wire, without compression.
    pub fn size(&self) -> usize {
        match self {
            Self::Whole(signed) => signed.bytes.len() + SignedSet::OVERHEAD,
            Self::Delta(_) => size_of_encoded(self),
        }
    }
}

impl From<SignedSet> for Update {
    fn from(signed: SignedSet) -> Self {
        Self::Whole(Arc::new(signed))
    }
}

impl From<Arc<SignedSet>> for Update {
    fn from(signed: Arc<SignedSet>) -> Self {
        Self::Whole(signed)
    }
}

impl SetDelta {
    /// What leads from `base` to `set`, whose unchanged records are the very ones of `base`.
    pub(crate) fn between(base: &Held, set: &OwnerSet, signature: [u8; 64]) -> Self {
        let is_kept = |r: &&Arc<TaskRecord>| find(&base.records, &r.task).is_some_and(|known| Arc::ptr_eq(known, r));
        let is_gone = |r: &&Arc<TaskRecord>| find(&set.records, &r.task).is_none();
        Self {
            owner: set.owner,
            epoch: set.epoch,
            seq: set.seq,
            base: (base.seq, base.head.content),
            info: (base.info != set.info).then(|| set.info.clone()),
            changed: set.records.iter().filter(|r| !is_kept(r)).cloned().collect(),
            removed: base.records.iter().filter(is_gone).map(|r| r.task.clone()).collect(),
            signature,
        }
    }

    pub(crate) fn builds_on(&self, head: &Head) -> bool {
        (self.owner, self.epoch, self.base) == (head.owner, head.epoch, (head.seq, head.content))
    }

    /// The new set, unchecked; `None` if what changed is not in order.
    pub(crate) fn apply(&self, base: &OwnerSet) -> Option<OwnerSet> {
        let in_order = self.changed.is_sorted_by(|a, b| a.task < b.task) && self.removed.is_sorted_by(|a, b| a < b);
        in_order.then(|| OwnerSet {
            owner: self.owner,
            epoch: self.epoch,
            seq: self.seq,
            info: self.info.clone().unwrap_or_else(|| base.info.clone()),
            records: self.apply_records(&base.records),
        })
    }

    fn apply_records(&self, base: &[Arc<TaskRecord>]) -> Vec<Arc<TaskRecord>> {
        let mut records = Vec::with_capacity(base.len() + self.changed.len());
        let mut changed = self.changed.iter().peekable();
        for record in base {
            let mut is_replaced = false;
            while let Some(new) = changed.next_if(|new| new.task <= record.task) {
                is_replaced = new.task.cmp(&record.task) == Ordering::Equal;
                records.push(Arc::clone(new));
            }
            if !is_replaced && self.removed.binary_search(&record.task).is_err() {
                records.push(Arc::clone(record));
            }
        }
        records.extend(changed.cloned());
        records.shrink_to_fit();
        records
    }
}

/// The record of a task among those that are in order.
pub(crate) fn find<'a>(records: &'a [Arc<TaskRecord>], task: &TaskId) -> Option<&'a Arc<TaskRecord>> {
    records.binary_search_by(|record| record.task.cmp(task)).ok().map(|at| &records[at])
}

/// Bytes of the encoding.
pub(crate) fn size_of_encoded<T: Serialize>(value: &T) -> usize {
    let size = postcard::ser_flavors::Size::default();
    postcard::serialize_with_flavor(value, size).expect("plain data can be encoded")
}
