//! The relay for names that are not ours, for clients of this machine: what upstream resolvers said is kept and given
//! again, and they are asked only about what is not known.
//!
//! A client's question walks through `relay` (cache, special zones, remembered failures), `flights` (equal ones share a
//! way), `fly` (asks whom the `race` says) and `ask` (one upstream, over an `Exchange`). What decides takes the time and
//! seeds as arguments: `shard`, `failures`, `pool`, `race`, `routes`. Replies stay bytes throughout, so that records of
//! every type survive; `received` finds their TTLs, `reply` sets them. Left out: recursion, validation (AD is never
//! set), and anything of our own zones.

mod answer;
mod ask;
mod cache;
mod config;
mod counts;
mod failures;
mod flights;
mod fly;
mod forwarder;
mod ghosts;
mod key;
mod peek;
mod pool;
mod probes;
mod query;
mod race;
mod received;
mod relay;
mod reply;
mod routes;
mod rtts;
mod sections;
mod shard;
mod special;

#[cfg(test)]
mod cache_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod loop_tests;
#[cfg(test)]
mod pool_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod relay_tests;
#[cfg(test)]
mod script;
#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod special_tests;
#[cfg(test)]
mod stale_tests;

pub use config::{CacheConfig, ForwardConfig};
pub use counts::ForwardCounts;
pub(crate) use forwarder::Forwarder;
pub(crate) use peek::peek;
pub(crate) use relay::Relay;
#[cfg(test)]
pub(crate) use script::scripted_with;
