//! The JSON documents of the API, as CONTRACT names their fields.

use super::UsageView;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use taffeta_model::JobName;
use utoipa::ToSchema;

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

/// Whether a machine is to be drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// It is not, or not any more.
    #[serde(default)]
    pub off: bool,
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

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// `web.2`.
    pub task: String,
    /// The app.
    pub app: String,
    /// The service or batch job.
    pub service: String,
    /// Stable index from 1.
    pub index: u32,
    /// `service`, `batch`, `cron` or `daemon`.
    pub kind: String,
    /// `waiting`, `starting`, `running`, `healthy`, `unhealthy`, `stopping`, `finished`, `failed` or `lost`.
    pub state: String,
    /// Name of its machine.
    pub node: Option<String>,
    /// IP address on which it is reached.
    pub address: Option<String>,
    /// Ports by name.
    pub ports: BTreeMap<String, u16>,
    /// Process id on its machine.
    pub pid: Option<u32>,
    /// Restarts on its machine since it was placed there.
    pub restarts: u32,
    /// Start of the present process, RFC 3339 in UTC.
    pub started_at: Option<String>,
    /// Exit status of the last process that ended.
    pub exit_code: Option<i32>,
    /// Why it is in this state; may be empty.
    pub reason: String,
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

/// A service or batch job of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// `service`, `batch`, `cron` or `daemon`.
    pub kind: String,
    /// Wanted instances.
    pub count: u32,
    /// Instances that serve, or batch instances that finished.
    pub ready: u32,
    /// Position in the log of the newest deploy or restart that changed it.
    #[serde(default)]
    pub revision: u64,
    /// When a cron job is due next, RFC 3339 in UTC.
    #[serde(default)]
    pub next: Option<String>,
    /// Fewest and most instances of a service that is scaled by its load.
    #[serde(default)]
    pub autoscale: Option<BoundsView>,
    /// Runs of a batch or cron job, the newest first, the one under way included.
    #[serde(default)]
    pub runs: Vec<RunView>,
}

/// Bounds of a count, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BoundsView {
    /// The least.
    pub min: u32,
    /// The most.
    pub max: u32,
}

/// An app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppView {
    /// Its name.
    pub app: String,
    /// 1 at first, raised by each deploy.
    pub version: u64,
    /// When this version was deployed, RFC 3339 in UTC.
    pub deployed_at: String,
    /// Whether every service has all its instances serving and every batch job has finished.
    pub healthy: bool,
    /// Whether its update is paused.
    #[serde(default)]
    pub paused: bool,
    /// Versions before it that `rollback` may go back to, the newest first.
    #[serde(default)]
    pub versions: Vec<u64>,
    /// Why this version came back, if it did.
    #[serde(default)]
    pub returned: Option<String>,
    /// Its jobs.
    pub jobs: Vec<JobView>,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceInstanceView {
    /// Its label in DNS: `2`, or the name of the node that publishes it itself.
    pub instance: String,
    /// Name of its machine.
    pub node: String,
    /// IP address.
    pub address: String,
    /// Ports by name.
    pub ports: BTreeMap<String, u16>,
    /// Its state.
    pub state: String,
    /// Whether DNS gives it out.
    pub serving: bool,
}

/// A service as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// `web`.
    pub service: String,
    /// The app.
    pub app: String,
    /// Its name in DNS.
    pub name: String,
    /// Its instances.
    pub instances: Vec<ServiceInstanceView>,
}

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyView {
    /// `shop/web.2`.
    pub task: String,
    /// Its state, as in `ps`.
    pub state: String,
    /// Its machine.
    pub node: Option<String>,
    /// The reasons, one a line.
    pub reasons: Vec<String>,
    /// What its newest process uses, or has used; `null` if there is none, or its machine does not answer.
    #[serde(default)]
    pub usage: Option<UsageView>,
}

