//! openraft's types, with ours in their places.

use serde::{Deserialize, Serialize};
use std::{fmt, io::Cursor};
use taffeta_model::{Command, Outcome};

/// A command as openraft carries it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request(pub(crate) Command);

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name of the variant: openraft logs requests, and an app's environment is nobody's business.
        let text = format!("{:?}", self.0);
        f.write_str(text.split([' ', '(', '{']).next().unwrap_or_default())
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
