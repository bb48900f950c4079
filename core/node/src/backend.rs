//! The verbs: what this node does for its users, by itself or through the leader.

use crate::{
    api::{
        ApiError, AppView, AuthoritiesView, Backend, ChaosStopRequest, ChaosStopView, ChaosView, DeployRequest,
        Deployed, ErrorCode, Event, ExecRequest, ExecSession, FaultRequest, FaultView, LeaderView, LogChunk, LogRead,
        MaintenanceRequest, MaintenanceView, NodeView, PlanView, QuotaRequest, QuotaView, ResolveView, ScaleRequest,
        SecretView, ServiceView, StatusView, Steer, TaskView, TokenEntry, TokenRequest, TokenView, VolumeView, WhyView,
        ZoneView,
    },
    config::RingPreset,
    events::rfc3339,
    node::Core,
    quotas, upkeep,
    wire::{Ask, Query, Told},
};
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::DeserializeOwned;
use std::{sync::Arc, time::Duration};
use subtle::ConstantTimeEq;
use taffeta_isolation_plan::{FileAsk, FileTold};
use taffeta_model::{
    App, AppName, Command, DirectoryMember, Fence, FileSource, JobName, Liveness, NodeId, Refusal, Secret, SecretName,
    ShippedFile, TaskId, TeamName, Token, TokenId, TokenRole, VolumeName, line_of_field, nearest, parse_app_file,
};
use taffeta_net::{JoinToken, sha256};
use tokio::{sync::broadcast, time::timeout};

/// How long another node may take to answer a reading request.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// The same in a LAN where this node's own answer lacks little.
const HELP_LIMIT: Duration = Duration::from_millis(400);
/// How long a voter that does not lead waits for what was written to come to it.
const APPLY_LIMIT: Duration = Duration::from_millis(300);
/// Life of a token that is asked for without one, and the longest.
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(365 * 86_400);

/// A node's [`Backend`].
pub(crate) struct NodeBackend(pub(crate) Arc<Core>);

impl NodeBackend {
    /// The leader's answer, or, without one, what is known here.
    async fn read<T: DeserializeOwned>(&self, query: Query) -> Result<T, ApiError> {
        let core = &self.0;
        // One that the ring holds for dead would only be waited for.
        let is_gone = |id| matches!(core.met(id), Some(Liveness::Down | Liveness::Left));
        let answers = |id: &NodeId| *id != core.me && !is_gone(*id);
        let leader = core.consensus.borrow().leader.map(|(id, _)| id).filter(answers);
        let told = match leader {
            Some(leader) => {
                let limit = core.read_limit(&query);
                core.ask(leader, &Ask::Read(query.clone()), limit).await.ok()
            }
            None => None,
        };
        let document = match told {
            Some(Told::Document(document)) => document?,
            // Only voters and learners hold the state; without it, "there is none" would be a guess.
            Some(_) | None if !core.has_state() && query.needs_state() => return Err(core.no_quorum()),
            Some(_) | None => core.read_here(query)?,
        };
        serde_json::from_slice(&document).map_err(|e| ApiError::new(ErrorCode::Failed, e.to_string()))
    }
}

impl NodeBackend {
    /// The member of this name or id.
    fn member(&self, node: &str) -> Result<NodeId, ApiError> {
        let directory = Arc::clone(&self.0.directory.borrow());
        let is_it = |(id, member): &(&NodeId, &DirectoryMember)| member.name.as_str() == node || id.to_string() == node;
        let found = directory.members.iter().find(is_it).map(|(id, _)| *id);
        found.ok_or_else(|| {
            let names: Vec<&str> = directory.members.values().map(|member| member.name.as_str()).collect();
            let hint = match nearest(node, &names) {
                "" => String::new(),
                nearest => format!("; did you mean `{nearest}`?"),
            };
            ApiError::new(ErrorCode::NotFound, format!("there is no machine `{node}`{hint}"))
                .help("`taffeta nodes` lists them")
                .field("node")
        })
    }

    /// Version of an app once a write is applied. Written it is; that the number cannot be read at this moment is no
    /// failure, and gives 0.
    async fn version_at(&self, app: &AppName, written: Fence) -> u64 {
        let store = &self.0.store;
        // Looked for here if the state is here: the leader's list would be of all apps.
        if self.0.has_state() {
            let mut applied = store.watch();
            let _ = timeout(APPLY_LIMIT, applied.wait_for(|at| *at >= written)).await;
            return store.read(|state| {
                let known = state.apps.get(app).filter(|_| state.applied >= written);
                known.map_or(0, |known| known.version)
            });
        }
        let apps: Vec<AppView> = Box::pin(self.read(Query::Apps)).await.unwrap_or_default();
        apps.iter().find(|known| known.app == app.as_str()).map_or(0, |known| known.version)
    }
}

