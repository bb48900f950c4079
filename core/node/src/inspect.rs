//! What a simulator looks at after every step. The product itself does not use it.

use crate::{fabric::Fabric, gossip::Sets, node::Core, ring::RingState};
use std::{collections::BTreeMap, sync::Arc};
use taffeta_catalogue::SignedSet;
use taffeta_model::{Fence, Liveness, NodeId, State, TaskId};
use taffeta_net::PublicKey;
use taffeta_store::{Insight, Leadership};

/// A look inside of a node, also while it takes leave. Nothing is changed by it, and nothing is asked of others.
#[derive(Clone)]
pub struct Inspect(Arc<Core>);

impl Fabric {
    /// A look inside.
    pub fn inspect(&self) -> Inspect {
        Inspect(Arc::clone(&self.core))
    }
}

impl Inspect {
    /// Id of the node.
    pub fn id(&self) -> NodeId {
        self.0.me
    }

    /// Who leads and votes, as consensus on this node has it.
    pub fn leadership(&self) -> Leadership {
        self.0.store.leadership()
    }

    /// Whether this node votes, as far as it knows.
    pub fn votes(&self) -> bool {
        self.leadership().voters.contains(&self.0.me)
    }

    /// Whether this node follows the log, with a vote or without, as far as it knows.
    pub fn follows(&self) -> bool {
        let leadership = self.leadership();
        leadership.voters.contains(&self.0.me) || leadership.learners.contains(&self.0.me)
    }

    /// How far this node's log is, and who votes by it.
    pub fn insight(&self) -> Insight {
        self.0.store.insight()
    }

    /// The newest generation that this node has met.
    pub fn generation(&self) -> u64 {
        self.0.consensus.borrow().generation.max(self.state(|state| state.generation))
    }

    /// The replicated state as applied here; the default one on a node that takes no part in consensus.
    pub fn state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.0.store.read(look)
    }

    /// Whether this node refuses writes since its disk is full.
    pub fn disk_full(&self) -> bool {
        self.0.store.disk_full_since().is_some()
    }

    /// Snapshots that a leader has sent to this node since it started.
    pub fn snapshots_installed(&self) -> u64 {
        self.0.store.snapshots_installed()
    }

    /// Fence of the assigned set that the agent obeys, and whether a leader has confirmed one since the start.
    pub fn obeyed(&self) -> (Option<Fence>, bool) {
        let obeyed = self.0.tasks.obeyed();
        (obeyed.fence, obeyed.confirmed)
    }

    /// Fence of the directory.
    pub fn directory_fence(&self) -> Fence {
        self.0.directory.borrow().fence
    }

    /// Lets this node tell the ring that a member is down: what a node that lies would do. Says whether it knows the
    /// member, and its driver had room.
    pub fn slander(&self, member: NodeId) -> bool {
        self.0.ring.slander(member)
    }

    /// The catalogue, by owner.
    pub fn sets(&self) -> Arc<Sets> {
        self.0.gossip.sets()
    }

    /// The catalogue as it travels: with the owners' signatures.
    pub fn signed_sets(&self) -> Vec<Arc<SignedSet>> {
        self.0.gossip.signed_sets()
    }

    /// Whether the set is signed by a key that is `owner`'s.
    pub fn is_signed_by(&self, set: &SignedSet, owner: NodeId) -> bool {
        let key = PublicKey(set.public_key);
        key.node_id() == owner && key.verify(&set.signed_part(), &set.signature)
    }

    /// What the ring thinks of the others.
    pub fn ring(&self) -> BTreeMap<NodeId, Liveness> {
        self.ring_state().members.iter().map(|(id, member)| (*id, member.liveness)).collect()
    }

    /// Whether this node sees more than half of the ring.
    pub fn sees_majority(&self) -> bool {
        self.ring_state().majority
    }

    /// How often the ring has declared this node down, since it started, although it lives.
    pub fn renewals(&self) -> u32 {
        self.ring_state().incarnation.renewal
    }

    fn ring_state(&self) -> Arc<RingState> {
        self.0.ring.state()
    }

    /// Why the node cannot go on; its process would end now.
    pub fn failed(&self) -> Option<String> {
        self.0.failed.borrow().clone()
    }

    /// Why a task waits, by the leader's newest plan, in words; empty if it does not, and elsewhere.
    pub fn why_it_waits(&self, task: &TaskId) -> String {
        self.0.waiting.load().get(&task.app).and_then(|app| app.get(task)).map(ToString::to_string).unwrap_or_default()
    }

    /// Whether DNS answers from a view of the ring.
    pub fn has_names(&self) -> bool {
        self.0.names.load().is_ready()
    }
}
