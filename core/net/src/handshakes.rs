//! How many handshakes are under way, and what that means for one more.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// While more handshakes than this are under way, one more begins only from an address that is known to receive: a flood
/// from invented addresses then costs no signature and no memory. A cluster that starts at once stays below.
pub(crate) const UNCHECKED_MAX: usize = 64;

/// Handshakes under way at once, each of some 40 kB.
pub(crate) const INCOMING_MAX: usize = 1_024;

/// Counts handshakes under way.
#[derive(Default)]
pub(crate) struct Handshakes(Arc<AtomicUsize>);

/// A handshake under way, for as long as this lives.
pub(crate) struct Handshake(Arc<AtomicUsize>);

/// What to do with a first packet.
pub(crate) enum Admission {
    /// Begin the handshake.
    Begin(Handshake),
    /// Ask the sender to show that it receives at its address (RFC 9000, section 8.1.2).
    Retry,
    /// Say nothing.
    Ignore,
}

impl Handshakes {
    /// Judges a first packet, whose sender's address is `checked` if it carries a token of ours.
    pub(crate) fn admit(&self, checked: bool) -> Admission {
        let under_way = self.under_way();
        if under_way >= INCOMING_MAX {
            Admission::Ignore
        } else if under_way >= UNCHECKED_MAX && !checked {
            Admission::Retry
        } else {
            self.0.fetch_add(1, Ordering::Relaxed);
            Admission::Begin(Handshake(Arc::clone(&self.0)))
        }
    }

    pub(crate) fn under_way(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
