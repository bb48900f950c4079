//! Who leads and votes, as one node knows it.

use crate::{
    machine::Machine,
    types::{LogId, Raft, TC},
    voters::{Candidate, Observation},
};
use openraft::{
    Instant as _, ServerState, async_runtime::WatchReceiver, metrics::RaftServerMetrics,
    type_config::alias::WatchReceiverOf,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{Fence, NodeId};
use tokio::sync::watch;

/// The consensus as seen from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, if one has been heard of lately: [`crate::Timers::silence`].
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
    /// How long ago each follower acknowledged something to this leader; known to the leader only.
    pub silence: BTreeMap<NodeId, Duration>,
    /// The sets of voters: one, or two while a change is half done.
    pub configs: Vec<BTreeSet<NodeId>>,
    /// Whether the newest entry about who votes is committed, as far as known here.
    pub committed: bool,
    /// Whether this node leads and a quorum has acknowledged it within an election's time.
    pub lease: bool,
    /// Which entry says who votes.
    pub position: MembershipPosition,
    /// Why consensus has ended here for good (a failed disk); the process must be restarted.
    pub failed: Option<String>,
}

impl Leadership {
    /// What the rules of [`crate::voters`] are asked about; `members` are in the order of their joining.
    pub fn observed(&self, me: NodeId, members: Vec<Candidate>) -> Observation {
        Observation {
            me,
            members,
            configs: self.configs.clone(),
            learners: self.learners.clone(),
            committed: self.committed,
            lease: self.lease,
            caught_up: self.caught_up.clone(),
            silence: self.silence.clone(),
        }
    }
}

/// Position of the entry that says who votes: a change is refused if it is no longer the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MembershipPosition(pub(crate) Option<LogId>);

/// Tells when who leads or votes may have changed.
pub struct LeadershipWatch {
    raft: Raft,
    machine: Machine,
    server: WatchReceiverOf<TC, RaftServerMetrics<TC>>,
    applied: watch::Receiver<Fence>,
    heard_anew: watch::Receiver<()>,
}

impl LeadershipWatch {
    pub(crate) fn new(raft: &Raft, machine: &Machine, heard_anew: &watch::Sender<()>) -> Self {
        Self {
            raft: raft.clone(),
            machine: machine.clone(),
            server: raft.server_metrics(),
            applied: machine.watch(),
            heard_anew: heard_anew.subscribe(),
        }
    }

    /// Returns when there may be news since the last call; sometimes there is none. What follows from silence alone (a
    /// leader that is heard of no more) is not told.
    pub async fn changed(&mut self) {
        // A new leader may write once it has applied the first entry of its term.
        let is_new = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.state == ServerState::Leader
                && self.machine.read(|state| state.applied.term) != metrics.current_term
        };
        let ended = async {
            if self.server.changed().await.is_err() {
                std::future::pending::<()>().await; // consensus has ended
            }
        };
        tokio::select! {
            () = ended => {}
            _ = self.applied.changed(), if is_new => {}
            Ok(()) = self.heard_anew.changed() => {}
        }
    }
}

/// How long ago each follower acknowledged something.
pub(crate) fn silence(metrics: &openraft::RaftMetrics<TC>) -> BTreeMap<NodeId, Duration> {
    let heard = metrics.heartbeat.iter().flatten();
    heard.filter_map(|(id, at)| Some((NodeId(*id), at.as_ref()?.elapsed()))).collect()
}
