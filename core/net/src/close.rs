//! Why a connection was closed, in a number and words for the other end.

use crate::refusal::{Grounds, RefusedFor};
use quinn::{Connection, ConnectionError, VarInt};

/// The codes are the protocol's: a peer of another version may tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The endpoint ends, or has what it asked for.
    Bye,
    /// The certificate is one of our CA, but names no node.
    NotANode,
    /// As many strangers are served as may be.
    TooManyStrangers,
    /// A stranger has taken too long.
    StrangerTooLong,
    /// There were too many connections, and this one was used longest ago.
    LeastUsed,
    /// Newer connections of the same node are in use.
    Replaced,
    /// The node is taken for dead.
    Down,
    /// The node is no member any more, or has moved.
    Forgotten,
    /// The node was removed from the cluster: told to it, so that it ends.
    Removed,
    /// The certificate is of a CA that is believed no more: told to its node, so that it ends.
    FormerAuthority,
}

impl Close {
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Bye => 0,
            Self::NotANode => 1,
            Self::TooManyStrangers => 2,
            Self::StrangerTooLong => 3,
            Self::LeastUsed => 4,
            Self::Replaced => 5,
            Self::Down => 6,
            Self::Forgotten => 7,
            Self::Removed => 8,
            Self::FormerAuthority => 9,
        })
    }

    pub(crate) fn reason(self) -> &'static [u8] {
        match self {
            Self::Bye => b"bye",
            Self::NotANode => b"the certificate is not one of a node",
            Self::TooManyStrangers => b"too many machines join at once; try again",
            Self::StrangerTooLong => b"a join takes less time",
            Self::LeastUsed => b"too many connections; this one was used longest ago",
            Self::Replaced => b"newer connections are in use",
            Self::Down => b"taken for dead",
            Self::Forgotten => b"not a member any more, or moved",
            Self::Removed => b"removed from the cluster",
            Self::FormerAuthority => b"the certificate is of a former CA",
        }
    }

    /// Whether a connection was closed because this node's certificate is refused for good, and what was said. It proves
    /// nothing by itself: whoever sees the first packet of a handshake can end it, and QUIC takes this kind of an end there,
    /// too. What counts is the signature in it.
    pub(crate) fn refusal(error: &ConnectionError) -> Option<(RefusedFor, Grounds)> {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let all = [RefusedFor::Removal, RefusedFor::FormerAuthority];
                let why = all.into_iter().find(|why| close.error_code == why.close().code())?;
                Some((why, Grounds::of(&close.reason)))
            }
            ConnectionError::ConnectionClosed(_)
            | ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::Reset
            | ConnectionError::TimedOut
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => None,
        }
    }

    pub(crate) fn connection(self, connection: &Connection) {
        connection.close(self.code(), self.reason());
    }
}
