//! A machine's tasks without processes: they become ready, crash, hang, ignore SIGTERM and end, all on virtual time.
//! They outlive the agent, as real ones do under their shims.

use crate::{
    time::Run,
    trace::{Event, fnv},
};
use rand::{RngExt, rngs::SmallRng};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use taffeta_agent::RunId;
use taffeta_isolation_plan::{Found, FoundState, TaskSpec, Usage};
use taffeta_model::{BootMillis, Bug, Exit, ShippedFile, UnixMillis, planted};
use tokio::sync::watch;

/// SIGTERM.
const TERMINATE: i32 = 15;

/// Variable of the agent that lists a run's ports, as `http=31022,admin=9000`.
const PORTS_VARIABLE: &str = "TAFFETA_PORTS";

/// A simulated task uses this part of a processor, and of its memory.
const BUSY: u32 = 4;

/// When a task is ready that never will be.
const NEVER: Duration = Duration::MAX;

/// All runs of one machine.
#[derive(Debug)]
pub(crate) struct Tasks {
    run: Arc<Run>,
    place: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    rng: SmallRng,
    runs: BTreeMap<String, Process>,
    last_pid: u32,
    /// Runs that ended and were forgotten, for whoever asks what was behind an address: at most [`PAST_MAX`].
    past: Vec<Past>,
    /// Runs that were killed because they ignored SIGTERM, and were not counted yet.
    deaf: u64,
    /// Runs that were told to end while they answered, and when, and were not counted yet.
    told: Vec<(RunId, Duration)>,
    /// Runs of exclusive tasks whose lease ran out, and were not counted yet.
    run_out: u64,
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
    exit: watch::Sender<Option<Exit>>,
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
            () if !self.is_alive() || now < self.ready_at => Err("connection refused".into()),
            () if now < self.hangs_until => Err(HANGS.into()),
            () if now < self.fails_health_until => Err("503 Service Unavailable".into()),
            () => Ok(()),
        }
    }

    fn end(&mut self, now: Duration, exit: Exit) {
        self.ended_at = Some(now);
        self.ends = None;
        self.exit.send_replace(Some(exit));
    }
}

/// How a batch task ends, which it says in its arguments; `None` for a service.
fn batch(rng: &mut SmallRng, run: &[String]) -> Option<Exit> {
    let kind = run.first().filter(|program| *program == "batch").and_then(|_| run.get(1))?;
    Some(Exit::Code(match kind.as_str() {
        "good" => 0,
        "fails" => 3,
        _ => i32::from(rng.random_bool(0.4)),
    }))
}

