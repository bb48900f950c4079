//! Names of connections in packet headers, drawn from the endpoint's seed.

use quinn::{ConnectionId, ConnectionIdGenerator};
use ring::hmac;
use std::time::Duration;

/// Enough that thousands of connections do not meet, and as short as QUIC implementations commonly have them.
const BYTES: usize = 8;

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

#[cfg(test)]
mod tests;
