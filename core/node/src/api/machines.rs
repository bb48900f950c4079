//! JSON documents of the cluster and its machines, as CONTRACT names their fields: its state, its leader, the nodes,
//! what they have, what teams may use of it, and what has happened.
//!
//! Left out: maintenance windows and volumes, which are `upkeep`'s; what tasks really use, which is `usage`'s.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The cluster, seen from one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// 32 hexadecimal digits.
    pub cluster: String,
    /// Raised by an operator's recovery.
    pub generation: u64,
    /// Name of the leader, if one is known.
    pub leader: Option<String>,
    /// Whether writes are possible: a leader answers for a majority of the voters.
    pub quorum: bool,
    /// Machines by state.
    pub nodes: NodeCounts,
    /// Number of apps.
    pub apps: usize,
    /// Number of tasks by state.
    pub tasks: BTreeMap<String, usize>,
    /// Version of the answering node's binary.
    pub version: String,
    /// Name of the answering node.
    pub node: String,
    /// Whether the answering node has joined, can be given tasks and knows a leader.
    pub ready: bool,
    /// Names of the voters.
    pub voters: Vec<String>,
    /// Names of those who follow the log, ready to vote.
    #[serde(default)]
    pub standbys: Vec<String>,
    /// Names of the voters that do not answer.
    #[serde(default)]
    pub missing_voters: Vec<String>,
    /// What the answering node has to say to an operator, in words: what is not isolated, who is missing.
    pub notes: Vec<String>,
    /// Number of faults that are on in the cluster on purpose, as far as the answering node knows.
    #[serde(default)]
    pub chaos: usize,
    /// Whether no more may be brought about.
    #[serde(default)]
    pub chaos_blocked: bool,
}

/// Machines by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeCounts {
    /// They answer.
    pub alive: usize,
    /// They did not answer a probe.
    pub suspect: usize,
    /// They have not refuted the suspicion.
    pub down: usize,
}

/// The leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaderView {
    /// Name of the machine.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Raft term.
    pub term: u64,
    /// IP:PORT of the fabric.
    pub address: String,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// 16 hexadecimal digits.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// IP:PORT of the fabric.
    pub address: String,
    /// Its zone; empty if it has none.
    pub zone: String,
    /// `alive`, `suspect`, `down`, `left` or, of one that is alive, `draining`.
    pub state: String,
    /// Whether its services are to move elsewhere and no new tasks come, whatever its state is.
    #[serde(default)]
    pub draining: bool,
    /// When its maintenance window ends, if one is open: it is drained until then.
    #[serde(default)]
    pub maintained_until: Option<String>,
    /// Until when it gets new tasks last, as the answering node saw it go and come back several times lately.
    #[serde(default)]
    pub unsteady_until: Option<String>,
    /// Its part in the consensus.
    pub role: Role,
    /// Round trip from the answering node to it in milliseconds, as last measured on a connection; `null` if never.
    pub rtt_ms: Option<f64>,
    /// Generation of the cluster that it belongs to.
    pub generation: u64,
    /// Free attributes.
    pub attributes: BTreeMap<String, String>,
    /// What it offers to tasks.
    pub resources: ResourcesView,
    /// What placed tasks have asked for.
    pub used: ResourcesView,
    /// Number of tasks placed on it.
    pub tasks: usize,
    /// Version of its binary; empty while unknown.
    pub version: String,
    /// IP:PORT of its HTTP API, if it listens.
    pub http: Option<String>,
    /// IP:PORT of its DNS, if it listens.
    pub dns: Option<String>,
    /// What it cannot isolate, in words; empty if all is in force.
    pub not_isolated: Vec<String>,
}

impl NodeView {
    /// Takes in whether the machine is drained.
    pub(crate) fn become_drained(&mut self, draining: bool) {
        self.draining = draining;
        if draining && self.state == "alive" {
            self.state = "draining".into();
        }
    }
}

/// What a machine is in the consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It leads.
    Leader,
    /// It votes.
    Voter,
    /// It follows the log without a vote.
    Learner,
    /// It only runs tasks.
    Member,
}

/// Whether a machine is to be drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// It is not, or not any more.
    #[serde(default)]
    pub off: bool,
}

/// Resources for people and scripts: cores, bytes and numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResourcesView {
    /// Cores; fractions allowed.
    pub cpus: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk.
    pub disk: u64,
    /// Countable resources that machines name themselves, as `gpu`.
    #[serde(default)]
    pub custom: BTreeMap<String, u64>,
}

/// Limits of a team's use; what is `null` or not named has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// Cores; fractions allowed.
    pub cpus: Option<f64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of disk.
    pub disk: Option<u64>,
    /// Countable resources.
    #[serde(default)]
    pub custom: BTreeMap<String, u64>,
}

/// What a team may use, and uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuotaView {
    /// As apps name it: `team = "x"`.
    pub team: String,
    /// What its tasks may ask for together.
    pub limits: LimitsView,
    /// What its placed tasks have asked for.
    pub used: ResourcesView,
    /// When room is short, it gets this many parts of the pool.
    pub share: u32,
    /// Number of its placed tasks.
    pub tasks: usize,
}

/// A quota as it is set: what is left out has no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaRequest {
    /// At most so many cores; fractions allowed.
    #[serde(default)]
    pub cpus: Option<f64>,
    /// At most so many bytes of memory.
    #[serde(default)]
    pub memory: Option<u64>,
    /// At most so many bytes of disk.
    #[serde(default)]
    pub disk: Option<u64>,
    /// At most so many of countable resources.
    #[serde(default)]
    pub custom: BTreeMap<String, u64>,
    /// Parts of the pool when room is short, 1 to 1000; 1 by default.
    #[serde(default)]
    pub share: Option<u32>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Counts the events of the answering node since it started.
    pub id: u64,
    /// When the answering node saw it, RFC 3339 in UTC.
    pub at: String,
    /// `node.alive`, `node.suspect`, `node.down`, `node.left`, `leader.changed`, `task.waiting` and the other states,
    /// `app.deployed`, `app.stopped`.
    pub kind: String,
    /// What it is about: a node's name, `shop/web.2`, an app.
    pub subject: String,
    /// In words.
    pub message: String,
}
