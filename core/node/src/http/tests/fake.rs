//! A backend that remembers what it was asked and answers with the same shop each time.

use crate::api::{
    ApiError, AppView, AuthoritiesView, AuthorityView, Backend, ChaosBlockView, ChaosStopRequest, ChaosStopView,
    ChaosView, DeployRequest, Deployed, ErrorCode, Event, ExecEnd, ExecInput, ExecOutput, ExecRequest, ExecSession,
    FaultRequest, FaultState, FaultView, HiddenView, IsolationView, JobView, LeaderView, LimitsView, LogChunk, LogRead,
    MaintenanceRequest, MaintenanceView, NodeCounts, NodeView, PlanStep, PlanView, QuotaRequest, QuotaView, RecordView,
    ResolveView, ResourcesView, Role, ScaleRequest, SecretUser, SecretView, ServiceInstanceView, ServiceView,
    StatusView, Steer, TaskView, TokenEntry, TokenRequest, TokenView, VolumeView, WhyView, ZoneView,
};
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::Mutex;
use taffeta_isolation_plan::{FileAsk, FileEntry, FileKind, FilePiece, FileTold};
use taffeta_model::{AppName, JobName, Secret, SecretName, TaskId, TeamName, TokenId, UnixMillis, VolumeName};
use tokio::sync::{broadcast, mpsc};

pub(super) const TOKEN: &str = "4f1c9a-right-token";

/// What the channel of live events holds: small, so that a test can make a reader lag.
pub(super) const LIVE_MAX: usize = 8;

pub(super) struct Fake {
    calls: Mutex<Vec<String>>,
    pub(super) recent: Mutex<Vec<Event>>,
    pub(super) live: broadcast::Sender<Event>,
    /// What the next looks at the logs bring; when it is empty, an empty chunk of a task that goes on.
    pub(super) chunks: Mutex<VecDeque<Result<LogChunk, ApiError>>>,
    /// What all verbs answer instead.
    pub(super) failure: Mutex<Option<ApiError>>,
}

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            calls: Mutex::default(),
            recent: Mutex::new((1..=3).map(event).collect()),
            live: broadcast::channel(LIVE_MAX).0,
            chunks: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// What was asked since the last time.
    pub(super) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn note<T>(&self, call: impl Into<String>, answer: T) -> Result<T, ApiError> {
        self.calls.lock().unwrap().push(call.into());
        match self.failure.lock().unwrap().clone() {
            Some(e) => Err(e),
            None => Ok(answer),
        }
    }
}

pub(super) fn event(id: u64) -> Event {
    let (kind, subject) = if id.is_multiple_of(2) { ("task.healthy", "shop/web.1") } else { ("node.alive", "n1") };
    let message = format!("event number {id}");
    Event { id, at: "2026-03-01T00:00:00Z".into(), kind: kind.into(), subject: subject.into(), message }
}

pub(super) fn chunk(text: &str, next: u64, run: &str, ended: bool) -> LogChunk {
    LogChunk { bytes: text.into(), next, run: run.into(), ended, ..LogChunk::default() }
}

pub(super) fn node(name: &str, state: &str, role: Role) -> NodeView {
    NodeView {
        id: "00000000000000a1".into(),
        name: name.into(),
        address: "127.0.0.1:7400".into(),
        zone: "z1".into(),
        state: state.into(),
        draining: state == "draining",
        maintained_until: None,
        unsteady_until: None,
        role,
        rtt_ms: Some(0.4),
        generation: 0,
        attributes: [("disk".to_owned(), "ssd".to_owned())].into(),
        resources: resources(4.0, 8 << 30, 1 << 40),
        used: resources(0.25, 64 << 20, 0),
        tasks: 1,
        version: "0.1.0".into(),
        http: Some("127.0.0.1:7480".into()),
        dns: None,
        not_isolated: vec![],
    }
}

