//! A store in memory that can be told to break each promise, and clients that record what they see of it.

use crate::{Client, Fate, History, Key, Position, Read, Seen, Serial, Strength};
use std::{collections::BTreeMap, time::Duration};

/// What the store does wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Forgets its newest acknowledged write in a crash.
    LoseLast,
    /// Forgets an acknowledged write that newer ones follow.
    LoseOlder,
    /// Exchanges its two newest writes in a crash.
    Reorder,
    /// Puts a write before one that was acknowledged before it was sent.
    Overtake,
    /// Has something in its log that nobody sent.
    Invent,
    /// Has something of one key in another.
    Misplace,
    /// Applies a write twice.
    Duplicate,
    /// Says that it refuses a write, and applies it.
    ApplyRefused,
    /// Gives an old state for the newest.
    StaleRead,
}

pub(super) const FAULTS: [Fault; 9] = [
    Fault::LoseLast,
    Fault::LoseOlder,
    Fault::Reorder,
    Fault::Overtake,
    Fault::Invent,
    Fault::Misplace,
    Fault::Duplicate,
    Fault::ApplyRefused,
    Fault::StaleRead,
];

/// What a schedule does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A write that is acknowledged.
    Write(Client, Key),
    /// A write that is refused.
    Refused(Client, Key),
    /// A write whose reply is lost; the flag tells whether it took effect.
    Unknown(Client, Key, bool),
    /// A read of the newest state.
    Read,
    /// A read of the state that was so many entries ago.
    StaleRead(usize),
    /// All processes die and come back.
    Crash,
}

/// The store with its clients.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) history: History,
    log: Vec<(Key, Serial)>,
    /// Of each entry, whether its client knows that it is there.
    told: Vec<bool>,
    now: u64,
    fault: Option<Fault>,
    /// Whether the fault has happened.
    pub(super) broke: bool,
}

impl World {
    pub(super) fn new(fault: Option<Fault>) -> Self {
        Self { fault, ..Self::default() }
    }

    fn tick(&mut self) -> Duration {
        self.now += 1;
        Duration::from_millis(self.now)
    }

    /// Whether the fault is to happen now, given that it can.
    fn breaks(&mut self, fault: Fault, can: bool) -> bool {
        let breaks = self.fault == Some(fault) && can && !self.broke;
        self.broke |= breaks;
        breaks
    }

    fn append(&mut self, at: usize, key: Key, serial: Serial, told: bool) {
        self.log.insert(at, (key, serial));
        self.told.insert(at, told);
    }

    fn newest_is_told(&self) -> bool {
        self.told.last() == Some(&true)
    }

    /// Performs a step, and looks at once at what a fault has done, as one does after a crash.
    pub(super) fn step(&mut self, step: Step) {
        let broke = self.broke;
        self.perform(step);
        if self.broke && !broke {
            self.read();
        }
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Write(client, key) => self.write(client, key),
            Step::Refused(client, key) => {
                let now = self.tick();
                let serial = self.history.invoke(now, client, key);
                if self.breaks(Fault::ApplyRefused, true) {
                    self.append(self.log.len(), key, serial, false);
                }
                self.history.end(serial, Fate::Refused);
            }
            Step::Unknown(client, key, takes_effect) => {
                let now = self.tick();
                let serial = self.history.invoke(now, client, key);
                if takes_effect {
                    self.append(self.log.len(), key, serial, false);
                }
                self.history.end(serial, Fate::Unknown);
            }
            Step::Read => self.read(),
            Step::StaleRead(behind) => self.read_at(self.log.len().saturating_sub(behind), Strength::Stale),
            Step::Crash => self.crash(),
        }
    }

    fn write(&mut self, client: Client, key: Key) {
        let now = self.tick();
        let serial = self.history.invoke(now, client, key);
        let overtakes = self.newest_is_told() && self.breaks(Fault::Overtake, true);
        let at = if overtakes { self.log.len() - 1 } else { self.log.len() };
        self.append(at, key, serial, true);
        let at = self.tick();
        let position = if overtakes { self.log.len() - 1 } else { self.log.len() };
        self.history.end(serial, Fate::Acknowledged { at, position: Position(position as u64) });
        if self.breaks(Fault::Duplicate, true) {
            self.append(self.log.len(), key, serial, true);
        }
    }

    fn crash(&mut self) {
        if self.breaks(Fault::LoseLast, self.newest_is_told()) {
            self.log.pop();
            self.told.pop();
        }
        let older = self.log.len().wrapping_sub(2);
        if self.breaks(Fault::LoseOlder, self.told.get(older) == Some(&true) && self.newest_is_told()) {
            self.log.remove(older);
            self.told.remove(older);
        }
        if self.breaks(Fault::Reorder, self.told.get(older) == Some(&true)) {
            self.log.swap(older, older + 1);
            self.told.swap(older, older + 1);
        }
        if self.breaks(Fault::Invent, true) {
            self.append(self.log.len(), Key(0), Serial(1_000_000), false);
        }
        if self.breaks(Fault::Misplace, self.newest_is_told()) {
            let last = self.log.last_mut().expect("a write");
            last.0 = Key(last.0.0 + 1);
        }
    }

    /// A read of the newest state.
    pub(super) fn read(&mut self) {
        let missed = self.log.len().saturating_sub(1);
        let stale = self.newest_is_told() && self.breaks(Fault::StaleRead, true);
        self.read_at(if stale { missed } else { self.log.len() }, Strength::Linearizable);
    }

    fn read_at(&mut self, length: usize, strength: Strength) {
        let invoked = self.tick();
        let mut seen: BTreeMap<Key, Seen> = BTreeMap::new();
        for (index, (key, serial)) in self.log[..length].iter().enumerate() {
            let count = seen.get(key).map_or(0, |seen| seen.count) + 1;
            seen.insert(*key, Seen { serial: *serial, position: Position(index as u64 + 1), count });
        }
        let returned = self.tick();
        self.history.add_read(Read { invoked, returned, strength, seen });
    }
}
