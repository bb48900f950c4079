//! How a node learns that its certificate is believed no more, for good. Anyone may refuse a connection; that the cluster
//! does is said by its CA's key, whoever passes that on.

use crate::close::Close;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use taffeta_model::{ClusterId, NodeId};

/// Members named beside a refusal: as many as may vote.
pub const HOLDERS_MAX: usize = 5;

/// Why a certificate is refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedFor {
    /// Its node was removed from the cluster.
    Removal,
    /// It is of a CA that is believed no more.
    FormerAuthority,
}

/// What a node says with its refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grounds {
    /// What is said before the statement, and signed with it: the service's business.
    pub mark: Vec<u8>,
    /// Signature of the CA that signs now ([`crate::Authority::sign_message`]) over both; empty if the node does not hold
    /// its key.
    pub signature: Vec<u8>,
    /// Who does, as far as it knows, and where: at most [`HOLDERS_MAX`].
    pub holders: Vec<(NodeId, SocketAddr)>,
}

/// A refusal, as it was heard by the node that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who refused: a node of this cluster, its chain leads to a CA that is believed here.
    pub by: NodeId,
    /// Why.
    pub why: RefusedFor,
    /// Whether a CA has signed it that is believed here, or that has signed the certificate of who refused.
    pub proven: bool,
    /// As in [`Grounds`].
    pub mark: Vec<u8>,
    /// Who might prove it, as it says.
    pub holders: Vec<(NodeId, SocketAddr)>,
}

impl RefusedFor {
    pub(crate) fn close(self) -> Close {
        match self {
            Self::Removal => Close::Removed,
            Self::FormerAuthority => Close::FormerAuthority,
        }
    }

    /// What the CA signs: of this one certificate, by its SHA-256, that it is refused.
    pub(crate) fn statement(self, cluster: ClusterId, certificate: &[u8; 32]) -> Vec<u8> {
        let code = self.close().code().into_inner().to_be_bytes();
        [b"taffeta refuses a certificate\0".as_slice(), &cluster.0.to_be_bytes(), &code, certificate].concat()
    }
}

impl Grounds {
    /// The words, for people and for nodes that know no more, and these behind a zero.
    pub(crate) fn behind(&self, words: &[u8]) -> Vec<u8> {
        let grounds = postcard::to_stdvec(self).expect("it can be encoded");
        [words, &[0], &grounds].concat()
    }

    /// Those of a reason for closing; none if there are none that can be read.
    pub(crate) fn of(reason: &[u8]) -> Self {
        let at = reason.iter().position(|byte| *byte == 0);
        at.and_then(|at| postcard::from_bytes(&reason[at + 1..]).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
