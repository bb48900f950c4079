//! DNS on the wire: sockets, packets, limits, and a relay to the machine's resolvers for names that are not ours.
//!
//! [`Responder::respond`] turns one packet into another without a socket, so that a simulator runs the very same code;
//! [`DnsServer`] puts it behind UDP and TCP, and [`EncryptedServer`] behind TLS, HTTPS and QUIC. Left out: what the answers
//! are (`dns/answer`), a cache of our own names (they come from memory) and DNSSEC.

mod accept;
mod activity;
mod bind_error;
mod config;
mod cookie;
mod doh;
mod doh_request;
mod doq;
mod dot;
mod encode;
mod encrypted;
mod exchange;
mod failing;
mod forward;
mod limiter;
mod limits;
mod network;
mod opt;
mod places;
mod query;
mod replies;
mod responder;
mod serve;
mod stream;
mod tcp;
mod transfer;
mod udp;
mod upstreams;

#[cfg(test)]
mod edns_tests;
#[cfg(test)]
mod encrypted_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transfer_tests;
#[cfg(test)]
mod wire_tests;

pub use bind_error::BindError;
pub use config::{CookieConfig, Date, DnsConfig, NSID_MAX, SystemDate};
pub use encrypted::{EncryptedConfig, EncryptedServer};
pub use exchange::{Exchange, Sockets};
pub use failing::Failing;
pub use forward::{CacheConfig, ForwardConfig, ForwardCounts};
pub use limits::ServeLimits;
pub use network::{InvalidNetwork, Network};
pub use responder::{Responder, Transport};
pub use serve::{DnsServer, DnsSockets};
pub use udp::{DnsCounts, DnsMeter, UdpConfig};
pub use upstreams::Upstreams;