/// A small file beside the app file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShippedFileBody {
    /// Contents, base64 with padding.
    pub base64: String,
    /// Whether it is executable.
    #[serde(default)]
    pub executable: bool,
}

/// An app file with the files that it ships.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// Text of the app file (TOML).
    pub file: String,
    /// The shipped files by name.
    #[serde(default)]
    pub files: BTreeMap<String, ShippedFileBody>,
}

/// A deploy that was acknowledged: it is on the disks of a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployed {
    /// The app.
    pub app: String,
    /// Its new version.
    pub version: u64,
    /// Position of the deploy in the log: whatever is acknowledged later has a higher one.
    #[serde(default)]
    pub position: u64,
}

/// What would happen to one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanStep {
    /// `web.2`.
    pub task: String,
    /// `create`, `keep`, `update`, `remove` or `wait`.
    pub action: String,
    /// The machine, where there is one.
    pub node: Option<String>,
    /// Why it would wait; may be empty.
    pub reason: String,
}

/// What a deploy would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// The app.
    pub app: String,
    /// Task by task.
    pub steps: Vec<PlanStep>,
    /// Jobs that no machine of the cluster could ever run, and why, in words. They would be accepted, and wait.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Another number of instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// The service or batch job.
    pub service: String,
    /// The wanted number.
    pub count: u32,
}

/// What is wished for an app between two versions, or for one of its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steer {
    /// Back to a version before.
    Rollback {
        /// Which; `None`: the newest that was not given up.
        to: Option<u64>,
    },
    /// No older instance is replaced for now.
    Pause,
    /// That is over.
    Resume,
    /// The newer version takes over.
    Promote {
        /// Of this job; `None`: of all.
        job: Option<JobName>,
    },
    /// A batch or cron job runs now.
    Run {
        /// The job.
        job: JobName,
        /// Appended to its own arguments.
        args: Vec<String>,
    },
}

/// The way back to a version before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The version; the newest that was not given up without it.
    #[serde(default)]
    pub version: Option<u64>,
}

/// A promotion of one job or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// The job; all of the app without it.
    #[serde(default)]
    pub service: Option<String>,
}

/// A run by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The batch or cron job.
    pub job: String,
    /// Appended to its own arguments, for this run.
    #[serde(default)]
    pub args: Vec<String>,
}

/// A run of a batch or cron job, or slots that did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// What it ran for, as `due 2026-11-22T02:00:00Z`; of slots that did not run, which.
    pub what: String,
    /// When its first task was given a machine, RFC 3339 in UTC.
    pub started_at: Option<String>,
    /// When it was over.
    pub ended_at: Option<String>,
    /// `running`, `ok`, or how it failed or why it did not run, in words.
    pub result: String,
}

/// A restart of one job or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartRequest {
    /// The job; all of the app without it.
    #[serde(default)]
    pub service: Option<String>,
}

/// A wish for a join token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// `node`.
    #[serde(default)]
    pub role: Option<String>,
    /// Seconds until it ends; 3600 by default.
    #[serde(default)]
    pub ttl_seconds: Option<u64>,
    /// How often it may be used; any number by default.
    #[serde(default)]
    pub uses: Option<u32>,
}

/// A join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// The token: shown once, never stored.
    pub token: String,
    /// When it ends, RFC 3339 in UTC.
    pub expires_at: String,
}

/// A join token as it is listed: the secret is stored nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenEntry {
    /// 16 hexadecimal digits: its public half.
    pub id: String,
    /// What whoever holds it may become: `node`.
    pub role: String,
    /// When it ends, RFC 3339 in UTC.
    pub expires_at: String,
    /// How often it may still be used; `null` for any number of times.
    pub uses_left: Option<u32>,
    /// How often it was used.
    pub used: u32,
    /// When it was minted, RFC 3339 in UTC.
    pub created_at: String,
}

