//! Leases of exclusive tasks: how a machine has them renewed, and when the leader gives a task to another machine.
//!
//! Never twice at once, also across a partition, stands on four things:
//!
//! - A machine runs such a task only until the end of a lease, which it counts from when it *asked* for it.
//! - The leader grants one only for a placement that its state has, notes the time of the grant together with that look,
//!   and answers only after a quorum has confirmed, in a round that began after the question came in, that it still leads.
//! - It takes a lease for ended ([`Command::Release`]) only if its state has another place for the task, or none, so that no
//!   more grants can follow, and if since its last grant, and since it began to lead, the lease has passed and a tenth more,
//!   for clocks that differ. Nobody else gets the task before.
//! - What an earlier leader granted needs no record. A majority of the voters confirmed it after the question, and one of
//!   them at least voted for the present leader, later: so the question was asked before that began to lead.
//!
//! A machine that is rid of a task says so, and nobody waits: an update or a drain takes no longer than the task's own end.
//! It counts only if the machine obeys a set at least as new as the placement; that set does not list the task, and as no
//! older one is ever obeyed again, nothing of that placement can come back.

use crate::{
    node::Core,
    wire::{Ask, LeaseAsk, LeaseTold, Told},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use taffeta_agent::{Grant, Needs};
use taffeta_model::{Bug, Command, Fence, LEASE_EVERY, Leased, Millis, NodeId, Outcome, Place, State, TaskId, planted};
use tokio::time::{sleep_until, timeout};

/// Most tasks in one question: more are asked for in several.
pub(crate) const ASKED_MAX: usize = 1_000;
/// How long an answer may take: shorter than the time to the next question, so that one loss costs one renewal.
const ASK_LIMIT: Duration = Duration::from_millis(1_500);
/// How long the quorum may take to confirm the leader.
const CONFIRM_LIMIT: Duration = Duration::from_secs(1);
/// How long a release may take to be written.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);
/// Between two questions at least: a machine that is given many tasks asks for several at once.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause after a question that was not answered.
const AGAIN: Duration = Duration::from_millis(250);
/// Most leases that one command ends.
const RELEASED_MAX: usize = 500;

/// What a node remembers of leases while it leads.
#[derive(Default)]
pub(crate) struct Leases {
    table: Mutex<Table>,
    rounds: Rounds,
}

#[derive(Default)]
struct Table {
    /// Since when this node leads.
    since: Millis,
    /// When each task was granted a lease last; for leases of the state only, which bounds it.
    granted: BTreeMap<TaskId, Millis>,
}

impl Leases {
    /// This node leads from now on.
    pub(crate) fn begin(&self, now: Millis) {
        let mut table = self.table.lock().expect("no panic while it is held");
        if planted(Bug::ForgetLeases) {
            return table.granted.clear();
        }
        table.since = now;
    }
}

impl Table {
    /// Whether everything that was granted for the task has ended.
    fn has_passed(&self, now: Millis, task: &TaskId, leased: &Leased) -> bool {
        let last = self.granted.get(task).copied().unwrap_or_default().max(self.since);
        let clocks_differ = if planted(Bug::IgnoreDrift) { Duration::ZERO } else { leased.lasts / 10 };
        now.since(last) >= leased.lasts + clocks_differ
    }
}

/// Whether the state has the task there under the placement of its lease: then it may be granted.
fn is_there(state: &State, task: &TaskId, leased: &Leased) -> bool {
    let place = state.tasks.get(task).map(|task| &task.place);
    matches!(place, Some(Place::On { node, fence }) if (*node, *fence) == (leased.node, leased.fence))
}

/// Confirmations by the quorum, one after the other. Whoever comes while one is under way shares the next with all others
/// that do.
#[derive(Default)]
struct Rounds {
    begun: AtomicU64,
    /// The last one that ended, and whether it confirmed.
    ended: tokio::sync::Mutex<(u64, bool)>,
}

impl Rounds {
    /// Whether a round that begins from now on confirms.
    async fn pass(&self, confirm: impl Future<Output = bool>) -> bool {
        let before = self.begun.load(Ordering::SeqCst);
        let mut ended = self.ended.lock().await;
        if ended.0 > before {
            return ended.1;
        }
        let round = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let confirmed = confirm.await;
        *ended = (round, confirmed);
        confirmed
    }
}

impl Core {
    /// Answers a question about leases; `None` if this node does not lead.
    pub(crate) async fn answer_lease(&self, from: NodeId, ask: &LeaseAsk) -> Option<LeaseTold> {
        let alone = planted(Bug::GrantAlone);
        if !(self.consensus.borrow().leads || alone) || ask.held.len().max(ask.rid.len()) > ASKED_MAX {
            return None;
        }
        let known = self.release_told(from, ask).await;
        let granted = self.note_grants(from, &ask.held);
        if !granted.is_empty() && !alone {
            let confirm = async { self.store.confirm_leadership(CONFIRM_LIMIT).await.is_ok() };
            if !self.leases.rounds.pass(confirm).await {
                return None;
            }
        }
        Some(LeaseTold { granted, known })
    }

    /// What may be granted. The look at the state and the note of the time are one step: whoever finds later that the task is
    /// not there any more finds the note, too.
    fn note_grants(&self, to: NodeId, held: &[(TaskId, Fence)]) -> Vec<(TaskId, Fence, Duration)> {
        let now = self.now();
        let mut table = self.leases.table.lock().expect("no panic while it is held");
        self.store.read(|state| {
            let grant = |(task, fence): &(TaskId, Fence)| {
                let leased = state.leased.get(task)?;
                let right = (leased.node, leased.fence) == (to, *fence) && is_there(state, task, leased);
                right.then(|| {
                    table.granted.insert(task.clone(), now);
                    (task.clone(), *fence, leased.lasts)
                })
            };
            held.iter().filter_map(grant).collect()
        })
    }

    /// Ends the leases of tasks that the machine is rid of; gives those of which there is nothing more to tell.
    async fn release_told(&self, from: NodeId, ask: &LeaseAsk) -> Vec<TaskId> {
        if ask.rid.is_empty() {
            return vec![];
        }
        let (over, ended) = self.store.read(|state| {
            let theirs = |task: &&TaskId| state.leased.get(*task).is_some_and(|leased| leased.node == from);
            let (theirs, over): (Vec<&TaskId>, Vec<&TaskId>) = ask.rid.iter().partition(theirs);
            let ended = theirs.into_iter().filter_map(|task| {
                let leased = state.leased.get(task)?;
                // A newer placement that it does not know of yet is another matter.
                (ask.obeyed >= leased.fence && !is_there(state, task, leased)).then(|| (task.clone(), leased.fence))
            });
            (over.into_iter().cloned().collect::<Vec<_>>(), ended.collect::<Vec<_>>())
        });
        if ended.is_empty() {
            return over;
        }
        let released: Vec<TaskId> = ended.iter().map(|(task, _)| task.clone()).collect();
        match self.store.write(Command::Release(ended), RELEASE_LIMIT).await {
            Ok(Outcome::Done(_)) => {
                tracing::info!(count = released.len(), "a machine is rid of exclusive tasks");
                over.into_iter().chain(released).collect()
            }
            Ok(Outcome::Refused(_)) | Err(_) => over, // it tells again
        }
    }

    /// Leases that have ended by the time that has passed.
    pub(crate) fn leases_that_ended(&self, now: Millis) -> Option<Command> {
        let mut table = self.leases.table.lock().expect("no panic while it is held");
        let ended = self.store.read(|state| {
            table.granted.retain(|task, _| state.leased.contains_key(task));
            let ended = |(task, leased): &(&TaskId, &Leased)| {
                !is_there(state, task, leased) && table.has_passed(now, task, leased)
            };
            let ended = state.leased.iter().filter(ended).take(RELEASED_MAX);
            ended.map(|(task, leased)| (task.clone(), leased.fence)).collect::<Vec<_>>()
        });
        (!ended.is_empty()).then_some(Command::Release(ended))
    }

    /// Has the leases of this node's exclusive tasks renewed for as long as it has any.
    pub(crate) async fn run_leases(self: Arc<Self>) {
        let mut needs = self.tasks.needs();
        loop {
            let wanted = needs.borrow_and_update().clone();
            if wanted.is_empty() {
                if needs.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let asked = tokio::time::Instant::now();
            let answered = self.renew_leases(&wanted).await;
            let pause = if answered { LEASE_EVERY } else { AGAIN };
            let until = if answered { asked + pause } else { tokio::time::Instant::now() + pause };
            tokio::select! {
                changed = needs.changed() => if changed.is_err() { return },
                () = sleep_until(until) => {}
            }
            sleep_until(asked + PAUSE).await;
        }
    }

    /// Asks and tells, once; whether all of it was answered.
    async fn renew_leases(&self, needs: &Needs) -> bool {
        let Some(obeyed) = needs.obeyed else { return false };
        let questions = needs.held.len().max(needs.rid.len()).div_ceil(ASKED_MAX);
        for i in 0..questions {
            let part = |len: usize| (i * ASKED_MAX).min(len)..((i + 1) * ASKED_MAX).min(len);
            let (held, rid) = (&needs.held[part(needs.held.len())], &needs.rid[part(needs.rid.len())]);
            let ask = LeaseAsk { obeyed, held: held.to_vec(), rid: rid.to_vec() };
            // Leases count from here.
            let (sent, stamp) = (self.now(), self.executor.boot_time());
            let Some(LeaseTold { granted, known }) = self.ask_lease(ask).await else { return false };
            let grants = granted.into_iter().filter(|(task, fence, _)| held.contains(&(task.clone(), *fence)));
            let grants =
                grants.map(|(task, fence, lasts)| Grant { task, fence, until: sent + lasts, stamp: stamp + lasts });
            self.tasks.granted(grants.collect(), known).await;
        }
        true
    }

    async fn ask_lease(&self, ask: LeaseAsk) -> Option<LeaseTold> {
        let leader = self.consensus.borrow().leader.map(|(leader, _)| leader);
        let leader = leader.or_else(|| planted(Bug::GrantAlone).then_some(self.me))?;
        if leader == self.me {
            return timeout(ASK_LIMIT, self.answer_lease(self.me, &ask)).await.ok()?;
        }
        match self.ask(leader, &Ask::Lease(ask), ASK_LIMIT).await {
            Ok(Told::Leases(told)) => Some(told),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%leader, %error, "leases could not be renewed");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
