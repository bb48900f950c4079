//! What a simulator looks at: how far a log is, and who votes by it.

use super::Store;
use openraft::{ServerState, async_runtime::WatchReceiver};
use std::collections::{BTreeMap, BTreeSet};
use taffeta_model::NodeId;

/// The log of one node, and its part in the consensus, in more detail than anybody needs who uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Insight {
    /// Whether it leads by its own account, with or without a quorum behind it.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// Index and term of the newest membership in the log, committed or not.
    pub membership: (u64, u64),
    /// Who votes by that: one set, or two while one gives way to another.
    pub configs: Vec<BTreeSet<NodeId>>,
    /// Index of the last entry; 0 if there is none.
    pub last: u64,
    /// Index of the newest entry that is known to be committed.
    pub committed: u64,
    /// Up to which index each node has told a leader that it has the log on disk; known to the leader only.
    pub acknowledged: BTreeMap<NodeId, u64>,
}

impl Store {
    /// A look inside.
    pub fn insight(&self) -> Insight {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = &metrics.membership_config;
        let set = |ids: &BTreeSet<u64>| ids.iter().copied().map(NodeId).collect();
        let matched = metrics.replication.iter().flatten();
        Insight {
            leads: metrics.state == ServerState::Leader && metrics.running_state.is_ok(),
            term: metrics.current_term,
            membership: membership.log_id().map_or((0, 0), |at| (at.index, at.leader_id.term)),
            configs: membership.membership().get_joint_config().iter().map(set).collect(),
            last: metrics.last_log_index.unwrap_or_default(),
            committed: metrics.local_committed.map_or(0, |at| at.index),
            acknowledged: matched.filter_map(|(id, at)| Some((NodeId(*id), at.as_ref()?.index))).collect(),
        }
    }
}
