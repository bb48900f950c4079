//! How long a connection has been silent, and whether it should have spoken.

use std::time::Duration;
use tokio::time::Instant;

/// Judged by the count of packets that came in, looked at from time to time: what came between two looks came after the
/// first, and no more is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    packets: u64,
    looked: Instant,
    /// The peer was heard at this time or later.
    heard: Instant,
    /// Since when something that was sent awaits any sign of the peer.
    unanswered: Option<Instant>,
}

impl Pulse {
    /// A connection just made: its handshake was heard.
    pub(crate) fn new(now: Instant, packets: u64) -> Self {
        Self { packets, looked: now, heard: now, unanswered: None }
    }

    /// `packets` have come in on the connection in all.
    pub(crate) fn look(&mut self, now: Instant, packets: u64) {
        if packets != self.packets {
            (self.packets, self.heard, self.unanswered) = (packets, self.looked, None);
        }
        self.looked = now;
    }

    /// Something was sent that a live peer acknowledges.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.unanswered.get_or_insert(now);
    }

    /// The peer may have been silent for this long.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// The peer has been silent for this long though it was sent something.
    pub(crate) fn unanswered(&self, now: Instant) -> Duration {
        self.unanswered.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    #[cfg(test)]
    pub(crate) fn backdate(&mut self, by: Duration) {
        self.looked -= by;
        self.heard -= by;
        self.unanswered = self.unanswered.map(|since| since - by);
    }
}

#[cfg(test)]
mod tests;