fn resources(cpus: f64, memory: u64, disk: u64) -> ResourcesView {
    ResourcesView { cpus, memory, disk, custom: [("gpu".to_owned(), 1)].into() }
}

fn quota(team: &TeamName) -> QuotaView {
    let limits = LimitsView { cpus: Some(2.5), ..LimitsView::default() };
    QuotaView { team: team.to_string(), limits, used: resources(0.25, 64 << 20, 0), share: 3, tasks: 1 }
}

fn task() -> TaskView {
    TaskView {
        task: "web.1".into(),
        app: "shop".into(),
        service: "web".into(),
        index: 1,
        kind: "service".into(),
        state: "healthy".into(),
        node: Some("n1".into()),
        address: Some("127.0.0.1".into()),
        ports: [("http".to_owned(), 31022)].into(),
        pid: Some(42),
        restarts: 7,
        started_at: Some("2026-03-01T00:00:00Z".into()),
        exit_code: None,
        reason: "<script>alert(\"reason\")</script>".into(),
    }
}

fn secret(name: &str) -> SecretView {
    let used_by = vec![SecretUser { app: "shop".into(), service: "web".into(), version: 1 }];
    SecretView { name: name.into(), version: 2, bytes: 7, changed: "2026-03-01T00:00:00Z".into(), used_by }
}

#[async_trait]
impl Backend for Fake {
    async fn status(&self) -> Result<StatusView, ApiError> {
        let status = StatusView {
            cluster: "0123456789abcdef0123456789abcdef".into(),
            generation: 0,
            leader: Some("n1".into()),
            quorum: true,
            nodes: NodeCounts { alive: 2, suspect: 0, down: 1 },
            apps: 1,
            tasks: [("healthy".to_owned(), 1)].into(),
            version: "0.1.0".into(),
            node: "n1".into(),
            ready: true,
            voters: vec!["n1".into(), "n2".into()],
            standbys: vec![],
            missing_voters: vec![],
            notes: vec!["memory is not limited here".into()],
            chaos: 2,
            chaos_blocked: true,
        };
        self.note("status", status)
    }

    async fn leader(&self) -> Result<Option<LeaderView>, ApiError> {
        // A cluster without a leader is told apart by a failure that the test sets.
        if self.failure.lock().unwrap().as_ref().is_some_and(|e| e.code == ErrorCode::NotFound) {
            return Ok(None);
        }
        let (id, address) = ("00000000000000a1".into(), "127.0.0.1:7400".into());
        self.note("leader", Some(LeaderView { name: "n1".into(), id, term: 3, address }))
    }

    async fn nodes(&self) -> Result<Vec<NodeView>, ApiError> {
        let odd = node("n3<script>", "down", Role::Member);
        self.note("nodes", vec![node("n1", "alive", Role::Leader), node("n2", "alive", Role::Voter), odd])
    }

    async fn apps(&self) -> Result<Vec<AppView>, ApiError> {
        let jobs = vec![JobView {
            name: "web".into(),
            kind: "service".into(),
            count: 3,
            ready: 1,
            revision: 7,
            next: None,
            autoscale: None,
            exclusive: true,
            isolation: IsolationView { profile: Some("strict".into()), without: vec!["pid-namespace".into()] },
            runs: vec![],
        }];
        let deployed_at = "2026-03-01T00:00:00Z".into();
        self.note(
            "apps",
            vec![AppView {
                app: "shop".into(),
                version: 2,
                deployed_at,
                healthy: false,
                paused: false,
                versions: vec![1],
                returned: None,
                jobs,
            }],
        )
    }

    async fn tasks(&self, app: Option<AppName>) -> Result<Vec<TaskView>, ApiError> {
        self.note(format!("tasks {app:?}"), vec![task()])
    }

    async fn services(&self) -> Result<Vec<ServiceView>, ApiError> {
        let instances = vec![ServiceInstanceView {
            instance: "1".into(),
            node: "n1".into(),
            address: "127.0.0.1".into(),
            ports: [("http".to_owned(), 31022)].into(),
            state: "healthy".into(),
            serving: true,
        }];
        let name = "web.shop.fabric.internal".into();
        self.note("services", vec![ServiceView { service: "web".into(), app: "shop".into(), name, instances }])
    }

