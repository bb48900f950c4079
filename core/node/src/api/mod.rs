//! The node's face: the JSON that the HTTP API, the command line and the web page share, and what a node must be able
//! to do for them.
//!
//! Field names are a contract with users and their scripts: adding is free, changing is not. Left out: how a request is
//! answered, which is [`Backend`]'s, and how it travels, which is `http`'s and `client`'s.

mod apps;
mod chaos;
mod deploys;
mod error;
mod exec;
mod files;
mod logs;
mod machines;
mod names;
mod trust;
mod upkeep;
mod usage;

pub use apps::{
    AppView, BoundsView, IsolationView, JobView, RunView, ServiceInstanceView, ServiceView, TaskView, WhyView,
};
pub use chaos::{
    CHAOS_LASTS_MS_MAX, CHAOS_PEERS_MAX, CHAOS_TOKEN_HEADER, ChaosBackendView, ChaosBlockView, ChaosNodeView,
    ChaosStopRequest, ChaosStopView, ChaosView, FaultRequest, FaultState, FaultView,
};
pub use deploys::{
    DeployRequest, Deployed, PlanStep, PlanView, PromoteRequest, RestartRequest, RollbackRequest, RunRequest,
    ScaleRequest, ShippedFileBody, Steer,
};
pub use error::{ApiError, ErrorBody, ErrorCode, ErrorDetail};
pub(crate) use exec::WAITING_MAX;
pub use exec::{
    EXEC_ARGS_BYTES_MAX, EXEC_ARGS_MAX, ExecEnd, ExecInput, ExecOutput, ExecRequest, ExecSession, ExecSize,
    ExecTerminal,
};
pub use files::{FileView, FolderView};
pub use logs::{LogChunk, LogCursor, LogRead, LogStep};
pub use machines::{
    DrainRequest, Event, LeaderView, LimitsView, NodeCounts, NodeView, QuotaRequest, QuotaView, ResourcesView, Role,
    StatusView,
};
pub use names::{BehindView, HiddenView, RecordView, ResolveView, SourceView, ZoneView};
pub use trust::{
    AuthoritiesView, AuthorityView, FinishRequest, SecretUser, SecretView, TokenEntry, TokenRequest, TokenView,
};
pub use upkeep::{MaintenanceRequest, MaintenanceView, VolumeView};
pub use usage::{PressureView, PressuresView, ThrottledView, UsageView};

use async_trait::async_trait;
use taffeta_isolation_plan::{FileAsk, FileTold};
use taffeta_model::{AppName, JobName, Secret, SecretName, TaskId, TeamName, TokenId, VolumeName};