/// The files that came with a deploy.
struct Shipped<'a>(&'a DeployRequest);

impl FileSource for Shipped<'_> {
    fn read(&mut self, name: &str) -> Result<ShippedFile, String> {
        let file = self.0.files.get(name).ok_or_else(|| format!("`{name}` was not sent with the app file"))?;
        let body = STANDARD.decode(&file.base64).map_err(|e| format!("`{name}` is not base64: {e}"))?;
        Ok(ShippedFile { body, executable: file.executable })
    }
}

fn parse(request: &DeployRequest) -> Result<App, ApiError> {
    parse_app_file(&request.file, &mut Shipped(request)).map_err(|e| {
        let refusal = ApiError::new(ErrorCode::Invalid, e.to_string()).field(e.field.clone());
        match &e.help {
            Some(help) => refusal.help(help),
            None => refusal,
        }
    })
}

/// The refusal with the line of the app file that it is about.
fn with_line(file: &str, error: ApiError) -> ApiError {
    let line = error.field.as_deref().and_then(|field| line_of_field(file, field));
    match line {
        Some(line) => ApiError { message: format!("line {line}: {}", error.message), ..error },
        None => error,
    }
}

fn name<T>(name: &str, parsed: Result<T, taffeta_model::InvalidName>) -> Result<T, ApiError> {
    parsed.map_err(|e| ApiError::new(ErrorCode::Invalid, e.to_string()).field(name))
}

#[async_trait]
impl Backend for NodeBackend {
    fn measure(&self) {
        self.0.measure_dns();
    }

    async fn figures(&self) -> String {
        self.0.figures_text().await
    }

    async fn status(&self) -> Result<StatusView, ApiError> {
        let core = &self.0;
        let mut own = core.status_view();
        // The leader knows all tasks; everything else is this node's own view.
        if !core.has_state()
            && let Ok(theirs) = self.read::<StatusView>(Query::Status).await
        {
            own.tasks = theirs.tasks;
        }
        Ok(own)
    }

    async fn leader(&self) -> Result<Option<LeaderView>, ApiError> {
        Ok(self.0.leader_view())
    }

    async fn nodes(&self) -> Result<Vec<NodeView>, ApiError> {
        let core = &self.0;
        let theirs = if core.has_state() { None } else { self.read::<Vec<NodeView>>(Query::Nodes).await.ok() };
        // Looked at last: what the ring says may have changed while the leader was asked.
        let mut own = core.nodes_view();
        for node in &mut own {
            if let Some(known) = theirs.iter().flatten().find(|n| n.id == node.id) {
                (node.used, node.tasks, node.role) = (known.used.clone(), known.tasks, known.role);
                node.maintained_until = known.maintained_until.clone();
                node.become_drained(known.draining);
            }
        }
        Ok(own)
    }

    async fn apps(&self) -> Result<Vec<AppView>, ApiError> {
        self.read(Query::Apps).await
    }

    async fn tasks(&self, app: Option<AppName>) -> Result<Vec<TaskView>, ApiError> {
        let tasks: Vec<TaskView> = self.read(Query::Tasks(app.clone())).await?;
        match app.filter(|app| tasks.is_empty() && !self.0.directory.borrow().apps.contains_key(app)) {
            Some(app) => Err(ApiError::new(ErrorCode::NotFound, format!("there is no app `{app}`"))
                .help("`taffeta apps` lists what is there")),
            None => Ok(tasks),
        }
    }

    async fn services(&self) -> Result<Vec<ServiceView>, ApiError> {
        Ok(self.0.services_view())
    }

    async fn why(&self, task: TaskId) -> Result<WhyView, ApiError> {
        let mut why: WhyView = self.read(Query::Why(task.clone())).await?;
        self.0.add_figures(task, &mut why).await;
        Ok(why)
    }

    async fn resolve(&self, name: String, record_type: String) -> Result<ResolveView, ApiError> {
        self.0.resolve(&name, &record_type)
    }

    async fn zone(&self, after: usize, limit: usize) -> Result<ZoneView, ApiError> {
        self.0.zone(after, limit)
    }

    async fn deploy(&self, request: DeployRequest) -> Result<Deployed, ApiError> {
        let app = parse(&request)?;
        let name = app.name.clone();
        let command = Command::Deploy { app: Arc::new(app), now: self.0.clock.date() };
        let at = self.0.submit(command).await.map_err(|e| with_line(&request.file, e))?;
        Ok(Deployed { version: self.version_at(&name, at).await, app: name.to_string(), position: at.index })
    }

