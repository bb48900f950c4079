//! What nodes ask of one another on the control and catalogue lanes.

use crate::api::{ApiError, LogChunk, LogRead};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{net::SocketAddr, time::Duration};
use taffeta_isolation_plan::{FileAsk, FileTold};
use taffeta_model::{
    App, AppName, AssignedSet, ClusterId, Command, Directory, Fence, Member, Metric, NodeId, Recovery, Secret,
    SecretName, TaskId, TokenId, UnixMillis, Versions, VolumeId,
};
use taffeta_swim::{Incarnation, MemberFact};

/// A request on the control lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Are you there?
    Ping,
    /// This is the newest recovery of the cluster that I know. And you? Answered across generations.
    Generation(Option<Recovery>),
    /// Where is this node reached, as far as you know?
    Whereabouts(NodeId),
    /// Can you reach this one?
    PingVia(NodeId),
    /// We believe different things of members in these parts of the ring: this is what I believe.
    Exchange {
        /// As bits.
        parts: u64,
        /// At most [`taffeta_swim::FACTS_MAX`]; more are refused.
        facts: Vec<MemberFact>,
    },
    /// I leave.
    Farewell(Incarnation),
    /// What have I to run? Held back until there is news.
    Pull(Pull),
    /// I vote now: give me the CA.
    Authority,
    /// This CA is about to sign: keep its key, you vote. By the leader.
    NextAuthority([u8; 32], Vec<u8>),
    /// Let another CA sign from now on. To the leader.
    Rotate,
    /// Believe the former CA no more. To the leader.
    FinishRotation {
        /// Even if members are left without a certificate of the new one.
        force: bool,
    },
    /// Take a machine out of the cluster. To the leader.
    Remove {
        /// The machine.
        node: NodeId,
        /// Even if it is running.
        force: bool,
    },
    /// Write this for a user. To the leader.
    Submit(Command),
    /// A machine asks to join: decide it. To the leader.
    Join(JoinRequest),
    /// Answer this for a user. To the leader, who knows most.
    Read(Query),
    /// I am about to stop: let a stand-by have my vote. To the leader.
    Depart,
    /// The output of a task of yours, as older nodes ask for it.
    Logs(TaskId, LogReadV1),
    /// I vote now: give me the key-encryption key.
    Keyring,
    /// Set this secret for a user. To the leader, which encrypts it before it is written anywhere.
    SetSecret(SecretName, Veiled),
    /// Tasks of mine use these versions of secrets. To a voter; at most [`crate::shelf::ASKED_MAX`].
    Secrets(Vec<(SecretName, u64)>),
    /// Give me a backup. To the leader.
    Backup,
    /// You vote: do you hold all that voters hold? I do, vote no more, and would forget it.
    HoldsKeys,
    /// About exclusive tasks of mine. To the leader.
    Lease(LeaseAsk),
    /// What do these tasks of yours use? At most [`crate::usage::GAUGES_MAX`].
    Usage(Vec<Gauge>),
    /// What do the volumes on your disks take?
    Volumes,
    /// What is there to say of this task of yours, for a person? Answered with a document.
    Figures(TaskId),
    /// The output of a task of yours.
    Output(TaskId, LogRead),
    /// What is in the folder of a task of yours?
    Files(TaskId, FileAsk),
    /// About faults on purpose, as JSON. Answered with a document.
    Chaos(Vec<u8>),
    /// What the next version will know.
    #[cfg(test)]
    Newer,
}

/// A reply on the control lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// Done, or: I am.
    Yes,
    /// The newest recovery that I know.
    Generation(Option<Recovery>),
    /// There it was last.
    At(Option<SocketAddr>),
    /// I cannot.
    No,
    /// And this is what I believe of them.
    Facts(Vec<MemberFact>),
    /// The assigned set and more.
    Pulled(Box<Pulled>),
    /// The CA's key and certificate.
    Authority([u8; 32], Vec<u8>),
    /// What became of a write; the position of the entry.
    Submitted(Result<Fence, ApiError>),
    /// What became of a join.
    Joined(Result<Box<Welcome>, String>),
    /// A document, as JSON.
    Document(Result<Vec<u8>, ApiError>),
    /// I do not lead, and nothing was written. Perhaps that one does.
    Elsewhere(Option<NodeId>),
    /// A piece of output, for older nodes.
    Logs(Result<LogChunkV1, ApiError>),
    /// The key-encryption key.
    Keyring(Veiled),
    /// What became of a secret; its version.
    SecretSet(Result<u64, ApiError>),
    /// The values, of those that may be had.
    Secrets(Vec<(SecretName, u64, Veiled)>),
    /// A backup, as a file.
    Backup(Result<Vec<u8>, ApiError>),
    /// What was granted, and is known.
    Leases(LeaseTold),
    /// What tasks use, of those that run here.
    Usage(Vec<Metered>),
    /// What they take.
    Volumes(Vec<VolumeUse>),
    /// A piece of output.
    Output(Result<LogChunk, ApiError>),
    /// What is there.
    Files(Result<FileTold, ApiError>),
}

