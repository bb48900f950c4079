//! How a newcomer comes to know all.

use std::time::Duration;
use taffeta_model::Millis;

/// How a newcomer comes to know all.
#[derive(Default)]
pub(crate) struct Join {
    who: Option<u32>,
    begun: Option<Millis>,
    took: Option<Duration>,
    bytes: u64,
}

impl Join {
    pub(crate) fn note_begin(&mut self, now: Millis, who: u32) {
        (self.who, self.begun) = (Some(who), Some(now));
    }

    /// It is sent so many bytes.
    pub(crate) fn note_told(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Whether this one has joined and does not know all yet.
    pub(crate) fn waits_for(&self, who: u32) -> bool {
        self.who == Some(who) && self.took.is_none()
    }

    /// It knows all.
    pub(crate) fn note_end(&mut self, now: Millis) {
        self.took = self.begun.map(|begun| now.since(begun));
    }

    pub(crate) fn took(&self) -> Option<Duration> {
        self.took
    }

    /// What it was sent, if anyone joined.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.begun.map(|_| self.bytes)
    }
}