    async fn why(&self, task: TaskId) -> Result<WhyView, ApiError> {
        let reasons = vec!["needs 2 GiB, 1.2 GiB free".into()];
        self.note(
            format!("why {task}"),
            WhyView { task: task.to_string(), state: "waiting".into(), node: None, reasons, usage: None },
        )
    }

    async fn resolve(&self, name: String, record_type: String) -> Result<ResolveView, ApiError> {
        let record = RecordView { name: name.clone(), record_type: "A".into(), ttl: 1, data: "127.0.0.1".into() };
        let hidden = HiddenView { instance: "2".into(), node: "n2".into(), reason: "suspect".into() };
        let view = ResolveView {
            name: name.clone(),
            record_type: record_type.clone(),
            status: "NOERROR".into(),
            records: vec![record],
            additional: vec![],
            hidden: vec![hidden],
            behind: vec![],
            notes: vec![],
        };
        self.note(format!("resolve {name} {record_type}"), view)
    }

    async fn zone(&self, after: usize, limit: usize) -> Result<ZoneView, ApiError> {
        let view = ZoneView { zone: "fabric.internal.".into(), serial: 1, records: vec![], next: Some(after + limit) };
        self.note(format!("zone {after} {limit}"), view)
    }

    async fn deploy(&self, request: DeployRequest) -> Result<Deployed, ApiError> {
        let files: Vec<_> = request.files.keys().cloned().collect();
        self.note(
            format!("deploy {:?} {files:?}", request.file),
            Deployed { app: "shop".into(), version: 2, position: 7 },
        )
    }

    async fn plan(&self, request: DeployRequest) -> Result<PlanView, ApiError> {
        let step = PlanStep { task: "web.1".into(), action: "keep".into(), node: Some("n1".into()), reason: "".into() };
        self.note(
            format!("plan {:?}", request.file),
            PlanView {
                app: "shop".into(),
                steps: vec![step],
                warnings: vec!["line 9: no machine has 8 gpu".into()],
                fields: vec!["service.big.resources".into()],
            },
        )
    }

    async fn scale(&self, app: AppName, request: ScaleRequest) -> Result<(), ApiError> {
        self.note(format!("scale {app}/{} {}", request.service, request.count), ())
    }

    async fn stop(&self, app: AppName) -> Result<(), ApiError> {
        self.note(format!("stop {app}"), ())
    }

    async fn restart(&self, app: AppName, job: Option<JobName>) -> Result<(), ApiError> {
        self.note(format!("restart {app} {job:?}"), ())
    }

    async fn steer(&self, app: AppName, steer: Steer) -> Result<(), ApiError> {
        self.note(format!("{app} {steer:?}"), ())
    }

    async fn create_token(&self, request: TokenRequest) -> Result<TokenView, ApiError> {
        let token = TokenView { token: "join".into(), expires_at: "2026-03-01T01:00:00Z".into() };
        self.note(format!("create_token {:?} {:?}", request.ttl_seconds, request.uses), token)
    }

    async fn tokens(&self) -> Result<Vec<TokenEntry>, ApiError> {
        let entry = TokenEntry {
            id: "00000000000000b1".into(),
            role: "node".into(),
            expires_at: "2026-03-01T01:00:00Z".into(),
            uses_left: Some(2),
            used: 1,
            created_at: "2026-03-01T00:00:00Z".into(),
        };
        self.note("tokens", vec![entry])
    }

    async fn revoke_token(&self, id: TokenId) -> Result<(), ApiError> {
        self.note(format!("revoke_token {id}"), ())
    }

    async fn remove_node(&self, node: String, force: bool) -> Result<(), ApiError> {
        self.note(format!("remove_node {node} {force}"), ())
    }

