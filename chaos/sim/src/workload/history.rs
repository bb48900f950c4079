//! What was written, and what the writers were told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What a writer knows of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// No reply yet.
    UnderWay,
    /// Acknowledged then: it must never be lost.
    Acknowledged(Duration),
    /// It must never take effect.
    Refused,
    /// Either way.
    Unknown,
}

/// Every write by its serial: when it began, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct History {
    writes: BTreeMap<u32, (Duration, Fate)>,
    /// The longest time until an acknowledgement, and of which write. One that is asked of a node that has just come up waits
    /// until that one has heard of a leader, and does not count.
    slowest: (Duration, u32),
}

impl History {
    /// Begins a write; its serial was never used before.
    pub(crate) fn begin(&mut self, now: Duration) -> u32 {
        let serial = self.writes.last_key_value().map_or(1, |(last, _)| last + 1);
        self.writes.insert(serial, (now, Fate::UnderWay));
        serial
    }

    pub(crate) fn end(&mut self, serial: u32, fate: Fate) {
        let Some(write) = self.writes.get_mut(&serial) else { return };
        write.1 = fate;
    }

    /// It was acknowledged now, by a node that was ready when it was asked.
    pub(crate) fn note_wait(&mut self, serial: u32, now: Duration) {
        let Some((began, _)) = self.writes.get(&serial) else { return };
        self.slowest = self.slowest.max((now.saturating_sub(*began), serial));
    }

    /// It was not made after all: nobody heard of it.
    pub(crate) fn take_back(&mut self, serial: u32) {
        self.writes.remove(&serial);
    }

    pub(crate) fn fate(&self, serial: u32) -> Option<Fate> {
        self.writes.get(&serial).map(|(_, fate)| *fate)
    }

    /// When it was asked for.
    pub(crate) fn began(&self, serial: u32) -> Option<Duration> {
        self.writes.get(&serial).map(|(began, _)| *began)
    }

    /// Serials of a fate.
    pub(crate) fn all(&self, wanted: impl Fn(Fate) -> bool) -> impl Iterator<Item = u32> {
        self.writes.iter().filter(move |(_, (_, fate))| wanted(*fate)).map(|(serial, _)| *serial)
    }

    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    /// The longest that a write has waited for its acknowledgement, and which one.
    pub(crate) fn slowest(&self) -> (Duration, u32) {
        self.slowest
    }

    /// The cluster goes on from one that has only these: of the others nothing is known any more.
    pub(crate) fn go_on_from(&mut self, there: &BTreeSet<u32>) {
        for (serial, (_, fate)) in &mut self.writes {
            if matches!(fate, Fate::Acknowledged(_)) && !there.contains(serial) {
                *fate = Fate::Unknown;
            }
        }
    }
}
