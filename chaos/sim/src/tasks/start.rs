//! Starts, and the instants at which an agent may die over one: before there is anything, while the shim that it has begun
//! makes the process, which goes on without it, and before it was told that there is one. The shim may die over it as well.

use super::{Inner, NEVER, PORTS_VARIABLE, Process, Tasks, batch, shim::News};
use crate::trace::{Event, fnv};
use rand::RngExt;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use taffeta_agent::RunId;
use taffeta_isolation_plan::TaskSpec;
use taffeta_model::{Exit, UnixMillis};
use tokio::sync::watch;

/// How far a start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It was asked for, and there is nothing yet.
    Asked,
    /// There is a shim, which makes the process whether or not its agent lives.
    Begun,
    /// There is a process, and its agent was not told.
    Made,
}

impl Stage {
    pub(crate) const ALL: [Self; 3] = [Self::Asked, Self::Begun, Self::Made];
}

/// A shim that makes a process.
#[derive(Debug)]
pub(super) struct Birth {
    spec: TaskSpec,
    at: UnixMillis,
    due: Duration,
    /// Whether its agent has died meanwhile.
    left: bool,
}

/// Why there is no process of a run that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotMade {
    /// It has ended, or an earlier start's has.
    Ended(Exit),
    /// The shim died over it: nothing is left of the start.
    ShimDied,
}

/// A start for whose outcome an agent waits.
pub(crate) struct Waiting {
    tasks: Arc<Tasks>,
    dead: Arc<AtomicBool>,
    run_id: String,
}

impl Waiting {
    pub(crate) fn reach(&self, stage: Stage) {
        self.tasks.lock().starts.insert(self.run_id.clone(), stage);
    }

    /// The agent was told.
    pub(crate) fn end(self) {
        self.tasks.lock().starts.remove(&self.run_id);
    }
}

impl Drop for Waiting {
    /// Nobody waits any more: it was told, or it died.
    fn drop(&mut self) {
        let inner = &mut *self.tasks.lock();
        let Some(stage) = inner.starts.remove(&self.run_id).filter(|_| self.dead.load(Ordering::Relaxed)) else {
            return;
        };
        match stage {
            Stage::Asked => inner.seen.starts_lost += 1,
            Stage::Begun => {
                if let Some(birth) = inner.births.get_mut(&self.run_id) {
                    birth.left = true;
                }
            }
            Stage::Made => inner.seen.starts_untold += 1,
        }
    }
}

impl Tasks {
    /// A start is asked for, by an agent that is `dead` once its process was killed.
    pub(crate) fn ask(self: &Arc<Self>, run_id: &str, dead: &Arc<AtomicBool>) -> Waiting {
        self.lock().starts.insert(run_id.into(), Stage::Asked);
        Waiting { tasks: Arc::clone(self), dead: Arc::clone(dead), run_id: run_id.into() }
    }

    /// How far the starts have come that are under way.
    pub(crate) fn starts(&self) -> BTreeMap<String, Stage> {
        self.lock().starts.clone()
    }

    /// A shim begins to make the process, which is there when it is `due`; nothing if the run has or had one.
    pub(crate) fn begin(&self, due: Duration, at: UnixMillis, spec: TaskSpec) {
        let inner = &mut *self.lock();
        if !inner.runs.contains_key(&spec.run_id) {
            let name = spec.run_id.clone();
            inner.births.entry(name).or_insert(Birth { spec, at, due, left: false });
        }
    }

    /// Whether a shim makes a process at this moment: whoever looks for runs waits until it is known what becomes of it.
    pub(crate) fn is_making(&self) -> bool {
        !self.lock().births.is_empty()
    }

    /// A shim is killed while it makes the process: whoever waits for that hears of it. False if none is at it.
    pub(crate) fn lose_birth(&self, now: Duration, run_id: &str) -> bool {
        let inner = &mut *self.lock();
        let lost = inner.births.remove(run_id).is_some();
        if lost {
            inner.harmed = inner.harmed.max(now);
            inner.seen.shims_killed_in_start += 1;
            self.run.note(now, Event::End, self.place, fnv(run_id.as_bytes()), 5);
        }
        lost
    }

    /// What has become of a run that was begun.
    pub(crate) fn made(&self, now: Duration, run_id: &str) -> Result<(u32, UnixMillis), NotMade> {
        let inner = &mut *self.lock();
        if let Some(birth) = inner.births.remove(run_id) {
            self.make(now, birth, inner);
        }
        let Some(known) = inner.runs.get(run_id) else { return Err(NotMade::ShimDied) };
        match &*known.news.borrow() {
            _ if known.lost => Err(NotMade::Ended(Exit::Lost)),
            News::Runs | News::HungUp => Ok((known.pid, known.started_at)),
            News::Ended(exit) => Err(NotMade::Ended(exit.clone())),
        }
    }

    /// Makes what is due and was not waited for.
    pub(super) fn make_due(&self, now: Duration, inner: &mut Inner) {
        let due: Vec<String> = inner.births.iter().filter(|(_, b)| b.due <= now).map(|(run, _)| run.clone()).collect();
        for birth in due.into_iter().filter_map(|run| inner.births.remove(&run)).collect::<Vec<_>>() {
            inner.seen.starts_unseen += u64::from(birth.left);
            self.make(now, birth, inner);
        }
    }

    fn make(&self, now: Duration, birth: Birth, inner: &mut Inner) {
        let Birth { spec, at, .. } = birth;
        let Ok(id) = spec.run_id.parse::<RunId>() else { return };
        inner.last_pid += 1;
        let rng = &mut inner.rng;
        let readies = Duration::from_millis(rng.random_range(5..400));
        let sick = spec.run.first().is_some_and(|program| program == "sick");
        let ready_at = if sick { NEVER } else { now + readies };
        let listed = spec.env.get(PORTS_VARIABLE).map(String::as_str).unwrap_or_default();
        let ports = listed.split(',').filter_map(|port| port.split_once('=')?.1.parse().ok()).collect();
        let ends = batch(rng, &spec.run).map(|code| (now + Duration::from_millis(rng.random_range(50..3_000)), code));
        if inner.finished.contains(&(id.task(), id.fence())) {
            inner.again.get_or_insert_with(|| id.clone());
        }
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
            news: watch::Sender::new(News::Runs),
            orphaned: None,
            ended_at: None,
            lost: false,
            spec,
        };
        let (pid, name) = (process.pid, process.spec.run_id.clone());
        self.run.note(now, Event::Start, self.place, u64::from(pid), fnv(name.as_bytes()));
        inner.runs.insert(name, process);
    }
}
