//! A connection in use, and what is known of its use.

use crate::{certified::Certified, pulse::Pulse, tls};
use quinn::Connection;
use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use taffeta_model::UnixMillis;
use tokio::time::Instant;

/// Numbers each use of any connection of an endpoint, so that they have an order.
#[derive(Clone, Default)]
pub(crate) struct Uses(Arc<AtomicU64>);

/// What the certificates say that were shown when a connection was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The peer.
    pub(crate) peer: Certified,
    /// When the certificate ends that this node has shown.
    pub(crate) own_ends: UnixMillis,
}

/// A connection to a node or a stranger. Clones are the same connection.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    /// `None` for a stranger.
    pub(crate) terms: Option<Terms>,
    /// The version of the protocol that the two ends have agreed on.
    pub(crate) version: u32,
    /// When it was made.
    pub(crate) made: Instant,
    usage: Arc<Usage>,
}

struct Usage {
    uses: Uses,
    last: AtomicU64,
    calls: AtomicUsize,
    pulse: Mutex<Pulse>,
    /// Until then sealed calls are taken to be lost.
    briefs_lost: Mutex<Option<Instant>>,
}

/// A call, push or stream under way on a connection, in either direction, for as long as this lives.
pub(crate) struct OpenCall(Arc<Usage>);

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Link {
    /// A connection just made.
    pub(crate) fn new(connection: Connection, terms: Option<Terms>, uses: Uses) -> Self {
        let made = Instant::now();
        let pulse = Mutex::new(Pulse::new(made, packets_heard(&connection)));
        let usage =
            Usage { uses, last: AtomicU64::new(0), calls: AtomicUsize::new(0), pulse, briefs_lost: Mutex::default() };
        let version = tls::version_of(&connection);
        let link = Self { connection, terms, version, made, usage: Arc::new(usage) };
        link.mark_used();
        link
    }

    pub(crate) fn id(&self) -> usize {
        self.connection.stable_id()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// It is used now.
    pub(crate) fn mark_used(&self) {
        self.usage.last.store(self.usage.uses.0.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Begins a call, which also is a use.
    pub(crate) fn begin(&self) -> OpenCall {
        self.mark_used();
        self.usage.calls.fetch_add(1, Ordering::Relaxed);
        OpenCall(Arc::clone(&self.usage))
    }

    /// Orders connections by how little harm is done by closing them, least first: first idle ones, then by their last use.
    pub(crate) fn worth(&self) -> (bool, u64) {
        (self.usage.calls.load(Ordering::Relaxed) > 0, self.usage.last.load(Ordering::Relaxed))
    }

    /// The peer may have been silent for this long.
    pub(crate) fn silence(&self) -> Duration {
        let now = Instant::now();
        self.look(now).silence(now)
    }

    /// The peer has been silent for this long though it was sent a datagram.
    pub(crate) fn unanswered(&self) -> Duration {
        let now = Instant::now();
        self.look(now).unanswered(now)
    }

    /// A datagram was sent.
    pub(crate) fn mark_sent(&self) {
        self.pulse().sent(Instant::now());
    }

    /// A sealed call to the peer was not answered: for some time the next ones would not be either.
    pub(crate) fn mark_briefs_lost(&self, pause: Duration) {
        *self.briefs_lost() = Some(Instant::now() + pause);
    }

    /// Whether sealed calls to the peer have been lost of late.
    pub(crate) fn are_briefs_lost(&self) -> bool {
        self.briefs_lost().is_some_and(|until| Instant::now() < until)
    }

    fn briefs_lost(&self) -> MutexGuard<'_, Option<Instant>> {
        self.usage.briefs_lost.lock().expect("no panic while it is held")
    }

    /// As if all that was heard and sent had been so long before.
    #[cfg(test)]
    pub(crate) fn backdate(&self, by: Duration) {
        self.look(Instant::now()).backdate(by);
    }

    fn look(&self, now: Instant) -> MutexGuard<'_, Pulse> {
        let packets = packets_heard(&self.connection);
        let mut pulse = self.pulse();
        pulse.look(now, packets);
        pulse
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.usage.pulse.lock().expect("no panic while the pulse is held")
    }
}

/// Packets that have come in on a connection.
pub(crate) fn packets_heard(connection: &Connection) -> u64 {
    connection.stats().udp_rx.datagrams
}