/// A CA of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuthorityView {
    /// SHA-256 of its certificate, 64 hexadecimal digits: what join tokens pin.
    pub hash: String,
    /// Begin of the rotation that brought it, RFC 3339 in UTC; `null` for the cluster's first before any rotation.
    pub since: Option<String>,
    /// Whether it signs; one that does not is still believed.
    pub signs: bool,
}

/// The CAs of the cluster, as the answering node believes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuthoritiesView {
    /// One, and two while the CA is rotated; the one that signs last.
    pub authorities: Vec<AuthorityView>,
    /// Whether a rotation is under way.
    pub rotating: bool,
    /// Names of members that are not known to have a certificate of the CA that signs.
    pub waiting: Vec<String>,
    /// Name of the answering node.
    pub node: String,
    /// When its own certificate ends, RFC 3339 in UTC: it is renewed at two thirds of its life.
    pub certificate_expires_at: String,
}

/// Wants the former CA believed no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishRequest {
    /// Even if members have no certificate of the new CA yet, who then have to join anew.
    #[serde(default)]
    pub force: bool,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordView {
    /// Owner name.
    pub name: String,
    /// `A`, `SRV`, ...
    #[serde(rename = "type")]
    pub record_type: String,
    /// Seconds.
    pub ttl: u32,
    /// As in a zone file.
    pub data: String,
}

/// An instance that is not given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HiddenView {
    /// Its label.
    pub instance: String,
    /// Its machine.
    pub node: String,
    /// Why.
    pub reason: String,
}

/// What could stand behind a name: an instance, or a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BehindView {
    /// `2.web.shop`, or the machine's name.
    pub instance: String,
    /// Its machine.
    pub node: String,
    /// Where it listens.
    pub address: String,
    /// The port that an SRV record gives, if there is one.
    pub port: Option<u16>,
    /// Whether it is given, in this answer or, as one of more than fit, in others.
    pub given: bool,
    /// Why, or why not.
    pub reason: String,
    /// What this follows from: what its machine says; absent if the machine was not heard.
    pub source: Option<SourceView>,
}

/// The set of records of a machine, as the answering node holds it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceView {
    /// Counts the starts of the machine's node.
    pub epoch: u64,
    /// Counts the changes since that start.
    pub seq: u64,
    /// Seconds since the answering node took in the newest of them.
    pub age_s: f64,
}

/// What DNS answers, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResolveView {
    /// The name, in full.
    pub name: String,
    /// The type asked for.
    #[serde(rename = "type")]
    pub record_type: String,
    /// `NOERROR`, `NXDOMAIN`, ...
    pub status: String,
    /// The answer section.
    pub records: Vec<RecordView>,
    /// The additional section.
    pub additional: Vec<RecordView>,
    /// Instances that are not given out, and why.
    pub hidden: Vec<HiddenView>,
    /// All instances or machines that the name could stand for, given or not, and from which record that follows. More
    /// than the 100 that fit into an answer.
    #[serde(default)]
    pub behind: Vec<BehindView>,
    /// What else is to be said, in words.
    pub notes: Vec<String>,
}

/// A part of the zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ZoneView {
    /// The zone.
    pub zone: String,
    /// Version of the answering node's view. Parts of one zone belong together if theirs are equal.
    pub serial: u32,
    /// The records, RRset by RRset; the SOA comes first and last.
    pub records: Vec<RecordView>,
    /// Where to go on; absent at the end.
    pub next: Option<usize>,
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

/// A secret, without its value, which nobody is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// The newest version, from 1.
    pub version: u64,
    /// Bytes of the value.
    pub bytes: u32,
    /// When it was set, RFC 3339.
    pub changed: String,
    /// The jobs whose tasks get it.
    pub used_by: Vec<SecretUser>,
}

/// A job whose tasks get a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretUser {
    /// The app.
    pub app: String,
    /// The service or batch job.
    pub service: String,
    /// The version that its tasks get; an older one until it is restarted.
    pub version: u64,
}
