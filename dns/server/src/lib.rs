//! DNS on the wire: sockets, packets, limits, and a relay to the machine's resolvers for names that are not ours.
//!
//! [`Responder::respond`] turns one packet into another without a socket, so that a simulator runs the very same code;
//! [`DnsServer`] puts it behind UDP and TCP. Left out: what the answers are (`dns/answer`), a cache (our own names come
//! from memory, others' are cached by the upstream), encrypted transports, cookies, rate limits and DNSSEC.

mod bind_error;
mod encode;
mod exchange;
mod forward;
mod query;
mod responder;
mod serve;
mod upstreams;

#[cfg(test)]
mod forward_tests;
#[cfg(test)]
mod tests;

pub use bind_error::BindError;
pub use exchange::{Exchange, Sockets};
pub use forward::ForwardConfig;
pub use responder::{Responder, Transport};
pub use serve::{DnsServer, ServeLimits};
pub use upstreams::Upstreams;
