//! Shims that are killed alone. The task's main process dies with its shim; what it has started besides may live on until
//! somebody finds that the shim is gone, kills that, and calls the run lost: an agent that was connected, at once, or the
//! next one.

use super::{Process, Tasks};
use crate::trace::Event;
use std::time::Duration;
use taffeta_agent::RunId;
use taffeta_isolation_plan::{Found, FoundState, TaskSpec};
use taffeta_model::{Bug, Exit, planted};

/// What whoever waits for a run hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Runs,
    /// Its shim is gone without a word, and nobody has looked yet what became of the task.
    HungUp,
    Ended(Exit),
}

/// What has happened to starts and shims, since it was asked last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// An agent died after it asked for a start, before there was anything.
    pub(crate) starts_lost: u64,
    /// A process was made after the agent had died that had begun it.
    pub(crate) starts_unseen: u64,
    /// A process was there and its agent died before it was told.
    pub(crate) starts_untold: u64,
    /// A shim was killed while it made the process of its task.
    pub(crate) shims_killed_in_start: u64,
    /// A shim was killed.
    pub(crate) shims_killed: u64,
    /// What such a shim left was killed by the agent that heard of it.
    pub(crate) orphans_killed: u64,
    /// The same by an agent that found it when it was started.
    pub(crate) orphans_found: u64,
}

impl Process {
    /// Whether its shim is gone and nobody has looked.
    pub(super) fn is_hung_up(&self) -> bool {
        *self.news.borrow() == News::HungUp
    }

    /// Its shim is killed. An exclusive task leaves nothing: the pid namespace that it is in dies with the shim.
    pub(super) fn lose_shim(&mut self, now: Duration, leaves: bool) {
        self.ends = None;
        if leaves && self.lease.is_none() {
            self.orphaned = Some(now);
        } else {
            self.ended_at = Some(now);
        }
        self.news.send_replace(News::HungUp);
    }

    /// Kills what the shim has left and makes the end final; whether there was anything to kill.
    pub(super) fn settle(&mut self, now: Duration) -> bool {
        let orphan = self.orphaned.is_some() && self.is_alive();
        if !planted(Bug::KeepOrphans) {
            self.ended_at.get_or_insert(now);
        }
        self.lost = true;
        self.news.send_replace(News::Ended(Exit::Lost));
        orphan
    }
}

impl Tasks {
    /// An agent looks at a run whose shim has hung up.
    pub(crate) fn settle(&self, now: Duration, run_id: &str) {
        let inner = &mut *self.lock();
        let Some(process) = inner.runs.get_mut(run_id).filter(|process| process.is_hung_up()) else { return };
        self.run.note(now, Event::End, self.place, u64::from(process.pid), 2);
        inner.seen.orphans_killed += u64::from(process.settle(now));
    }

    /// What an agent finds that was just started.
    pub(crate) fn recover(&self, now: Duration) -> Vec<Found> {
        let inner = &mut *self.lock();
        for process in inner.runs.values_mut().filter(|process| process.is_hung_up()) {
            self.run.note(now, Event::End, self.place, u64::from(process.pid), 3);
            inner.seen.orphans_found += u64::from(process.settle(now));
        }
        let found = inner.runs.values().map(|process| Found {
            run_id: process.spec.run_id.clone(),
            spec: TaskSpec { files: [].into(), ..process.spec.clone() },
            state: match &*process.news.borrow() {
                _ if process.lost => FoundState::Lost,
                News::Ended(exit) => FoundState::Exited { exit: exit.clone(), at: process.started_at, words: None },
                News::Runs | News::HungUp => FoundState::Running { pid: process.pid, started_at: process.started_at },
            },
        });
        found.collect()
    }

    /// What has happened to starts and shims, since it was asked last.
    pub(crate) fn seen(&self) -> Seen {
        std::mem::take(&mut self.lock().seen)
    }

    /// What lives without a shim, and since when.
    pub(crate) fn orphans(&self) -> Vec<(RunId, Duration)> {
        let inner = self.lock();
        let orphans = inner.runs.values().filter(|process| process.is_alive());
        orphans.filter_map(|process| Some((process.id.clone(), process.orphaned?))).collect()
    }

    /// Whatever has succeeded may be begun again.
    pub(crate) fn forget_successes(&self) {
        self.lock().finished.clear();
    }

    /// A run that was begun although its batch task had succeeded under the same placement.
    pub(crate) fn begun_again(&self) -> Option<RunId> {
        self.lock().again.clone()
    }
}
