//! The port to the disk. What is committed here survives kill -9 and a power cut.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io, sync::Arc};

/// One change to what is stored. Values are encoded by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Entries by log index; each takes the place of one that was there.
    Append(Vec<(u64, Vec<u8>)>),
    /// The vote.
    Vote(Vec<u8>),
    /// Drops all entries from this index on.
    Truncate(u64),
    /// Drops all entries up to this index, and keeps the id of the last one dropped.
    Purge(u64, Vec<u8>),
    /// A snapshot: its metadata and its contents. Replaces the one before.
    Snapshot(Vec<u8>, Vec<u8>),
    /// Drops everything that is stored, the vote included.
    Clear,
}

/// Everything that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// The vote.
    pub vote: Option<Vec<u8>>,
    /// The newest log id that was known to be committed.
    pub committed: Option<Vec<u8>>,
    /// Id of the last purged entry.
    pub purged: Option<Vec<u8>>,
    /// Entries by log index, without holes.
    pub log: BTreeMap<u64, Vec<u8>>,
    /// Metadata and contents of the newest snapshot.
    pub snapshot: Option<(Vec<u8>, Vec<u8>)>,
}

/// A durable store of the log.
///
/// One commit is one change: after a crash at any moment all of its operations are there, in their order, or none is.
/// So what is to be changed together is committed together. A log that begins anew from a snapshot, as a node has it that
/// was recovered offline, is one commit of `[Truncate(0), Snapshot(..), Purge(last, id), Vote(..)]`: no entry is left, the
/// snapshot is the state, the next entry is the one behind `last`, and the vote is the only one that counts.
pub trait Disk: Send + 'static {
    /// Reads everything, once, at start, and changes nothing. Damage is an error of the kind `InvalidData` that names the
    /// file; see [`crate::WAY_BACK`].
    fn load(&mut self) -> io::Result<Loaded>;
    /// Makes all changes durable, in order, all or none. `committed` rides along where it is given, and costs no write of
    /// its own: without a change there is none.
    ///
    /// After an error for want of room ([`is_full`]) nothing has changed, and the same may be tried again. After any other
    /// error nobody knows what is stored, and every later commit fails.
    fn commit(&mut self, ops: &[Op], committed: Option<Vec<u8>>) -> io::Result<()>;
    /// Tells whether there is room, also while the disk is in use elsewhere.
    fn gauge(&self) -> Arc<dyn Gauge> {
        Arc::new(NeverFull)
    }
}

/// Tells whether a disk has room.
pub trait Gauge: Send + Sync + 'static {
    /// Whether there is too little room for another write.
    fn is_full(&self) -> bool;
}

struct NeverFull;

impl Gauge for NeverFull {
    fn is_full(&self) -> bool {
        false
    }
}

/// Whether an error means that the disk is full, or a quota used up: it passes when somebody makes room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
