//! Looks through a packet before Foca gets it, so that a bad one changes nothing.

use crate::Identity;
use bytes::Buf;
use foca::{Codec, Header, Member, Message, PostcardCodec};
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
    pub(crate) updates: Vec<Member<Identity>>,
}

/// Decodes the whole packet. No tail is allowed: this ring carries membership only.
pub(crate) fn read(packet: &[u8], bytes_max: usize) -> Result<Read, PacketError> {
    if packet.len() > bytes_max {
        return Err(PacketError::TooLarge { bytes: packet.len(), max: bytes_max });
    }
    let mut rest = packet;
    let header: Header<Identity> =
        PostcardCodec.decode_header(&mut rest).map_err(|_| PacketError::Malformed("the header cannot be decoded"))?;
    let bare = matches!(header.message, Message::Announce | Message::TurnUndead);
    if header.message == Message::Broadcast || (bare && rest.has_remaining()) {
        return Err(PacketError::Malformed("a payload that this message does not have"));
    }
    let mut updates = Vec::new(); // bounded by the packet's size, as each takes bytes from it
    if rest.remaining() >= 2 {
        for _ in 0..rest.get_u16() {
            let update = PostcardCodec.decode_member(&mut rest);
            updates.push(update.map_err(|_| PacketError::Malformed("a member cannot be decoded"))?);
        }
    }
    if rest.has_remaining() {
        return Err(PacketError::Malformed("bytes after its end"));
    }
    Ok(Read { header, updates })
}