/// What a volume takes of its machine's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeUse {
    /// Whose it is, and its name.
    pub(crate) id: VolumeId,
    /// Position of the placement that made it.
    pub(crate) born: Fence,
    /// Bytes; `None` if it holds too many files to be counted.
    pub(crate) bytes: Option<u64>,
    /// Whether the file system lets it grow no larger than it asked for.
    pub(crate) enforced: bool,
}

/// What older nodes ask of an output: see [`LogRead`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LogReadV1 {
    pub(crate) stderr: bool,
    pub(crate) offset: Option<u64>,
    pub(crate) tail: u64,
    pub(crate) limit: u32,
}

/// What they are told: see [`LogChunk`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LogChunkV1 {
    pub(crate) bytes: Vec<u8>,
    pub(crate) next: u64,
    pub(crate) run: String,
    pub(crate) ended: bool,
}

/// A task whose use is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Gauge {
    /// The task.
    pub(crate) task: TaskId,
    /// What it is asked itself.
    pub(crate) metric: Option<Metric>,
}

/// What a task uses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Metered {
    /// The task.
    pub(crate) task: TaskId,
    /// Its run.
    pub(crate) run: String,
    /// When, since the answering node was started.
    pub(crate) at: Duration,
    /// Processor time since the run began.
    pub(crate) cpu: Option<Duration>,
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
    /// What it says of itself.
    pub(crate) metric: Option<f64>,
}

/// A secret on its way over mutual TLS: the one place where one is encoded.
#[derive(Clone, Debug)]
pub(crate) struct Veiled(pub(crate) Secret);

impl Serialize for Veiled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Veiled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|value| Self(Secret::new(value)))
    }
}

/// What a node asks and tells about its exclusive tasks; at most [`crate::leases::ASKED_MAX`] of each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LeaseAsk {
    /// Fence of the set that the node obeys.
    pub(crate) obeyed: Fence,
    /// Tasks that want a lease, with their placements.
    pub(crate) held: Vec<(TaskId, Fence)>,
    /// Tasks that are not to run there any more by that set, and do not.
    pub(crate) rid: Vec<TaskId>,
}

/// The leader's answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LeaseTold {
    /// What is granted, and for how long from when it was asked for.
    pub(crate) granted: Vec<(TaskId, Fence, Duration)>,
    /// Of what was told to be left of nothing: what need not be told again.
    pub(crate) known: Vec<TaskId>,
}

/// Asks a voter for the assigned set and the directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pull {
    /// Fence of the set that the asking node obeys.
    pub(crate) assigned: Option<Fence>,
    /// Fence of the directory that it has.
    pub(crate) directory: Option<Fence>,
    /// Leader and term that it knows.
    pub(crate) leader: Option<(NodeId, u64)>,
    /// Whether a leader must stand behind the answer: asked after a restart.
    pub(crate) confirm: bool,
}

/// A voter's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pulled {
    /// The set, if it is newer or a confirmation was asked for.
    pub(crate) assigned: Option<AssignedSet>,
    /// Whether the answering node leads, with a quorum that has just confirmed it.
    pub(crate) confirmed: bool,
    /// The directory, if it is newer.
    pub(crate) directory: Option<Directory>,
    /// Who votes.
    pub(crate) voters: Vec<NodeId>,
    /// Who follows the log without a vote.
    pub(crate) learners: Vec<NodeId>,
    /// Who leads, with the term.
    pub(crate) leader: Option<(NodeId, u64)>,
    /// What the voters take for the date.
    pub(crate) date: UnixMillis,
    /// The version that all members speak.
    pub(crate) level: u32,
}

