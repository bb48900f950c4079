//! Faults that an operator brings about on purpose, as the API tells them.

use serde::{Deserialize, Serialize};
use taffeta_chaos_plan::Fault;
use utoipa::ToSchema;

/// Header with the token that a request needs which brings about a fault: the contents of `chaos.token` in the data folder
/// of any node that has opted in, good at all of them. The API's own token never stands in for it.
pub const CHAOS_TOKEN_HEADER: &str = "x-taffeta-chaos-token";
/// Longest stay of a fault in milliseconds: an hour.
pub const CHAOS_LASTS_MS_MAX: u64 = 3_600_000;
/// Most other ends of a network fault that are named; the largest ring that is measured.
pub const CHAOS_PEERS_MAX: usize = 1_000;

/// What is broken on purpose in the whole cluster, and who can be hurt how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChaosView {
    /// By whom new faults are refused; `null` while they are not.
    pub blocked: Option<ChaosBlockView>,
    /// The machines, by name.
    pub nodes: Vec<ChaosNodeView>,
    /// The faults that the machines know of: those that are on, and the last ones that were undone.
    pub faults: Vec<FaultView>,
}

/// Why new faults are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChaosBlockView {
    /// The node that was told so.
    pub by: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// In the operator's words.
    pub reason: String,
}

/// One machine, as far as faults are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChaosNodeView {
    /// Its name.
    pub node: String,
    /// IP:PORT of the fabric.
    pub address: String,
    /// Whether it answered. If not, what can be done to it is not known.
    #[serde(default)]
    pub answers: bool,
    /// Whether it has opted in: `chaos = true`. Of one that did not answer: whether it had when the others last heard of it.
    pub chaos: bool,
    /// What can be done to it, and by what; what cannot, with the reason.
    pub backends: Vec<ChaosBackendView>,
}

/// What brings about one kind of fault on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChaosBackendView {
    /// The kind of fault: `loss`.
    pub fault: String,
    /// `nftables`, `signal`, `freezer`, `socket`, `clock`, `filesystem`, `files`, `process`, `dns`, `fabric`; empty if nothing
    /// can do it there.
    pub backend: String,
    /// Why nothing can.
    pub refused: Option<String>,
}

/// A fault to bring about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// Chosen by the client, 8 to 32 hexadecimal digits in small letters: the same request again is the same fault, another
    /// one of this id is refused.
    pub id: String,
    /// Name of the run that it belongs to: 1 to 100 characters.
    pub run: String,
    /// The machine, by name.
    pub node: String,
    /// What.
    #[schema(value_type = Object)]
    pub fault: Fault,
    /// For how long, in milliseconds: 1 to 3600000. It is undone then at the latest, whatever becomes of the client.
    pub lasts_ms: u64,
    /// The other ends of a network fault, by name; everybody if empty.
    #[serde(default)]
    pub peers: Vec<String>,
    /// A task that is struck instead of the node, as `shop/web.2`; for kill and pause.
    #[serde(default)]
    pub task: Option<String>,
    /// Only tell what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Where a fault is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultState {
    /// It was not brought about: `dry_run`, or it is about to be.
    Planned,
    /// It is on.
    Active,
    /// It was on, and all is as before.
    Undone,
    /// It could not be undone, and is tried again; or its machine does not say, long after its end, that it is.
    NotUndone,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FaultView {
    /// As the client chose it.
    pub id: String,
    /// Name of its run.
    pub run: String,
    /// The machine.
    pub node: String,
    /// What.
    #[schema(value_type = Object)]
    pub fault: Fault,
    /// By what, as in [`ChaosBackendView::backend`].
    pub backend: String,
    /// What it does, command by command.
    pub commands: Vec<String>,
    /// The other ends of a network fault; everybody if empty.
    #[serde(default)]
    pub peers: Vec<String>,
    /// The task that is struck.
    #[serde(default)]
    pub task: Option<String>,
    /// When it began, RFC 3339 in UTC.
    pub begun_at: String,
    /// When it ends or ended, RFC 3339 in UTC.
    pub ends_at: String,
    /// Where it is in its life.
    pub state: FaultState,
    /// Why it could not be undone, or brought about.
    pub error: Option<String>,
}

/// Ends all faults everywhere, and lets no new one begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChaosStopRequest {
    /// Why, for those who find it blocked: at most 200 characters.
    #[serde(default)]
    pub reason: String,
}

/// What became of a stop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChaosStopView {
    /// Whether it is written down for the whole cluster. If not, for want of a quorum, only the machines that answered
    /// obey, and only until they are started anew.
    pub stored: bool,
    /// The machines that have undone all of theirs.
    pub stopped: Vec<String>,
    /// The machines that did not answer; they stop when they hear of it, or at each fault's deadline.
    pub unreachable: Vec<String>,
    /// What could not be undone.
    pub not_undone: Vec<FaultView>,
}
