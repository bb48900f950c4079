//! Virtual time: one for the whole run, and each machine's own idea of it.

use crate::trace::{Event, Trace};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use taffeta_model::UnixMillis;
use taffeta_net::Clock;
use tokio::time::Instant;

/// The date at which every run begins: 2026-01-01 in UTC. Certificates are valid around it.
const BEGIN: Duration = Duration::from_millis(1_767_225_600_000);

/// The true date at this time of the run.
pub(crate) fn date(at: Duration) -> UnixMillis {
    UnixMillis(u64::try_from((BEGIN + at).as_millis()).unwrap_or(u64::MAX))
}

/// Time and trace of a run. All machines share it; only the simulator's own thread uses it.
#[derive(Debug)]
pub(crate) struct Run {
    now: AtomicU64,
    trace: Mutex<Trace>,
}

impl Run {
    pub(crate) fn new(trace: Trace) -> Arc<Self> {
        Arc::new(Self { now: AtomicU64::new(0), trace: Mutex::new(trace) })
    }

    /// Time at the beginning of the present step.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_nanos(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn set_now(&self, now: Duration) {
        self.now.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn note(&self, at: Duration, event: Event, place: u64, size: u64, detail: u64) {
        self.with_trace(|trace| trace.note(at, event, place, size, detail));
    }

    pub(crate) fn with_trace<T>(&self, look: impl FnOnce(&mut Trace) -> T) -> T {
        look(&mut self.trace.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The clock of one life of a process: its runtime's virtual time, tied to the run's.
#[derive(Debug)]
pub(crate) struct ProcessTime {
    run: Arc<Run>,
    /// The process's own time at the beginning of the present step.
    step_began: Mutex<Instant>,
}

impl ProcessTime {
    /// To be called inside of the process's runtime.
    pub(crate) fn new(run: Arc<Run>) -> Self {
        Self { run, step_began: Mutex::new(Instant::now()) }
    }

    /// A step begins, at this time of the process's own.
    pub(crate) fn begin_step(&self, at: Instant) {
        *self.step_began.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// The run's time, inside of a step of the process.
    pub(crate) fn now(&self) -> Duration {
        let began = *self.step_began.lock().unwrap_or_else(PoisonError::into_inner);
        self.run.now() + began.elapsed()
    }
}

/// A machine's calendar: the run's date and an offset, which a fault may set.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    offset_ms: AtomicI64,
}

impl Calendar {
    pub(crate) fn set_offset(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }
}

/// The date as a process sees it.
#[derive(Debug)]
pub(crate) struct ProcessClock {
    pub(crate) time: Arc<ProcessTime>,
    pub(crate) calendar: Arc<Calendar>,
}

impl Clock for ProcessClock {
    fn date(&self) -> UnixMillis {
        let UnixMillis(true_date) = date(self.time.now());
        UnixMillis(true_date.saturating_add_signed(self.calendar.offset_ms.load(Ordering::Relaxed)))
    }
}
