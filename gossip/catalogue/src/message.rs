//! What two nodes say to each other about their catalogues, and how it is written.
//!
//! Nothing is an answer that somebody waits for: any message may be lost, late or repeated.

use crate::{Head, SET_BYTES_MAX, ShortHash, Update};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use taffeta_model::NodeId;
use thiserror::Error;

/// Longest message in bytes, before compression: a push of the largest set, or of several small ones, with room to spare.
pub const MESSAGE_BYTES_MAX: usize = SET_BYTES_MAX + (128 << 10);

/// Pushes from this length on are compressed: a single ordinary change is shorter, and gains nothing.
const COMPRESSED_FROM: usize = 512;

/// Most that LZ4 makes of one byte; whoever says more lies.
const EXPANSION_MAX: usize = 255;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// One message, to one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Updates, each before those that build on it.
    Push(Vec<Update>),
    /// Sets that the sender holds: ask for those that do not come another way.
    Have(Vec<Head>),
    /// Push the sets of these owners, and from now on everything.
    Want(Vec<NodeId>),
    /// What you push comes another way: only say from now on what you have.
    Prune,
    /// What the sender holds, in a dozen bytes. Who holds something else answers with [`Self::Buckets`].
    Summary {
        /// Of all heads.
        hash: u64,
        /// How many.
        owners: u32,
    },
    /// What the sender holds, by bucket.
    Buckets {
        /// The first of them.
        first: u16,
        /// Of this and those that follow.
        hashes: Vec<ShortHash>,
    },
    /// Buckets that differed a while ago. Who still differs answers with [`Self::Heads`].
    Check(Vec<(u16, ShortHash)>),
    /// All that the sender has in these buckets.
    Heads {
        /// Which ones.
        buckets: Vec<u16>,
        /// Of sets that it holds.
        held: Vec<Head>,
        /// Of sets that it has dropped: it neither gives nor needs them.
        dropped: Vec<Head>,
    },
}

/// Why bytes were not taken. Nothing was changed; drop them, whoever sent them is faulty or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// There is nothing, or the first byte says a format that is not known here.
    #[error("an unknown format")]
    UnknownFormat,
    /// Beyond [`MESSAGE_BYTES_MAX`], also once it is decompressed.
    #[error("more than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not what the format says.
    #[error("bytes that cannot be decoded")]
    Malformed,
}

/// The message as it travels.
pub fn encode(message: &Message) -> Vec<u8> {
    let is_long = |bytes: &[u8]| matches!(message, Message::Push(_)) && bytes.len() >= COMPRESSED_FROM;
    pack(message, is_long)
}

/// Reads a message. Takes memory in proportion to the length that it may have, whatever the bytes say.
pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    unpack(bytes)
}

/// A byte for the format, then the value in postcard, compressed if `try_to` says so and it pays.
pub(crate) fn pack<T: Serialize>(value: &T, try_to: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let plain = postcard::to_extend(value, vec![PLAIN]).expect("plain data can be encoded");
    if !try_to(&plain[1..]) {
        return plain;
    }
    let length = u32::try_from(plain.len() - 1).expect("at most a few sets");
    let block = lz4_flex::block::compress(&plain[1..]);
    let packed = [&[LZ4][..], &length.to_le_bytes(), &block].concat();
    if packed.len() < plain.len() { packed } else { plain }
}

/// The inverse of [`pack`].
pub(crate) fn unpack<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let plain = unpack_bytes(bytes)?;
    let (value, rest) = postcard::take_from_bytes(&plain).map_err(|_| DecodeError::Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Malformed) }
}

fn unpack_bytes(bytes: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    let (format, rest) = bytes.split_first().ok_or(DecodeError::UnknownFormat)?;
    match *format {
        PLAIN if rest.len() > MESSAGE_BYTES_MAX => Err(DecodeError::TooLarge),
        PLAIN => Ok(Cow::Borrowed(rest)),
        LZ4 => decompress(rest).map(Cow::Owned),
        _ => Err(DecodeError::UnknownFormat),
    }
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (length, block) = bytes.split_first_chunk().ok_or(DecodeError::Malformed)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(DecodeError::TooLarge);
    }
    if length > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(DecodeError::Malformed);
    }
    let plain = lz4_flex::block::decompress(block, length).map_err(|_| DecodeError::Malformed)?;
    if plain.len() == length { Ok(plain) } else { Err(DecodeError::Malformed) }
}
