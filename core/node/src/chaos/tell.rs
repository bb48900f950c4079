//! Who hears of faults: this node's events, and the other nodes.

use super::serve::ChaosAsk;
use crate::{
    api::{CHAOS_LASTS_MS_MAX, FaultState, FaultView},
    node::Core,
};
use std::time::Duration;
use taffeta_model::{ChaosBlock, Liveness, NodeId};

/// How long the others may take to hear of a fault: it may be that they are cut off in a moment.
const TELL_LIMIT: Duration = Duration::from_millis(300);

impl Core {
    /// Lets the others know of a fault of this node, as far as they can be reached in a moment. Gives those that were not.
    pub(super) async fn tell_others(&self, view: FaultView, left: Duration) -> Vec<NodeId> {
        // Who was cut off holds all others for dead for a while after the end.
        let over = view.state == FaultState::Undone;
        let others = self.others().into_iter().filter(|id| over || self.met(*id) != Some(Liveness::Down));
        self.tell_these(others.collect(), &view, left, TELL_LIMIT).await
    }

    /// Lets these know. Gives those that were not reached.
    pub(super) async fn tell_these(
        &self,
        nodes: Vec<NodeId>,
        view: &FaultView,
        left: Duration,
        limit: Duration,
    ) -> Vec<NodeId> {
        let millis = u64::try_from(left.as_millis()).unwrap_or(CHAOS_LASTS_MS_MAX);
        let ask = &ChaosAsk::Notice(view.clone(), millis);
        let told = nodes
            .into_iter()
            .map(|id| async move { self.ask_chaos::<serde_json::Value>(id, ask, limit).await.err().map(|_| id) });
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
