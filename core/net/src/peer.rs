//! Who calls, on which lane, and what can go wrong.

use serde::{Deserialize, Serialize};
use taffeta_model::NodeId;
use thiserror::Error;

/// The other end of a connection, as it stands at the moment of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A node with a certificate of this cluster.
    Node(NodeId),
    /// A member whose certificate ended a short while ago: nobody could renew it, as when the quorum is lost. The ring and
    /// the catalogue go on with it, consensus and placement do not.
    Expired(NodeId),
    /// A node whose certificate ended long ago, or whose key is not among those of the members: it may be renewed.
    Lapsed(NodeId),
    /// A node that was removed from the cluster.
    Removed(NodeId),
    /// Someone without a certificate: may call [`Lane::Join`] only.
    Stranger,
}

/// What a call or push is about. The lane is the first byte of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// Consensus.
    Raft,
    /// Requests between nodes: assigned sets, passing on to the leader, probes.
    Control,
    /// The catalogue's sets and digests.
    Catalogue,
    /// A machine that wants to become a node. The only lane for strangers.
    Join,
    /// A sign of life, which the endpoint itself gives: it says nothing about the service behind it.
    Ping,
    /// All that a new member needs to know. The only lane whose replies are streams, and nothing is pushed on it.
    Snapshot,
    /// A node wants its certificate renewed: all that one whose certificate has ended long ago may ask for.
    Renew,
    /// A conversation, as with a command that a person runs beside a task. Nothing is called or pushed on it.
    Talk,
}

impl Lane {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Raft => 1,
            Self::Control => 2,
            Self::Catalogue => 3,
            Self::Join => 4,
            Self::Ping => 5,
            Self::Snapshot => 6,
            Self::Renew => 7,
            Self::Talk => 8,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let lanes = [Self::Raft, Self::Control, Self::Catalogue, Self::Join, Self::Ping, Self::Snapshot, Self::Renew];
        lanes.into_iter().chain([Self::Talk]).find(|lane| lane.byte() == byte)
    }

    /// Whether replies on this lane are streams: [`crate::Net::stream`] asks on it, and no call does.
    pub fn is_streamed(self) -> bool {
        match self {
            Self::Snapshot => true,
            Self::Raft | Self::Control | Self::Catalogue | Self::Join | Self::Ping | Self::Renew | Self::Talk => false,
        }
    }

    /// Whether frames go both ways on this lane: [`crate::Net::talk`] begins it, and no call does.
    pub fn is_talk(self) -> bool {
        match self {
            Self::Talk => true,
            Self::Raft | Self::Control | Self::Catalogue | Self::Join | Self::Ping | Self::Snapshot | Self::Renew => {
                false
            }
        }
    }

    /// Whether small calls on this lane may go as sealed datagrams: [`crate::Net::call_brief`] makes them.
    pub fn is_brief(self) -> bool {
        match self {
            Self::Raft => true,
            Self::Control | Self::Catalogue | Self::Join | Self::Ping | Self::Snapshot | Self::Renew | Self::Talk => {
                false
            }
        }
    }

    /// Whether `peer` may use this lane, or be asked on it. Checked at every call, at both ends. On [`Lane::Control`] the
    /// service looks more closely at what an expired member wants.
    pub fn allows(self, peer: Peer) -> bool {
        match peer {
            Peer::Node(_) => match self {
                Self::Raft | Self::Control | Self::Catalogue | Self::Join => true,
                Self::Ping | Self::Snapshot | Self::Renew | Self::Talk => true,
            },
            Peer::Expired(_) => match self {
                Self::Control | Self::Catalogue | Self::Ping | Self::Snapshot | Self::Renew => true,
                Self::Raft | Self::Join | Self::Talk => false,
            },
            Peer::Lapsed(_) => match self {
                Self::Ping | Self::Renew => true,
                Self::Raft | Self::Control | Self::Catalogue | Self::Join | Self::Snapshot | Self::Talk => false,
            },
            Peer::Removed(_) => match self {
                Self::Raft | Self::Control | Self::Catalogue | Self::Join => false,
                Self::Ping | Self::Snapshot | Self::Renew | Self::Talk => false,
            },
            Peer::Stranger => match self {
                Self::Join => true,
                Self::Raft | Self::Control | Self::Catalogue | Self::Ping | Self::Snapshot | Self::Renew => false,
                Self::Talk => false,
            },
        }
    }
}

impl Peer {
    /// Why this peer is refused on a lane that it may not use.
    pub(crate) fn refusal(self) -> &'static str {
        match self {
            Self::Stranger => "this needs a node's certificate",
            Self::Node(_) => "this is not for nodes",
            Self::Expired(_) | Self::Lapsed(_) => "the node's certificate has ended: it is to be renewed first",
            Self::Removed(_) => "the node was removed from the cluster",
        }
    }
}

/// Why a call gave no reply. Unless it is [`CallError::Refused`], the callee may or may not have acted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// No address is known for the node.
    #[error("no address is known for node {0}")]
    UnknownNode(NodeId),
    /// No connection could be made.
    #[error("cannot connect to {0}: {1}")]
    Unreachable(String, String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// No reply in time.
    #[error("no answer in time")]
    Timeout,
    /// The callee refused, with its reason.
    #[error("{0}")]
    Refused(String),
}

#[cfg(test)]
mod tests;
