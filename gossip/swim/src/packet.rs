//! Looks through a packet before Foca gets it, so that a bad one changes nothing.

use crate::{Identity, codec};
use bytes::Buf;
use foca::{Header, Member, Message, State};
use std::borrow::Cow;
use taffeta_model::NodeId;
use thiserror::Error;

/// Why a packet or a list of members was refused. Nothing was changed; the sender is faulty or of another version.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// Larger than agreed.
    #[error("a packet of {bytes} bytes; at most {max} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The configured limit.
        max: usize,
    },
    /// Not in the format of this version.
    #[error("a malformed packet: {0}")]
    Malformed(&'static str),
    /// It claims to come from another member than the connection does.
    #[error("the packet says it is from {claimed}, its connection belongs to {actual}")]
    WrongSender {
        /// Named in the packet.
        claimed: NodeId,
        /// Told by the transport.
        actual: NodeId,
    },
    /// It bears our own id: the same data folder runs twice.
    #[error("a packet from our own id {0}: another process runs with this node's data")]
    FromOurselves(NodeId),
    /// It names members beyond the limit of a ring.
    #[error("the ring is full: at most {0} members are kept")]
    TooManyMembers(usize),
}

/// A packet that has been read to its end.
pub(crate) struct Read {
    pub(crate) header: Header<Identity>,
    header_bytes: usize,
    pub(crate) updates: Vec<Member<Identity>>,
}

impl Read {
    /// The packet that this was read from, without those updates that would change nothing.
    pub(crate) fn without<'a>(&self, packet: &'a [u8], is_stale: impl Fn(&Member<Identity>) -> bool) -> Cow<'a, [u8]> {
        let news: Vec<&Member<Identity>> = self.updates.iter().filter(|update| !is_stale(update)).collect();
        if news.len() == self.updates.len() {
            return Cow::Borrowed(packet);
        }
        let mut rest = packet[..self.header_bytes].to_vec();
        if !news.is_empty() {
            rest.extend((news.len() as u16).to_be_bytes()); // fewer than were read
            news.iter().for_each(|update| codec::put_member(update, &mut rest).expect("a vector has room"));
        }
        Cow::Owned(rest)
    }
}

/// Whether the update changes nothing where `known` holds, by the order of the protocol (SWIM, section 4.2).
pub(crate) fn is_stale(update: &Member<Identity>, known: &Member<Identity>) -> bool {
    let no_later = update.incarnation() <= known.incarnation();
    let earlier = update.incarnation() < known.incarnation();
    update.id() == known.id()
        && match (known.state(), update.state()) {
            (State::Alive, State::Alive) | (State::Suspect, State::Alive | State::Suspect) => no_later,
            (State::Alive, State::Suspect) => earlier,
            (State::Alive | State::Suspect, State::Down) => false,
            (State::Down, _) => true,
        }
}

/// What kind of packet it is: its first byte.
pub(crate) enum Kind {
    /// The protocol's own.
    Swim = 0,
    /// A hash of all that the sender believes: see `digest.rs`.
    Digest = 1,
    /// The same in parts.
    Parts = 2,
}

/// Splits a packet, and checks its size.
pub(crate) fn split(packet: &[u8], bytes_max: usize) -> Result<(Kind, &[u8]), PacketError> {
    if packet.len() > bytes_max {
        return Err(PacketError::TooLarge { bytes: packet.len(), max: bytes_max });
    }
    match packet.split_first() {
        Some((0, rest)) => Ok((Kind::Swim, rest)),
        Some((1, rest)) => Ok((Kind::Digest, rest)),
        Some((2, rest)) => Ok((Kind::Parts, rest)),
        Some(_) => Err(PacketError::Malformed("an unknown kind of packet")),
        None => Err(PacketError::Malformed("an empty packet")),
    }
}

/// Puts the kind before it.
pub(crate) fn join(kind: Kind, rest: &[u8]) -> Vec<u8> {
    [&[kind as u8], rest].concat()
}

/// Decodes the whole of a protocol's packet that came to `me`. No tail is allowed: this ring carries membership only.
pub(crate) fn read(me: &Identity, packet: &[u8]) -> Result<Read, PacketError> {
    let mut rest = packet;
    let header =
        codec::take_header(me, &mut rest).map_err(|_| PacketError::Malformed("the header cannot be decoded"))?;
    let header_bytes = packet.len() - rest.len();
    let bare = matches!(header.message, Message::Announce | Message::TurnUndead);
    if header.message == Message::Broadcast || (bare && rest.has_remaining()) {
        return Err(PacketError::Malformed("a payload that this message does not have"));
    }
    let mut updates = Vec::new(); // bounded by the packet's size, as each takes bytes from it
    if rest.remaining() >= 2 {
        for _ in 0..rest.get_u16() {
            let update = codec::take_member(&mut rest);
            updates.push(update.map_err(|_| PacketError::Malformed("a member cannot be decoded"))?);
        }
    }
    if rest.has_remaining() {
        return Err(PacketError::Malformed("bytes after its end"));
    }
    Ok(Read { header, header_bytes, updates })
}

#[cfg(test)]
mod tests;
