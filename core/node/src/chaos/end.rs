//! How faults end before their time: one, or all of them everywhere, with none to follow.

use super::{
    Chaos,
    journal::is_id,
    serve::{ASK_LIMIT, ChaosAsk, DO_LIMIT, LOOK_EVERY, VIEW_LIMIT, failed, invalid, unknown},
};
use crate::{
    api::{ApiError, ChaosBlockView, ChaosStopRequest, ChaosStopView, ErrorCode, FaultState, FaultView},
    events::rfc3339,
    node::Core,
};
use std::sync::Arc;
use taffeta_model::{CHAOS_REASON_MAX, ChaosBlock, Command, NodeId, NodeName, UnixMillis};
use tokio::time::{Instant, sleep};

impl Core {
    /// Why no fault may be brought about.
    pub(crate) fn chaos_block(&self) -> Option<ChaosBlock> {
        let stored = self.directory.borrow().chaos.blocked.clone();
        stored.or_else(|| self.chaos.as_ref()?.inside().blocked.clone())
    }

    /// Ends a fault, wherever it is.
    pub(crate) async fn chaos_end(self: &Arc<Self>, id: String) -> Result<FaultView, ApiError> {
        if !is_id(&id) {
            return Err(unknown(&id));
        }
        let here = self.end_fault_here(&id).await;
        if !matches!(&here, Err(e) if e.code == ErrorCode::NotFound) {
            return here;
        }
        let ask = ChaosAsk::End(id.clone());
        let asked = self.others().into_iter().map(|other| self.ask_chaos(other, &ask, ASK_LIMIT));
        let answers: Vec<Result<FaultView, ApiError>> = futures::future::join_all(asked).await;
        // A node that does not answer may have it; who does not know it says so.
        let (known, silent): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        let other = silent.into_iter().filter_map(Result::err).find(|e| e.code != ErrorCode::NotFound);
        known.into_iter().next().unwrap_or_else(|| Err(other.unwrap_or_else(|| unknown(&id))))
    }

    pub(super) async fn end_fault_here(&self, id: &str) -> Result<FaultView, ApiError> {
        let chaos = self.chaos.as_ref().ok_or_else(|| unknown(id))?;
        let entry = chaos.journal.entry(id).filter(|_| is_id(id)).ok_or_else(|| unknown(id))?;
        if !entry.is_over() {
            chaos.journal.ask_for_end(id).map_err(failed)?;
        }
        self.wait_for_end(chaos, id).await.ok_or_else(|| unknown(id))
    }

    /// Waits until it is undone, or could not be.
    pub(super) async fn wait_for_end(&self, chaos: &Chaos, id: &str) -> Option<FaultView> {
        let deadline = Instant::now() + DO_LIMIT;
        loop {
            chaos.news.notify_one();
            let entry = chaos.journal.entry(id)?;
            let ended = entry.told.as_ref().is_some_and(|told| told.state != FaultState::Active);
            if ended || Instant::now() >= deadline {
                return Some(entry.view());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(super) fn ask_for_all_ends(&self) {
        let Some(chaos) = &self.chaos else { return };
        for entry in chaos.unfinished().iter().filter(|entry| !entry.to_end) {
            if let Err(error) = chaos.journal.ask_for_end(&entry.record.id) {
                tracing::error!(%error, "the end of a fault could not be asked for");
            }
        }
    }

    /// Ends all faults of this node and blocks new ones, or allows them again; gives those that are not undone.
    pub(super) async fn stop_here(&self, block: Option<ChaosBlockView>, at: u64) -> Vec<FaultView> {
        let Some(chaos) = &self.chaos else { return vec![] };
        let block = block.map(|block| ChaosBlock {
            // A name that cannot be read makes no stop an allowance.
            by: NodeName::new(block.by).unwrap_or_else(|_| self.name().clone()),
            at: UnixMillis(at),
            reason: block.reason.chars().take(CHAOS_REASON_MAX).collect(),
        });
        let stops = block.is_some();
        chaos.inside().blocked = block;
        chaos.news.notify_one();
        if !stops {
            return vec![];
        }
        self.ask_for_all_ends();
        let left = chaos.unfinished();
        let waiting = left.iter().map(|entry| self.wait_for_end(chaos, &entry.record.id));
        let ended = futures::future::join_all(waiting).await;
        ended.into_iter().flatten().filter(|view| view.state != FaultState::Undone).collect()
    }

    /// Ends all faults everywhere and blocks new ones.
    pub(crate) async fn chaos_stop(self: &Arc<Self>, request: ChaosStopRequest) -> Result<ChaosStopView, ApiError> {
        let length = request.reason.chars().count();
        if length > CHAOS_REASON_MAX {
            return Err(invalid("reason", format!("{length} characters; at most {CHAOS_REASON_MAX} are kept")));
        }
        let at = self.clock.date();
        let block = ChaosBlock { by: self.name().clone(), at, reason: request.reason };
        // Everybody is asked at once, whether or not it can be written down.
        let stored = self.submit(Command::BlockChaos(Some(block.clone())));
        let (view, me) = (block_view(block), self.name().to_string());
        let ask = &ChaosAsk::Stop(view.clone(), at.0);
        let others = self.others().into_iter();
        let asked = others.map(|id| async move { (id, self.ask_chaos(id, ask, ASK_LIMIT).await) });
        let here = self.stop_here(Some(view), at.0);
        let (stored, left, answers) = tokio::join!(stored, here, futures::future::join_all(asked));
        let mut told = ChaosStopView { stored: stored.is_ok(), ..ChaosStopView::default() };
        let answers: Vec<(NodeId, Result<Vec<FaultView>, ApiError>)> = answers;
        for (name, answer) in answers.into_iter().map(|(id, answer)| (self.name_of(id), answer)).chain([(me, Ok(left))])
        {
            match answer {
                Ok(left) if left.is_empty() => told.stopped.push(name),
                Ok(left) => told.not_undone.extend(left),
                Err(_) => told.unreachable.push(name),
            }
        }
        told.stopped.sort();
        told.unreachable.sort();
        Ok(told)
    }

    /// Lets faults be brought about again.
    pub(crate) async fn chaos_allow(self: &Arc<Self>) -> Result<(), ApiError> {
        self.submit(Command::BlockChaos(None)).await?;
        let asked =
            self.others().into_iter().map(|id| self.ask_chaos::<serde_json::Value>(id, &ChaosAsk::Allow, VIEW_LIMIT));
        let asked = asked.collect::<Vec<_>>();
        let (_, told) = tokio::join!(self.stop_here(None, 0), futures::future::join_all(asked));
        drop(told); // who does not hear it now reads it in the directory
        Ok(())
    }
}

pub(super) fn block_view(block: ChaosBlock) -> ChaosBlockView {
    ChaosBlockView { by: block.by.to_string(), at: rfc3339(block.at), reason: block.reason }
}
