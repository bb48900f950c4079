//! What a node knows at one moment, and what follows from it for the names. Pure: the time is a part of what is known.

use crate::{gossip::Sets, names::distance::Distances, ring::RingState};
use std::{net::IpAddr, sync::Arc, time::Duration};
use taffeta_dns_answer::Node;
use taffeta_model::{Directory, Fence, Liveness, Millis, NodeId, TaskRecord};

/// How long a node that was just started takes a machine that it has not met for one that is there.
pub(super) const UNMET_WAIT: Duration = Duration::from_secs(10);
/// How long the last instance of a machine that left is still given: it runs on while its agent is replaced.
pub(super) const LEFT_KEPT: Duration = Duration::from_secs(10);

/// All that the names of services and machines are made of.
#[derive(Clone)]
pub(crate) struct Known {
    /// On this node's clock.
    pub(crate) now: Millis,
    /// This node, its name, and where it is reached.
    pub(crate) me: NodeId,
    pub(crate) name: Arc<str>,
    pub(crate) address: IpAddr,
    pub(crate) ring: Arc<RingState>,
    pub(crate) sets: Arc<Sets>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) leader: Option<NodeId>,
    pub(crate) voters: Vec<NodeId>,
    pub(crate) distances: Arc<Distances>,
    pub(crate) bugs: Bugs,
}

/// Which bugs of the names are planted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bugs {
    /// [`taffeta_model::Bug::KeepDeadRecords`].
    pub(crate) keep_dead: bool,
    /// [`taffeta_model::Bug::HideHealthy`].
    pub(crate) hide_healthy: bool,
    /// [`taffeta_model::Bug::PreferOldPlace`].
    pub(crate) prefer_old: bool,
}

/// What a node thinks of the owner of a set. Two equal ones give equal instances for equal records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) met: Option<Liveness>,
    /// Whether what it runs is as good as not running.
    pub(crate) gone: bool,
    pub(crate) name: Arc<str>,
}

impl Known {
    /// What the ring thinks of a node; `None` if it was not met since this node started.
    pub(crate) fn met(&self, id: NodeId) -> Option<Liveness> {
        if id == self.me { Some(Liveness::Alive) } else { self.ring.liveness(id) }
    }

    /// Whether more than half of the members that have not left are there, as far as this node has met them.
    pub(crate) fn sees_most(&self) -> bool {
        let met = |id: &NodeId| self.met(*id);
        let there = |id: &&NodeId| matches!(met(id), Some(Liveness::Alive | Liveness::Suspect));
        let stays = |id: &&NodeId| met(id) != Some(Liveness::Left);
        let members = self.directory.members.keys();
        members.clone().filter(there).count() * 2 > members.filter(stays).count()
    }

    /// Whether what this node says may be out of date.
    pub(crate) fn is_stale(&self, sees_most: bool) -> bool {
        !self.ring.majority || (self.is_settled() && !sees_most)
    }

    /// Whether those that are there have had their time to be met.
    pub(crate) fn is_settled(&self) -> bool {
        self.now.since(Millis(0)) >= UNMET_WAIT
    }

    /// What to think of an owner.
    pub(crate) fn standing(&self, owner: NodeId, sees_most: bool) -> Standing {
        let met = self.met(owner);
        let left_long = || self.ring.members.get(&owner).is_none_or(|m| self.now.since(m.since) >= LEFT_KEPT);
        // Cut off from most of the ring, our verdicts are worth no more than a suspicion; nor is it a verdict that a
        // machine was not met yet, until those that are there have had their time to be met.
        let gone = !self.bugs.keep_dead
            && self.ring.majority
            && match met {
                Some(Liveness::Down) => true,
                Some(Liveness::Left) => left_long(),
                Some(Liveness::Alive | Liveness::Suspect) => false,
                None => sees_most && self.is_settled(),
            };
        Standing { met, gone, name: self.name_of(owner) }
    }

    /// When time alone changes what is thought of an owner; `None` if it does not any more.
    pub(crate) fn next_turn(&self, owner: NodeId) -> Option<Millis> {
        let turn = match self.met(owner) {
            Some(Liveness::Left) => self.ring.members.get(&owner).map(|m| m.since + LEFT_KEPT),
            None => Some(Millis(0) + UNMET_WAIT),
            Some(Liveness::Alive | Liveness::Suspect | Liveness::Down) => None,
        };
        turn.filter(|at| *at > self.now)
    }

    /// The machines, as DNS is to know them.
    pub(crate) fn machines(&self) -> Vec<Node> {
        let members = self.directory.members.iter();
        members
            .map(|(id, member)| {
                let address = self.ring.members.get(id).map_or(member.address, |m| m.identity.address).ip();
                Node {
                    name: member.name.as_str().into(),
                    address: if *id == self.me { self.address } else { address },
                    up: self.met(*id) == Some(Liveness::Alive),
                    is_leader: self.leader == Some(*id),
                    is_voter: self.voters.contains(id),
                    zone: self.sets.get(id).map(|set| set.info.zone.as_str().into()).unwrap_or_default(),
                    distance: if *id == self.me { Some(0) } else { self.distances.get(id).copied() },
                }
            })
            .collect()
    }

    fn name_of(&self, id: NodeId) -> Arc<str> {
        if id == self.me {
            return Arc::clone(&self.name);
        }
        let named = self.directory.members.get(&id).map(|m| m.name.as_str());
        let named = named.or_else(|| self.sets.get(&id).map(|set| set.info.name.as_str()));
        named.map_or_else(|| id.to_string().into(), Into::into)
    }
}

/// Which of two copies of an instance is given: the higher. Of a task that has moved, the newer placement counts,
/// whatever the older node still says; but as long as the newer one does not serve, and the older one does, that one
/// is better than nothing.
pub(super) fn rank(bugs: Bugs, standing: &Standing, record: &TaskRecord) -> (bool, bool, Fence) {
    if bugs.prefer_old {
        return (false, false, Fence { index: u64::MAX - record.fence.index, ..record.fence });
    }
    let serves = record.serving && !standing.gone;
    (serves, serves && standing.met == Some(Liveness::Alive), record.fence)
}
