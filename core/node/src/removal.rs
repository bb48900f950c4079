//! A machine that is taken out of the cluster for good: the checks before it, and what the machine itself does about it.

use crate::{
    api::{ApiError, ErrorCode},
    consensus::PART_LIMIT,
    node::Core,
};
use std::{sync::Arc, time::Duration};
use taffeta_model::{AssignedSet, Command, Directory, Fence, Liveness, NodeId};
use tokio::time::timeout;

/// How long the tasks of a removed machine may take to end: as long as their grace, and some more.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// Why a node ends that was removed.
pub const REMOVED: &str = "this machine was removed from the cluster (`taffeta remove`); its tasks were stopped";

impl Core {
    /// Removes a member; this node leads.
    pub(crate) async fn remove_member(&self, node: NodeId, force: bool) -> Result<Fence, ApiError> {
        let name = self.name_of(node);
        let there =
            node == self.me || matches!(self.ring.state().liveness(node), Some(Liveness::Alive | Liveness::Suspect));
        if there && !force {
            let message = format!("`{name}` is running");
            return Err(ApiError::new(ErrorCode::Forbidden, message)
                .help("stop it first, so that its tasks move and its vote passes on; or, as it is: --force"));
        }
        self.check_votes(node, &name)?;
        if node == self.me {
            self.store.hand_over(PART_LIMIT).await;
            return Err(self.no_quorum()); // whoever leads next is asked again
        }
        let at = self.write_here(Command::RemoveMember { node, now: self.clock.date() }).await?;
        tracing::info!(%node, name, "a machine was removed");
        Ok(at)
    }

    /// Without this node there must be a majority of those who vote now: they have to agree on who votes instead of it.
    fn check_votes(&self, node: NodeId, name: &str) -> Result<(), ApiError> {
        let voters = self.store.leadership().voters;
        if !voters.contains(&node) {
            return Ok(());
        }
        let ring = self.ring.state();
        let answers = |id: &&NodeId| **id == self.me || ring.liveness(**id) == Some(Liveness::Alive);
        let left = voters.iter().filter(|id| **id != node).filter(answers).count();
        if left * 2 > voters.len() {
            return Ok(());
        }
        let message = if voters.len() == 1 {
            format!("`{name}` is the only voter: what the cluster has promised would be lost with it")
        } else {
            format!("`{name}` votes, and without it {left} of {} voters answer, which is no majority", voters.len())
        };
        Err(ApiError::new(ErrorCode::Forbidden, message)
            .help("start the missing voters, or add machines and wait until they vote: `taffeta nodes`"))
    }

    /// A peer says that this node was removed. Only a voter's word counts: what it says follows from the log. Any peer's
    /// would let one bad machine stop all others.
    pub(crate) fn heed_removal(&self, by: NodeId) {
        let voters = self.consensus.borrow().voters.clone();
        if voters.contains(&by) || voters.is_empty() && self.directory.borrow().members.contains_key(&by) {
            self.removed.send_replace(true);
        }
    }

    /// Cuts off those that were removed.
    pub(crate) fn take_removed(&self, directory: &Directory) {
        if directory.removed.contains(&self.me) {
            self.removed.send_replace(true);
        }
        let ring = self.ring.state();
        directory.removed.iter().filter(|id| ring.liveness(**id).is_some()).for_each(|id| self.ring.removed(*id));
        let sets = self.gossip.sets();
        if directory.removed.iter().any(|id| sets.contains_key(id)) {
            self.gossip.expire(); // its names go now, whatever the ring says
        }
    }

    /// Stops the tasks and then the node, once it was removed.
    pub(crate) async fn run_removal(self: Arc<Self>) {
        let mut removed = self.removed.subscribe();
        if removed.wait_for(|removed| *removed).await.is_err() {
            return;
        }
        tracing::error!("{REMOVED}");
        // No decision is newer than this one.
        let last = Fence { generation: u64::MAX, term: u64::MAX, index: u64::MAX };
        self.tasks.accept(AssignedSet { fence: last, ..AssignedSet::default() }, true).await;
        let mut records = self.tasks.records();
        let stopped = timeout(STOP_LIMIT, records.wait_for(|all| all.iter().all(|record| record.pid.is_none()))).await;
        if stopped.is_err() {
            tracing::warn!("some tasks have not ended yet");
        }
        self.fail(REMOVED.into());
    }
}
