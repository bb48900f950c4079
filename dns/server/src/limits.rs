//! Bounds on clients of streams.

use std::time::Duration;

/// Bounds on connections of one listener, be it TCP, TLS, HTTPS or QUIC.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Connections at once; 1024. One that idles costs some 4 KiB by TCP, and several times that under
    /// TLS. When all are
    /// taken, a new client gets the place of the one that has idled longest; if none idles, it is turned away.
    pub connections_max: usize,
    /// Of these, at most so many for one address (of IPv6, one network of 64 bits); 256, a quarter, so that no client
    /// takes all.
    pub connections_per_client_max: usize,
    /// How long a connection may idle, or take to read its replies; 10 s (RFC 7766 section 6.2.3). A fifth of it when
    /// more than three quarters of the places are taken.
    pub idle: Duration,
    /// How long a query, once begun, may take to be whole, and a handshake of TLS to end; 5 s.
    pub whole_query: Duration,
    /// Queries of one connection that wait for an upstream; 64. The next ones are read when some of these are done.
    pub in_flight_max: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_client_max: 256,
            idle: Duration::from_secs(10),
            whole_query: Duration::from_secs(5),
            in_flight_max: 64,
        }
    }
}

impl ServeLimits {
    /// For encrypted connections, which take more memory: 256, and 64 for one address.
    pub fn encrypted() -> Self {
        Self { connections_max: 256, connections_per_client_max: 64, ..Self::default() }
    }
}
