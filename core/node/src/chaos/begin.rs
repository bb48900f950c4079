//! How a fault begins: who may ask for it, what it needs, and in which order it is written down, told and done.

use super::{
    Chaos, Hurt, NotBegun,
    choose::{Ground, choose},
    inside::left,
    is_token,
    journal::{Deed, Entry, Record, Told, VERSION, boot_millis, is_id, unix_millis},
    serve::{ASK_LIMIT, ChaosAsk, DO_LIMIT, LOOK_EVERY, VIEW_LIMIT, failed, invalid, unknown},
};
use crate::{
    api::{ApiError, CHAOS_LASTS_MS_MAX, CHAOS_PEERS_MAX, ErrorCode, FaultRequest, FaultState, FaultView},
    events::rfc3339,
    node::Core,
};
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use taffeta_chaos_plan::{Fault, FaultKind};
use taffeta_model::{ChaosBlock, Command, NodeId, TaskId};
use tokio::time::{Instant, sleep, timeout};

/// Faults of one node that are on at once: an experiment has a handful.
const ACTIVE_MAX: usize = 16;
/// How long a token may take from the node that has just opted in to the one that is shown it.
const TOKEN_WAIT: Duration = Duration::from_secs(2);
/// Longest name of a run, in characters.
const RUN_MAX: usize = 100;

impl Core {
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

    pub(super) fn member_called(&self, name: &str, field: &str) -> Result<NodeId, ApiError> {
        let directory = self.directory.borrow();
        let found = directory.members.iter().find(|(_, member)| member.name.as_str() == name).map(|(id, _)| *id);
        found.ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("there is no machine `{name}`"))
                .help("`taffeta nodes` lists them")
                .field(field)
        })
    }

    /// What was begun goes on to its end, though whoever asked has gone.
    pub(super) async fn begin_fault(
        self: &Arc<Self>,
        token: String,
        request: FaultRequest,
    ) -> Result<FaultView, ApiError> {
        let core = Arc::clone(self);
        let begun = tokio::spawn(async move { core.begin_here(&token, request).await });
        begun.await.unwrap_or_else(|e| Err(failed(e)))
    }

    async fn begin_here(self: &Arc<Self>, token: &str, request: FaultRequest) -> Result<FaultView, ApiError> {
        let (chaos, hurt) = self.opted_in()?;
        if !request.dry_run && !self.takes(hurt, token).await {
            let message = "this is not the chaos token of a machine that has opted in";
            return Err(ApiError::new(ErrorCode::Forbidden, message)
                .help("it is in `chaos.token` in the node's data folder: give it by --data or TAFFETA_CHAOS_TOKEN"));
        }
        let wanted = self.read_request(&request)?;
        let _alone = chaos.beginning.lock().await;
        if let Some(known) = chaos.journal.entry(&request.id) {
            return if is_again(&known.record, &request) { Ok(known.view()) } else { Err(is_taken(&known.record)) };
        }
        if let Some(block) = self.chaos_block().filter(|_| !request.dry_run) {
            return Err(is_blocked(&block));
        }
        let run = self.run_of(wanted.task.as_ref()).await?;
        let ground = self.ground(hurt, &wanted.ends, wanted.everybody, run.as_deref());
        let refused = |why: String| {
            let message = format!("`{}` is refused on {}: {why}", request.fault.kind(), self.name());
            ApiError::new(ErrorCode::Conflict, message)
        };
        let drained = if request.fault == Fault::Drain {
            // Its end takes a drain back, whose ever it is.
            let told = self.is_drained().await;
            told.ok_or_else(|| refused("whether the node is drained already cannot be read now".into()))?
        } else {
            false
        };
        let chosen = choose(&request.id, &request.fault, &Ground { drained, ..ground });
        let choice = chosen.map_err(refused)?;
        let active = chaos.unfinished();
        if active.len() >= ACTIVE_MAX {
            return Err(refused(format!("{ACTIVE_MAX} faults are on there already, as many as may be")));
        }
        if let Some(other) = active.iter().find(|entry| excludes(&entry.record.fault, &request.fault)) {
            return Err(refused(format!("`{}` is on there already; one takes it back for both", other.record.fault)));
        }
        let stands_still = |entry: &Entry| match (&entry.record.deed, &choice.deed) {
            (Deed::Freeze { run: one }, Deed::Freeze { run: other }) => one == other,
            (_, _) => false, // of other pairs none is of one freezer
        };
        if active.iter().any(stands_still) {
            return Err(refused("the task stands still already; one fault would let it go for both".into()));
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
    async fn do_begin(self: &Arc<Self>, chaos: &Chaos, hurt: &Hurt, mut record: Record) -> Result<FaultView, ApiError> {
        let id = record.id.clone();
        let planned = Entry { record: record.clone(), told: Some(Told::active()), to_end: false }.view();
        let lasts = Duration::from_millis(record.until - record.begins);
        // They hear of it first, as it may cut this node off; what fails is taken back.
        let unheard = self.tell_others(planned.clone(), lasts).await;
        // From here on it counts.
        (record.begins, record.begun_at) = (boot_millis(), unix_millis());
        (record.until, record.ends_at) =
            (record.begins + lasts.as_millis() as u64, record.begun_at + lasts.as_millis() as u64);
        let added = match self.chaos_block() {
            Some(block) => Err(NotBegun::Blocked(block)), // since it was looked at
            None => chaos.add(&record),
        };
        let begins = match added {
            Ok(begins) => begins,
            Err(why) => {
                let _ = self.tell_others(FaultView { state: FaultState::Undone, ..planned }, Duration::ZERO).await;
                return Err(match why {
                    NotBegun::Blocked(block) => is_blocked(&block),
                    NotBegun::Unwritten(e) => {
                        failed(format!("nothing was done: the journal of faults cannot be written: {e}"))
                    }
                });
            }
        };
        self.tell_fault(&planned);
        self.keep_telling(planned, lasts, unheard);
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
                let _ = chaos.journal.tell(&id, &Told::active());
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
                let _ = chaos.journal.tell(&id, &Told::undone(told.clone().err()));
                told.map_err(failed)
            }
            Deed::Table { .. } | Deed::Kill { .. } | Deed::Stop | Deed::Pause => {
                self.let_keeper_begin(chaos, &id).await
            }
            Deed::Freeze { .. } | Deed::KillTask { .. } | Deed::Burn { .. } | Deed::Hold { .. } | Deed::Fill { .. } => {
                self.let_keeper_begin(chaos, &id).await
            }
        };
        drop(begins);
        done?;
        chaos.journal.entry(&id).map(|entry| entry.view()).ok_or_else(|| unknown(&id))
    }

    pub(super) fn store_told(&self, chaos: &Chaos, id: &str, done: Result<(), String>) -> Result<(), ApiError> {
        let told = match &done {
            Ok(()) => Told::active(),
            Err(why) => Told::undone(Some(why.clone())),
        };
        chaos.journal.tell(id, &told).map_err(failed)?;
        done.map_err(failed)
    }

    pub(super) async fn let_keeper_begin(&self, chaos: &Chaos, id: &str) -> Result<(), ApiError> {
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

    /// Whether this is the token of a machine that has opted in. That one may have done so a moment ago.
    async fn takes(&self, hurt: &Hurt, token: &str) -> bool {
        if !is_token(token) {
            return false;
        }
        let mut directory = self.directory.subscribe();
        let known = directory.wait_for(|directory| hurt.takes(token, &directory.chaos.tokens));
        matches!(timeout(TOKEN_WAIT, known).await, Ok(Ok(_)))
    }

    pub(super) fn opted_in(&self) -> Result<(Arc<Chaos>, &Hurt), ApiError> {
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
    pub(super) fn read_request(&self, request: &FaultRequest) -> Result<Wanted, ApiError> {
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
        if !peers.is_empty() && hold_of(fault.kind()) != Hold::Network {
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

    pub(super) async fn run_of(&self, task: Option<&TaskId>) -> Result<Option<PathBuf>, ApiError> {
        let Some(task) = task else { return Ok(None) };
        let runs = self.tasks.runs_of(task.clone()).await;
        let run = runs.last().ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("`{task}` does not run on {}", self.name())).field("task")
        })?;
        Ok(Some(self.executor.folder(run.as_str())))
    }
}