    async fn drain_node(&self, node: String, off: bool) -> Result<(), ApiError> {
        self.note(format!("drain_node {node} {off}"), ())
    }

    async fn volumes(&self) -> Result<Vec<VolumeView>, ApiError> {
        let (task, name, node) = ("shop/db.1".into(), "data".into(), Some("n1".into()));
        self.note(
            "volumes",
            vec![VolumeView {
                task,
                name,
                node,
                size: 1,
                used: None,
                over: false,
                limit: None,
                state: "used".into(),
                born: "0.1.7".into(),
            }],
        )
    }

    async fn reset_volume(&self, task: TaskId) -> Result<(), ApiError> {
        self.note(format!("reset_volume {task}"), ())
    }

    async fn remove_volume(&self, task: TaskId, name: Option<VolumeName>) -> Result<(), ApiError> {
        self.note(format!("remove_volume {task} {name:?}"), ())
    }

    async fn maintenance(&self) -> Result<Vec<MaintenanceView>, ApiError> {
        let (node, schedule, zone) = ("n1".into(), "0 2 * * 0".into(), Some("Europe/Berlin".into()));
        let (open_until, next) = (None, Some("2026-03-01T01:00:00Z".into()));
        self.note("maintenance", vec![MaintenanceView { node, schedule, zone, seconds: 7200, open_until, next }])
    }

    async fn maintain(&self, node: String, window: Option<MaintenanceRequest>) -> Result<(), ApiError> {
        let window = window.map(|window| (window.schedule, window.zone, window.seconds));
        self.note(format!("maintain {node} {window:?}"), ())
    }

    async fn quotas(&self) -> Result<Vec<QuotaView>, ApiError> {
        self.note("quotas", vec![quota(&TeamName::new("red").expect("a name"))])
    }

    async fn set_quota(&self, team: TeamName, request: QuotaRequest) -> Result<QuotaView, ApiError> {
        self.note(format!("set_quota {team} {:?} {:?} {:?}", request.cpus, request.custom, request.share), quota(&team))
    }

    async fn remove_quota(&self, team: TeamName) -> Result<(), ApiError> {
        self.note(format!("remove_quota {team}"), ())
    }

    async fn authorities(&self) -> Result<AuthoritiesView, ApiError> {
        let view = |hash: &str, signs| AuthorityView { hash: hash.repeat(32), since: None, signs };
        let view = AuthoritiesView {
            authorities: vec![view("0a", false), view("0b", true)],
            rotating: true,
            waiting: vec!["n3".into()],
            node: "n1".into(),
            certificate_expires_at: "2026-03-02T00:00:00Z".into(),
        };
        self.note("authorities", view)
    }

    async fn rotate_authority(&self) -> Result<(), ApiError> {
        self.note("rotate_authority", ())
    }

    async fn finish_rotation(&self, force: bool) -> Result<(), ApiError> {
        self.note(format!("finish_rotation {force}"), ())
    }

    async fn secrets(&self) -> Result<Vec<SecretView>, ApiError> {
        self.note("secrets", vec![secret("db-password")])
    }

    async fn set_secret(&self, name: SecretName, value: Secret) -> Result<SecretView, ApiError> {
        self.note(format!("set_secret {name} {}", value.expose().len()), secret(name.as_str()))
    }

    async fn remove_secret(&self, name: SecretName, force: bool) -> Result<(), ApiError> {
        self.note(format!("remove_secret {name} {force}"), ())
    }

    async fn backup(&self) -> Result<Vec<u8>, ApiError> {
        self.note("backup", b"a backup".to_vec())
    }

    async fn logs(&self, task: TaskId, read: LogRead) -> Result<LogChunk, ApiError> {
        let (stderr, offset, tail, limit) = (read.stderr, read.offset, read.tail, read.limit);
        self.note(format!("logs {task} {stderr} {offset:?} {tail} {limit}"), ())?;
        let scripted = self.chunks.lock().unwrap().pop_front();
        scripted.unwrap_or_else(|| Ok(chunk("", read.offset.unwrap_or(0), "run-1", false)))
    }

