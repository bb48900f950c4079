//! Whom to ask: any node that answers, as the one that was named may be the one that is struck.

use crate::fleet::Fleet;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use taffeta_node::{
    api::{ApiError, ChaosStopView, ChaosView, ErrorCode, FaultRequest, FaultView, StatusView, TaskView},
    client::{ApiClient, ApiTarget},
};
use url::{Host, Url};

/// How long one node may take to answer before the next one is asked. A node gives its own peers two seconds.
const ANSWER_MAX: Duration = Duration::from_millis(3_000);
/// How long a fault may take to begin, and a stop to be heard by all.
const CHANGE_MAX: Duration = Duration::from_secs(20);
/// How long a fault may take to be undone: a node gives its keeper 7 s, and another node 9 s.
const UNDO_MAX: Duration = Duration::from_secs(12);

/// A cluster, spoken to through its nodes' APIs. Clones share what they have learned.
#[derive(Clone, Debug)]
pub struct Fabric {
    entry: ApiClient,
    token: Option<String>,
    chaos_tokens: Vec<String>,
    /// The machines' own APIs, by name.
    known: Arc<Mutex<BTreeMap<String, ApiClient>>>,
}

impl Fabric {
    /// The cluster of the node that `entry` asks. `token` is the API's, `chaos_tokens` are those of nodes that have
    /// opted in: each is tried until a node takes one.
    pub fn new(entry: ApiClient, token: Option<String>, chaos_tokens: Vec<String>) -> Self {
        Self { entry: entry.time_limit(ANSWER_MAX), token, chaos_tokens, known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, ApiClient>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to ask, in this order: the machine that is meant, if it is known, the one that was named, all others.
    fn candidates(&self, first: Option<&str>) -> Vec<ApiClient> {
        let known = self.known();
        let meant = first.and_then(|name| known.get(name).cloned());
        let others = known.iter().filter(|(name, _)| Some(name.as_str()) != first).map(|(_, client)| client.clone());
        meant.into_iter().chain([self.entry.clone()]).chain(others).collect()
    }

    /// The API of one machine, if it is known.
    pub fn client(&self, node: &str) -> Option<ApiClient> {
        self.known().get(node).cloned()
    }

    /// The machines whose APIs are known.
    pub(crate) fn names(&self) -> Vec<String> {
        self.known().keys().cloned().collect()
    }

    /// The first answer of those that are asked in turn. A refusal is an answer; no answer, and none for want of a
    /// quorum, is not.
    async fn ask<T, F>(&self, candidates: Vec<ApiClient>, call: impl Fn(ApiClient) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let mut first: Option<ApiError> = None;
        for client in candidates {
            match call(client).await {
                Ok(answer) => return Ok(answer),
                Err(e) if e.code.may_pass() => first = first.or(Some(e)),
                Err(e) => return Err(e),
            }
        }
        Err(first.unwrap_or_else(|| ApiError::new(ErrorCode::Failed, "no node is known")))
    }

    /// The cluster as a node with a quorum sees it, else as the first one that answers does. Learns the machines' APIs.
    pub async fn fleet(&self) -> Result<Fleet, ApiError> {
        self.fleet_of(&[], ANSWER_MAX, true).await
    }

    /// The same without what is broken on purpose: all machines are asked for that, and the dead are waited for.
    pub(crate) async fn view(&self) -> Result<Fleet, ApiError> {
        self.fleet_of(&[], ANSWER_MAX, false).await
    }

    /// The same without asking these machines, and with so much time for each of the others; `chaos` tells whether it is
    /// to hold what is broken on purpose.
    pub(crate) async fn fleet_of(&self, spared: &[String], limit: Duration, chaos: bool) -> Result<Fleet, ApiError> {
        let candidates: Vec<ApiClient> = {
            let known = self.known();
            let others = known.iter().filter(|(name, _)| !spared.contains(name)).map(|(_, client)| client.clone());
            let entry = self.entry.clone();
            // The one that was named may be one of them, under another address.
            if known.is_empty() { vec![entry] } else { others.chain([entry]).collect() }
        };
        let mut other = None;
        for client in candidates {
            let client = client.time_limit(limit);
            match gather(&client, chaos).await {
                Ok(mut fleet) => {
                    if !is_near(client.target()) {
                        fleet.forget_loopback();
                    }
                    self.learn(&fleet, client);
                    if fleet.quorum {
                        return Ok(fleet);
                    }
                    other = match other {
                        Some(Ok(before)) => Some(Ok(before)),
                        Some(Err(_)) | None => Some(Ok(fleet)),
                    };
                }
                Err(e) if e.code.may_pass() => other = other.or(Some(Err(e))),
                Err(e) => return Err(e),
            }
        }
        other.unwrap_or_else(|| Err(ApiError::new(ErrorCode::Failed, "no node is known")))
    }

    /// Keeps where the machines' APIs are, and that it was this one that told it.
    fn learn(&self, fleet: &Fleet, teller: ApiClient) {
        let mut known = self.known();
        for (name, machine) in &fleet.machines {
            let Some(http) = machine.http.filter(|_| !known.contains_key(name)) else { continue };
            // Where nobody listens but the machine itself, nobody answers either, and the next one is asked.
            if let Ok(client) = ApiClient::new(ApiTarget::Http(format!("http://{http}")), self.token.clone()) {
                known.insert(name.clone(), client.time_limit(ANSWER_MAX));
            }
        }
        if let Some(name) = &fleet.told_by {
            known.entry(name.clone()).or_insert_with(|| teller.time_limit(ANSWER_MAX));
        }
    }

    /// The state of the cluster, from any node.
    pub async fn status(&self) -> Result<StatusView, ApiError> {
        self.ask(self.candidates(None), |client| async move { client.status().await }).await
    }

    /// The tasks, from any node.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, ApiError> {
        self.ask(self.candidates(None), |client| async move { client.tasks(None).await }).await
    }

    /// What is broken on purpose, from any node.
    pub async fn chaos(&self) -> Result<ChaosView, ApiError> {
        self.ask(self.candidates(None), |client| async move { client.chaos().await }).await
    }

    /// Brings about a fault, or only tells what would be done. Repeating it is safe: the id makes it the same fault.
    pub async fn inject(&self, request: &FaultRequest) -> Result<FaultView, ApiError> {
        if request.dry_run {
            let ask = |client: ApiClient| {
                let request = request.clone();
                async move { client.inject(&request, "").await }
            };
            return self.ask(self.candidates(Some(&request.node)), ask).await;
        }
        self.with_token(&request.node, |client, token| {
            let request = request.clone();
            async move { client.time_limit(CHANGE_MAX).inject(&request, &token).await }
        })
        .await
    }

    /// Fails if no chaos token was given at all.
    pub fn ensure_chaos_token(&self) -> Result<(), ApiError> {
        if self.chaos_tokens.is_empty() { Err(no_token()) } else { Ok(()) }
    }

    /// Ends a fault now; `None` if no node knows it.
    pub async fn undo(&self, node: &str, id: &str) -> Result<Option<FaultView>, ApiError> {
        let end = |client: ApiClient| async move { client.time_limit(UNDO_MAX).undo(id).await };
        match self.ask(self.candidates(Some(node)), end).await {
            Ok(view) => Ok(Some(view)),
            Err(e) if e.code == ErrorCode::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn with_token<T, F>(&self, node: &str, call: impl Fn(ApiClient, String) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let mut refused = Err(no_token());
        for token in &self.chaos_tokens {
            match self.ask(self.candidates(Some(node)), |client| call(client, token.clone())).await {
                Err(e) if matches!(e.code, ErrorCode::Unauthorized | ErrorCode::Forbidden) => refused = Err(e),
                other => return other, // what is said with a token that is right, whatever it is
            }
        }
        refused
    }

    /// Ends all faults everywhere and blocks new ones.
    pub async fn stop(&self, reason: &str) -> Result<ChaosStopView, ApiError> {
        let stop = |client: ApiClient| async move { client.time_limit(CHANGE_MAX).chaos_stop(reason).await };
        self.ask(self.candidates(None), stop).await
    }

    /// Lets faults be brought about again.
    pub async fn allow(&self) -> Result<(), ApiError> {
        self.ask(self.candidates(None), |client| async move { client.chaos_allow().await }).await
    }
}

/// Whether a node that is asked there is on this machine: then an address of loopback that it tells may be reached.
fn is_near(target: &ApiTarget) -> bool {
    match target {
        ApiTarget::Unix(_) => true,
        ApiTarget::Http(url) => Url::parse(url).is_ok_and(|url| match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }),
    }
}

fn no_token() -> ApiError {
    let help = "it is in chaos.token in the data folder of a node that has opted in: name the folder with --data, or the token \
                with TAFFETA_CHAOS_TOKEN (several are separated by commas)";
    ApiError::new(ErrorCode::Unauthorized, "faults need the chaos token").help(help)
}

/// All that one node tells, side by side.
async fn gather(client: &ApiClient, chaos: bool) -> Result<Fleet, ApiError> {
    let broken = async { if chaos { chaos_of(client).await } else { Ok(ChaosView::default()) } };
    let (status, nodes, tasks, apps, chaos) =
        tokio::try_join!(client.status(), client.nodes(), client.tasks(None), client.apps(), broken)?;
    Ok(Fleet::of(&status, &nodes, &tasks, &apps, &chaos))
}

/// A node of a version that knows nothing of faults has none, and cannot be hurt.
async fn chaos_of(client: &ApiClient) -> Result<ChaosView, ApiError> {
    match client.chaos().await {
        Err(e) if e.code == ErrorCode::NotFound => Ok(ChaosView::default()),
        other => other,
    }
}
