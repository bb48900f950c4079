//! Faults of other nodes, as these have told: so that every node can warn of them, also while their own cannot answer.
//!
//! What a node has not taken back long after its end is not forgotten: it is told that nobody confirms its undoing, until
//! the node says so itself or is no member any more.

use crate::api::{FaultState, FaultView};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use taffeta_model::NodeId;
use tokio::time::Instant;

/// Most that are kept: more than a ring under test has.
const HEARD_MAX: usize = 1_000;

/// A node that heals tells so within this time after the end, or is too far gone to do so.
const LATE: Duration = Duration::from_secs(30);

/// What is told of a fault from then on.
const UNCONFIRMED: &str = "its machine has not said that it is undone, and may be down or cut off";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct HeardFaults(Mutex<BTreeMap<(NodeId, String), (FaultView, Instant)>>);

impl HeardFaults {
    /// A node tells of a fault of its own that stays for `left`. Gives whether that is news.
    pub(crate) fn hear(&self, from: NodeId, view: FaultView, left: Duration) -> bool {
        let (key, now) = ((from, view.id.clone()), Instant::now());
        let mut heard = self.lock();
        if view.state == FaultState::Undone {
            return heard.remove(&key).is_some();
        }
        if heard.len() >= HEARD_MAX {
            heard.retain(|_, (_, until)| *until > now); // rather what is on than what has become of the past
        }
        if heard.len() >= HEARD_MAX && !heard.contains_key(&key) {
            return false;
        }
        let before = heard.insert(key, (view.clone(), now + left + LATE));
        before.is_none_or(|(before, _)| before.state != view.state)
    }

    /// What a node says itself of all of its faults: what it has undone, or knows nothing of long after the end, is over.
    /// Gives those whose undoing is news: the node's own word of it may come later, and is none any more.
    pub(crate) fn settle(&self, from: NodeId, told: &[FaultView]) -> Vec<FaultView> {
        let (now, mut news) = (Instant::now(), vec![]);
        self.lock().retain(|(node, id), (_, until)| {
            let Some(view) = told.iter().find(|view| *node == from && view.id == *id) else {
                return *node != from || *until > now;
            };
            let undone = view.state == FaultState::Undone;
            news.extend(undone.then(|| view.clone()));
            !undone
        });
        news
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The nodes that have not taken back in time what they told.
    pub(crate) fn overdue(&self) -> BTreeSet<NodeId> {
        let now = Instant::now();
        self.lock().iter().filter(|(_, (_, until))| *until <= now).map(|((from, _), _)| *from).collect()
    }

    /// Those of the nodes that this chooses.
    pub(crate) fn of(&self, chosen: impl Fn(NodeId) -> bool) -> Vec<FaultView> {
        let now = Instant::now();
        let view = |(view, until): &(FaultView, Instant)| match *until > now {
            true => view.clone(),
            false => FaultView { state: FaultState::NotUndone, error: Some(UNCONFIRMED.into()), ..view.clone() },
        };
        self.lock().iter().filter(|((from, _), _)| chosen(*from)).map(|(_, heard)| view(heard)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(NodeId, String), (FaultView, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taffeta_chaos_plan::Fault;

    fn view(state: FaultState) -> FaultView {
        FaultView {
            id: "00000001".into(),
            run: "r".into(),
            node: "n2".into(),
            fault: Fault::Pause,
            backend: "signal".into(),
            commands: vec![],
            peers: vec![],
            task: None,
            begun_at: String::new(),
            ends_at: String::new(),
            state,
            error: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_machine_takes_back_is_told_as_not_undone_and_never_forgotten() {
        let (heard, n2) = (HeardFaults::default(), NodeId(2));
        assert!(heard.hear(n2, view(FaultState::Active), Duration::from_secs(5)), "news");
        let states = || heard.of(|node| node == n2).into_iter().map(|view| view.state).collect::<Vec<_>>();
        assert_eq!(states(), [FaultState::Active]);
        assert!(heard.of(|node| node != n2).is_empty());
        assert_eq!(heard.settle(n2, &[]), []); // asked in the moment between its word and its deed
        assert_eq!(states(), [FaultState::Active]);
        tokio::time::advance(Duration::from_secs(5) + LATE).await;
        assert_eq!(states(), [FaultState::NotUndone]);
        assert_eq!(heard.overdue(), [n2].into());
        assert!(heard.of(|_| true)[0].error.as_ref().is_some_and(|why| why.contains("has not said")));
        tokio::time::advance(Duration::from_hours(5)).await;
        assert_eq!(states(), [FaultState::NotUndone], "nobody has said otherwise");
        assert!(heard.hear(n2, view(FaultState::Undone), Duration::ZERO), "news");
        assert_eq!(states(), []);
        // One that answers and has undone it, or knows nothing of it.
        for told in [vec![view(FaultState::Undone)], vec![]] {
            heard.hear(n2, view(FaultState::Active), Duration::ZERO);
            tokio::time::advance(LATE).await;
            assert_eq!(heard.settle(n2, &told), told, "whoever asks first tells of it");
            assert_eq!(states(), []);
            assert!(!heard.hear(n2, view(FaultState::Undone), Duration::ZERO), "and nobody tells it twice");
        }
    }
}
