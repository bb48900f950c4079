//! How names that are not ours are resolved.

use crate::Upstreams;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use taffeta_dns_answer::Name;

/// How names that are not ours are resolved.
#[derive(Clone, Debug)]
pub struct ForwardConfig {
    /// Whom to ask.
    pub upstreams: Upstreams,
    /// Whom to ask about these names and all below, instead; the longest that fits counts. Each list holds at most 3. The
    /// first 64 count. An own name is never asked about, and a special one (such as `10.in-addr.arpa.`) only if it is
    /// here, itself or something below.
    pub suffixes: Vec<(Name, Vec<SocketAddr>)>,
    /// Whether the upstreams may be asked what private addresses are called (10/8, 172.16/12, 192.168/16, 100.64/10,
    /// fc00::/7); false, as such questions tell strangers what a network looks like (RFC 6303).
    pub forward_private_reverse: bool,
    /// Addresses of this machine. Clients from them and from loopback are served; others are refused, as an open
    /// resolver is a weapon.
    pub own_addresses: Vec<IpAddr>,
    /// How long one upstream may take; 1.5 s.
    pub attempt_timeout: Duration,
    /// How often each upstream is asked; 2. Those that refused are not asked again.
    pub attempts: u32,
    /// How long all of it may take; 2.5 s, below the 5 s after which the C library's resolver asks again.
    pub budget: Duration,
    /// Questions on their way to upstreams at once; 256, each up to a socket for every time it is asked. More are
    /// SERVFAIL at once. This also ends a forwarding loop.
    pub in_flight_max: usize,
    /// Clients that wait for those at once; 1,024, as equal questions share a way.
    pub waiting_max: usize,
    /// How long a list read from resolv.conf holds; 10 s, so that a change of network needs no restart.
    pub reread_after: Duration,
    /// What is remembered.
    pub cache: CacheConfig,
}

/// Bounds of what is remembered of others' names.
#[derive(Clone, Copy, Debug)]
pub struct CacheConfig {
    /// Replies; 10,000. None: nothing is remembered.
    pub entries: usize,
    /// Bytes of them, with what keeping them costs; 8 MiB.
    pub bytes: usize,
    /// Longest life of a record; a day (RFC 8767 section 4 advises no more than a week).
    pub ttl_max: Duration,
    /// Longest life of the absence of one; an hour (RFC 2308 section 5 advises up to three).
    pub negative_ttl_max: Duration,
    /// How long after its end a record may still be given if no upstream answers (RFC 8767 section 5); a day.
    pub stale_max: Duration,
    /// How long such a client waits for the upstreams first; 1.8 s (RFC 8767 section 5).
    pub stale_patience: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            entries: 10_000,
            bytes: 8 << 20,
            ttl_max: DAY,
            negative_ttl_max: Duration::from_secs(3600),
            stale_max: DAY,
            stale_patience: Duration::from_millis(1800),
        }
    }
}

impl ForwardConfig {
    /// The defaults, with these upstreams.
    pub fn new(upstreams: Upstreams, own_addresses: Vec<IpAddr>) -> Self {
        Self {
            upstreams,
            suffixes: Vec::new(),
            forward_private_reverse: false,
            own_addresses,
            attempt_timeout: Duration::from_millis(1500),
            attempts: 2,
            budget: Duration::from_millis(2500),
            in_flight_max: 256,
            waiting_max: 1024,
            reread_after: Duration::from_secs(10),
            cache: CacheConfig::default(),
        }
    }
}