/// A reading request that the leader answers best.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Query {
    /// The machines.
    Nodes,
    /// The apps.
    Apps,
    /// The tasks, of all apps or one.
    Tasks(Option<AppName>),
    /// Why a task is where it is.
    Why(TaskId),
    /// What a deploy would change.
    Plan(App),
    /// The cluster.
    Status,
    /// The join tokens.
    Tokens,
    /// The secrets, without their values.
    Secrets,
    /// What teams may use, and use.
    Quotas,
    /// Where data is.
    Volumes,
    /// When machines are not to be used.
    Maintenance,
}

impl Ask {
    /// Whether a member may ask this whose certificate has ended a short while ago: what the ring lives by, and nothing
    /// that has to do with consensus, placement or users.
    pub(crate) fn is_for_expired(&self) -> bool {
        match self {
            Self::Generation(_) | Self::Whereabouts(_) => true,
            Self::Ping | Self::PingVia(_) | Self::Exchange { .. } | Self::Farewell(_) => true,
            Self::Pull(_) | Self::Authority | Self::NextAuthority(..) => false,
            Self::Rotate | Self::FinishRotation { .. } | Self::Remove { .. } => false,
            Self::Submit(_) | Self::Join(_) | Self::Read(_) | Self::Depart | Self::Logs(..) => false,
            Self::Keyring | Self::SetSecret(..) | Self::Secrets(_) | Self::Backup | Self::HoldsKeys => false,
            Self::Usage(_) | Self::Volumes | Self::Figures(_) | Self::Output(..) | Self::Files(..) => false,
            Self::Lease(_) | Self::Chaos(_) => false,
            #[cfg(test)]
            Self::Newer => false,
        }
    }

    /// The version of the protocol that began to have it: it is asked only of nodes that speak that version. A field more is
    /// another message, with a version of its own, beside the one that older nodes know.
    pub(crate) fn since(&self) -> u32 {
        match self {
            Self::Submit(command) => command.level(),
            Self::Generation(_) | Self::Whereabouts(_) => 1,
            Self::Ping | Self::PingVia(_) | Self::Exchange { .. } | Self::Farewell(_) => 1,
            Self::Pull(_) | Self::Authority | Self::NextAuthority(..) => 1,
            Self::Rotate | Self::FinishRotation { .. } | Self::Remove { .. } => 1,
            Self::Join(_) | Self::Read(_) | Self::Depart | Self::Logs(..) => 1,
            Self::Keyring | Self::SetSecret(..) | Self::Secrets(_) | Self::Backup | Self::HoldsKeys => 1,
            Self::Usage(_) | Self::Volumes | Self::Figures(_) | Self::Output(..) | Self::Files(..) => 1,
            Self::Lease(_) | Self::Chaos(_) => 1,
            #[cfg(test)]
            Self::Newer => 3,
        }
    }
}

impl Query {
    /// Whether only a node that holds the replicated state can answer.
    pub(crate) fn needs_state(&self) -> bool {
        match self {
            Self::Apps | Self::Why(_) | Self::Plan(_) | Self::Tokens | Self::Secrets | Self::Quotas => true,
            Self::Volumes | Self::Maintenance => true,
            Self::Nodes | Self::Tasks(_) | Self::Status => false,
        }
    }
}

/// A machine that wants to become a node. Signed, so that a key cannot be claimed by another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    /// Public half of the token.
    pub(crate) token: TokenId,
    /// Its secret, to be hashed: the leader keeps only hashes.
    pub(crate) secret: [u8; 16],
    /// The machine as it describes itself.
    pub(crate) member: Member,
    /// Ed25519, by the member's key, over [`JoinRequest::signed_part`]: 64 bytes.
    pub(crate) signature: Vec<u8>,
    /// Versions of the protocol that the machine speaks.
    pub(crate) speaks: Versions,
}

impl JoinRequest {
    /// What is signed.
    pub(crate) fn signed_part(token: TokenId, member: &Member) -> Vec<u8> {
        postcard::to_stdvec(&("taffeta join 1", token, member)).expect("plain data can be encoded")
    }
}

/// What a machine gets that may join.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) cluster: ClusterId,
    pub(crate) certificate: Vec<u8>,
    pub(crate) authority: Vec<u8>,
    pub(crate) members: Vec<(NodeId, SocketAddr)>,
    pub(crate) voters: Vec<NodeId>,
    pub(crate) directory: Directory,
}

/// Encodes a message.
pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_stdvec(message).expect("plain data can be encoded")
}

/// Decodes a message of a peer.
pub(crate) fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, String> {
    postcard::from_bytes(bytes).map_err(|e| format!("the message cannot be decoded: {e}"))
}

#[cfg(test)]
mod tests;
