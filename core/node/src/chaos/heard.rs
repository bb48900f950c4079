//! Faults of other nodes, as these have told: so that every node can warn of them, also while their own cannot answer.

use crate::api::{FaultState, FaultView};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use taffeta_model::NodeId;
use tokio::time::Instant;

/// Most that are kept: more than a ring under test has.
const HEARD_MAX: usize = 1_000;

/// A node that heals tells so within this time after the end, or is too far gone to do so.
const LATE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct HeardFaults(Mutex<BTreeMap<(NodeId, String), (FaultView, Instant)>>);

impl HeardFaults {
    /// A node tells of a fault of its own that stays for `left`. Gives whether that is news.
    pub(crate) fn hear(&self, from: NodeId, view: FaultView, left: Duration) -> bool {
        let (key, now) = ((from, view.id.clone()), Instant::now());
        let mut heard = self.lock();
        heard.retain(|_, (_, until)| *until > now);
        if view.state == FaultState::Undone {
            return heard.remove(&key).is_some();
        }
        if heard.len() >= HEARD_MAX && !heard.contains_key(&key) {
            return false;
        }
        let before = heard.insert(key, (view.clone(), now + left + LATE));
        before.is_none_or(|(before, _)| before.state != view.state)
    }

    /// Those of nodes other than these.
    pub(crate) fn without(&self, answering: &[NodeId]) -> Vec<FaultView> {
        let now = Instant::now();
        let others = |((from, _), (_, until)): &(&(NodeId, String), &(FaultView, Instant))| {
            *until > now && !answering.contains(from)
        };
        self.lock().iter().filter(others).map(|(_, (view, _))| view.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(NodeId, String), (FaultView, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
