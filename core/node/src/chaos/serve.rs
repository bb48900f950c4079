//! What people and other nodes ask of a node about faults.

use super::{
    Chaos, Hurt,
    choose::{Ground, choose, examples},
    inside::left,
    journal::{Deed, Entry, Record, Told as Became, VERSION, boot_millis, is_id, unix_millis},
    netfilter,
};
use crate::{
    api::{
        ApiError, CHAOS_LASTS_MS_MAX, CHAOS_PEERS_MAX, ChaosBackendView, ChaosBlockView, ChaosNodeView,
        ChaosStopRequest, ChaosStopView, ChaosView, ErrorCode, FaultRequest, FaultState, FaultView, NodeView,
    },
    events::rfc3339,
    node::Core,
    wire::{Ask, Query, Told},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};
use taffeta_chaos_plan::{Fault, FaultKind};
use taffeta_model::{CHAOS_REASON_MAX, ChaosBlock, Command, NodeId, NodeName, TaskId, UnixMillis};
use tokio::time::{Instant, sleep};

/// Faults of one node that are on at once: an experiment has a handful.
const ACTIVE_MAX: usize = 16;
/// Longest name of a run, in characters.
const RUN_MAX: usize = 100;

/// How long another node may take to say what is broken there.
const VIEW_LIMIT: Duration = Duration::from_secs(2);
/// How long a fault may take to begin or to end.
const DO_LIMIT: Duration = Duration::from_secs(10);
/// The same where another node does it.
const ASK_LIMIT: Duration = Duration::from_secs(15);
/// How long the others may take to hear of a fault: it may be that they are cut off in a moment.
const TELL_LIMIT: Duration = Duration::from_millis(300);
/// Pause between two looks at what the keeper has done.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a node asks another one, as JSON: what is told of faults grows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ChaosAsk {
    /// What is broken at yours, and what could be?
    View,
    /// Bring this about at yours; the token decides.
    Begin(String, FaultRequest),
    /// End this fault of yours.
    End(String),
    /// End all of yours, and begin none until it is allowed again.
    Stop(ChaosBlockView, u64),
    /// It is allowed again.
    Allow,
    /// A fault of mine, which stays for so many milliseconds.
    Notice(FaultView, u64),
}

/// What a node says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OwnView {
    blocked: Option<ChaosBlockView>,
    node: ChaosNodeView,
    faults: Vec<FaultView>,
}

fn invalid(field: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Invalid, message).field(field)
}

fn failed(what: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::Failed, what.to_string())
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("no fault `{id}` is known")).help("`taffeta chaos status` lists them")
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(failed)
}

impl Core {
    /// Faults that are on anywhere, as far as this node knows.
    pub(crate) fn active_faults(&self) -> usize {
        let own = self.chaos.as_ref().map_or(0, |chaos| chaos.inside().told.len());
        own + self.heard_faults.without(&[self.me]).len()
    }

    /// Faults of this node.
    pub(crate) fn own_active_faults(&self) -> usize {
        self.chaos.as_ref().map_or(0, |chaos| chaos.inside().told.len())
    }

    /// Why no fault may be brought about.
    pub(crate) fn chaos_block(&self) -> Option<ChaosBlock> {
        let stored = self.directory.borrow().chaos.blocked.clone();
        stored.or_else(|| self.chaos.as_ref()?.inside().blocked.clone())
    }

    fn own_chaos_view(&self) -> OwnView {
        let hurt = self.chaos.as_ref().and_then(|chaos| chaos.hurt());
        let backends = hurt.map(|hurt| self.backends(hurt)).unwrap_or_default();
        let node = ChaosNodeView {
            node: self.name().to_string(),
            address: self.settings.advertise.to_string(),
            answers: true,
            chaos: hurt.is_some(),
            backends,
        };
        let entries = self.chaos.as_ref().map(|chaos| chaos.journal.entries()).unwrap_or_default();
        OwnView { blocked: self.chaos_block().map(block_view), node, faults: entries.iter().map(Entry::view).collect() }
    }

