//! What many clients did to a store and were told of it, and whether a store that keeps its promises could have told it.
//!
//! A [`History`] holds writes and reads in the order in which clients saw them begin and end. [`History::check`] finds
//! every acknowledged write that is gone or out of its place, whatever is there that was never sent, was refused or was
//! applied twice, and reads that go back. A write whose fate its client does not know may be there or not. Left out on
//! purpose: clients, clocks and stores; whoever records says when things happened.
//!
//! The store that is meant has keys. A write replaces its key's value, takes a position in one log for all keys, and
//! carries a serial that no other has. A read gives of each key its newest serial, the position of it, and how many
//! writes it has had: so a write that was lost is missed even if a later one hides it. A store that only collects is the
//! same with a key for each write.

mod check;
mod history;
mod order;
mod violation;

pub use history::{Client, Fate, History, Key, Position, Read, Seen, Serial, Strength, Write};
pub use violation::Violation;

#[cfg(test)]
mod tests;
