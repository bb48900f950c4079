//! Where writes are, and whether that can be.

use crate::{
    history::{Fate, History, Key, Position, Serial},
    violation::Violation,
};
use std::collections::BTreeMap;

/// The place of each write of which one is known, from acknowledgements and from reads.
#[derive(Debug, Default)]
pub(crate) struct Places {
    of_serial: BTreeMap<Serial, Position>,
    of_position: BTreeMap<Position, Serial>,
    of_key: BTreeMap<Key, Vec<Position>>,
}

impl Places {
    /// Collects them; what contradicts an earlier one is a violation.
    pub(crate) fn of(history: &History, found: &mut Vec<Violation>) -> Self {
        let mut places = Self::default();
        for (serial, write) in &history.writes {
            if let Fate::Acknowledged { position, .. } = write.fate {
                places.put(*serial, write.key, position, found);
            }
        }
        for read in &history.reads {
            for (key, seen) in &read.seen {
                // What was never written to this key is told of elsewhere.
                if history.writes.get(&seen.serial).is_some_and(|write| write.key == *key) {
                    places.put(seen.serial, *key, seen.position, found);
                }
            }
        }
        places.of_key.values_mut().for_each(|positions| positions.sort());
        places
    }

    fn put(&mut self, serial: Serial, key: Key, position: Position, found: &mut Vec<Violation>) {
        match self.of_serial.get(&serial) {
            Some(first) if *first == position => return,
            Some(first) => return found.push(Violation::TwoPlaces { serial, first: *first, second: position }),
            None => {}
        }
        if let Some(first) = self.of_position.get(&position) {
            return found.push(Violation::OnePlace { first: *first, second: serial, position });
        }
        self.of_serial.insert(serial, position);
        self.of_position.insert(position, serial);
        self.of_key.entry(key).or_default().push(position);
    }

    /// The keys of which something is known.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.of_key.keys().copied()
    }

    /// Whether it is known where a write is.
    pub(crate) fn is_known(&self, serial: Serial) -> bool {
        self.of_serial.contains_key(&serial)
    }

    /// The newest write to a key up to a position.
    pub(crate) fn newest(&self, key: Key, up_to: Position) -> Option<(Serial, Position)> {
        let positions = self.of_key.get(&key)?;
        let position = positions[..self.count(key, up_to)].last()?;
        Some((self.of_position[position], *position))
    }

    /// How many writes to a key are known up to a position.
    pub(crate) fn count(&self, key: Key, up_to: Position) -> usize {
        self.of_key.get(&key).map_or(0, |positions| positions.partition_point(|position| *position <= up_to))
    }
}

/// Whether what had been acknowledged when a write was sent is before it. Of a write that breaks this, one that it
/// should come after is told.
pub(crate) fn check_real_time(history: &History, places: &Places, found: &mut Vec<Violation>) {
    let mut acknowledged: Vec<_> = history
        .writes
        .iter()
        .filter_map(|(serial, write)| match write.fate {
            Fate::Acknowledged { at, position } => Some((at, position, *serial)),
            Fate::Open | Fate::Refused | Fate::Unknown => None,
        })
        .collect();
    acknowledged.sort();
    let mut sent: Vec<_> = history.writes.iter().map(|(serial, write)| (write.invoked, *serial)).collect();
    sent.sort();
    let mut acknowledged = acknowledged.into_iter().peekable();
    let mut highest: Option<(Position, Serial)> = None;
    for (invoked, later) in sent {
        while let Some((_, position, serial)) = acknowledged.next_if(|(at, ..)| *at < invoked) {
            highest = highest.max(Some((position, serial)));
        }
        let (Some((highest, earlier)), Some(own)) = (highest, places.of_serial.get(&later)) else { continue };
        if *own < highest {
            found.push(Violation::Reordered { earlier, later });
        }
    }
}
