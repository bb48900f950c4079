//! What a node pulls from the voters: its whole assigned set, and the directory of names.

use crate::{
    AppName, CertificateAuthority, Chaos, DnsPolicy, Fence, Job, JobKind, JobName, NodeId, NodeName, TaskId, VolumeId,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// Everything one node has to run. It replaces the set before it, and only if its fence is higher.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedSet {
    /// Position of the newest decision about this node.
    pub fence: Fence,
    /// The tasks.
    pub tasks: BTreeMap<TaskId, Assigned>,
    /// The volumes that belong on the node, and when they were made; `None` if the set says nothing about volumes: then
    /// none goes.
    pub volumes: Option<BTreeMap<VolumeId, Fence>>,
}

/// One task that a node has to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// Counts placements of the task; another attempt is another run.
    pub attempt: u32,
    /// Version of the app.
    pub version: u64,
    /// Position of the placement, given to the task as `TAFFETA_FENCE`.
    pub fence: Fence,
    /// What to run.
    pub job: Job,
    /// The shipped files by name: contents and whether executable.
    pub files: BTreeMap<String, crate::ShippedFile>,
    /// Whether DNS does not give it out although it works: its version waits to be promoted.
    pub hidden: bool,
    /// How the task ended for good: it is not run, and stopped if it runs; its output is kept.
    pub ended: Option<crate::Exit>,
    /// Arguments of the present run, which are appended to the job's `run`; empty once the task has ended.
    pub args: Vec<String>,
    /// Which version of each of its secrets it gets; the values are asked for apart.
    pub secrets: crate::SecretPins,
    /// When its volume was made, if its job has one.
    pub volume: Option<Fence>,
}

/// The names that exist, known on every node whether or not anything runs behind them, and the members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Position of the newest change to it.
    pub fence: Fence,
    /// Jobs by app.
    pub apps: BTreeMap<AppName, BTreeMap<JobName, DirectoryJob>>,
    /// The members.
    pub members: BTreeMap<NodeId, DirectoryMember>,
    /// SHA-256 of the administrator's bearer token: every node checks it.
    pub admin_token_hash: [u8; 32],
    /// Nodes that were removed: nobody believes them any more.
    pub removed: BTreeSet<NodeId>,
    /// As in [`crate::State::authorities`].
    pub authorities: Vec<CertificateAuthority>,
    /// As in [`crate::State::chaos`].
    pub chaos: Chaos,
}

/// One registered job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryJob {
    /// Service or batch.
    pub kind: JobKind,
    /// Names of its ports, in the order of the app file.
    pub ports: Vec<String>,
    /// Wanted number of instances.
    pub count: u32,
    /// How DNS answers for it.
    pub dns: DnsPolicy,
}

/// One member, as every node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryMember {
    /// Its name.
    pub name: NodeName,
    /// Where it was reached when it last told the leader.
    pub address: SocketAddr,
    /// Its Ed25519 public key: what it signs is checked with this.
    pub public_key: [u8; 32],
}
