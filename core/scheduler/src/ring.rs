//! What the leader knows about machines and tasks beyond the replicated state. All times are on the leader's clock.

use std::collections::{BTreeMap, BTreeSet};
use taffeta_model::{Exit, Fence, Liveness, Millis, NodeId, Phase, TaskId};

/// The leader's view of the ring and of what nodes report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingView {
    /// Members that the ring has told about since [`RingView::leader_since`]. A member of the state that is absent here
    /// counts as unseen: it gets no task, and it is dead only long after the leader began.
    pub members: BTreeMap<NodeId, MemberView>,
    /// Unseen members that the leader's own probes, also through another voter, failed to reach.
    pub unseen_dead: BTreeSet<NodeId>,
    /// What nodes report about tasks. Only reports whose fence is that of the task's placement count.
    pub observed: BTreeMap<TaskId, Vec<Observed>>,
    /// When this node began to lead.
    pub leader_since: Millis,
}

/// One member as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// What the ring thinks of it.
    pub liveness: Liveness,
    /// When this liveness began. Suspicion counts from the first one: a member that goes from suspect to down keeps the
    /// time at which it was suspected.
    pub since: Millis,
    /// Whether the leader's own probes failed too, also through another voter. What the ring says is hearsay: it alone
    /// moves no task.
    pub confirmed_dead: bool,
}

/// One report of a node about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The node that reports.
    pub node: NodeId,
    /// The placement that the report is about.
    pub fence: Fence,
    /// What the task does.
    pub phase: Phase,
    /// How its last process ended.
    pub exit: Option<Exit>,
    /// When the leader first saw this phase.
    pub since: Millis,
}
