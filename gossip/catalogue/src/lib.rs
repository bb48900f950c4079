//! What runs where: each node publishes one signed set of records about itself, and all nodes come to hold them all.
//!
//! A set has one writer and is replaced whole, by one with a higher `(epoch, seq)`; order, loss and repetition of
//! messages therefore cannot matter. The epoch is the owner's start counter. Whole sets also make a restart seamless:
//! peers keep the set of the earlier life until the first complete one of the new life is there, and swap it at once.
//!
//! Pure: signing and checking signatures are given by the caller ([`Sign`], [`Verify`]). Left out on purpose: streams
//! and timing (`taffeta-node`), who is alive (`taffeta-swim`), and what DNS makes of it (`taffeta-dns-answer`): a
//! node that is down keeps its records here for ten minutes, hidden by whoever reads them.

mod catalogue;
mod check;
mod digest;
mod forward;
mod set;

pub use catalogue::{Catalogue, DOWN_KEPT, EXCHANGE_BYTES_MAX, MergeError, Merged, PublishError, TOTAL_BYTES_MAX};
pub use check::{ITEMS_MAX, InvalidSet, RECORDS_MAX, TEXT_BYTES_MAX};
pub use digest::{Digest, Head};
pub use forward::{FLOOD_PEERS_MAX, FORWARD_PEERS, forward};
pub use set::{OwnerSet, SET_BYTES_MAX, Sign, SignedSet, Verify};

#[cfg(test)]
mod tests;
