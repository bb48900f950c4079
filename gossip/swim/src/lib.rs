//! Who is in the ring and who answers: SWIM membership over Foca as a pure machine.
//!
//! Time comes in as `now`, randomness as a seed, packets as bytes; what to send and what changed goes out as
//! [`Effect`]s. What Foca leaves to its owner is done here: its timers are kept, suspicion is noticed by comparing
//! its table, a node that stood still does not blame others for it, a declined identity is renewed at a bounded rate,
//! and members that are down are called again, so that the two sides of a partition find each other even if each
//! believes to be alone.
//!
//! Left out on purpose: sockets, identities on the wire (`taffeta-net` tells which member a packet came from), records
//! of tasks (`taffeta-catalogue`) and what follows from a verdict (`taffeta-scheduler`, DNS).

mod codec;
mod config;
mod digest;
mod identity;
mod outbox;
mod packet;
mod swim;
mod table;

pub use config::{InvalidConfig, SwimConfig};
pub use identity::{Identity, Incarnation};
pub use packet::PacketError;
pub use swim::{Effect, FACTS_MAX, Members, SEEDS_MAX, Swim};
pub use table::{MemberChange, MemberFact, MemberState};

#[cfg(test)]
mod tests;
