//! Names of connections in packet headers, drawn from the endpoint's seed.

use quinn::{ConnectionId, ConnectionIdGenerator};
use ring::hmac;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Enough that thousands of connections do not meet, and as short as QUIC implementations commonly have them.
const BYTES: usize = 8;

/// The longest that QUIC permits (RFC 9000, section 17.2).
const INITIAL_BYTES: usize = 20;

/// Draws connection ids by HMAC over a counter: unpredictable without the seed, the same for the same seed.
///
/// It claims every id as its own. An id from before a restart must be claimed, or the endpoint would stay silent
/// instead of telling the peer by a stateless reset that the connection is gone; resets are rate-limited by the library.
pub(crate) struct SeededIds {
    key: hmac::Key,
    drawn: u64,
}

impl SeededIds {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, seed), drawn: 0 }
    }
}

impl ConnectionIdGenerator for SeededIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.drawn += 1;
        let tag = hmac::sign(&self.key, &self.drawn.to_be_bytes());
        ConnectionId::new(&tag.as_ref()[..BYTES])
    }

    fn cid_len(&self) -> usize {
        BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Gives the destination ids of first packets, which are nobody's yet: drawn likewise. Unpredictable, as RFC 9000
/// (section 7.2) wants them.
pub(crate) fn initial_ids(seed: &[u8; 32]) -> Arc<dyn Fn() -> ConnectionId + Send + Sync> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[&seed[..], b"initial"].concat());
    let drawn = AtomicU64::new(0);
    Arc::new(move || {
        let tag = hmac::sign(&key, &drawn.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        ConnectionId::new(&tag.as_ref()[..INITIAL_BYTES])
    })
}

#[cfg(test)]
mod tests;
