//! The port to the disk. What is committed here survives kill -9 and a power cut.

use std::{collections::BTreeMap, io};

/// One change to what is stored. Values are encoded by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Entries by log index.
    Append(Vec<(u64, Vec<u8>)>),
    /// The vote.
    Vote(Vec<u8>),
    /// Drops all entries from this index on.
    Truncate(u64),
    /// Drops all entries up to this index, and keeps the id of the last one dropped.
    Purge(u64, Vec<u8>),
    /// A snapshot: its metadata and its contents. Replaces the one before.
    Snapshot(Vec<u8>, Vec<u8>),
}

/// Everything that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// A durable store of the log. Implemented by redb, and by a simulated device.
pub trait Disk: Send + 'static {
    /// Reads everything, once, at start.
    fn load(&mut self) -> io::Result<Loaded>;
    /// Makes all changes durable, in order, all or none. `committed` rides along where it is given.
    fn commit(&mut self, ops: &[Op], committed: Option<Vec<u8>>) -> io::Result<()>;
}
