//! Faults on purpose: whether they are blocked, and which tokens let somebody bring them about.

use super::State;
use crate::{Fence, NodeId, NodeName, Refusal, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest reason of a block, in characters: a sentence or two.
pub const CHAOS_REASON_MAX: usize = 200;

/// What all nodes have to know of faults on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chaos {
    /// Every node undoes its faults and refuses new ones.
    pub blocked: Option<ChaosBlock>,
    /// SHA-256 of the chaos token of each member that has opted in: all of them take each of these.
    pub tokens: BTreeMap<NodeId, [u8; 32]>,
}

/// Why no fault may be brought about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChaosBlock {
    /// The node that was told so.
    pub by: NodeName,
    /// When.
    pub at: UnixMillis,
    /// In the operator's words; at most [`CHAOS_REASON_MAX`].
    pub reason: String,
}

impl State {
    pub(super) fn block_chaos(&mut self, at: Fence, block: Option<&ChaosBlock>) -> Result<(), Refusal> {
        let length = block.map_or(0, |block| block.reason.chars().count());
        if length > CHAOS_REASON_MAX {
            let message = format!("{length} characters; at most {CHAOS_REASON_MAX} are kept");
            return Err(Refusal::Invalid { field: "reason".into(), message });
        }
        self.chaos.blocked = block.cloned();
        self.directory_fence = at;
        Ok(())
    }

    pub(super) fn opt_into_chaos(&mut self, at: Fence, node: NodeId, token: Option<[u8; 32]>) -> Result<(), Refusal> {
        if !self.members.contains_key(&node) {
            return Err(Refusal::UnknownMember(node));
        }
        match token {
            Some(hash) => self.chaos.tokens.insert(node, hash),
            None => self.chaos.tokens.remove(&node),
        };
        self.directory_fence = at;
        Ok(())
    }
}