    async fn plan(&self, request: DeployRequest) -> Result<PlanView, ApiError> {
        let app = parse(&request)?;
        self.0.wait_for_leader().await?;
        self.read(Query::Plan(app)).await.map_err(|e| with_line(&request.file, e))
    }

    async fn scale(&self, app: AppName, request: ScaleRequest) -> Result<(), ApiError> {
        let job = name("service", JobName::new(request.service))?;
        self.0.submit(Command::Scale { app, job, count: request.count }).await.map(drop)
    }

    async fn stop(&self, app: AppName) -> Result<(), ApiError> {
        self.0.submit(Command::Stop { app }).await.map(drop)
    }

    async fn restart(&self, app: AppName, job: Option<JobName>) -> Result<(), ApiError> {
        self.0.submit(Command::Restart { app, job }).await.map(drop)
    }

    async fn steer(&self, app: AppName, steer: Steer) -> Result<(), ApiError> {
        let now = self.0.clock.date();
        let command = match steer {
            Steer::Rollback { to } => Command::Rollback { app, seen_version: None, to, reason: None, now },
            Steer::Pause => Command::Pause { app, on: true },
            Steer::Resume => Command::Pause { app, on: false },
            Steer::Promote { job } => Command::Promote { app, job, seen_version: None },
            Steer::Run { job, args } => Command::Run { app, job, args, now },
        };
        self.0.submit(command).await.map(drop)
    }

    async fn create_token(&self, request: TokenRequest) -> Result<TokenView, ApiError> {
        let core = &self.0;
        let role = request.role.map_or(Ok(TokenRole::Node), |role| role.parse());
        let role = role.map_err(|why| ApiError::new(ErrorCode::Invalid, why).field("role"))?;
        let life = request.ttl_seconds.map_or(TOKEN_LIFE, Duration::from_secs);
        if life.is_zero() || life > TOKEN_LIFE_MAX {
            let refusal = ApiError::new(ErrorCode::Invalid, "a token lives from 1 s to 365 days");
            return Err(refusal.field("ttl_seconds"));
        }
        if request.uses == Some(0) {
            return Err(ApiError::new(ErrorCode::Invalid, "a token is used at least once").field("uses"));
        }
        let mut secret = [0; 16];
        core.entropy.fill(&mut secret);
        let id = TokenId(core.entropy.seed());
        let created = core.clock.date();
        let expires = created + life;
        let token = Token { secret_hash: sha256(&secret), expires, uses: request.uses, used: 0, role, created };
        core.submit(Command::CreateToken { id, token }).await?;
        let ca_hash = core.papers().signing();
        let token = JoinToken { cluster: core.cluster, ca_hash, id, secret };
        Ok(TokenView { token: token.to_string(), expires_at: rfc3339(expires) })
    }

    async fn tokens(&self) -> Result<Vec<TokenEntry>, ApiError> {
        self.read(Query::Tokens).await
    }

    async fn revoke_token(&self, id: TokenId) -> Result<(), ApiError> {
        let unknown = Refusal::UnknownToken.to_string();
        let revoked = self.0.submit(Command::RevokeToken { id }).await;
        revoked.map(drop).map_err(|e| match e.message == unknown {
            true => ApiError::new(ErrorCode::NotFound, format!("there is no token {id}"))
                .help("`taffeta token list` shows them"),
            false => e,
        })
    }

    async fn remove_node(&self, node: String, force: bool) -> Result<(), ApiError> {
        let node = self.member(&node)?;
        self.0.through_leader(Ask::Remove { node, force }).await.map(drop)
    }

    async fn drain_node(&self, node: String, off: bool) -> Result<(), ApiError> {
        let node = self.member(&node)?;
        self.0.submit(Command::Drain { node, on: !off }).await.map(drop)
    }

    async fn volumes(&self) -> Result<Vec<VolumeView>, ApiError> {
        Ok(self.0.with_use(self.read(Query::Volumes).await?).await)
    }

    async fn reset_volume(&self, task: TaskId) -> Result<(), ApiError> {
        self.0.submit(Command::ResetVolume { task }).await.map(drop)
    }

    async fn remove_volume(&self, task: TaskId, name: Option<VolumeName>) -> Result<(), ApiError> {
        self.0.submit(Command::RemoveVolume { task, name }).await.map(drop)
    }

    async fn chaos(&self) -> Result<ChaosView, ApiError> {
        Ok(self.0.chaos_view().await)
    }

    async fn begin_fault(&self, token: String, request: FaultRequest) -> Result<FaultView, ApiError> {
        self.0.chaos_begin(token, request).await
    }

    async fn end_fault(&self, id: String) -> Result<FaultView, ApiError> {
        self.0.chaos_end(id).await
    }

