//! A machine that is taken out of the cluster for good: the checks before it, and what the machine itself does about it, and
//! does likewise when a recovery has forgotten it, or a rotation of the CA.

use crate::{
    api::{ApiError, ErrorCode},
    consensus::PART_LIMIT,
    node::Core,
};
use futures::future::join_all;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use taffeta_model::{AssignedSet, Bug, Command, Directory, Fence, Liveness, NodeId, planted};
use taffeta_net::{Grounds, HOLDERS_MAX, Refusal, RefusedFor};
use tokio::time::{sleep, timeout};

/// How long the tasks of a removed machine may take to end: as long as their grace, and some more.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// Why a node ends that was removed.
pub const REMOVED: &str = "this machine was removed from the cluster (`taffeta remove`); its tasks were stopped";

/// Why a node ends whose certificate is of a CA that is believed no more. A rotation waits for all, unless it is told not to.
pub const SHUT_OUT: &str = "this machine has no certificate of the cluster's present CA: its data folder is an older copy, or \
                            `taffeta ca finish --force` did not wait for it; its tasks were stopped";

/// After holders of the CA's key were asked what to make of a refusal, others are not for so long.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// Why a node ends that had joined a side of the cluster which a recovery has ended.
pub const LEFT_BEHIND: &str = "the cluster was recovered from before this machine joined, and does not know it; its tasks \
                               were stopped";

/// Whether a newer directory leaves a node out without its having been removed: its join is among the writes that were lost
/// when the cluster was recovered elsewhere.
pub(crate) fn is_left_behind(me: NodeId, before: &Directory, now: &Directory) -> bool {
    before.members.contains_key(&me) && !now.members.contains_key(&me) && !now.removed.contains(&me)
}

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

    /// A peer refuses this node for good. That counts if the CA has signed it, in this generation or a later one. A peer's
    /// word alone would let one bad machine stop all others: who is said to hold the CA's key is asked.
    pub(crate) fn heed_refusal(self: &Arc<Self>, refusal: Refusal) {
        let Refusal { by, why, proven, mark, holders } = refusal;
        let proven = proven && self.generation.is_present(&mark);
        tracing::debug!(%by, ?why, proven, "this node is refused");
        if !proven {
            return self.ask_holders(holders);
        }
        self.removed.send_replace(Some(match why {
            RefusedFor::Removal => REMOVED,
            RefusedFor::FormerAuthority => SHUT_OUT,
        }));
    }

    /// Lets those who may hold the CA's key say what they think of this node.
    fn ask_holders(self: &Arc<Self>, holders: Vec<(NodeId, SocketAddr)>) {
        let Some(net) = self.net.get() else { return }; // it starts, and will be refused again
        let Ok(permit) = Arc::clone(&self.asking_holders).try_acquire_owned() else { return };
        let holders = holders.into_iter().filter(|(id, _)| *id != self.me).take(HOLDERS_MAX);
        let (net, holders): (_, Vec<_>) = (net.clone(), holders.collect());
        if holders.is_empty() {
            return;
        }
        tokio::spawn(async move {
            join_all(holders.iter().map(|(id, address)| net.knock(*id, *address))).await;
            drop(net);
            sleep(ASK_PAUSE).await;
            drop(permit);
        });
    }

    /// What is said to a node that is refused for good.
    pub(crate) fn grounds(&self, statement: &[u8]) -> Grounds {
        let mark = self.generation.mark(&[]);
        if let Some(authority) = self.signing_authority() {
            let signature = authority.sign_message(&[&mark, statement].concat()).to_vec();
            return Grounds { mark, signature, holders: vec![] };
        }
        let voters = self.consensus.borrow().voters.clone();
        let directory = self.directory.borrow();
        let address = |id: NodeId| Some((id, directory.members.get(&id)?.address));
        Grounds { mark, signature: vec![], holders: voters.into_iter().filter_map(address).take(HOLDERS_MAX).collect() }
    }

    /// Cuts off those that were removed.
    pub(crate) fn take_removed(&self, directory: &Directory) {
        if directory.removed.contains(&self.me) {
            self.removed.send_replace(Some(REMOVED));
        }
        if planted(Bug::KeepRemoved) {
            return;
        }
        let ring = self.ring.state();
        directory.removed.iter().filter(|id| ring.liveness(**id).is_some()).for_each(|id| self.ring.removed(*id));
        let sets = self.gossip.sets();
        if directory.removed.iter().any(|id| sets.contains_key(id)) {
            self.gossip.expire(); // its names go now, whatever the ring says
        }
    }

    /// Stops the tasks and then the node, once it is no member any more.
    pub(crate) async fn run_removal(self: Arc<Self>) {
        let mut removed = self.removed.subscribe();
        let Ok(why) = removed.wait_for(Option::is_some).await.map(|why| why.unwrap_or(REMOVED)) else { return };
        tracing::error!("{why}");
        // No decision is newer than this one.
        let last = Fence { generation: u64::MAX, term: u64::MAX, index: u64::MAX };
        self.tasks.accept(AssignedSet { fence: last, ..AssignedSet::default() }, true).await;
        let mut records = self.tasks.records();
        let stopped = timeout(STOP_LIMIT, records.wait_for(|all| all.iter().all(|record| record.pid.is_none()))).await;
        if stopped.is_err() {
            tracing::warn!("some tasks have not ended yet");
        }
        self.fail(why.into());
    }
}

#[cfg(test)]
mod tests {
    use super::is_left_behind;
    use std::net::SocketAddr;
    use taffeta_model::{Directory, DirectoryMember, NodeId, NodeName};

    fn directory(members: &[u64]) -> Directory {
        let member = |id: &u64| DirectoryMember {
            name: NodeName::new(format!("n{id}")).expect("a label"),
            address: SocketAddr::from(([127, 0, 0, 1], 7400)),
            public_key: [0; 32],
        };
        Directory { members: members.iter().map(|id| (NodeId(*id), member(id))).collect(), ..Directory::default() }
    }

    #[test]
    fn a_member_that_a_newer_directory_does_not_know_is_left_behind_unless_it_was_removed() {
        let (before, mut now) = (directory(&[1, 2]), directory(&[1]));
        assert!(is_left_behind(NodeId(2), &before, &now));
        assert!(!is_left_behind(NodeId(1), &before, &now), "it is known");
        assert!(!is_left_behind(NodeId(2), &directory(&[]), &now), "it has not been known before");
        now.removed.insert(NodeId(2));
        assert!(!is_left_behind(NodeId(2), &before, &now), "it was removed");
    }
}
