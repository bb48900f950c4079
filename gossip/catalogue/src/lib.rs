//! What runs where: each node publishes one signed set of records about itself, and all nodes come to hold them all.
//!
//! A set has one writer and is replaced by one with a higher `(epoch, seq)`; order, loss and repetition of messages
//! therefore cannot matter. The epoch is the owner's start counter. What travels may be a difference, but what is
//! signed, checked and held is always the whole set, which also makes a restart seamless: peers keep the set of the
//! earlier life until the first complete one of the new life is there, and swap it at once.
//!
//! [`Catalogue`] is what is held; [`Spread`] decides to whom what is sent: news along a tree that prunes itself
//! (Plumtree: Leitão, Pereira, Rodrigues 2007), and what got lost by comparing hashes.
//!
//! Pure: signing and checking signatures are given by the caller ([`Sign`], [`Verify`]). Left out on purpose: sockets
//! and clocks (`taffeta-node`), who is alive (`taffeta-swim`), and what DNS makes of it (`taffeta-dns-answer`): a
//! node that is down keeps its records here for ten minutes, hidden by whoever reads them.

mod catalogue;
mod check;
mod digest;
mod held;
mod message;
mod overlay;
mod set;
mod snapshot;
mod spread;
mod update;

pub use catalogue::{Catalogue, DOWN_KEPT, EXCHANGE_BYTES_MAX, MergeError, Merged, PublishError, TOTAL_BYTES_MAX};
pub use check::{ITEMS_MAX, InvalidSet, RECORDS_MAX, TEXT_BYTES_MAX};
pub use digest::{BUCKETS, Head, ShortHash};
pub use held::{Held, Sets};
pub use message::{DecodeError, MESSAGE_BYTES_MAX, Message, decode, encode};
pub use overlay::{CYCLES, FLOOD_PEERS_MAX, neighbours};
pub use set::{OwnerSet, SET_BYTES_MAX, Sign, SignedSet, Verify};
pub use snapshot::{CHUNK_BYTES, SnapshotChunks, decode_chunk};
pub use spread::{Spread, SpreadEffect, Way};
pub use update::{SetDelta, Update};

#[cfg(test)]
mod tests;