    /// What would bring about which fault here.
    fn backends(&self, hurt: &Hurt) -> Vec<ChaosBackendView> {
        let ends = self.everybody_else();
        let backend = |fault: Fault| {
            let chosen = match fault.kind() {
                FaultKind::TaskCrash => Ok("signal"),
                FaultKind::TaskHang => Ok("freezer"),
                _ => choose("0123456789abcdef", &fault, &self.ground(hurt, &ends, true, None)).map(|c| c.backend),
            };
            let (backend, refused) = chosen.map_or_else(|why| ("", Some(why)), |backend| (backend, None));
            ChaosBackendView { fault: fault.kind().to_string(), backend: backend.into(), refused }
        };
        examples().into_iter().map(backend).collect()
    }

    fn ground<'a>(
        &'a self,
        hurt: &Hurt,
        ends: &'a [SocketAddr],
        everybody: bool,
        run: Option<&'a std::path::Path>,
    ) -> Ground<'a> {
        Ground {
            own: self.settings.advertise,
            ends,
            everybody,
            no_nft: netfilter::missing(),
            run,
            agent: hurt.agent.pid,
            serves_dns: self.info.dns.is_some(),
            leads: self.consensus.borrow().leads,
            drained: self.store.read(|state| state.members.get(&self.me).is_some_and(|member| member.draining)),
        }
    }

    /// Whether this node is drained, by the leader's word where the state is not here.
    async fn is_drained(&self) -> bool {
        let leader = self.consensus.borrow().leader.map(|(leader, _)| leader).filter(|leader| *leader != self.me);
        let (Some(leader), false) = (leader, self.has_state()) else {
            return self.store.read(|state| state.members.get(&self.me).is_some_and(|member| member.draining));
        };
        let told = self.ask(leader, &Ask::Read(Query::Nodes), VIEW_LIMIT).await;
        let Ok(Told::Document(Ok(document))) = told else { return false };
        let nodes: Vec<NodeView> = serde_json::from_slice(&document).unwrap_or_default();
        nodes.iter().any(|node| node.id == self.me.to_string() && node.draining)
    }

    fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        let directory = self.directory.borrow();
        self.net().address(node).or_else(|| directory.members.get(&node).map(|member| member.address))
    }

    fn others(&self) -> Vec<NodeId> {
        self.directory.borrow().members.keys().copied().filter(|id| *id != self.me).collect()
    }

    fn everybody_else(&self) -> Vec<SocketAddr> {
        self.others().into_iter().filter_map(|id| self.address_of(id)).collect()
    }

    /// What is broken in the whole cluster.
    pub(crate) async fn chaos_view(&self) -> ChaosView {
        let own = self.own_chaos_view();
        let others = self.others().into_iter();
        let asked = others.map(|id| async move { (id, self.ask_chaos(id, &ChaosAsk::View, VIEW_LIMIT).await) });
        let answers: Vec<(NodeId, Result<OwnView, ApiError>)> = futures::future::join_all(asked).await;
        let (mut nodes, mut faults, mut blocked) = (vec![own.node], own.faults, own.blocked);
        let mut answering = vec![self.me];
        for (id, answer) in answers {
            match answer {
                Ok(theirs) => {
                    answering.push(id);
                    nodes.push(theirs.node);
                    faults.extend(theirs.faults);
                    blocked = blocked.or(theirs.blocked);
                }
                Err(_) => nodes.push(ChaosNodeView {
                    node: self.name_of(id),
                    address: self.address_of(id).map(|a| a.to_string()).unwrap_or_default(),
                    ..ChaosNodeView::default()
                }),
            }
        }
        faults.extend(self.heard_faults.without(&answering));
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        faults.sort_by(|a, b| (&a.begun_at, &a.id).cmp(&(&b.begun_at, &b.id)));
        ChaosView { blocked, nodes, faults }
    }

    async fn ask_chaos<T: DeserializeOwned>(
        &self,
        node: NodeId,
        ask: &ChaosAsk,
        limit: Duration,
    ) -> Result<T, ApiError> {
        match self.ask(node, &Ask::Chaos(json(ask)?), limit).await {
            Ok(Told::Document(document)) => serde_json::from_slice(&document?).map_err(failed),
            Ok(_) => Err(failed("an unexpected reply")),
            Err(e) => Err(failed(format!("{} does not answer: {e}", self.name_of(node)))),
        }
    }

    /// Answers another node.
    pub(crate) async fn answer_chaos(self: &Arc<Self>, from: NodeId, ask: &[u8]) -> Told {
        let answer = match serde_json::from_slice(ask) {
            Ok(ChaosAsk::View) => json(&self.own_chaos_view()),
            Ok(ChaosAsk::Begin(token, request)) => match self.begin_fault(token, request).await {
                Ok(view) => json(&view),
                Err(e) => Err(e),
            },
            Ok(ChaosAsk::End(id)) => match self.end_fault_here(&id).await {
                Ok(view) => json(&view),
                Err(e) => Err(e),
            },
            Ok(ChaosAsk::Stop(block, at)) => json(&self.stop_here(Some(block), at).await),
            Ok(ChaosAsk::Allow) => json(&self.stop_here(None, 0).await),
            Ok(ChaosAsk::Notice(view, left)) => {
                let view = FaultView { node: self.name_of(from), ..view };
                if self.heard_faults.hear(from, view.clone(), Duration::from_millis(left.min(CHAOS_LASTS_MS_MAX))) {
                    self.tell_fault(&view);
                }
                json(&())
            }
            Err(e) => Err(failed(format!("this node does not understand that about faults: {e}"))),
        };
        Told::Document(answer)
    }

    /// Brings a fault about where it is asked for.
    pub(crate) async fn chaos_begin(
        self: &Arc<Self>,
        token: String,
        request: FaultRequest,
    ) -> Result<FaultView, ApiError> {
        let node = self.member_called(&request.node, "node")?;
        if node == self.me {
            return self.begin_fault(token, request).await;
        }
        self.ask_chaos(node, &ChaosAsk::Begin(token, request), ASK_LIMIT).await
    }

    fn member_called(&self, name: &str, field: &str) -> Result<NodeId, ApiError> {
        let directory = self.directory.borrow();
        let found = directory.members.iter().find(|(_, member)| member.name.as_str() == name).map(|(id, _)| *id);
        found.ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("there is no machine `{name}`"))
                .help("`taffeta nodes` lists them")
                .field(field)
        })
    }

    /// What was begun goes on to its end, though whoever asked has gone.
    async fn begin_fault(self: &Arc<Self>, token: String, request: FaultRequest) -> Result<FaultView, ApiError> {
        let core = Arc::clone(self);
        let begun = tokio::spawn(async move { core.begin_here(&token, request).await });
        begun.await.unwrap_or_else(|e| Err(failed(e)))
    }

    async fn begin_here(&self, token: &str, request: FaultRequest) -> Result<FaultView, ApiError> {
        let (chaos, hurt) = self.opted_in()?;
        let tokens = self.directory.borrow().chaos.tokens.clone();
        if !request.dry_run && !hurt.takes(token, &tokens) {
            let message = "this is not the chaos token of a machine that has opted in";
            return Err(ApiError::new(ErrorCode::Forbidden, message)
                .help("it is in `chaos.token` in the node's data folder: give it by --data or TAFFETA_CHAOS_TOKEN"));
        }
        let wanted = self.read_request(&request)?;
        let _alone = chaos.beginning.lock().await;
        if let Some(known) = chaos.journal.entry(&request.id) {
            return Ok(known.view()); // a retry
        }
        if let Some(block) = self.chaos_block().filter(|_| !request.dry_run) {
            let message = format!("faults are blocked since {} by {}: {}", rfc3339(block.at), block.by, block.reason);
            return Err(ApiError::new(ErrorCode::Conflict, message).help("`taffeta chaos allow` lifts it"));
        }
        let run = self.run_of(wanted.task.as_ref()).await?;
        let ground = self.ground(hurt, &wanted.ends, wanted.everybody, run.as_deref());
        let drained = request.fault == Fault::Drain && self.is_drained().await;
        let chosen = choose(&request.id, &request.fault, &Ground { drained, ..ground });
        let refused = |why: String| {
            let message = format!("`{}` is refused on {}: {why}", request.fault.kind(), self.name());
            ApiError::new(ErrorCode::Conflict, message)
        };
        let choice = chosen.map_err(refused)?;
        let active = chaos.unfinished();
        if active.len() >= ACTIVE_MAX {
            return Err(refused(format!("{ACTIVE_MAX} faults are on there already, as many as may be")));
        }
        if let Some(other) = active.iter().find(|entry| excludes(&entry.record.fault, &request.fault)) {
            return Err(refused(format!("`{}` is on there already; one takes it back for both", other.record.fault)));
        }
        let (begins, begun_at) = (boot_millis(), unix_millis());
        let record = Record {
            version: VERSION,
            id: request.id,
            run: request.run,
            node: self.name().to_string(),
            fault: request.fault,
            backend: choice.backend.into(),
            commands: choice.commands,
            peers: request.peers,
            ends: if wanted.everybody { vec![] } else { wanted.ends },
            task: request.task,
            boot: chaos.boot.clone(),
            begins,
            until: begins + request.lasts_ms,
            begun_at,
            ends_at: begun_at + request.lasts_ms,
            agent: hurt.agent,
            deed: choice.deed,
        };
        if request.dry_run {
            let view = Entry { record, told: None, to_end: false }.view();
            return Ok(FaultView { state: FaultState::Planned, ..view });
        }
        self.do_begin(&chaos, hurt, record).await
    }

    /// Writes it down, tells everybody, and only then does it.
    async fn do_begin(&self, chaos: &Chaos, hurt: &Hurt, mut record: Record) -> Result<FaultView, ApiError> {
        let id = record.id.clone();
        let planned = Entry { record: record.clone(), told: Some(Became::active()), to_end: false }.view();
        let lasts = Duration::from_millis(record.until - record.begins);
        // They hear of it first, as it may cut this node off; what fails is taken back.
        self.tell_others(planned.clone(), lasts).await;
        // From here on it counts.
        (record.begins, record.begun_at) = (boot_millis(), unix_millis());
        (record.until, record.ends_at) =
            (record.begins + lasts.as_millis() as u64, record.begun_at + lasts.as_millis() as u64);
        if let Err(e) = chaos.journal.add(&record) {
            self.tell_others(FaultView { state: FaultState::Undone, ..planned }, Duration::ZERO).await;
            return Err(failed(format!("nothing was done: the journal of faults cannot be written: {e}")));
        }
        chaos.inside().told.insert(id.clone(), FaultState::Active);
        self.tell_fault(&planned);
        let done = match &record.deed {
            Deed::Inside => {
                let until = Instant::now() + left(record.until, boot_millis());
                let on = hurt.switches.turn_on(&id, &record.fault, &record.ends, until);
                if on.is_ok() {
                    chaos.inside().on.insert(id.clone());
                }
                self.store_told(chaos, &id, on)
            }
            Deed::Drain => {
                let _ = chaos.journal.tell(&id, &Became::active());
                let drained = self.submit(Command::Drain { node: self.me, on: true }).await;
                if drained.is_err() {
                    let _ = chaos.journal.ask_for_end(&id); // it may have been written all the same
                }
                drained.map(drop)
            }
            Deed::HandOver => {
                self.store.hand_over(VIEW_LIMIT).await;
                let leads = self.store.leadership().is_leader;
                let told = if leads { Err("no other voter has taken over".to_owned()) } else { Ok(()) };
                let _ = chaos.journal.tell(&id, &Became::undone(told.clone().err()));
                told.map_err(failed)
            }
            Deed::Table { .. } | Deed::Kill { .. } | Deed::Stop | Deed::Pause => {
                self.let_keeper_begin(chaos, &id).await
            }
            Deed::Freeze { .. } | Deed::KillTask { .. } | Deed::Burn { .. } | Deed::Hold { .. } => {
                self.let_keeper_begin(chaos, &id).await
            }
        };
        chaos.news.notify_one();
        done?;
        chaos.journal.entry(&id).map(|entry| entry.view()).ok_or_else(|| unknown(&id))
    }

    fn store_told(&self, chaos: &Chaos, id: &str, done: Result<(), String>) -> Result<(), ApiError> {
        let told = match &done {
            Ok(()) => Became::active(),
            Err(why) => Became::undone(Some(why.clone())),
        };
        chaos.journal.tell(id, &told).map_err(failed)?;
        done.map_err(failed)
    }

    async fn let_keeper_begin(&self, chaos: &Chaos, id: &str) -> Result<(), ApiError> {
        let deadline = Instant::now() + DO_LIMIT;
        loop {
            chaos.ensure_keeper().await.map_err(|e| {
                let _ = chaos.journal.ask_for_end(id);
                failed(format!("the keeper of faults cannot be started: {e}"))
            })?;
            for _ in 0..20 {
                match chaos.journal.entry(id).and_then(|entry| entry.told) {
                    Some(told) if told.state == FaultState::Active => return Ok(()),
                    Some(told) => return told.error.map_or(Ok(()), |why| Err(failed(why))),
                    None => sleep(LOOK_EVERY).await,
                }
            }
            if Instant::now() >= deadline {
                let _ = chaos.journal.ask_for_end(id);
                return Err(failed("the keeper of faults does not act; what it may have done is undone"));
            }
        }
    }

    fn opted_in(&self) -> Result<(Arc<Chaos>, &Hurt), ApiError> {
        let chaos = self.chaos.as_ref().filter(|chaos| chaos.hurt().is_some());
        let chaos = chaos.ok_or_else(|| {
            let message = format!("{} has not opted in to be hurt on purpose", self.name());
            ApiError::new(ErrorCode::Forbidden, message)
                .help("start it with --chaos, or with `chaos = true` in its configuration")
        })?;
        let hurt = chaos.hurt().ok_or_else(|| failed("not opted in"))?;
        Ok((Arc::clone(chaos), hurt))
    }

    /// Checks a request and looks up what it names.
    fn read_request(&self, request: &FaultRequest) -> Result<Wanted, ApiError> {
        let FaultRequest { id, run, fault, lasts_ms, peers, task, .. } = request;
        if !is_id(id) {
            return Err(invalid("id", format!("`{id}` is not 8 to 32 hexadecimal digits in small letters")));
        }
        if !(1..=RUN_MAX).contains(&run.chars().count()) || run.chars().any(char::is_control) {
            return Err(invalid("run", format!("a run is named by 1 to {RUN_MAX} characters")));
        }
        if !(1..=CHAOS_LASTS_MS_MAX).contains(lasts_ms) {
            return Err(invalid("lasts_ms", format!("{lasts_ms}; a fault lasts from 1 to {CHAOS_LASTS_MS_MAX} ms")));
        }
        fault.check().map_err(|e| invalid(&format!("fault.{}", e.field), e.to_string()))?;
        if peers.len() > CHAOS_PEERS_MAX {
            return Err(invalid("peers", format!("{} are named; at most {CHAOS_PEERS_MAX} are", peers.len())));
        }
        if !peers.is_empty() && !is_of_network(fault.kind()) {
            return Err(invalid("peers", format!("`{}` has no other ends", fault.kind())));
        }
        let named: BTreeSet<NodeId> =
            peers.iter().map(|name| self.member_called(name, "peers")).collect::<Result<_, _>>()?;
        if named.contains(&self.me) {
            return Err(invalid("peers", "a machine is not at the other end of itself"));
        }
        let ends = if named.is_empty() {
            self.everybody_else()
        } else {
            named.into_iter().filter_map(|id| self.address_of(id)).collect()
        };
        let task = task.as_deref().map(|task| task.parse::<TaskId>().map_err(|e| invalid("task", e.to_string())));
        Ok(Wanted { everybody: peers.is_empty(), ends, task: task.transpose()? })
    }

    async fn run_of(&self, task: Option<&TaskId>) -> Result<Option<std::path::PathBuf>, ApiError> {
        let Some(task) = task else { return Ok(None) };
        let runs = self.tasks.runs_of(task.clone()).await;
        let run = runs.last().ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("`{task}` does not run on {}", self.name())).field("task")
        })?;
        Ok(Some(self.executor.folder(run.as_str())))
    }

    /// Ends a fault, wherever it is.
    pub(crate) async fn chaos_end(self: &Arc<Self>, id: String) -> Result<FaultView, ApiError> {
        if !is_id(&id) {
            return Err(unknown(&id));
        }
        let here = self.end_fault_here(&id).await;
        if !matches!(&here, Err(e) if e.code == ErrorCode::NotFound) {
            return here;
        }
        let ask = ChaosAsk::End(id.clone());
        let asked = self.others().into_iter().map(|other| self.ask_chaos(other, &ask, ASK_LIMIT));
        let answers: Vec<Result<FaultView, ApiError>> = futures::future::join_all(asked).await;
        // A node that does not answer may have it; who does not know it says so.
        let (known, silent): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        let other = silent.into_iter().filter_map(Result::err).find(|e| e.code != ErrorCode::NotFound);
        known.into_iter().next().unwrap_or_else(|| Err(other.unwrap_or_else(|| unknown(&id))))
    }

    async fn end_fault_here(&self, id: &str) -> Result<FaultView, ApiError> {
        let chaos = self.chaos.as_ref().ok_or_else(|| unknown(id))?;
        let entry = chaos.journal.entry(id).filter(|_| is_id(id)).ok_or_else(|| unknown(id))?;
        if !entry.is_over() {
            chaos.journal.ask_for_end(id).map_err(failed)?;
        }
        self.wait_for_end(chaos, id).await.ok_or_else(|| unknown(id))
    }

    /// Waits until it is undone, or could not be.
    async fn wait_for_end(&self, chaos: &Chaos, id: &str) -> Option<FaultView> {
        let deadline = Instant::now() + DO_LIMIT;
        loop {
            chaos.news.notify_one();
            let entry = chaos.journal.entry(id)?;
            let ended = entry.told.as_ref().is_some_and(|told| told.state != FaultState::Active);
            if ended || Instant::now() >= deadline {
                return Some(entry.view());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(super) fn ask_for_all_ends(&self) {
        let Some(chaos) = &self.chaos else { return };
        for entry in chaos.unfinished().iter().filter(|entry| !entry.to_end) {
            if let Err(error) = chaos.journal.ask_for_end(&entry.record.id) {
                tracing::error!(%error, "the end of a fault could not be asked for");
            }
        }
    }

    /// Ends all faults of this node and blocks new ones, or allows them again; gives those that are not undone.
    async fn stop_here(&self, block: Option<ChaosBlockView>, at: u64) -> Vec<FaultView> {
        let Some(chaos) = &self.chaos else { return vec![] };
        let block = block.and_then(|block| {
            let by = NodeName::new(block.by).ok()?;
            let reason = block.reason.chars().take(CHAOS_REASON_MAX).collect();
            Some(ChaosBlock { by, at: UnixMillis(at), reason })
        });
        let stops = block.is_some();
        chaos.inside().blocked = block;
        chaos.news.notify_one();
        if !stops {
            return vec![];
        }
        self.ask_for_all_ends();
        let left = chaos.unfinished();
        let waiting = left.iter().map(|entry| self.wait_for_end(chaos, &entry.record.id));
        let ended = futures::future::join_all(waiting).await;
        ended.into_iter().flatten().filter(|view| view.state != FaultState::Undone).collect()
    }

    /// Ends all faults everywhere and blocks new ones.
    pub(crate) async fn chaos_stop(self: &Arc<Self>, request: ChaosStopRequest) -> Result<ChaosStopView, ApiError> {
        let length = request.reason.chars().count();
        if length > CHAOS_REASON_MAX {
            return Err(invalid("reason", format!("{length} characters; at most {CHAOS_REASON_MAX} are kept")));
        }
        let at = self.clock.date();
        let block = ChaosBlock { by: self.name().clone(), at, reason: request.reason };
        // Everybody is asked at once, whether or not it can be written down.
        let stored = self.submit(Command::BlockChaos(Some(block.clone())));
        let (view, me) = (block_view(block), self.name().to_string());
        let ask = &ChaosAsk::Stop(view.clone(), at.0);
        let others = self.others().into_iter();
        let asked = others.map(|id| async move { (id, self.ask_chaos(id, ask, ASK_LIMIT).await) });
        let here = self.stop_here(Some(view), at.0);
        let (stored, left, answers) = tokio::join!(stored, here, futures::future::join_all(asked));
        let mut told = ChaosStopView { stored: stored.is_ok(), ..ChaosStopView::default() };
        let answers: Vec<(NodeId, Result<Vec<FaultView>, ApiError>)> = answers;
        for (name, answer) in answers.into_iter().map(|(id, answer)| (self.name_of(id), answer)).chain([(me, Ok(left))])
        {
            match answer {
                Ok(left) if left.is_empty() => told.stopped.push(name),
                Ok(left) => told.not_undone.extend(left),
                Err(_) => told.unreachable.push(name),
            }
        }
        told.stopped.sort();
        told.unreachable.sort();
        Ok(told)
    }

    /// Lets faults be brought about again.
    pub(crate) async fn chaos_allow(self: &Arc<Self>) -> Result<(), ApiError> {
        self.submit(Command::BlockChaos(None)).await?;
        let asked =
            self.others().into_iter().map(|id| self.ask_chaos::<serde_json::Value>(id, &ChaosAsk::Allow, VIEW_LIMIT));
        let asked = asked.collect::<Vec<_>>();
        let (_, told) = tokio::join!(self.stop_here(None, 0), futures::future::join_all(asked));
        drop(told); // who does not hear it now reads it in the directory, and forgets what it was told at its next start
        Ok(())
    }

    /// Lets the others know of a fault of this node, as far as they can be reached in a moment.
    pub(super) async fn tell_others(&self, view: FaultView, left: Duration) {
        let millis = u64::try_from(left.as_millis()).unwrap_or(CHAOS_LASTS_MS_MAX);
        let ask = ChaosAsk::Notice(view, millis);
        let alive = self.ring.state().alive().into_iter().filter(|id| *id != self.me);
        let asked = alive.map(|id| self.ask_chaos::<serde_json::Value>(id, &ask, TELL_LIMIT));
        futures::future::join_all(asked).await;
    }

    /// An event of a fault, here or elsewhere.
    pub(super) fn tell_fault(&self, view: &FaultView) {
        let FaultView { node, fault, run, id, backend, .. } = view;
        let what = match &view.task {
            Some(task) => format!("{fault} at {task}"),
            None => fault.to_string(),
        };
        let why = view.error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let (kind, message) = match view.state {
            FaultState::Planned | FaultState::Active => (
                "chaos.begun",
                format!("{what} on purpose, by {backend}, until {} (run {run}, fault {id})", view.ends_at),
            ),
            FaultState::Undone => ("chaos.undone", format!("{what} is undone (run {run}, fault {id}){why}")),
            FaultState::NotUndone => ("chaos.not_undone", format!("{what} is not undone (run {run}, fault {id}){why}")),
        };
        match view.state {
            FaultState::NotUndone => tracing::error!(node, "{message}"),
            FaultState::Planned | FaultState::Active | FaultState::Undone => tracing::warn!(node, "{message}"),
        }
        self.events.tell(self.clock.date(), kind, node.clone(), message);
    }

    /// An event of a block.
    pub(super) fn tell_block(&self, block: Option<&ChaosBlock>) {
        let (kind, subject, message) = match block {
            Some(block) => {
                ("chaos.blocked", block.by.to_string(), format!("no fault may be brought about: {}", block.reason))
            }
            None => ("chaos.allowed", self.name().to_string(), "faults may be brought about again".into()),
        };
        self.events.tell(self.clock.date(), kind, subject, message);
    }
}

/// A request, as far as names were looked up.
struct Wanted {
    everybody: bool,
    ends: Vec<SocketAddr>,
    task: Option<TaskId>,
}

fn block_view(block: ChaosBlock) -> ChaosBlockView {
    ChaosBlockView { by: block.by.to_string(), at: rfc3339(block.at), reason: block.reason }
}

fn is_of_network(kind: FaultKind) -> bool {
    use FaultKind::{Bandwidth, Delay, Duplicate, Loss, Partition, Reorder};
    matches!(kind, Partition | Loss | Delay | Duplicate | Reorder | Bandwidth)
}

/// Whether both are of one switch of the node, of which each would take back the other.
fn excludes(one: &Fault, other: &Fault) -> bool {
    use FaultKind::{ClockDrift, ClockOffset, DiskFull, Dns, Drain};
    let switch = |fault: &Fault| match fault.kind() {
        ClockOffset | ClockDrift => Some(ClockOffset),
        kind @ (DiskFull | Dns | Drain) => Some(kind),
        _ => None,
    };
    switch(one).is_some() && switch(one) == switch(other)
}
