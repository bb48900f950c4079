//! What is remembered of recoveries and of the lives of nodes: by it those are known who speak for what is over.

use crate::{ClusterId, NodeId, UnixMillis};
use serde::{Deserialize, Serialize};

/// That a cluster was recovered after its quorum was lost for good: proof of a new generation, signed by the CA key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// The cluster.
    pub cluster: ClusterId,
    /// The generation that began with it, at least 1.
    pub generation: u64,
    /// The survivor that was taken.
    pub node: NodeId,
    /// When.
    pub date: UnixMillis,
    /// Ed25519 by the CA's key over [`Recovery::signed_part`]: 64 bytes.
    pub signature: Vec<u8>,
}

impl Recovery {
    /// What is signed.
    pub fn signed_part(&self) -> Vec<u8> {
        let mut part = b"taffeta recovery 1".to_vec();
        part.extend(self.cluster.0.to_be_bytes());
        part.extend(self.generation.to_be_bytes());
        part.extend(self.node.0.to_be_bytes());
        part.extend(self.date.0.to_be_bytes());
        part
    }

    /// Whether this one ends what began with the other. A later generation does; of two recoveries to one generation,
    /// which an operator should never make, the later one does, so that in the end one is left.
    pub fn outranks(&self, other: Option<&Self>) -> bool {
        let rank = |r: &Self| (r.generation, r.date, r.node);
        other.is_none_or(|other| rank(self) > rank(other))
    }
}

/// One life of a node's process. The count is stored before the process speaks, so a later life has a higher one; of two
/// lives with one count, one was started from a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Life {
    /// Counts starts from the node's data folder.
    pub start: u64,
    /// Drawn at the start.
    pub nonce: u64,
}

impl Life {
    /// Whether this life cannot be the one that goes on after `known`: it began earlier, or is another one of the same
    /// count.
    pub fn is_over(&self, known: &Self) -> bool {
        self.start < known.start || (self.start == known.start && self.nonce != known.nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_over_when_a_later_or_another_one_of_its_count_is_known() {
        let life = |start, nonce| Life { start, nonce };
        assert!(!life(3, 7).is_over(&life(3, 7)), "it is the same");
        assert!(!life(4, 1).is_over(&life(3, 7)), "it is later");
        assert!(life(3, 8).is_over(&life(3, 7)), "a copy counted to the same number");
        assert!(life(2, 7).is_over(&life(3, 7)), "an older copy");
    }

    #[test]
    fn of_two_recoveries_one_outranks_the_other() {
        let recovery = |generation, date, node| Recovery {
            cluster: ClusterId(1),
            generation,
            node: NodeId(node),
            date: UnixMillis(date),
            signature: vec![],
        };
        assert!(recovery(1, 5, 1).outranks(None));
        assert!(recovery(2, 1, 1).outranks(Some(&recovery(1, 5, 9))));
        assert!(recovery(1, 6, 1).outranks(Some(&recovery(1, 5, 9))));
        assert!(!recovery(1, 5, 9).outranks(Some(&recovery(1, 5, 9))), "the same one ends nothing");
        assert_ne!(
            recovery(1, 5, 9).outranks(Some(&recovery(1, 5, 8))),
            recovery(1, 5, 8).outranks(Some(&recovery(1, 5, 9)))
        );
        assert_ne!(recovery(1, 5, 9).signed_part(), recovery(2, 5, 9).signed_part());
    }
}
