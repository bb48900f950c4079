//! A member's identity on the ring, and which of two lives of the same node is the newer one.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use taffeta_model::NodeId;

/// Which life of a node: the later one wins everywhere, and a verdict about an earlier one does not touch it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incarnation {
    /// The node's persisted start counter: higher at each start of the process.
    pub start: u64,
    /// Renewals within one start: the ring declared the node down although it lives.
    pub renewal: u32,
}

/// A member as packets name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The node.
    pub id: NodeId,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Which life of it.
    pub incarnation: Incarnation,
}

impl Identity {
    /// A member of which only id and address are known: enough to announce ourselves to it.
    pub fn seed(id: NodeId, address: SocketAddr) -> Self {
        Self { id, address, incarnation: Incarnation::default() }
    }

    /// The next life within the same start; `None` when the counter is used up.
    pub(crate) fn renewed(self) -> Option<Self> {
        let renewal = self.incarnation.renewal.checked_add(1)?;
        Some(Self { incarnation: Incarnation { renewal, ..self.incarnation }, ..self })
    }
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    /// Foca would renew within the packet that says we are down. Two nodes with one id, or a node whose start counter
    /// went back, would then answer each other at the speed of the network: [`crate::Swim`] renews at a bounded rate.
    fn renew(&self) -> Option<Self> {
        None
    }

    fn addr(&self) -> NodeId {
        self.id
    }

    /// The address breaks the tie of equal incarnations, so that all nodes settle on the same one.
    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.incarnation, self.address) > (adversary.incarnation, adversary.address)
    }
}
