//! A machine's tasks without processes: they become ready, crash, hang, ignore SIGTERM and end, all on virtual time.
//! They outlive the agent, as real ones do under their shims.

mod shim;
mod start;

pub(crate) use shim::News;
pub(crate) use start::{NotMade, Stage};

use crate::{time::Run, trace::Event};
use rand::{RngExt, rngs::SmallRng};
use shim::Seen;
use start::Birth;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use taffeta_agent::RunId;
use taffeta_isolation_plan::{TaskSpec, Usage};
use taffeta_model::{BootMillis, Bug, Exit, Fence, ShippedFile, TaskId, UnixMillis, planted};
use tokio::sync::watch;

/// SIGTERM.
const TERMINATE: i32 = 15;

/// Variable of the agent that lists a run's ports, as `http=31022,admin=9000`.
const PORTS_VARIABLE: &str = "TAFFETA_PORTS";

/// Program of a task that ends by itself.
const BATCH: &str = "batch";

/// A simulated task uses this part of a processor, and of its memory.
const BUSY: u32 = 4;

/// When a task is ready that never will be.
const NEVER: Duration = Duration::MAX;

/// All runs of one machine.
#[derive(Debug)]
pub(crate) struct Tasks {
    run: Arc<Run>,
    place: u64,
    /// How fast the machine's clock of leases goes.
    boot_rate: f64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    rng: SmallRng,
    runs: BTreeMap<String, Process>,
    /// Runs whose process is being made by a shim.
    births: BTreeMap<String, Birth>,
    /// Starts whose outcome an agent waits for.
    starts: BTreeMap<String, Stage>,
    last_pid: u32,
    /// Runs that ended and were forgotten, for whoever asks what was behind an address: at most [`PAST_MAX`].
    past: Vec<Past>,
    /// Runs that were killed because they ignored SIGTERM, and were not counted yet.
    deaf: u64,
    /// Runs that were told to end while they answered, and when, and were not counted yet.
    told: Vec<(RunId, Duration)>,
    /// Runs of exclusive tasks whose lease ran out, and were not counted yet.
    run_out: u64,
    seen: Seen,
    /// Batch tasks that have succeeded, and under which placement; no more than were ever placed here.
    finished: BTreeSet<(TaskId, Fence)>,
    /// The first run that was begun after that.
    again: Option<RunId>,
    /// Until when something bad has happened to any of them.
    harmed: Duration,
}

/// Ended runs that are remembered: more than a check looks back.
const PAST_MAX: usize = 2_000;

/// One run.
#[derive(Debug)]
struct Process {
    spec: TaskSpec,
    id: RunId,
    pid: u32,
    ports: Vec<u16>,
    started: Duration,
    started_at: UnixMillis,
    ready_at: Duration,
    /// When it ends by itself, or because it was told to, and how.
    ends: Option<(Duration, Exit)>,
    hangs_until: Duration,
    fails_health_until: Duration,
    /// When it began to hang or to fail.
    ails_since: Duration,
    ignores_term: bool,
    /// When the lease of an exclusive task ends, and whether it was told so.
    lease: Option<(BootMillis, bool)>,
    news: watch::Sender<News>,
    /// Since when what it has started lives on without its shim.
    orphaned: Option<Duration>,
    ended_at: Option<Duration>,
    /// Whether its record says what became of it; a reboot leaves that open.
    lost: bool,
}

/// A run that is no more.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) id: RunId,
    pub(crate) ports: Vec<u16>,
    pub(crate) ended: Duration,
}

/// A run that lives, for checks.
#[derive(Clone, Debug)]
pub(crate) struct Living {
    pub(crate) id: RunId,
    pub(crate) ports: Vec<u16>,
    pub(crate) cpus_milli: u64,
    pub(crate) memory: u64,
    pub(crate) exclusive: bool,
}

impl Process {
    fn is_alive(&self) -> bool {
        self.ended_at.is_none()
    }

    /// Whether it answers at this moment, and if not, why.
    fn pulse(&self, now: Duration) -> Result<(), String> {
        match () {
            () if !self.is_alive() || self.orphaned.is_some() || now < self.ready_at => {
                Err("connection refused".into())
            }
            () if now < self.hangs_until => Err(HANGS.into()),
            () if now < self.fails_health_until => Err("503 Service Unavailable".into()),
            () => Ok(()),
        }
    }

    fn end(&mut self, now: Duration, exit: Exit) {
        self.ended_at = Some(now);
        self.ends = None;
        self.news.send_replace(News::Ended(exit));
    }
}