/// What a node does for its users. Every verb works on every node: what only the leader can do is passed on to it.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Brings those metrics up to date that are only summed when somebody asks.
    fn measure(&self) {}
    /// What this node's tasks use, in Prometheus' text format.
    async fn figures(&self) -> String {
        String::new()
    }
    /// The state of the cluster as this node knows it.
    async fn status(&self) -> Result<StatusView, ApiError>;
    /// The leader, if one is known.
    async fn leader(&self) -> Result<Option<LeaderView>, ApiError>;
    /// The machines, by name.
    async fn nodes(&self) -> Result<Vec<NodeView>, ApiError>;
    /// The apps, by name.
    async fn apps(&self) -> Result<Vec<AppView>, ApiError>;
    /// The tasks of all apps or of one, by id.
    async fn tasks(&self, app: Option<AppName>) -> Result<Vec<TaskView>, ApiError>;
    /// The services with their instances, by name.
    async fn services(&self) -> Result<Vec<ServiceView>, ApiError>;
    /// Why a task is where it is.
    async fn why(&self, task: TaskId) -> Result<WhyView, ApiError>;
    /// What DNS answers, and why.
    async fn resolve(&self, name: String, record_type: String) -> Result<ResolveView, ApiError>;
    /// A part of the zone: `limit` records from the position `after` on, as a transfer of it gives them.
    async fn zone(&self, after: usize, limit: usize) -> Result<ZoneView, ApiError>;
    /// Applies an app file.
    async fn deploy(&self, request: DeployRequest) -> Result<Deployed, ApiError>;
    /// What a deploy would change.
    async fn plan(&self, request: DeployRequest) -> Result<PlanView, ApiError>;
    /// Another number of instances.
    async fn scale(&self, app: AppName, request: ScaleRequest) -> Result<(), ApiError>;
    /// Ends an app.
    async fn stop(&self, app: AppName) -> Result<(), ApiError>;
    /// Starts instances anew.
    async fn restart(&self, app: AppName, job: Option<JobName>) -> Result<(), ApiError>;
    /// Steers how the app gets from one version to the next, or runs one of its jobs.
    async fn steer(&self, app: AppName, steer: Steer) -> Result<(), ApiError>;
    /// Mints a join token.
    async fn create_token(&self, request: TokenRequest) -> Result<TokenView, ApiError>;
    /// The join tokens, the one that ends first at the top.
    async fn tokens(&self) -> Result<Vec<TokenEntry>, ApiError>;
    /// Lets a join token be good for nothing.
    async fn revoke_token(&self, id: TokenId) -> Result<(), ApiError>;
    /// Takes a machine out of the cluster for good, by its name or id; one that is running only with `force`.
    async fn remove_node(&self, node: String, force: bool) -> Result<(), ApiError>;
    /// Lets a machine's services move elsewhere and no new tasks come to it, by its name or id; with `off` ends that.
    async fn drain_node(&self, node: String, off: bool) -> Result<(), ApiError>;
    /// The volumes, by task and name.
    async fn volumes(&self) -> Result<Vec<VolumeView>, ApiError>;
    /// Lets a task that waits for its data begin with an empty volume.
    async fn reset_volume(&self, task: TaskId) -> Result<(), ApiError>;
    /// Drops volumes that no task uses: the one of that name, or all of the task.
    async fn remove_volume(&self, task: TaskId, name: Option<VolumeName>) -> Result<(), ApiError>;
    /// The maintenance windows, by machine.
    async fn maintenance(&self) -> Result<Vec<MaintenanceView>, ApiError>;
    /// Gives a machine a maintenance window more, by its name or id; `None` ends all that it has.
    async fn maintain(&self, node: String, window: Option<MaintenanceRequest>) -> Result<(), ApiError>;
    /// What teams may use, and use, by name.
    async fn quotas(&self) -> Result<Vec<QuotaView>, ApiError>;
    /// Sets what a team may use, instead of what was set before.
    async fn set_quota(&self, team: TeamName, request: QuotaRequest) -> Result<QuotaView, ApiError>;
    /// Lets a team use what there is.
    async fn remove_quota(&self, team: TeamName) -> Result<(), ApiError>;
    /// The cluster's CAs.
    async fn authorities(&self) -> Result<AuthoritiesView, ApiError>;
    /// Lets another CA sign from now on.
    async fn rotate_authority(&self) -> Result<(), ApiError>;
    /// Ends the CA before the one that signs; with `force` even if members have no certificate of the new one.
    async fn finish_rotation(&self, force: bool) -> Result<(), ApiError>;
    /// A piece of a task's output, from wherever the task runs or last ran.
    async fn logs(&self, task: TaskId, read: LogRead) -> Result<LogChunk, ApiError>;
    /// Runs a command beside a task, on the machine where it runs.
    async fn exec(&self, task: TaskId, request: ExecRequest) -> Result<ExecSession, ApiError>;
    /// Looks into a task's working folder, on the machine where it runs or last ran.
    async fn files(&self, task: TaskId, ask: FileAsk) -> Result<FileTold, ApiError>;
    /// The recent events, oldest first, and a receiver of those that follow.
    fn events(&self) -> (Vec<Event>, tokio::sync::broadcast::Receiver<Event>);
    /// The secrets, by name, without their values.
    async fn secrets(&self) -> Result<Vec<SecretView>, ApiError>;
    /// Sets a secret, or gives it a new version.
    async fn set_secret(&self, name: SecretName, value: Secret) -> Result<SecretView, ApiError>;
    /// Removes a secret; also one that apps use, if `force` says so.
    async fn remove_secret(&self, name: SecretName, force: bool) -> Result<(), ApiError>;
    /// What is broken on purpose in the cluster, and what could be.
    async fn chaos(&self) -> Result<ChaosView, ApiError>;
    /// Brings a fault about on purpose, if the chaos token is right.
    async fn begin_fault(&self, token: String, request: FaultRequest) -> Result<FaultView, ApiError>;
    /// Undoes a fault now.
    async fn end_fault(&self, id: String) -> Result<FaultView, ApiError>;
    /// Undoes all faults everywhere, and lets none begin.
    async fn stop_chaos(&self, request: ChaosStopRequest) -> Result<ChaosStopView, ApiError>;
    /// Lets faults begin again.
    async fn allow_chaos(&self) -> Result<(), ApiError>;
    /// A backup of the cluster, as a file.
    async fn backup(&self) -> Result<Vec<u8>, ApiError>;
    /// Whether `token` is the administrator's bearer token.
    fn is_admin_token(&self, token: &str) -> bool;
}