    async fn exec(&self, task: TaskId, request: ExecRequest) -> Result<ExecSession, ApiError> {
        let ExecRequest { run, terminal, input } = request;
        let terminal = terminal.map(|t| format!("{} {}x{}", t.kind, t.size.columns, t.size.rows));
        self.note(format!("exec {task} {run:?} {terminal:?} {input}"), ())?;
        let ((input, mut asked), (told, output)) = (mpsc::channel(4), mpsc::channel(4));
        // Says what it is told, and ends with the number of bytes.
        tokio::spawn(async move {
            let mut count = 0;
            while let Some(ExecInput::Bytes(bytes)) = asked.recv().await {
                count += bytes.len();
                let _ = told.send(ExecOutput::Stdout(bytes)).await;
            }
            let _ = told.send(ExecOutput::Ended(ExecEnd::Code(i32::try_from(count).unwrap()))).await;
        });
        Ok(ExecSession { input, output })
    }

    async fn files(&self, task: TaskId, ask: FileAsk) -> Result<FileTold, ApiError> {
        let FileAsk { path, offset, .. } = ask;
        self.note(format!("files {task} {path:?} {offset}"), ())?;
        Ok(match path.as_str() {
            "" => {
                let (kind, modified) = (FileKind::File, UnixMillis(1_000));
                let entry = FileEntry { name: "a b".into(), kind, size: 6, mode: 0o644, modified };
                FileTold::Folder { entries: vec![entry], more: true }
            }
            // Three bytes at a time, and put anew before the third time.
            _ => {
                let bytes: Vec<u8> = b"abcdef".iter().skip(usize::try_from(offset).unwrap()).take(3).copied().collect();
                let identity = if path == "changing" && offset > 3 { 2 } else { 1 };
                FileTold::Piece(FilePiece { bytes, size: 6, identity })
            }
        })
    }

    async fn chaos(&self) -> Result<ChaosView, ApiError> {
        let blocked = ChaosBlockView { by: "n1".into(), at: "2026-03-01T00:00:00Z".into(), reason: "enough".into() };
        self.note("chaos", ChaosView { blocked: Some(blocked), ..ChaosView::default() })
    }

    async fn begin_fault(&self, token: String, request: FaultRequest) -> Result<FaultView, ApiError> {
        let FaultRequest { id, run, node, fault, lasts_ms, peers, task, dry_run } = request;
        let call = format!("begin {token:?} {id} {run} {node} `{fault}` {lasts_ms} {peers:?} {task:?} {dry_run}");
        let (backend, state) = ("socket".into(), FaultState::Active);
        let (begun_at, ends_at) = ("2026-03-01T00:00:00Z".into(), "2026-03-01T00:00:09Z".into());
        let (commands, error) = (vec![], None);
        self.note(
            call,
            FaultView { id, run, node, fault, backend, commands, peers, task, begun_at, ends_at, state, error },
        )
    }

    async fn end_fault(&self, id: String) -> Result<FaultView, ApiError> {
        let message = format!("`{id}` is not undone");
        self.note(format!("end {id}"), ())?;
        Err(ApiError::new(ErrorCode::Conflict, message))
    }

    async fn stop_chaos(&self, request: ChaosStopRequest) -> Result<ChaosStopView, ApiError> {
        let stopped = ChaosStopView { stored: true, stopped: vec!["n1".into()], ..ChaosStopView::default() };
        self.note(format!("stop {:?}", request.reason), stopped)
    }

    async fn allow_chaos(&self) -> Result<(), ApiError> {
        self.note("allow", ())
    }

    fn events(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let recent = self.recent.lock().unwrap();
        (recent.clone(), self.live.subscribe())
    }

    fn is_admin_token(&self, token: &str) -> bool {
        token == TOKEN
    }
}
