//! What was written, and what the writers were told.

use std::{collections::BTreeMap, time::Duration};

/// What a writer knows of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// No reply yet.
    UnderWay,
    /// Acknowledged then: it must never be lost.
    Acknowledged(Duration),
    /// Refused: it must never take effect.
    Refused,
    /// Either way.
    Unknown,
}

/// Every write by its serial.
#[derive(Debug, Default)]
pub(crate) struct History {
    writes: BTreeMap<u32, Fate>,
}

impl History {
    /// Begins a write; its serial was never used before.
    pub(crate) fn begin(&mut self) -> u32 {
        let serial = self.writes.last_key_value().map_or(1, |(last, _)| last + 1);
        self.writes.insert(serial, Fate::UnderWay);
        serial
    }

    pub(crate) fn end(&mut self, serial: u32, fate: Fate) {
        self.writes.insert(serial, fate);
    }

    pub(crate) fn fate(&self, serial: u32) -> Option<Fate> {
        self.writes.get(&serial).copied()
    }

    /// Serials of a fate.
    pub(crate) fn all(&self, wanted: impl Fn(Fate) -> bool) -> impl Iterator<Item = u32> {
        self.writes.iter().filter(move |(_, fate)| wanted(**fate)).map(|(serial, _)| *serial)
    }

    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }
}