/// A machine's clock of leases: it is true, whatever else of its time is not.
pub(crate) fn boot_time(now: Duration) -> BootMillis {
    BootMillis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// What a process that hangs says.
pub(crate) const HANGS: &str = "no answer in time";

impl Tasks {
    pub(crate) fn new(run: Arc<Run>, place: u64, rng: SmallRng) -> Arc<Self> {
        let inner = Inner {
            rng,
            runs: BTreeMap::new(),
            last_pid: 1_000,
            past: vec![],
            deaf: 0,
            told: vec![],
            run_out: 0,
            harmed: Duration::ZERO,
        };
        Arc::new(Self { run, place, inner: Mutex::new(inner) })
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

    /// Makes a process; the one that is there if the run has one; how it ended if it has had one.
    pub(crate) fn start(&self, now: Duration, at: UnixMillis, spec: TaskSpec) -> Result<(u32, UnixMillis), Exit> {
        let inner = &mut *self.lock();
        if let Some(known) = inner.runs.get(&spec.run_id) {
            let exit = known.exit.borrow().clone();
            return if known.lost { Err(Exit::Lost) } else { exit.map_or(Ok((known.pid, known.started_at)), Err) };
        }
        let Ok(id) = spec.run_id.parse::<RunId>() else { return Err(Exit::NotStarted("not a run".into())) };
        inner.last_pid += 1;
        let rng = &mut inner.rng;
        let readies = Duration::from_millis(rng.random_range(5..400));
        let sick = spec.run.first().is_some_and(|program| program == "sick");
        let ready_at = if sick { NEVER } else { now + readies };
        let listed = spec.env.get(PORTS_VARIABLE).map(String::as_str).unwrap_or_default();
        let ports = listed.split(',').filter_map(|port| port.split_once('=')?.1.parse().ok()).collect();
        let ends = batch(rng, &spec.run).map(|code| (now + Duration::from_millis(rng.random_range(50..3_000)), code));
        let process = Process {
            id,
            pid: inner.last_pid,
            ports,
            started: now,
            started_at: at,
            ready_at,
            ends,
            hangs_until: Duration::ZERO,
            fails_health_until: Duration::ZERO,
            ails_since: Duration::ZERO,
            ignores_term: false,
            lease: spec.lease.map(|until| (until, false)),
            exit: watch::Sender::new(None),
            ended_at: None,
            lost: false,
            spec,
        };
        let (pid, name) = (process.pid, process.spec.run_id.clone());
        self.run.note(now, Event::Start, self.place, u64::from(pid), fnv(name.as_bytes()));
        inner.runs.insert(name, process);
        Ok((pid, at))
    }

    /// Ends what is due.
    pub(crate) fn step(&self, now: Duration) {
        let inner = &mut *self.lock();
        self.keep_leases(now, inner);
        for process in inner.runs.values_mut().filter(|p| p.is_alive()) {
            // A process that hangs gets to nothing by itself.
            let due = process.ends.as_ref().is_some_and(|(at, _)| *at <= now && now >= process.hangs_until);
            if let Some((_, exit)) = process.ends.take_if(|_| due) {
                self.run.note(now, Event::End, self.place, u64::from(process.pid), 0);
                process.end(now, exit);
            }
        }
    }

    /// What the shims of exclusive tasks do at the ends of leases, whether or not there is an agent.
    fn keep_leases(&self, now: Duration, inner: &mut Inner) {
        let Inner { rng, runs, run_out, .. } = inner;
        for process in runs.values_mut().filter(|p| p.is_alive()) {
            let Some((until, told)) = &mut process.lease else { continue };
            let left = until.left(boot_time(now));
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
        let lease = inner.runs.get_mut(run_id).and_then(|process| process.lease.as_mut());
        lease.map(|(known, _)| *known = until.max(*known)).is_some()
    }

    /// Runs of exclusive tasks whose lease ran out, since it was asked last.
    pub(crate) fn leases_run_out(&self) -> u64 {
        std::mem::take(&mut self.lock().run_out)
    }

    /// How the run ends; at once if there is none.
    pub(crate) fn exit_of(&self, run_id: &str) -> Option<watch::Receiver<Option<Exit>>> {
        let inner = self.lock();
        let process = inner.runs.get(run_id).filter(|p| !p.lost)?;
        Some(process.exit.subscribe())
    }

    /// Sends a signal; `None` if there is no such run, `false` if it has ended.
    pub(crate) fn signal(&self, now: Duration, run_id: &str, signal: i32) -> Option<bool> {
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

    /// What an agent finds that was just started.
    pub(crate) fn recover(&self) -> Vec<Found> {
        let inner = self.lock();
        let found = inner.runs.values().map(|process| Found {
            run_id: process.spec.run_id.clone(),
            spec: TaskSpec { files: BTreeMap::new(), ..process.spec.clone() },
            state: match &*process.exit.borrow() {
                _ if process.lost => FoundState::Lost,
                Some(exit) => FoundState::Exited { exit: exit.clone(), at: process.started_at, words: None },
                None => FoundState::Running { pid: process.pid, started_at: process.started_at },
            },
        });
        found.collect()
    }

    /// The machine goes down with all that runs on it.
    pub(crate) fn power_off(&self, now: Duration) {
        let inner = &mut *self.lock();
        inner.harmed = inner.harmed.max(now);
        for process in inner.runs.values_mut().filter(|p| p.is_alive()) {
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
            Ill::Crash | Ill::IgnoreTerm => now,
            Ill::Hang(until) | Ill::FailHealth(until) => until,
        };
        inner.harmed = inner.harmed.max(until);
        for process in inner.runs.values_mut().filter(|p| p.is_alive() && chosen(&p.id)) {
            count += 1;
            if process.pulse(now).is_ok() {
                process.ails_since = now;
            }
            match ill {
                Ill::Crash => {
                    self.run.note(now, Event::End, self.place, u64::from(process.pid), 1);
                    process.end(now, Exit::Code(1));
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
