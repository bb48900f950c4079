//! openraft's types, with ours in their places.

use serde::{Deserialize, Serialize};
use std::{fmt, io::Cursor, sync::Arc};
use taffeta_model::{Command, Outcome};

/// A command as openraft carries it: shared, since openraft copies entries for the log, for each follower and to apply
/// them, and an app is some dozen allocations. openraft logs what it carries, and an app's environment is nobody's business.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) command: Arc<Command>,
    /// The whole entry as a leader sent it, which is how it is stored: a follower need not encode it again.
    #[serde(skip)]
    pub(crate) encoded: Option<Arc<[u8]>>,
}

impl Request {
    /// Of this node's own.
    pub(crate) fn new(command: impl Into<Arc<Command>>) -> Self {
        Self { command: command.into(), encoded: None }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command.kind())
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command.kind())
    }
}

openraft::declare_raft_types!(
    pub(crate) TC:
        D = Request,
        R = Outcome,
        Node = openraft::BasicNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = openraft_rt::deterministic_rng::DeterministicRng<openraft_rt_tokio::TokioRuntime>,
);

pub(crate) type Runtime = openraft_rt::deterministic_rng::DeterministicRng<openraft_rt_tokio::TokioRuntime>;
pub(crate) type SnapshotData = Cursor<Vec<u8>>;
pub(crate) type Raft = openraft::Raft<TC, crate::machine::Machine>;
pub(crate) type Vote = openraft::alias::VoteOf<TC>;
pub(crate) type LogId = openraft::alias::LogIdOf<TC>;
pub(crate) type Entry = openraft::alias::EntryOf<TC>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TC>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TC, SnapshotData>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TC>;
