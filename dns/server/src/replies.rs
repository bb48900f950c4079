//! Replies of a stream that wait to be written, each behind its length.

use std::io;

/// Bytes of the length before each message.
const LENGTH: usize = 2;
/// Room for a reply that is written in place: a hundred SRV records with their addresses take half of it.
const ROOM: usize = 16 * 1024;
/// What is kept for the next replies; transfers and long replies need more for a moment.
const KEPT: usize = 64 * 1024;

/// The replies, and room behind them that stays as it is from one reply to the next.
#[derive(Default)]
pub(crate) struct Replies {
    /// Longer than what is used while there is room.
    bytes: Vec<u8>,
    used: usize,
}

impl Replies {
    /// Room for a reply, which counts once [`Self::commit`] says how long it is.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let start = self.used + LENGTH;
        if self.bytes.len() < start + ROOM {
            self.bytes.resize(start + ROOM, 0);
        }
        &mut self.bytes[start..start + ROOM]
    }

    /// Whether the reply in the room has TC: the room was too small for it.
    pub(crate) fn is_cut(&self, len: usize) -> bool {
        let flags = self.bytes.get(self.used + LENGTH + 2).filter(|_| len > 2);
        flags.is_some_and(|flags| flags & 2 != 0)
    }

    /// The reply in the room is whole.
    pub(crate) fn commit(&mut self, len: usize) {
        // The room is smaller than what two bytes can say.
        self.bytes[self.used..self.used + LENGTH].copy_from_slice(&(len as u16).to_be_bytes());
        self.used += LENGTH + len;
    }

    /// Appends a reply.
    pub(crate) fn put(&mut self, message: &[u8]) -> io::Result<()> {
        let len = u16::try_from(message.len()).map_err(io::Error::other)?;
        self.bytes.truncate(self.used);
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(message);
        self.used = self.bytes.len();
        Ok(())
    }

    /// What is to be written.
    pub(crate) fn written(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// All of it has been written.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.bytes.truncate(KEPT);
        self.bytes.shrink_to(KEPT);
    }

    /// Gives the memory back: nothing more is expected for a while.
    pub(crate) fn release(&mut self) {
        *self = Self::default();
    }
}
