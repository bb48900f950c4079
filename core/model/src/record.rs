//! What a node says about itself and its tasks; gossip carries it to everyone.

use crate::{Exit, Fence, JobKind, NodeName, Resources, TaskId, UnixMillis, Versions};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

/// What the ring thinks of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It did not answer a probe; its endpoints are hidden while others are healthy.
    Suspect,
    /// It has not refuted the suspicion.
    Down,
    /// It said that it leaves.
    Left,
}

/// A machine as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub name: NodeName,
    /// Where the fabric reaches it.
    pub address: SocketAddr,
    /// Where its HTTP API listens; `None` if it does not.
    pub http: Option<SocketAddr>,
    /// Where its DNS listens; `None` if it does not.
    pub dns: Option<SocketAddr>,
    /// Its zone; empty if it has none.
    pub zone: String,
    /// Free attributes.
    pub attributes: BTreeMap<String, String>,
    /// What it offers.
    pub capacity: Resources,
    /// Its countable resources.
    pub custom: BTreeMap<String, u64>,
    /// Version of its binary.
    pub version: String,
    /// What it cannot isolate, in words; empty if all is in force.
    pub not_isolated: Vec<String>,
    /// The CA that its certificate is of: the first eight bytes of the CA's hash.
    pub authority: u64,
    /// Which versions of the protocol it speaks.
    pub speaks: Versions,
}

/// State of a task on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// The process is being made, or waits for its next restart.
    Starting,
    /// The process runs; there is no health check, or none has passed yet.
    Running,
    /// The health check passes.
    Healthy,
    /// The health check fails.
    Unhealthy,
    /// It was told to end.
    Stopping,
    /// It ended with success (batch).
    Finished,
    /// It ended without, and is not tried again here.
    Failed,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
            Self::Failed => "failed",
        })
    }
}

/// One task as its node reports it. Written by that node only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The task.
    pub task: TaskId,
    /// Its label in DNS: the index, or the node's name for a service that an embedded node publishes itself.
    pub instance: SmolStr,
    /// Service or batch.
    pub kind: JobKind,
    /// The placement that this is about; zero for what an embedded node publishes itself.
    pub fence: Fence,
    /// Version of the app.
    pub version: u64,
    /// What it is doing.
    pub phase: Phase,
    /// Whether DNS may give it out: running without a check or healthy, and not about to stop.
    pub serving: bool,
    /// Where it listens.
    pub address: IpAddr,
    /// Its ports by name, in the order of the app file.
    pub ports: Vec<(SmolStr, u16)>,
    /// Its tags.
    pub tags: Vec<SmolStr>,
    /// Its share of the clients, as in [`crate::DnsPolicy::weight`].
    pub weight: u16,
    /// Process id on its machine.
    pub pid: Option<u32>,
    /// Restarts on this machine since the placement.
    pub restarts: u32,
    /// When the present process was started.
    pub started_at: Option<UnixMillis>,
    /// How the last process ended.
    pub exit: Option<Exit>,
    /// Why it is in its phase, in words; may be empty.
    pub reason: String,
}
