//! What the fabric says about a name: a pure function from an immutable snapshot and a question to an answer.
//!
//! [`Snapshot::build`] lays the zone out once, name by name, when the catalogue changes; [`answer`] then looks one
//! name up, and [`explain`] says in structured form why instances are given or hidden. Left out: packets, sockets,
//! forwarding (`dns/server`), gossip and health (whoever builds the snapshot), DNSSEC, zone transfers and wildcards.

mod answering;
mod explain;
mod input;
mod name;
mod record;
mod sample;
mod snapshot;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

pub use answering::answer;
pub use explain::{Explained, Explanation, Subject, Verdict, explain};
pub use input::{Instance, Node, Service, SnapshotInput};
pub use name::{InvalidDnsName, Name};
pub use record::{Answer, Class, Data, Question, Record, RecordType, UnknownType};
pub use snapshot::{MAX_RRSET, Snapshot};