/// How a batch task ends, which it says in its arguments; `None` for a service.
fn batch(rng: &mut SmallRng, run: &[String]) -> Option<Exit> {
    let kind = run.first().filter(|program| *program == BATCH).and_then(|_| run.get(1))?;
    Some(Exit::Code(match kind.as_str() {
        "good" => 0,
        "fails" => 3,
        _ => i32::from(rng.random_bool(0.4)),
    }))
}

/// What a process that hangs says.
pub(crate) const HANGS: &str = "no answer in time";

impl Tasks {
    /// `boot_rate` is how fast the machine's clock of leases goes: 1 is true.
    pub(crate) fn new(run: Arc<Run>, place: u64, rng: SmallRng, boot_rate: f64) -> Arc<Self> {
        let inner = Inner {
            rng,
            runs: BTreeMap::new(),
            births: BTreeMap::new(),
            starts: BTreeMap::new(),
            last_pid: 1_000,
            past: vec![],
            deaf: 0,
            told: vec![],
            run_out: 0,
            seen: Seen::default(),
            finished: BTreeSet::new(),
            again: None,
            harmed: Duration::ZERO,
        };
        Arc::new(Self { run, place, boot_rate, inner: Mutex::new(inner) })
    }

    /// The machine's clock of leases, which goes on whatever becomes of its node.
    pub(crate) fn boot_time(&self, now: Duration) -> BootMillis {
        BootMillis(u64::try_from(now.mul_f64(self.boot_rate).as_millis()).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a run was started, and the files that lie in its folder, by name.
    pub(crate) fn files_of(&self, run_id: &str) -> Option<(UnixMillis, BTreeMap<String, ShippedFile>)> {
        let inner = self.lock();
        let run = inner.runs.get(run_id)?;
        Some((run.started_at, run.spec.files.clone()))
    }

    /// Makes and ends what is due.
    pub(crate) fn step(&self, now: Duration) {
        let inner = &mut *self.lock();
        self.make_due(now, inner);
        self.keep_leases(now, inner);
        for process in inner.runs.values_mut().filter(|p| p.is_alive()) {
            // A process that hangs gets to nothing by itself.
            let due = process.ends.as_ref().is_some_and(|(at, _)| *at <= now && now >= process.hangs_until);
            if let Some((_, exit)) = process.ends.take_if(|_| due) {
                self.run.note(now, Event::End, self.place, u64::from(process.pid), 0);
                if exit == Exit::Code(0) && process.spec.run.first().is_some_and(|program| program == BATCH) {
                    inner.finished.insert((process.id.task(), process.id.fence()));
                }
                process.end(now, exit);
            }
        }
    }

    /// What the shims of exclusive tasks do at the ends of leases, whether or not there is an agent.
    fn keep_leases(&self, now: Duration, inner: &mut Inner) {
        let Inner { rng, runs, run_out, .. } = inner;
        for process in runs.values_mut().filter(|p| p.is_alive()) {
            let Some((until, told)) = &mut process.lease else { continue };
            let left = until.left(self.boot_time(now));
            if planted(Bug::IgnoreLeaseEnd) {
                continue;
            }
            if left.is_zero() {
                *run_out += 1;
                self.run.note(now, Event::End, self.place, u64::from(process.pid), 9);
                process.end(now, Exit::LeaseEnded);
            } else if left <= process.spec.grace && !*told {
                *told = true;
                *run_out += 1;
                if !process.ignores_term {
                    process.ends = Some((now + Duration::from_millis(rng.random_range(5..600)), Exit::LeaseEnded));
                }
            }
        }
    }

    /// Lets an exclusive task run until then; `false` if there is no such run.
    pub(crate) fn extend(&self, run_id: &str, until: BootMillis) -> bool {
        let inner = &mut *self.lock();
        let heard = inner.runs.get_mut(run_id).filter(|process| !process.is_hung_up());
        let lease = heard.and_then(|process| process.lease.as_mut());
        lease.map(|(known, _)| *known = until.max(*known)).is_some()
    }

    /// Runs of exclusive tasks whose lease ran out, since it was asked last.
    pub(crate) fn leases_run_out(&self) -> u64 {
        std::mem::take(&mut self.lock().run_out)
    }

    /// What becomes of the run; `None` if there is none, or it is lost.
    pub(crate) fn news_of(&self, run_id: &str) -> Option<watch::Receiver<News>> {
        let inner = self.lock();
        let process = inner.runs.get(run_id).filter(|p| !p.lost)?;
        Some(process.news.subscribe())
    }

    /// Sends a signal; `None` if there is no such run, `false` if it has ended.
    pub(crate) fn signal(&self, now: Duration, run_id: &str, signal: i32) -> Option<bool> {
        self.settle(now, run_id);
        let inner = &mut *self.lock();
        let takes = Duration::from_millis(inner.rng.random_range(5..600));
        let process = inner.runs.get_mut(run_id)?;
        if signal == TERMINATE && process.pulse(now).is_ok() {
            inner.told.push((process.id.clone(), now));
        }
        if process.is_alive() && signal == TERMINATE && !process.ignores_term {
            let exit = if takes.as_millis().is_multiple_of(3) { Exit::Code(0) } else { Exit::Signal(TERMINATE) };
            process.ends = Some((now + takes, exit));
        }
        Some(process.is_alive())
    }

    /// SIGKILL: ends at once, whatever it was doing.
    pub(crate) fn kill(&self, now: Duration, run_id: &str) -> bool {
        self.settle(now, run_id);
        let inner = &mut *self.lock();
        let Some(process) = inner.runs.get_mut(run_id) else { return false };
        if process.is_alive() {
            inner.deaf += u64::from(process.ignores_term);
            self.run.note(now, Event::End, self.place, u64::from(process.pid), 9);
            process.end(now, Exit::Signal(9));
        }
        true
    }

    /// Removes a run that has ended; `false` if it still lives.
    pub(crate) fn forget(&self, run_id: &str) -> bool {
        let inner = &mut *self.lock();
        if inner.runs.get(run_id).is_some_and(Process::is_alive) {
            return false;
        }
        if let Some(process) = inner.runs.remove(run_id) {
            let ended = process.ended_at.unwrap_or_default();
            inner.past.push(Past { id: process.id, ports: process.ports, ended });
            let surplus = inner.past.len().saturating_sub(PAST_MAX);
            inner.past.drain(..surplus);
        }
        true
    }

    /// The machine goes down with all that runs on it.
    pub(crate) fn power_off(&self, now: Duration) {
        let inner = &mut *self.lock();
        inner.harmed = inner.harmed.max(now);
        inner.births.clear();
        for process in inner.runs.values_mut().filter(|p| p.is_alive() || p.is_hung_up()) {
            process.end(now, Exit::Lost);
            process.lost = true;
        }
    }

    /// Whether a live run has the port.
    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.lock().runs.values().any(|p| p.is_alive() && p.ports.contains(&port))
    }

    /// Whether whoever listens on the port answers, and if not, why.
    pub(crate) fn pulse_at(&self, now: Duration, port: u16) -> Result<(), String> {
        let inner = self.lock();
        let listening = inner.runs.values().find(|p| p.is_alive() && p.ports.contains(&port));
        listening.map_or_else(|| Err("connection refused".into()), |process| process.pulse(now))
    }

    /// Whether a run answers.
    /// What a run uses, while it lives.
    pub(crate) fn usage_of(&self, at: UnixMillis, run_id: &str) -> Option<Usage> {
        let inner = self.lock();
        let process = inner.runs.get(run_id).filter(|process| process.is_alive())?;
        let lived = Duration::from_millis(at.0.saturating_sub(process.started_at.0));
        Some(Usage { cpu: lived / BUSY, memory: process.spec.memory_bytes / u64::from(BUSY), ..Usage::default() })
    }

    pub(crate) fn pulse_of(&self, now: Duration, run_id: &str) -> Result<(), String> {
        let inner = self.lock();
        inner.runs.get(run_id).map_or_else(|| Err("there is no such run".into()), |process| process.pulse(now))
    }

    /// Does something bad to the live runs that `chosen` picks; gives how many there were.
    pub(crate) fn afflict(&self, now: Duration, ill: Ill, chosen: impl Fn(&RunId) -> bool) -> usize {
        let mut count = 0;
        let inner = &mut *self.lock();
        let until = match ill {
            Ill::Crash | Ill::LoseShim { .. } | Ill::IgnoreTerm => now,
            Ill::Hang(until) | Ill::FailHealth(until) => until,
        };
        inner.harmed = inner.harmed.max(until);
        let able = |process: &&mut Process| process.is_alive() && !process.is_hung_up();
        for process in inner.runs.values_mut().filter(able).filter(|p| chosen(&p.id)) {
            count += 1;
            if process.pulse(now).is_ok() {
                process.ails_since = now;
            }
            match ill {
                Ill::Crash => {
                    self.run.note(now, Event::End, self.place, u64::from(process.pid), 1);
                    process.end(now, Exit::Code(1));
                }
                Ill::LoseShim { leaves } => {
                    self.run.note(now, Event::End, self.place, u64::from(process.pid), 4);
                    inner.seen.shims_killed += 1;
                    process.lose_shim(now, leaves);
                }
                Ill::Hang(until) => process.hangs_until = until,
                Ill::IgnoreTerm => process.ignores_term = true,
                Ill::FailHealth(until) => process.fails_health_until = until,
            }
        }
        count
    }

    /// All that ails ends.
    pub(crate) fn cure(&self) {
        let inner = &mut *self.lock();
        inner.harmed = inner.harmed.min(self.run.now());
        for process in inner.runs.values_mut() {
            process.hangs_until = Duration::ZERO;
            process.fails_health_until = Duration::ZERO;
            process.ignores_term = false;
        }
    }

    /// The runs that live.
    pub(crate) fn living(&self) -> Vec<Living> {
        let inner = self.lock();
        let living = inner.runs.values().filter(|p| p.is_alive()).map(|p| Living {
            id: p.id.clone(),
            ports: p.ports.clone(),
            cpus_milli: p.spec.cpus_milli,
            memory: p.spec.memory_bytes,
            exclusive: p.lease.is_some(),
        });
        living.collect()
    }

    /// The runs that live, and whether each answers.
    pub(crate) fn living_runs(&self, now: Duration) -> Vec<(RunId, bool)> {
        let inner = self.lock();
        inner.runs.values().filter(|p| p.is_alive()).map(|p| (p.id.clone(), p.pulse(now).is_ok())).collect()
    }

    /// Until when something bad has happened to any run, the loss of power included; in the future if it lasts.
    pub(crate) fn harmed(&self) -> Duration {
        self.lock().harmed
    }

    /// Runs that were killed because they ignored SIGTERM, since it was asked last.
    pub(crate) fn kills_of_deaf(&self) -> u64 {
        std::mem::take(&mut self.lock().deaf)
    }

    /// Runs that were told to end while they answered, and when, since it was asked last.
    pub(crate) fn told_to_end(&self) -> Vec<(RunId, Duration)> {
        std::mem::take(&mut self.lock().told)
    }

    /// Number of runs that live, without a look at them.
    pub(crate) fn revision(&self) -> (usize, u32) {
        let inner = self.lock();
        (inner.runs.values().filter(|p| p.is_alive()).count(), inner.last_pid)
    }

    /// When the newest run of a task that `chosen` picks ended, if none of them lives: what was behind a name.
    pub(crate) fn dead_since(&self, chosen: impl Fn(&RunId, &[u16]) -> bool) -> Dead {
        let inner = self.lock();
        let now = inner.runs.values().filter(|p| chosen(&p.id, &p.ports));
        let (living, ended): (Vec<_>, Vec<_>) = now.partition(|p| p.is_alive());
        if !living.is_empty() {
            return Dead::Lives;
        }
        let past = inner.past.iter().filter(|p| chosen(&p.id, &p.ports)).map(|p| p.ended);
        let last = ended.iter().filter_map(|p| p.ended_at).chain(past).max();
        last.map_or(Dead::NeverWas, Dead::Since)
    }

    /// Since when a live run of whom `chosen` picks has not answered although it once did, if it does not.
    pub(crate) fn ails_since(&self, now: Duration, chosen: impl Fn(&RunId, &[u16]) -> bool) -> Option<Duration> {
        let inner = self.lock();
        let process = inner.runs.values().find(|p| p.is_alive() && chosen(&p.id, &p.ports))?;
        (process.pulse(now).is_err() && now >= process.ready_at).then_some(process.ails_since)
    }

    /// The live run of whom `chosen` picks.
    pub(crate) fn living_one(&self, chosen: impl Fn(&RunId, &[u16]) -> bool) -> Option<RunId> {
        let inner = self.lock();
        inner.runs.values().find(|p| p.is_alive() && chosen(&p.id, &p.ports)).map(|p| p.id.clone())
    }

    /// When the run began and whether it has answered since it was ready: it serves.
    pub(crate) fn serves_since(&self, now: Duration, run: &RunId) -> Option<Duration> {
        let inner = self.lock();
        let process = inner.runs.get(run.as_str()).filter(|p| p.pulse(now).is_ok())?;
        Some(process.ready_at.max(process.hangs_until).max(process.fails_health_until).max(process.started))
    }
}

/// Something bad that happens to a task.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ill {
    Crash,
    /// Its shim is killed, and it dies; it leaves something that lives on.
    LoseShim {
        leaves: bool,
    },
    Hang(Duration),
    IgnoreTerm,
    FailHealth(Duration),
}

/// What has become of what was behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dead {
    /// It lives.
    Lives,
    /// The last one ended then.
    Since(Duration),
    /// There has never been one.
    NeverWas,
}
