//! What the fabric says about a name: a pure function from an immutable snapshot and a question to an answer.
//!
//! [`Snapshot::build`] makes the first snapshot and [`Snapshot::changed`] each next one, at a cost in proportion to what
//! changed; [`answer`] looks one name up, [`explain`] says in structured form why instances are given or hidden, and
//! [`Snapshot::transfer`] lists all records. Which records of a set are given and in which order is decided in one place,
//! `select`.
//!
//! Left out: packets, sockets, forwarding (`dns/server`), gossip and health (whoever builds the snapshot), DNSSEC and
//! wildcards.

mod alias;
mod answering;
mod binding;
mod browsing;
mod counted;
mod explain;
mod held;
mod input;
mod layout;
mod machines;
mod name;
mod ours;
mod record;
mod reverse;
mod sample;
mod schemes;
mod select;
mod service;
mod sets;
mod snapshot;
mod subset;
mod transfer;
mod verdict;
mod weights;
mod wire;
mod zone;

#[cfg(test)]
mod alias_tests;
#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod naive_zone;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod ours_tests;
#[cfg(test)]
mod tag_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transfer_tests;

pub use alias::MAX_ALIASES;
pub use answering::answer;
pub use explain::{Explained, Explanation, ReadAs, Subject, explain};
pub use input::{
    Alias, Change, Empty, Instance, Node, Order, Scheme, Service, ServiceDns, ServiceState, SnapshotInput,
};
pub use name::{InvalidDnsName, Name};
pub use record::{Answer, Class, Data, Question, Record, RecordType, ServiceBinding, UnknownType};
pub use snapshot::{MAX_RRSET, Snapshot};
pub use verdict::Verdict;
pub use wire::{Asker, DATAGRAM_MAX, DATAGRAM_MIN, Fast, FastPath, NOT_READY_TEXT, Room, SOA_TIMERS, STALE_TEXT};
