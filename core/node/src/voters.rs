//! Who votes, on the leader: what the pure rule says is done, one change at a time.

use crate::{misdeed::wrong_change, node::Core};
use std::{sync::Arc, time::Duration};
use taffeta_model::{Liveness, Millis, NodeId};
use taffeta_store::{
    MembershipPosition,
    voters::{Candidate, Change, Evidence, Observation, plan, plan_departure},
};
use tokio::time::{Instant, sleep, timeout};

/// How long one change may take; what is then half done is finished by the next plan, or by the next leader.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);
/// Pause after a change that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a node that stops waits for a stand-by to have its vote: a new leader first hears of who follows.
const DEPART_LIMIT: Duration = Duration::from_millis(1_200);
const DEPART_PAUSE: Duration = Duration::from_millis(30);

impl Core {
    /// A new leader has seen nothing yet.
    pub(crate) fn forget_evidence(&self) {
        *self.evidence.lock().expect("no panic while it is held") = Evidence::default();
    }

    /// Makes the next change of who votes, if any. It goes on by itself; until it is done there is no other.
    pub(crate) fn reconcile_voters(self: &Arc<Self>) {
        let Ok(permit) = Arc::clone(&self.changing_voters).try_acquire_owned() else { return };
        let Some((change, seen)) = self.plan_voters(plan) else { return };
        let core = Arc::clone(self);
        tokio::spawn(async move {
            if !core.change_voters(change, seen).await {
                sleep(PAUSE).await;
            }
            drop(permit);
        });
    }

    /// Looks, remembers, and asks the rule. Gives the change with the membership that it was planned for.
    fn plan_voters(
        &self,
        rule: impl FnOnce(Millis, &Observation, &Evidence) -> Option<Change>,
    ) -> Option<(Change, MembershipPosition)> {
        let (now, leadership, ring) = (self.now(), self.store.leadership(), self.ring.state());
        let mut members = self.store.read(|state| {
            let all = state.members.values();
            all.map(|m| (m.joined, m.id, m.zone.clone())).collect::<Vec<_>>()
        });
        members.sort();
        let liveness = |id| if id == self.me { Liveness::Alive } else { ring.liveness(id).unwrap_or(Liveness::Down) };
        let members = members.into_iter().map(|(_, id, zone)| Candidate { id, zone, liveness: liveness(id) }).collect();
        let seen = leadership.observed(self.me, members);
        let mut evidence = self.evidence.lock().expect("no panic while it is held");
        evidence.observe(now, &seen);
        let change = wrong_change(&seen).or_else(|| rule(now, &seen, &evidence))?;
        evidence.note_change(now, &change);
        Some((change, leadership.position))
    }

    async fn change_voters(&self, change: Change, seen: MembershipPosition) -> bool {
        let address = match &change {
            Change::AddLearner(node) => self.store.read(|state| state.members.get(node).map(|m| m.address)),
            Change::Finish(_) | Change::RemoveLearner(_) | Change::SetVoters { .. } => None,
        };
        tracing::info!(?change, "who votes is changed");
        match timeout(CHANGE_LIMIT, self.store.change_voters(change, address, seen)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(error, "the voters could not be changed");
                false
            }
            Err(_) => {
                tracing::warn!("the change of the voters takes long; it may still take effect");
                false
            }
        }
    }

    /// A node is about to stop; this one leads. Gives whether the node has no vote any more.
    pub(crate) async fn let_depart(&self, node: NodeId) -> bool {
        let deadline = Instant::now() + DEPART_LIMIT;
        let permit = timeout(DEPART_LIMIT, self.changing_voters.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return false };
        loop {
            let known = self.store.leadership();
            if known.is_leader && known.committed && !known.voters.contains(&node) {
                return true;
            }
            // Who stops may hear of a new leader before that one has written its first entry.
            let hopeless = known.is_leader && known.learners.is_empty();
            if hopeless || Instant::now() >= deadline {
                return false;
            }
            let planned = self.plan_voters(|now, seen, evidence| plan_departure(now, seen, evidence, node));
            let made = match planned {
                Some((change, seen)) => {
                    let now = self.now();
                    self.evidence.lock().expect("no panic while it is held").note_leaving(now, node);
                    self.change_voters(change, seen).await
                }
                None => false,
            };
            if !made {
                sleep(DEPART_PAUSE).await;
            }
        }
    }
}
