//! Who leads, as one node knows it.

use std::collections::BTreeSet;
use taffeta_model::NodeId;

/// The consensus as seen from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, if one has been heard of within the last second.
    pub leader: Option<NodeId>,
    /// Whether that is this node, with a quorum behind it and an entry of its own term applied.
    pub is_leader: bool,
    /// The term.
    pub term: u64,
    /// The voters, by the newest membership known here.
    pub voters: BTreeSet<NodeId>,
    /// Those who follow the log without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Followers and learners that have all entries but the last few; known to the leader only.
    pub caught_up: BTreeSet<NodeId>,
    /// Why consensus has ended here for good (a failed disk); the process must be restarted.
    pub failed: Option<String>,
}
