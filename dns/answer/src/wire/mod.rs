//! The fast path: from the bytes of a common query to the bytes of its reply, without a decoder and, as a rule, without
//! taking memory.
//!
//! [`FastPath::respond`] reads the question by hand. What is asked for most of a service lies ready as bytes in one piece
//! of memory, made for the first question after a change; for the rest it asks the same zone and the same selection as
//! [`crate::answer`], and writes the records. What it does not know it leaves to the full path, which says of everything
//! it does know the same: a property test in `dns/server` holds them together.

mod ahead;
mod block;
mod index;
mod query;
mod records;
mod reply;
mod soa;
mod targets;
mod writer;

pub(crate) use block::Block;
pub(crate) use index::Index;
pub use reply::FastPath;
pub use soa::SOA_TIMERS;
pub(crate) use targets::Targets;
pub use writer::DATAGRAM_MAX;

use std::net::IpAddr;

/// What a client takes by UDP that says nothing (RFC 1035 section 4.2.1).
pub const DATAGRAM_MIN: u16 = 512;
/// The text of EDE 3 (RFC 8914).
pub const STALE_TEXT: &str = "this node is cut off from most of the ring";
/// The text of EDE 14.
pub const NOT_READY_TEXT: &str = "this node has no view of the ring yet";

/// What came of a packet on the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fast {
    /// A reply of so many bytes, at the beginning of the buffer.
    Reply(usize),
    /// Not for the fast path: nothing is said yet. The buffer may have been written to.
    Unusual,
}

/// Who asks, and what is taken in reply.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Its address.
    pub address: IpAddr,
    /// Whether names that are not ours are resolved for it, which the reply says.
    pub recursion_available: bool,
    /// How it is connected.
    pub room: Room,
}

/// How long a reply may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// What the client says it takes, within [`DATAGRAM_MIN`] and [`DATAGRAM_MAX`].
    Datagram,
    /// As long as the buffer.
    Stream,
}