/// A request, as far as names were looked up.
pub(super) struct Wanted {
    everybody: bool,
    ends: Vec<SocketAddr>,
    task: Option<TaskId>,
}

/// Whether this is the request again by which a fault was begun: its answer may have been lost.
fn is_again(record: &Record, request: &FaultRequest) -> bool {
    let FaultRequest { id, run, node, fault, lasts_ms, peers, task, dry_run } = request;
    let same = (id, run, node, fault, peers, task)
        == (&record.id, &record.run, &record.node, &record.fault, &record.peers, &record.task);
    same && *lasts_ms == record.until - record.begins && !dry_run
}

fn is_taken(record: &Record) -> ApiError {
    let Record { id, fault, run, .. } = record;
    let message = format!("the fault `{id}` is another one: {fault}, of run {run}");
    ApiError::new(ErrorCode::Conflict, message).help("choose an id of its own for each fault and each plan").field("id")
}

fn is_blocked(block: &ChaosBlock) -> ApiError {
    let message = format!("faults are blocked since {} by {}: {}", rfc3339(block.at), block.by, block.reason);
    ApiError::new(ErrorCode::Conflict, message).help("`taffeta chaos allow` lifts it")
}

/// What of the node a fault takes hold of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Its packets: several faults are added up, and each has other ends.
    Network,
    /// A switch of which there is one: a second fault would take back the first.
    Switch(FaultKind),
    /// Something that others may take hold of at the same time.
    Other,
}

fn hold_of(kind: FaultKind) -> Hold {
    match kind {
        FaultKind::Partition
        | FaultKind::Loss
        | FaultKind::Delay
        | FaultKind::Duplicate
        | FaultKind::Reorder
        | FaultKind::Bandwidth => Hold::Network,
        FaultKind::ClockOffset | FaultKind::ClockDrift => Hold::Switch(FaultKind::ClockOffset),
        FaultKind::DiskFull | FaultKind::Dns | FaultKind::Drain => Hold::Switch(kind),
        FaultKind::KillAgent
        | FaultKind::KillMachine
        | FaultKind::PowerCut
        | FaultKind::Stop
        | FaultKind::Wipe
        | FaultKind::Pause
        | FaultKind::Slow
        | FaultKind::TaskCrash
        | FaultKind::TaskHang
        | FaultKind::TaskIgnoreTerm
        | FaultKind::TaskFailHealth
        | FaultKind::Lie
        | FaultKind::Move
        | FaultKind::Rolling
        | FaultKind::Copy
        | FaultKind::QuorumLost
        | FaultKind::Lag
        | FaultKind::Upgrade
        | FaultKind::Remove
        | FaultKind::Rotate
        | FaultKind::Cpu
        | FaultKind::Memory
        | FaultKind::Leader => Hold::Other,
    }
}

/// Whether both are of one switch of the node.
fn excludes(one: &Fault, other: &Fault) -> bool {
    let hold = hold_of(one.kind());
    matches!(hold, Hold::Switch(_)) && hold == hold_of(other.kind())
}
