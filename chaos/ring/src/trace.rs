//! One number for everything that happened.

use taffeta_model::Millis;

/// FNV-1a, 64 bits (Fowler, Noll, Vo): the same on every machine.
#[derive(Clone, Copy)]
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

/// What kind of event the trace tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Timer,
    /// A packet of the ring.
    Swim,
    /// A message of the catalogue.
    Spread,
    /// A question or an answer about members, on a stream.
    Facts,
    /// A question or an answer on a live connection.
    Ask,
    /// What a newcomer asks for and is told.
    Told,
    /// A message of the catalogue.
    /// A message that was lost, or had no connection to travel on.
    Lost,
    Publish,
    Kill,
    Stall,
    Resume,
    Join,
}

/// The hash over all events so far that did something, in their order.
pub(crate) struct Trace(Fnv);

impl Trace {
    pub(crate) fn new() -> Self {
        Self(Fnv::new())
    }

    pub(crate) fn note(&mut self, kind: Kind, from: u32, to: u32, bytes: usize, now: Millis) {
        let mut event = [0; 25];
        event[0] = kind as u8;
        event[1..5].copy_from_slice(&from.to_le_bytes());
        event[5..9].copy_from_slice(&to.to_le_bytes());
        event[9..17].copy_from_slice(&(bytes as u64).to_le_bytes());
        event[17..].copy_from_slice(&now.0.to_le_bytes());
        self.0 = self.0.add(&event);
    }

    pub(crate) fn hex(&self) -> String {
        format!("{:016x}", self.0.value())
    }
}
