//! Why a connection was closed, in a number and words for the other end.

use quinn::{Connection, ConnectionError, TransportErrorCode, VarInt};

/// The TLS alert `certificate_revoked`.
const REVOKED: u8 = 44;

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
        }
    }

    /// Whether the peer closed or refused a connection because it holds this node to be removed from the cluster: by this
    /// code, or, in a handshake, by the alert `certificate_revoked` (RFC 8446, section 6.2). Either comes from the peer
    /// that the handshake has authenticated.
    pub(crate) fn is_removal(error: &ConnectionError) -> bool {
        match error {
            ConnectionError::ApplicationClosed(close) => close.error_code == Self::Removed.code(),
            ConnectionError::ConnectionClosed(close) => close.error_code == TransportErrorCode::crypto(REVOKED),
            ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::Reset
            | ConnectionError::TimedOut
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => false,
        }
    }

    pub(crate) fn connection(self, connection: &Connection) {
        connection.close(self.code(), self.reason());
    }
}
