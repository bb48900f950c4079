//! The verbs.

use super::ApiTarget;
use super::connect::Caller;
use super::exec::{self, ExecReceiver, ExecSender};
use super::stream::{ByteStream, EventStream, LogStream};
use super::target::Endpoint;
use crate::api::{
    ApiError, AppView, AuthoritiesView, CHAOS_TOKEN_HEADER, ChaosStopRequest, ChaosStopView, ChaosView, DeployRequest,
    Deployed, DrainRequest, ErrorCode, Event, ExecRequest, FaultRequest, FaultView, FinishRequest, FolderView,
    LeaderView, LogChunk, LogRead, MaintenanceRequest, MaintenanceView, NodeView, PlanView, PromoteRequest,
    QuotaRequest, QuotaView, ResolveView, RestartRequest, RollbackRequest, RunRequest, ScaleRequest, SecretView,
    ServiceView, StatusView, TaskView, TokenEntry, TokenRequest, TokenView, VolumeView, WhyView,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use http_body_util::{BodyExt, Limited};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::{Method, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write;
use std::time::Duration;
use taffeta_model::{AppName, JobName, Secret, SecretName, TaskId, TeamName, TokenId, VolumeName};

/// How long a verb may take unless told otherwise: longer than an election, shorter than a person's patience.
const TIME_LIMIT_DEFAULT: Duration = Duration::from_secs(10);

/// Most bytes of a folder's list: each name has 255 bytes at most, and as many more that say the rest.
const LIST_BYTES_MAX: usize = 16 << 20;

/// A client of one node. Cheap to clone; each request opens a connection of its own.
#[derive(Clone, Debug)]
pub struct ApiClient {
    caller: Caller,
    authorization: Option<HeaderValue>,
}

impl ApiClient {
    /// A client of the node at `target`; nothing is sent yet. Fails with code `invalid` if the URL is not
    /// `http://HOST[:PORT]` or the token has characters that no token has.
    pub fn new(target: ApiTarget, token: Option<String>) -> Result<Self, ApiError> {
        let endpoint = Endpoint::parse(&target)?;
        let authorization = token.map(|t| bearer(&t)).transpose()?;
        Ok(Self { caller: Caller { target, endpoint, time_limit: TIME_LIMIT_DEFAULT }, authorization })
    }

    /// The same with another limit of time, 10 s at first. Of the streams it limits the wait for their beginning.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.caller.time_limit = limit;
        self
    }

    /// Who is asked.
    pub fn target(&self) -> &ApiTarget {
        &self.caller.target
    }

    /// Whether the node's API answers at all; needs no token.
    pub async fn health(&self) -> Result<(), ApiError> {
        self.ask(Method::GET, "/health", &[], None).await.map(drop)
    }

    /// The state of the cluster as the node knows it.
    pub async fn status(&self) -> Result<StatusView, ApiError> {
        self.read("/v1/status").await
    }

    /// The leader, if one is known.
    pub async fn leader(&self) -> Result<Option<LeaderView>, ApiError> {
        self.read("/v1/leader").await
    }

    /// The machines, by name.
    pub async fn nodes(&self) -> Result<Vec<NodeView>, ApiError> {
        self.read("/v1/nodes").await
    }

    /// The apps, by name.
    pub async fn apps(&self) -> Result<Vec<AppView>, ApiError> {
        self.read("/v1/apps").await
    }

    /// The tasks of all apps or of one, by id.
    pub async fn tasks(&self, app: Option<AppName>) -> Result<Vec<TaskView>, ApiError> {
        match app {
            Some(app) => self.read(&format!("/v1/ps?app={app}")).await,
            None => self.read("/v1/ps").await,
        }
    }

    /// The services with their instances, by name.
    pub async fn services(&self) -> Result<Vec<ServiceView>, ApiError> {
        self.read("/v1/services").await
    }

    /// Why a task is where it is.
    pub async fn why(&self, task: TaskId) -> Result<WhyView, ApiError> {
        self.read(&format!("/v1/why/{}/{}", task.app, task.short())).await
    }

    /// What DNS answers, and why.
    pub async fn resolve(&self, name: String, record_type: String) -> Result<ResolveView, ApiError> {
        if name.is_empty() {
            return Err(ApiError::new(ErrorCode::Invalid, "the name to resolve is empty").field("name"));
        }
        self.read(&format!("/v1/dns/{}?type={}", escape(&name), escape(&record_type))).await
    }

    /// Applies an app file.
    pub async fn deploy(&self, request: DeployRequest) -> Result<Deployed, ApiError> {
        self.write("/v1/apps", &request).await
    }

    /// What a deploy would change.
    pub async fn plan(&self, request: DeployRequest) -> Result<PlanView, ApiError> {
        self.write("/v1/plan", &request).await
    }

    /// Another number of instances.
    pub async fn scale(&self, app: AppName, request: ScaleRequest) -> Result<(), ApiError> {
        let body = Some(self.encode(&request)?);
        self.ask(Method::POST, &format!("/v1/apps/{app}/scale"), &[], body).await.map(drop)
    }

    /// Ends an app.
    pub async fn stop(&self, app: AppName) -> Result<(), ApiError> {
        self.ask(Method::DELETE, &format!("/v1/apps/{app}"), &[], None).await.map(drop)
    }

    /// Starts instances anew.
    pub async fn restart(&self, app: AppName, job: Option<JobName>) -> Result<(), ApiError> {
        let body = self.encode(&RestartRequest { service: job.map(String::from) })?;
        self.ask(Method::POST, &format!("/v1/apps/{app}/restart"), &[], Some(body)).await.map(drop)
    }

    /// Goes back to a version before, by default the newest that was not given up.
    pub async fn rollback(&self, app: AppName, version: Option<u64>) -> Result<(), ApiError> {
        let body = self.encode(&RollbackRequest { version })?;
        self.ask(Method::POST, &format!("/v1/apps/{app}/rollback"), &[], Some(body)).await.map(drop)
    }

    /// Stops an update for now, or goes on with it.
    pub async fn pause(&self, app: AppName, on: bool) -> Result<(), ApiError> {
        let verb = if on { "pause" } else { "resume" };
        self.ask(Method::POST, &format!("/v1/apps/{app}/{verb}"), &[], None).await.map(drop)
    }

    /// Lets the newer version of a job, or of all, take over.
    pub async fn promote(&self, app: AppName, job: Option<JobName>) -> Result<(), ApiError> {
        let body = self.encode(&PromoteRequest { service: job.map(String::from) })?;
        self.ask(Method::POST, &format!("/v1/apps/{app}/promote"), &[], Some(body)).await.map(drop)
    }

    /// Runs a batch or cron job now.
    pub async fn run(&self, app: AppName, job: JobName, args: Vec<String>) -> Result<(), ApiError> {
        let body = self.encode(&RunRequest { job: job.into(), args })?;
        self.ask(Method::POST, &format!("/v1/apps/{app}/run"), &[], Some(body)).await.map(drop)
    }

    /// Mints a join token.
    pub async fn create_token(&self, request: TokenRequest) -> Result<TokenView, ApiError> {
        self.write("/v1/tokens", &request).await
    }

    /// The join tokens, the one that ends first at the top.
    pub async fn tokens(&self) -> Result<Vec<TokenEntry>, ApiError> {
        self.read("/v1/tokens").await
    }

    /// Lets a join token be good for nothing.
    pub async fn revoke_token(&self, id: TokenId) -> Result<(), ApiError> {
        self.ask(Method::DELETE, &format!("/v1/tokens/{id}"), &[], None).await.map(drop)
    }

    /// Takes a machine out of the cluster for good, by its name or id; one that is running only with `force`.
    pub async fn remove_node(&self, node: &str, force: bool) -> Result<(), ApiError> {
        if node.is_empty() {
            return Err(ApiError::new(ErrorCode::Invalid, "the name of the machine is empty").field("node"));
        }
        let path = format!("/v1/nodes/{}?force={force}", escape(node));
        self.ask(Method::DELETE, &path, &[], None).await.map(drop)
    }

    /// Lets a machine's services move elsewhere and no new tasks come to it, by its name or id; with `off` ends that.
    pub async fn drain_node(&self, node: &str, off: bool) -> Result<(), ApiError> {
        if node.is_empty() {
            return Err(ApiError::new(ErrorCode::Invalid, "the name of the machine is empty").field("node"));
        }
        let body = Some(self.encode(&DrainRequest { off })?);
        self.ask(Method::POST, &format!("/v1/nodes/{}/drain", escape(node)), &[], body).await.map(drop)
    }

    /// The volumes, by task and name.
    pub async fn volumes(&self) -> Result<Vec<VolumeView>, ApiError> {
        self.read("/v1/volumes").await
    }

    /// Lets a task that waits for its data begin with an empty volume.
    pub async fn reset_volume(&self, task: TaskId) -> Result<(), ApiError> {
        let path = format!("/v1/volumes/{}/{}/reset", task.app, task.short());
        self.ask(Method::POST, &path, &[], None).await.map(drop)
    }

    /// Drops volumes that no task uses: the one of that name, or all of the task.
    pub async fn remove_volume(&self, task: TaskId, name: Option<VolumeName>) -> Result<(), ApiError> {
        let name = name.map(|name| format!("?name={name}")).unwrap_or_default();
        let path = format!("/v1/volumes/{}/{}{name}", task.app, task.short());
        self.ask(Method::DELETE, &path, &[], None).await.map(drop)
    }

    /// What is broken on purpose in the cluster, and what could be.
    pub async fn chaos(&self) -> Result<ChaosView, ApiError> {
        self.read("/v1/chaos").await
    }

    /// Brings a fault about on purpose. What is only planned needs no token.
    pub async fn inject(&self, request: &FaultRequest, chaos_token: &str) -> Result<FaultView, ApiError> {
        let wrong = |_| ApiError::new(ErrorCode::Invalid, "the chaos token has characters that no token has");
        let mut value = HeaderValue::try_from(chaos_token.trim()).map_err(wrong)?;
        value.set_sensitive(true);
        let (headers, body) = ([(HeaderName::from_static(CHAOS_TOKEN_HEADER), value)], Some(self.encode(request)?));
        self.decode(self.ask(Method::POST, "/v1/chaos/faults", &headers, body).await?)
    }

    /// Undoes a fault, and waits until it is undone or could not be.
    pub async fn undo(&self, id: &str) -> Result<FaultView, ApiError> {
        self.decode(self.ask(Method::DELETE, &format!("/v1/chaos/faults/{}", escape(id)), &[], None).await?)
    }

    /// Undoes all faults everywhere, and lets none begin.
    pub async fn chaos_stop(&self, reason: &str) -> Result<ChaosStopView, ApiError> {
        self.write("/v1/chaos/stop", &ChaosStopRequest { reason: reason.into() }).await
    }

    /// Lets faults begin again.
    pub async fn chaos_allow(&self) -> Result<(), ApiError> {
        self.ask(Method::POST, "/v1/chaos/allow", &[], None).await.map(drop)
    }

    /// The maintenance windows, by machine.
    pub async fn maintenance(&self) -> Result<Vec<MaintenanceView>, ApiError> {
        self.read("/v1/maintenance").await
    }

    /// Gives a machine a maintenance window more, by its name or id; `None` ends all that it has.
    pub async fn maintain(&self, node: &str, window: Option<&MaintenanceRequest>) -> Result<(), ApiError> {
        if node.is_empty() {
            return Err(ApiError::new(ErrorCode::Invalid, "the name of the machine is empty").field("node"));
        }
        let path = format!("/v1/nodes/{}/maintenance", escape(node));
        match window {
            Some(window) => {
                let body = Some(self.encode(window)?);
                self.ask(Method::POST, &path, &[], body).await.map(drop)
            }
            None => self.ask(Method::DELETE, &path, &[], None).await.map(drop),
        }
    }

    /// What teams may use, and use, by name.
    pub async fn quotas(&self) -> Result<Vec<QuotaView>, ApiError> {
        self.read("/v1/quotas").await
    }

    /// Sets what a team may use, instead of what was set before.
    pub async fn set_quota(&self, team: TeamName, request: &QuotaRequest) -> Result<QuotaView, ApiError> {
        let body = Some(self.encode(request)?);
        self.decode(self.ask(Method::PUT, &format!("/v1/quotas/{team}"), &[], body).await?)
    }

    /// Lets a team use what there is.
    pub async fn remove_quota(&self, team: TeamName) -> Result<(), ApiError> {
        self.ask(Method::DELETE, &format!("/v1/quotas/{team}"), &[], None).await.map(drop)
    }

    /// The cluster's CAs.
    pub async fn authorities(&self) -> Result<AuthoritiesView, ApiError> {
        self.read("/v1/ca").await
    }

    /// Lets another CA sign from now on.
    pub async fn rotate_authority(&self) -> Result<(), ApiError> {
        self.ask(Method::POST, "/v1/ca/rotate", &[], None).await.map(drop)
    }

    /// Ends the CA before the one that signs.
    pub async fn finish_rotation(&self, force: bool) -> Result<(), ApiError> {
        let body = Some(self.encode(&FinishRequest { force })?);
        self.ask(Method::POST, "/v1/ca/finish", &[], body).await.map(drop)
    }

    /// The secrets, by name, without their values.
    pub async fn secrets(&self) -> Result<Vec<SecretView>, ApiError> {
        self.read("/v1/secrets").await
    }

    /// Sets a secret, or gives it a new version.
    pub async fn set_secret(&self, name: SecretName, value: &Secret) -> Result<SecretView, ApiError> {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))];
        let body = Bytes::copy_from_slice(value.expose());
        self.decode(self.ask(Method::PUT, &format!("/v1/secrets/{name}"), &headers, Some(body)).await?)
    }

    /// Removes a secret; also one that apps use, if `force` says so.
    pub async fn remove_secret(&self, name: SecretName, force: bool) -> Result<(), ApiError> {
        self.ask(Method::DELETE, &format!("/v1/secrets/{name}?force={force}"), &[], None).await.map(drop)
    }

    /// A backup of the cluster, as a file.
    pub async fn backup(&self) -> Result<Bytes, ApiError> {
        Ok(self.ask(Method::POST, "/v1/backup", &[], None).await?.into_body())
    }

    /// A piece of a task's output; `next` of the answer is the `offset` of the next read.
    pub async fn logs(&self, task: TaskId, read: LogRead) -> Result<LogChunk, ApiError> {
        let answer = self.ask(Method::GET, &log_path(&task, &read, false), &[], None).await?;
        let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok());
        let next = header("x-taffeta-next").and_then(|v| v.parse().ok());
        let next = next.ok_or_else(|| self.caller.stranger("its answer has no X-Taffeta-Next"))?;
        let run = header("x-taffeta-run").unwrap_or_default().to_owned();
        let number = |name: &str| header(name).and_then(|v| v.parse().ok()).unwrap_or_default();
        let (from, gone) = (number("x-taffeta-from"), number("x-taffeta-gone"));
        let node = header("x-taffeta-node").unwrap_or_default().to_owned();
        let (ended, over) = (header("x-taffeta-ended") == Some("true"), header("x-taffeta-over") == Some("true"));
        Ok(LogChunk { bytes: answer.into_body().into(), next, run, ended, from, gone, node, over })
    }

    /// A task's output as it comes, until the task has ended. `read.limit` is of no matter here.
    pub async fn follow_logs(&self, task: TaskId, read: LogRead) -> Result<LogStream, ApiError> {
        let request = self.request(Method::GET, &log_path(&task, &read, true), &[], None)?;
        let (answer, driver) = self.caller.open(request).await?;
        Ok(LogStream::new(self.caller.clone(), answer.into_body(), driver))
    }

    /// Runs a command beside a task. `nonce` is fresh randomness, by which the node's answer is known to be to this request.
    pub async fn exec(
        &self,
        task: TaskId,
        request: &ExecRequest,
        nonce: [u8; 16],
    ) -> Result<(ExecSender, ExecReceiver), ApiError> {
        let key = STANDARD.encode(nonce);
        let unsendable = |_| ApiError::new(ErrorCode::Invalid, "the request cannot be sent");
        let headers = [
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            (SEC_WEBSOCKET_KEY, HeaderValue::try_from(&key).map_err(unsendable)?),
        ];
        let request = self.request(Method::GET, &exec_path(&task, request), &headers, None)?;
        let (answer, driver) = self.caller.open(request).await?;
        let begun = exec::begin(self.caller.clone(), &key, answer).await;
        drop(driver); // the connection was handed over
        begun
    }

    /// What is in a folder of a task, or a file as it comes; an empty path is the working folder.
    pub async fn files(&self, task: TaskId, path: &str) -> Result<Result<FolderView, ByteStream>, ApiError> {
        let path = format!("/v1/files/{}/{}?path={}", task.app, task.short(), escape(path));
        let request = self.request(Method::GET, &path, &[], None)?;
        let (answer, driver) = self.caller.open(request).await?;
        if answer.headers().get("x-taffeta-kind").is_some_and(|kind| kind == "file") {
            return Ok(Err(ByteStream::new(self.caller.clone(), answer.into_body(), driver)));
        }
        let list = Limited::new(answer.into_body(), LIST_BYTES_MAX).collect().await;
        let list = list.map_err(|e| self.caller.failed("broke off its answer", &e.to_string()))?.to_bytes();
        Ok(Ok(self.decode(Response::new(list))?))
    }

    /// The recent events, oldest first.
    pub async fn recent_events(&self) -> Result<Vec<Event>, ApiError> {
        let mut stream = self.open_events("/v1/events?follow=false", None).await?;
        let mut events = Vec::new();
        while let Some(event) = stream.next_event_of_finite().await? {
            events.push(event);
        }
        Ok(events)
    }

    /// The recent events and then those that happen, for ever; only those after `after` if an event's id is given.
    pub async fn events(&self, after: Option<u64>) -> Result<EventStream, ApiError> {
        self.open_events("/v1/events", after).await
    }

    async fn open_events(&self, path: &str, after: Option<u64>) -> Result<EventStream, ApiError> {
        let after = after.map(|id| (HeaderName::from_static("last-event-id"), HeaderValue::from(id)));
        let request = self.request(Method::GET, path, after.as_slice(), None)?;
        let (answer, driver) = self.caller.open(request).await?;
        Ok(EventStream::new(self.caller.clone(), answer.into_body(), driver))
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.decode(self.ask(Method::GET, path, &[], None).await?)
    }

    async fn write<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ApiError> {
        let body = Some(self.encode(body)?);
        self.decode(self.ask(Method::POST, path, &[], body).await?)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<Bytes>,
    ) -> Result<Response<Bytes>, ApiError> {
        self.caller.ask(self.request(method, path, headers, body)?).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<Bytes>,
    ) -> Result<Request<Full<Bytes>>, ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.caller.endpoint.authority())
            .header(USER_AGENT, concat!("taffeta/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() && !headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        request.map_err(|e| ApiError::new(ErrorCode::Invalid, format!("the request cannot be sent: {e}")))
    }

    fn encode(&self, body: &impl Serialize) -> Result<Bytes, ApiError> {
        let json = serde_json::to_vec(body);
        Ok(json.map_err(|e| self.caller.failed("was not asked", &e.to_string()))?.into())
    }

    fn decode<T: DeserializeOwned>(&self, answer: Response<Bytes>) -> Result<T, ApiError> {
        serde_json::from_slice(answer.body()).map_err(|e| self.caller.stranger(&e.to_string()))
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ApiError> {
    let token = token.trim(); // a token read from a file often has the line's end with it
    let visible = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    let value = HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| visible);
    let mut value = value.ok_or_else(|| {
        ApiError::new(ErrorCode::Invalid, "the token is empty or has characters that no token has")
            .help("TAFFETA_TOKEN must hold what is in admin.token in the node's data folder")
            .field("token")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn log_path(task: &TaskId, read: &LogRead, follow: bool) -> String {
    let stream = if read.stderr { "stderr" } else { "stdout" };
    let (app, short, tail, limit) = (&task.app, task.short(), read.tail, read.limit);
    let mut path = format!("/v1/logs/{app}/{short}?stream={stream}&tail={tail}&limit={limit}&follow={follow}");
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(path, "&{key}={value}");
        }
    };
    add("offset", read.offset.map(|offset| offset.to_string()));
    add("lines", read.lines.map(|lines| lines.to_string()));
    add("since", read.since.map(|since| since.0.to_string()));
    add("times", read.times.then(|| "true".into()));
    add("run", read.run.as_deref().map(escape));
    path
}

fn exec_path(task: &TaskId, request: &ExecRequest) -> String {
    let mut path = format!("/v1/exec/{}/{}?input={}", task.app, task.short(), request.input);
    for arg in &request.run {
        let _ = write!(path, "&arg={}", escape(arg));
    }
    if let Some(terminal) = &request.terminal {
        let (kind, size) = (escape(&terminal.kind), terminal.size);
        let _ = write!(path, "&terminal={kind}&columns={}&rows={}", size.columns, size.rows);
    }
    path
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}