    async fn stop_chaos(&self, request: ChaosStopRequest) -> Result<ChaosStopView, ApiError> {
        self.0.chaos_stop(request).await
    }

    async fn allow_chaos(&self) -> Result<(), ApiError> {
        self.0.chaos_allow().await
    }

    async fn maintenance(&self) -> Result<Vec<MaintenanceView>, ApiError> {
        self.read(Query::Maintenance).await
    }

    async fn maintain(&self, node: String, window: Option<MaintenanceRequest>) -> Result<(), ApiError> {
        let node = self.member(&node)?;
        let window = window.map(|window| upkeep::read(&window, self.0.clock.date())).transpose()?;
        self.0.submit(Command::Maintain { node, window }).await.map(drop)
    }

    async fn quotas(&self) -> Result<Vec<QuotaView>, ApiError> {
        self.read(Query::Quotas).await
    }

    async fn set_quota(&self, team: TeamName, request: QuotaRequest) -> Result<QuotaView, ApiError> {
        let quota = quotas::read(request)?;
        let set = quotas::view(&team, &quota, quotas::Used::default());
        self.0.submit(Command::SetQuota { team, quota }).await?;
        // Written it is; that the rest cannot be read at this moment is no failure.
        let known = self.quotas().await.unwrap_or_default().into_iter();
        let used = known.filter(|view| view.team == set.team).map(|view| (view.used, view.tasks)).next();
        let (used, tasks) = used.unwrap_or_default();
        Ok(QuotaView { used, tasks, ..set })
    }

    async fn remove_quota(&self, team: TeamName) -> Result<(), ApiError> {
        self.0.submit(Command::RemoveQuota { team }).await.map(drop)
    }

    async fn authorities(&self) -> Result<AuthoritiesView, ApiError> {
        Ok(self.0.authorities_view())
    }

    async fn rotate_authority(&self) -> Result<(), ApiError> {
        self.0.through_leader(Ask::Rotate).await.map(drop)
    }

    async fn finish_rotation(&self, force: bool) -> Result<(), ApiError> {
        self.0.through_leader(Ask::FinishRotation { force }).await.map(drop)
    }

    async fn secrets(&self) -> Result<Vec<SecretView>, ApiError> {
        self.read(Query::Secrets).await
    }

    async fn set_secret(&self, name: SecretName, value: Secret) -> Result<SecretView, ApiError> {
        let core = &self.0;
        let bytes = u32::try_from(value.expose().len()).unwrap_or(u32::MAX);
        let version = core.set_secret(name.clone(), value).await?;
        // Written it is; that the rest cannot be read at this moment is no failure.
        let known = self.read::<Vec<SecretView>>(Query::Secrets).await.unwrap_or_default();
        let view = known.into_iter().find(|view| view.name == name.as_str() && view.version == version);
        let changed = rfc3339(core.clock.date());
        Ok(view.unwrap_or_else(|| SecretView { name: name.to_string(), version, bytes, changed, used_by: vec![] }))
    }

    async fn remove_secret(&self, name: SecretName, force: bool) -> Result<(), ApiError> {
        self.0.submit(Command::RemoveSecret { name, force }).await.map(drop)
    }

    async fn backup(&self) -> Result<Vec<u8>, ApiError> {
        self.0.backup().await
    }

    async fn logs(&self, task: TaskId, read: LogRead) -> Result<LogChunk, ApiError> {
        self.0.logs(task, read).await
    }

    async fn exec(&self, task: TaskId, request: ExecRequest) -> Result<ExecSession, ApiError> {
        self.0.exec(task, request).await
    }

    async fn files(&self, task: TaskId, ask: FileAsk) -> Result<FileTold, ApiError> {
        self.0.files(task, ask).await
    }

    fn events(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        self.0.events.follow()
    }

    fn is_admin_token(&self, token: &str) -> bool {
        let known = self.0.directory.borrow().admin_token_hash;
        known != [0; 32] && bool::from(sha256(token.trim().as_bytes()).ct_eq(&known))
    }
}

impl Core {
    fn read_limit(&self, query: &Query) -> Duration {
        match (query, self.settings.ring) {
            (Query::Nodes | Query::Status, RingPreset::Lan) => HELP_LIMIT,
            (Query::Nodes | Query::Status, RingPreset::Wan) => READ_LIMIT,
            (Query::Apps | Query::Tasks(_) | Query::Why(_) | Query::Plan(_), _) => READ_LIMIT,
            (Query::Tokens | Query::Secrets | Query::Quotas | Query::Volumes | Query::Maintenance, _) => READ_LIMIT,
        }
    }
}
