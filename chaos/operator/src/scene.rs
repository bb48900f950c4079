//! What the parts of a run share: its clock, who is struck at the moment, and what was seen.

use crate::timeline::{Request, Timeline};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Shared by all parts of a run. Clones are the same scene.
#[derive(Clone, Debug)]
pub(crate) struct Scene(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// Machines that neither serve nor vote, with the number of faults that silence them.
    silent: Mutex<BTreeMap<String, usize>>,
    timeline: Mutex<Timeline>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { start: Instant::now(), silent: Mutex::default(), timeline: Mutex::default() }))
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// A machine is silenced by one fault more.
    pub(crate) fn silence(&self, node: &str) {
        *locked(&self.0.silent).entry(node.into()).or_default() += 1;
    }

    /// One fault that silenced it is over.
    pub(crate) fn let_speak(&self, node: &str) {
        let mut silent = locked(&self.0.silent);
        if let Some(count) = silent.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                silent.remove(node);
            }
        }
    }

    /// The machines that are silenced now.
    pub(crate) fn silent(&self) -> Vec<String> {
        locked(&self.0.silent).keys().cloned().collect()
    }

    pub(crate) fn timeline(&self) -> MutexGuard<'_, Timeline> {
        locked(&self.0.timeline)
    }

    /// A request for this service, or of this writer, that has just ended.
    pub(crate) fn told(&self, request: Request, who: &str, outcome: Result<(), String>) {
        let now = self.now();
        self.timeline().add_request(now, request, who, outcome);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
