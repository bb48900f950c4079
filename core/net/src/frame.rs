//! What streams carry: the lane in front, and in a streamed reply frames with their length. Pure; the streams are elsewhere.

use crate::peer::Lane;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Largest frame of a streamed reply: what both ends hold at once. One set of the catalogue, which is 512 KiB at most, with
/// others before it has to fit.
pub const FRAME_BYTES_MAX: usize = 768 << 10;

/// Longest reason of a refusal; a longer one is cut.
const REASON_BYTES_MAX: usize = 4 << 10;

/// Kind and length before each frame.
const HEAD_BYTES: usize = 4;

const DATA: u8 = 0;
const END: u8 = 1;
const REFUSED: u8 = 2;

/// A part of a streamed reply: `kind 1 | length 3 (big-endian) | bytes`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A piece of what was asked for.
    Data(Bytes),
    /// All of it has been sent. Without it the reply is truncated, whatever the stream says.
    End,
    /// The callee refused, or gave up, with its reason.
    Refused(String),
}

/// Why bytes are no streamed reply. What came before it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// A frame is longer than its kind may be.
    #[error("a frame of {0} bytes is too long")]
    Oversized(usize),
    /// A frame of no kind that is known.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// The stream ended before its last frame.
    #[error("the stream is truncated")]
    Truncated,
}

/// The head of a data frame. `None` if so many bytes fit no frame.
pub(crate) fn data_head(bytes: usize) -> Option<[u8; HEAD_BYTES]> {
    (bytes <= FRAME_BYTES_MAX).then(|| head(DATA, bytes))
}

/// The last frame of a reply: its end or the reason why there is no more.
pub(crate) fn last(result: Result<(), String>) -> Vec<u8> {
    let Err(reason) = result else { return head(END, 0).to_vec() };
    let cut = reason.floor_char_boundary(REASON_BYTES_MAX);
    [&head(REFUSED, cut)[..], &reason.as_bytes()[..cut]].concat()
}

fn head(kind: u8, bytes: usize) -> [u8; HEAD_BYTES] {
    let length = u32::try_from(bytes).expect("a frame's length has three bytes");
    (u32::from(kind) << 24 | length).to_be_bytes()
}

/// Takes the lane from the front of a message. `None` if there is none or it is unknown.
pub(crate) fn split_lane(mut message: Bytes) -> Option<(Lane, Bytes)> {
    let lane = Lane::from_byte(*message.first()?)?;
    message.advance(1);
    Some((lane, message))
}

/// Finds frames in bytes that come in pieces. Holds one frame and one piece at most, if frames are taken between pieces.
#[derive(Default, Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
}

impl FrameDecoder {
    /// Adds what came in.
    pub fn extend(&mut self, piece: &[u8]) {
        self.buffer.put_slice(piece);
    }

    /// The next whole frame, if there is one. After an error there are none.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let (kind, length) = (head[0], u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize);
        let length_max = match kind {
            DATA => FRAME_BYTES_MAX,
            END => 0,
            REFUSED => REASON_BYTES_MAX,
            unknown => return Err(FrameError::UnknownKind(unknown)),
        };
        if length > length_max {
            return Err(FrameError::Oversized(length));
        }
        if self.buffer.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        let bytes = self.buffer.split_to(length).freeze();
        Ok(Some(match kind {
            DATA => Frame::Data(bytes),
            END => Frame::End,
            _ => Frame::Refused(String::from_utf8_lossy(&bytes).into_owned()),
        }))
    }
}

#[cfg(test)]
mod tests;
