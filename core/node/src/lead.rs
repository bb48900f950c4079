//! What the leader does: plans and commits placements, confirms deaths by its own probes, lets voters grow.

use crate::{
    node::Core,
    wire::{Ask, Told},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use taffeta_model::{Bug, Command, Liveness, Millis, NodeId, Outcome, TaskId, planted};
use taffeta_scheduler::{MemberView, Observed, Plan, RingView, plan};
use taffeta_store::voters::{self, Candidate, Change};
use tokio::time::{sleep, sleep_until};

/// The leader plans at least this often, whatever happens.
const TURN_EVERY: Duration = Duration::from_millis(500);
/// A probe of a machine that seems dead.
const PROBE_LIMIT: Duration = Duration::from_millis(700);
/// How long a failed probe counts; then it is made again.
const PROBE_VALID: Duration = Duration::from_secs(2);
/// How long one command of the plan may take.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// Pause after a voter change that failed.
const VOTERS_PAUSE: Duration = Duration::from_secs(1);

/// What the leader remembers between turns. A new leader begins with nothing: all that matters is in the state.
#[derive(Default)]
pub(crate) struct Lead {
    since: Option<(u64, Millis)>,
    /// When the leader first saw a report in its phase.
    first_seen: BTreeMap<(TaskId, NodeId), (Observed, Millis)>,
}

impl Core {
    /// Leads whenever this node is the leader.
    pub(crate) async fn run_lead(self: Arc<Self>) {
        let mut lead = Lead::default();
        let mut applied = self.store.watch();
        let (mut ring, mut sets, mut consensus) = (self.ring.watch(), self.gossip.watch(), self.consensus.subscribe());
        loop {
            let mut wake = tokio::time::Instant::now() + TURN_EVERY;
            let known = consensus.borrow_and_update().clone();
            applied.borrow_and_update();
            ring.borrow_and_update();
            sets.borrow_and_update();
            let able = !planted(Bug::NeverLeadAgain) || known.leader.is_some_and(|(_, term)| term <= 1);
            if known.leads && able && !*self.leaving.borrow() {
                let term = known.leader.map_or(0, |(_, term)| term);
                if lead.since.is_none_or(|(led, _)| led != term) {
                    tracing::info!(term, "this node leads");
                    lead = Lead { since: Some((term, self.now())), ..Lead::default() };
                }
                if let Some(at) = self.lead_once(&mut lead).await {
                    wake = wake.min(self.epoch + Duration::from_millis(at.0));
                }
            } else {
                lead = Lead::default();
                self.waiting.store(Arc::default());
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                changed = ring.changed() => if changed.is_err() { return },
                changed = sets.changed() => if changed.is_err() { return },
                changed = consensus.changed() => if changed.is_err() { return },
                () = self.probed.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    async fn lead_once(self: &Arc<Self>, lead: &mut Lead) -> Option<Millis> {
        let view = self.ring_view(lead);
        let now = self.now();
        let Plan { commands, waiting, probe, wake_at } = self.store.read(|state| plan(now, state, &view));
        self.waiting.store(Arc::new(waiting));
        for node in probe {
            self.probe(node);
        }
        for command in commands.into_iter().chain(self.refreshes()) {
            let described: String = format!("{command:?}").chars().take(300).collect();
            match self.store.write(command, WRITE_LIMIT).await {
                Ok(Outcome::Done(_)) => {
                    tracing::info!(command = described, "decided");
                }
                Ok(Outcome::Refused(why)) => tracing::debug!(%why, "a decision was outdated"),
                Err(error) => {
                    tracing::warn!(%error, "a decision could not be written");
                    break;
                }
            }
        }
        self.grow_voters();
        wake_at
    }

    /// The scheduler's view: what the ring, the catalogue and the leader's own probes say.
    pub(crate) fn ring_view(&self, lead: &mut Lead) -> RingView {
        let (ring, sets, now) = (self.ring.state(), self.gossip.sets(), self.now());
        let dead = self.dead(now);
        let mut members: BTreeMap<NodeId, MemberView> = BTreeMap::new();
        for (id, member) in &ring.members {
            let since = member.suspect_since.unwrap_or(member.since);
            let mut view = MemberView { liveness: member.liveness, since, confirmed_dead: dead.contains(id) };
            if planted(Bug::BelieveHearsay) {
                (view.since, view.confirmed_dead) = (Millis(0), true);
            }
            members.insert(*id, view);
        }
        members.insert(self.me, MemberView { liveness: Liveness::Alive, since: Millis(0), confirmed_dead: false });
        let unseen_dead = dead.iter().filter(|id| !members.contains_key(id)).copied().collect();
        let mut observed: BTreeMap<TaskId, Vec<Observed>> = BTreeMap::new();
        let mut first_seen = BTreeMap::new();
        for (owner, set) in sets.iter() {
            for record in &set.records {
                let key = (record.task.clone(), *owner);
                let mut report = Observed {
                    node: *owner,
                    fence: record.fence,
                    phase: record.phase,
                    exit: record.exit.clone(),
                    since: Millis(0), // compared without it
                };
                let since = lead.first_seen.get(&key).filter(|(seen, _)| *seen == report).map_or(now, |(_, at)| *at);
                first_seen.insert(key, (report.clone(), since));
                report.since = since;
                observed.entry(record.task.clone()).or_default().push(report);
            }
        }
        lead.first_seen = first_seen;
        let leader_since = lead.since.map_or(now, |(_, at)| at);
        RingView { members, unseen_dead, observed, leader_since }
    }

    /// Nodes that did not answer the leader's own probes lately.
    fn dead(&self, now: Millis) -> BTreeSet<NodeId> {
        let failed = self.failed_probes.lock().expect("no panic while it is held");
        failed.iter().filter(|(_, at)| now.since(**at) < PROBE_VALID * 2).map(|(id, _)| *id).collect()
    }

    /// Probes a node that seems dead: by ourselves, then through another voter. One probe at a time.
    fn probe(self: &Arc<Self>, node: NodeId) {
        let now = self.now();
        {
            let failed = self.failed_probes.lock().expect("no panic while it is held");
            let fresh = failed.get(&node).is_some_and(|at| now.since(*at) < PROBE_VALID);
            let mut probing = self.probing.lock().expect("no panic while it is held");
            if fresh || !probing.insert(node) {
                return;
            }
        }
        let core = Arc::clone(self);
        tokio::spawn(async move {
            let alive = core.answers(node).await;
            {
                let mut failed = core.failed_probes.lock().expect("no panic while it is held");
                if alive {
                    failed.remove(&node);
                } else {
                    failed.insert(node, core.now());
                }
                core.probing.lock().expect("no panic while it is held").remove(&node);
            }
            core.probed.notify_one();
        });
    }

    async fn answers(&self, node: NodeId) -> bool {
        if matches!(self.ask(node, &Ask::Ping, PROBE_LIMIT).await, Ok(Told::Yes)) {
            return true;
        }
        let ring = self.ring.state();
        let voters = self.consensus.borrow().voters.clone();
        let alive = |id: &NodeId| *id != self.me && *id != node && ring.liveness(*id) == Some(Liveness::Alive);
        let through = voters.into_iter().chain(ring.alive()).find(alive);
        let Some(through) = through else { return false };
        matches!(self.ask(through, &Ask::PingVia(node), PROBE_LIMIT * 2).await, Ok(Told::Yes))
    }

    /// Members that describe themselves otherwise than the state does: they moved or were changed.
    fn refreshes(&self) -> Vec<Command> {
        let sets = self.gossip.sets();
        self.store.read(|state| {
            let changed = sets.iter().filter_map(|(id, set)| {
                let (member, info) = (state.members.get(id)?, &set.info);
                let same = member.address == info.address
                    && member.capacity == info.capacity
                    && member.attributes == info.attributes
                    && member.zone == info.zone;
                let taken = state.members.values().any(|m| m.id != *id && m.address == info.address);
                (!same && !taken).then(|| Command::Refresh {
                    node: *id,
                    address: info.address,
                    capacity: info.capacity,
                    attributes: info.attributes.clone(),
                    zone: info.zone.clone(),
                })
            });
            changed.collect()
        })
    }

    /// Makes the next change of who votes, one at a time.
    fn grow_voters(self: &Arc<Self>) {
        let leadership = self.store.leadership();
        let ring = self.ring.state();
        let mut members = self.store.read(|state| {
            let all = state.members.values();
            all.map(|m| (m.joined, m.id, m.address)).collect::<Vec<_>>()
        });
        members.sort();
        let alive = |id: &NodeId| *id == self.me || ring.liveness(*id) == Some(Liveness::Alive);
        let candidates: Vec<Candidate> =
            members.iter().map(|(_, id, _)| Candidate { id: *id, alive: alive(id) }).collect();
        let change = voters::plan(&candidates, &leadership.voters, &leadership.learners, &leadership.caught_up);
        let Some(change) = change else { return };
        let Ok(permit) = Arc::clone(&self.changing_voters).try_acquire_owned() else { return };
        let address = match &change {
            Change::AddLearner(node) => members.iter().find(|(_, id, _)| id == node).map(|(_, _, address)| *address),
            Change::SetVoters(_) => None,
        };
        let store = self.store.clone();
        tokio::spawn(async move {
            tracing::info!(?change, "who votes is changed");
            let changed = tokio::time::timeout(Duration::from_secs(30), store.change_voters(change, address)).await;
            if let Ok(Err(error)) = changed {
                tracing::warn!(error, "the voters could not be changed");
                sleep(VOTERS_PAUSE).await;
            }
            drop(permit);
        });
    }
}
