//! What is recorded.

use std::{collections::BTreeMap, fmt, time::Duration};

/// Who writes; one write at a time, if it is to be checked that its writes keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client(pub u32);

/// What is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub u64);

/// What is written: no two writes have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(pub u64);

/// Where in the log a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}", self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.0)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {}", self.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}", self.0)
    }
}

/// What the client of a write was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing yet: either way.
    Open,
    /// Done: it must never be lost.
    Acknowledged {
        /// When that was heard.
        at: Duration,
        /// Where it is.
        position: Position,
    },
    /// Refused: it must never be there.
    Refused,
    /// That nobody knows: either way.
    Unknown,
}

/// A write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Whose.
    pub client: Client,
    /// What it replaces.
    pub key: Key,
    /// When it was sent.
    pub invoked: Duration,
    /// What became of it.
    pub fate: Fate,
}

/// What a read shows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The newest write.
    pub serial: Serial,
    /// Where it is.
    pub position: Position,
    /// How many writes the key has had.
    pub count: u64,
}

/// How much a read promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// All that was acknowledged before it began.
    Linearizable,
    /// A state that the store was in at some time.
    Stale,
}

/// A read of all keys at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// When it was sent.
    pub invoked: Duration,
    /// When the reply was heard.
    pub returned: Duration,
    /// What it promises.
    pub strength: Strength,
    /// The keys that there were.
    pub seen: BTreeMap<Key, Seen>,
}

/// What clients did and saw. Moments are times since any one moment, the same for all clients; of two that are equal
/// neither counts as the earlier.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub(crate) writes: BTreeMap<Serial, Write>,
    pub(crate) reads: Vec<Read>,
}

impl History {
    /// Begins a write, and gives the serial that it is to carry: from 1, rising.
    pub fn invoke(&mut self, now: Duration, client: Client, key: Key) -> Serial {
        let serial = Serial(self.writes.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        self.writes.insert(serial, Write { client, key, invoked: now, fate: Fate::Open });
        serial
    }

    /// Ends a write. Panics if it was not begun, or has ended: that is a mistake of the recorder.
    pub fn end(&mut self, serial: Serial, fate: Fate) {
        let write = self.writes.get_mut(&serial).expect("a write that was begun");
        assert_eq!(write.fate, Fate::Open, "{serial} has ended before");
        write.fate = fate;
    }

    /// Adds a read that has ended.
    pub fn add_read(&mut self, read: Read) {
        self.reads.push(read);
    }

    /// The write of a serial, if it was begun.
    pub fn write(&self, serial: Serial) -> Option<&Write> {
        self.writes.get(&serial)
    }

    /// All writes that were begun, in the order of their serials.
    pub fn writes(&self) -> impl DoubleEndedIterator<Item = (Serial, &Write)> {
        self.writes.iter().map(|(serial, write)| (*serial, write))
    }

    /// How many writes were begun.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.count(|fate| matches!(fate, Fate::Acknowledged { .. }))
    }

    /// How many writes have a fate that their clients do not know.
    pub fn unknown(&self) -> usize {
        self.count(|fate| matches!(fate, Fate::Unknown | Fate::Open))
    }

    /// How many writes were refused.
    pub fn refused(&self) -> usize {
        self.count(|fate| matches!(fate, Fate::Refused))
    }

    fn count(&self, wanted: impl Fn(Fate) -> bool) -> usize {
        self.writes.values().filter(|write| wanted(write.fate)).count()
    }
}
