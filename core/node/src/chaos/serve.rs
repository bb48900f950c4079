//! What nodes ask of one another about faults.

use crate::{
    api::{ApiError, CHAOS_LASTS_MS_MAX, ChaosBlockView, ChaosNodeView, ErrorCode, FaultRequest, FaultView},
    node::Core,
    wire::{Ask, Told},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use taffeta_model::NodeId;

/// How long another node may take to say what is broken there.
pub(super) const VIEW_LIMIT: Duration = Duration::from_millis(1_500);
/// How long a fault may take to begin or to end: people and their clients wait for 10 s.
pub(super) const DO_LIMIT: Duration = Duration::from_secs(7);
/// The same where another node does it.
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(9);
/// Pause between two looks at what the keeper has done.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a node asks another one, as JSON: what is told of faults grows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ChaosAsk {
    /// What is broken at yours, and what could be?
    View,
    /// Bring this about at yours; the token decides.
    Begin(String, FaultRequest),
    /// End this fault of yours.
    End(String),
    /// End all of yours, and begin none until it is allowed again.
    Stop(ChaosBlockView, u64),
    /// It is allowed again.
    Allow,
    /// A fault of mine, which stays for so many milliseconds.
    Notice(FaultView, u64),
}

/// What a node says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OwnView {
    pub(super) blocked: Option<ChaosBlockView>,
    pub(super) node: ChaosNodeView,
    pub(super) faults: Vec<FaultView>,
}

pub(super) fn invalid(field: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Invalid, message).field(field)
}

pub(super) fn failed(what: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::Failed, what.to_string())
}

pub(super) fn unknown(id: &str) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("no fault `{id}` is known")).help("`taffeta chaos status` lists them")
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(failed)
}

impl Core {
    pub(super) async fn ask_chaos<T: DeserializeOwned>(
        &self,
        node: NodeId,
        ask: &ChaosAsk,
        limit: Duration,
    ) -> Result<T, ApiError> {
        match self.ask(node, &Ask::Chaos(json(ask)?), limit).await {
            Ok(Told::Document(document)) => serde_json::from_slice(&document?).map_err(failed),
            Ok(_) => Err(failed("an unexpected reply")),
            Err(e) => Err(failed(format!("{} does not answer: {e}", self.name_of(node)))),
        }
    }

    /// Answers another node.
    pub(crate) async fn answer_chaos(self: &Arc<Self>, from: NodeId, ask: &[u8]) -> Told {
        let answer = match serde_json::from_slice(ask) {
            Ok(ChaosAsk::View) => json(&self.own_chaos_view()),
            Ok(ChaosAsk::Begin(token, request)) => match self.begin_fault(token, request).await {
                Ok(view) => json(&view),
                Err(e) => Err(e),
            },
            Ok(ChaosAsk::End(id)) => match self.end_fault_here(&id).await {
                Ok(view) => json(&view),
                Err(e) => Err(e),
            },
            Ok(ChaosAsk::Stop(block, at)) => json(&self.stop_here(Some(block), at).await),
            Ok(ChaosAsk::Allow) => json(&self.stop_here(None, 0).await),
            Ok(ChaosAsk::Notice(view, left)) => {
                let view = FaultView { node: self.name_of(from), ..view };
                if self.heard_faults.hear(from, view.clone(), Duration::from_millis(left.min(CHAOS_LASTS_MS_MAX))) {
                    self.tell_fault(&view);
                    if let Some(chaos) = &self.chaos {
                        chaos.news.notify_one(); // it is waited for that it is taken back
                    }
                }
                json(&())
            }
            Err(e) => Err(failed(format!("this node does not understand that about faults: {e}"))),
        };
        Told::Document(answer)
    }
}
