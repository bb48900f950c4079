//! What the fabric says about a name: a pure function from an immutable snapshot and a question to an answer.
//!
//! [`Snapshot::build`] makes the first snapshot and [`Snapshot::changed`] each next one, at a cost in proportion to what
//! changed; [`answer`] looks one name up, and [`explain`] says in structured form why instances are given or hidden.
//! Left out: packets, sockets, forwarding (`dns/server`), gossip and health (whoever builds the snapshot), DNSSEC, zone
//! transfers and wildcards.

mod answering;
mod browsing;
mod counted;
mod explain;
mod input;
mod machines;
mod name;
mod record;
mod sample;
mod service;
mod snapshot;
mod zone;

#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod naive_zone;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

pub use answering::answer;
pub use explain::{Explained, Explanation, Subject, Verdict, explain};
pub use input::{Change, Instance, Node, Service, ServiceState, SnapshotInput};
pub use name::{InvalidDnsName, Name};
pub use record::{Answer, Class, Data, Question, Record, RecordType, UnknownType};
pub use snapshot::{MAX_RRSET, Snapshot};
