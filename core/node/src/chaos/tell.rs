//! Who hears of faults: this node's events, and the other nodes.

use super::serve::ChaosAsk;
use crate::{
    api::{CHAOS_LASTS_MS_MAX, FaultState, FaultView},
    node::Core,
};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use taffeta_model::{ChaosBlock, Liveness, NodeId};
use tokio::time::{Instant, sleep};

/// How long the others may take to hear of a fault: it may be that they are cut off in a moment.
const TELL_LIMIT: Duration = Duration::from_millis(300);
/// Pause before those are told again who could not be reached, and how long they may take then.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the end of a fault is told beyond its time: it may be the fault that kept others from hearing it.
const LATE: Duration = Duration::from_secs(20);

impl Core {
    /// Lets the others know of a fault of this node, as far as they can be reached in a moment. Gives those that were not.
    pub(super) async fn tell_others(&self, view: FaultView, left: Duration) -> Vec<NodeId> {
        self.tell_these(self.others(), &view, left, TELL_LIMIT).await
    }

    /// Goes on to tell those that were not reached, until all have heard it or it is not so any more.
    pub(super) fn keep_telling(self: &Arc<Self>, view: FaultView, left: Duration, unheard: Vec<NodeId>) {
        let late = if view.state == FaultState::Undone { LATE } else { Duration::ZERO };
        tokio::spawn(tell_again(Arc::downgrade(self), view, Instant::now() + left + late, unheard));
    }

    /// Whether this is what was told last of a fault of this node.
    fn is_still_so(&self, view: &FaultView) -> bool {
        let told = self.chaos.as_ref().and_then(|chaos| chaos.inside().told.get(&view.id).copied());
        told.unwrap_or(FaultState::Undone) == view.state
    }

    /// Lets these know. Gives those that were not reached.
    async fn tell_these(&self, nodes: Vec<NodeId>, view: &FaultView, left: Duration, limit: Duration) -> Vec<NodeId> {
        let millis = u64::try_from(left.as_millis()).unwrap_or(CHAOS_LASTS_MS_MAX);
        let ask = &ChaosAsk::Notice(view.clone(), millis);
        // Who was cut off holds all others for dead for a while after the end.
        let over = view.state == FaultState::Undone;
        let told = nodes.into_iter().map(|id| async move {
            if !over && self.met(id) == Some(Liveness::Down) {
                return Some(id);
            }
            self.ask_chaos::<serde_json::Value>(id, ask, limit).await.err().map(|_| id)
        });
        futures::future::join_all(told).await.into_iter().flatten().collect()
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

async fn tell_again(core: Weak<Core>, view: FaultView, until: Instant, mut unheard: Vec<NodeId>) {
    while !unheard.is_empty() && Instant::now() < until {
        sleep(AGAIN).await;
        let Some(core) = core.upgrade().filter(|core| core.is_still_so(&view)) else { return };
        let left = until.saturating_duration_since(Instant::now());
        unheard = core.tell_these(unheard, &view, left, AGAIN).await;
    }
}
