//! Asking other nodes, of this version of the protocol or another one.
//!
//! A message that the other end does not know is not sent; one that is sent all the same is refused in words by which the
//! sender can tell, and the connection goes on. So a newer node may fall back on what older ones know.

use crate::{
    node::{Core, OLD_VERSION},
    wire::{Ask, Told, decode, encode},
};
use std::time::Duration;
use taffeta_model::{NodeId, State, VERSION_MIN};
use taffeta_net::{CallError, Lane};

/// The refusal of what a node's version does not know.
pub(crate) const NOT_KNOWN: &str = "this is not known to the version that the node is of";

/// Whether a node refused since it does not know what it was asked.
pub(crate) fn is_not_known(why: &str) -> bool {
    why.starts_with(NOT_KNOWN)
}

impl Core {
    /// Asks another node, if it knows that.
    pub(crate) async fn ask(&self, node: NodeId, ask: &Ask, limit: Duration) -> Result<Told, CallError> {
        if !self.may_know(node, ask.since()) {
            return Err(CallError::Refused(NOT_KNOWN.into()));
        }
        let ask = self.generation.mark(&encode(ask));
        let reply = self.net().call(node, Lane::Control, &ask, limit).await?;
        decode(&reply).map_err(CallError::Broken)
    }

    /// Whether a node speaks this version, as far as is known: all members do what the cluster's level is; beyond that by the
    /// connection to it, and by what it publishes of itself.
    fn may_know(&self, node: NodeId, version: u32) -> bool {
        if version <= VERSION_MIN.max(self.store.read(State::spoken_level)) {
            return true;
        }
        let published = self.gossip.sets().get(&node).map(|set| set.info.speaks.max);
        [self.net().version(node), published].into_iter().flatten().all(|spoken| spoken >= version)
    }

    /// Whether this node speaks what all members of its cluster do; in words if not.
    pub(crate) fn check_level(&self, level: u32) -> Result<(), String> {
        let speaks = self.info.speaks;
        if speaks.max >= level {
            return Ok(());
        }
        Err(format!(
            "all members speak version {level} of the protocol, and this node {OLD_VERSION} {speaks}: upgrade it"
        ))
    }
}

#[cfg(test)]
mod tests;
