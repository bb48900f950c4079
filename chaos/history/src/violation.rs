//! What a store can do wrong.

use crate::history::{Key, Position, Serial};
use thiserror::Error;

/// A promise that was broken. Reads are named by their number from 0, in the order in which they were added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A write that was acknowledged, or was seen, is gone: the key shows an older one, or is not there.
    #[error("{serial}, known to be at {position}, is lost: read {read} shows {shown} of {key}")]
    Lost {
        /// The write.
        serial: Serial,
        /// Where it was said to be, or seen.
        position: Position,
        /// What it wrote to.
        key: Key,
        /// The read that misses it.
        read: usize,
        /// What is there instead, in words.
        shown: String,
    },
    /// Something is there that nobody had sent by then.
    #[error("read {read} shows {serial} of {key}, which nobody had sent to it")]
    Invented {
        /// What is shown.
        serial: Serial,
        /// Where.
        key: Key,
        /// The read that shows it.
        read: usize,
    },
    /// A refused write took effect.
    #[error("read {read} shows {serial}, which was refused")]
    RefusedIsThere {
        /// The write.
        serial: Serial,
        /// The read that shows it.
        read: usize,
    },
    /// A write is in two places: it was moved, or applied twice.
    #[error("{serial} is at {first} and at {second}")]
    TwoPlaces {
        /// The write.
        serial: Serial,
        /// Where it was first said to be.
        first: Position,
        /// Where it is as well.
        second: Position,
    },
    /// Two writes are in one place: the log was written twice from there on.
    #[error("{first} and {second} are both at {position}")]
    OnePlace {
        /// A write.
        first: Serial,
        /// Another.
        second: Serial,
        /// Where both are.
        position: Position,
    },
    /// A write that was sent after another had been acknowledged is before that one.
    #[error("{earlier} was acknowledged before {later} was sent, and comes after it in the log")]
    Reordered {
        /// Acknowledged first.
        earlier: Serial,
        /// Sent after that.
        later: Serial,
    },
    /// The key has had more writes, or fewer, than can be accounted for.
    #[error("read {read} counts {count} writes to {key}; there were {least} to {most} up to there")]
    Miscounted {
        /// The key.
        key: Key,
        /// The read.
        read: usize,
        /// What it counts.
        count: u64,
        /// Writes that are known to be in the log up to there.
        least: u64,
        /// The same with those of unknown fate.
        most: u64,
    },
    /// A read shows less than one that had ended before it began.
    #[error("read {later} shows less of {key} than read {earlier}, which had ended before")]
    WentBack {
        /// The key.
        key: Key,
        /// The read that shows more.
        earlier: usize,
        /// The read that shows less.
        later: usize,
    },
}
