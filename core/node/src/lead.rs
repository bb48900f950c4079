//! What the leader does: plans and commits placements, confirms deaths by its own probes, and reconciles who votes.

use crate::{
    consensus::Consensus,
    node::Core,
    wire::{Ask, Told},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use taffeta_catalogue::Held;
use taffeta_model::{Bug, Command, Liveness, Millis, NodeId, Outcome, TaskRecord, planted};
use taffeta_scheduler::{MemberView, Observed, Plan, RingView, Scheduler};
use tokio::time::{sleep_until, timeout};

/// Between two plans at least: whatever is written meanwhile, thousands of commands under load, is planned for at once.
const TURN_PAUSE: Duration = Duration::from_millis(10);
/// The leader plans at least this often, whatever happens.
const TURN_EVERY: Duration = Duration::from_millis(500);
/// A probe of a machine that seems dead.
const PROBE_LIMIT: Duration = Duration::from_millis(700);
/// How long a failed probe counts; then it is made again.
const PROBE_VALID: Duration = Duration::from_secs(2);
/// How long one command of the plan may take.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// What the leader remembers between turns. A new leader begins with nothing: all that matters is in the state.
struct Lead {
    term: u64,
    view: RingView,
    scheduler: Scheduler,
    /// The sets that `view` has, by owner.
    sets: BTreeMap<NodeId, Arc<Held>>,
}

impl Lead {
    fn new(term: u64, since: Millis) -> Self {
        Self { term, view: RingView::new(since), scheduler: Scheduler::new(), sets: BTreeMap::new() }
    }
}

/// Takes back what the owner said in one set and not in the records of a newer one; both are ordered by task.
fn withdraw(view: &mut RingView, owner: NodeId, set: &Held, newer: &[Arc<TaskRecord>]) {
    for record in &set.records {
        if newer.binary_search_by(|other| other.task.cmp(&record.task)).is_err() {
            view.withdraw(&record.task, owner);
        }
    }
}

impl Core {
    /// Leads whenever this node is the leader.
    pub(crate) async fn run_lead(self: Arc<Self>) {
        let mut lead: Option<Lead> = None;
        let mut applied = self.store.watch();
        let (mut ring, mut sets, mut consensus) = (self.ring.watch(), self.gossip.watch(), self.consensus.subscribe());
        loop {
            let turn = tokio::time::Instant::now();
            let mut wake = self.next_beat(TURN_EVERY);
            let known = consensus.borrow_and_update().clone();
            applied.borrow_and_update();
            ring.borrow_and_update();
            sets.borrow_and_update();
            let able = !planted(Bug::NeverLeadAgain) || known.leader.is_some_and(|(_, term)| term <= 1);
            if known.leads && able && !*self.leaving.borrow() {
                let term = known.leader.map_or(0, |(_, term)| term);
                if lead.as_ref().is_none_or(|lead| lead.term != term) {
                    tracing::info!(term, "this node leads");
                    // Who led before has been asked for what is committed only now, and waits for the next heartbeat.
                    self.store.announce().await;
                    self.forget_evidence();
                    self.leases.begin(self.now());
                    lead = None;
                }
                let lead = lead.get_or_insert_with(|| Lead::new(term, self.now()));
                if let Some(at) = self.lead_once(lead).await {
                    wake = wake.min(self.epoch + Duration::from_millis(at.0));
                }
            } else {
                lead = None;
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
            sleep_until(turn + TURN_PAUSE).await;
        }
    }

    async fn lead_once(self: &Arc<Self>, lead: &mut Lead) -> Option<Millis> {
        let Ok(_turn) = timeout(WRITE_LIMIT, self.planning.lock()).await else { return None };
        self.look(lead);
        let (now, Lead { view, scheduler, .. }) = (self.now(), lead);
        let Plan { commands, waiting, probe, wake_at } = self.store.read(|state| scheduler.plan(now, state, view));
        self.waiting.store(waiting);
        for node in probe {
            self.probe(node);
        }
        let ended = self.leases_that_ended(now);
        for command in
            commands.into_iter().chain(ended).chain(self.refreshes()).chain(self.births()).chain(self.new_level())
        {
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
        self.reconcile_voters();
        wake_at
    }

    /// The scheduler's view: what the ring, the catalogue and the leader's own probes say. Only what has changed since the
    /// last turn is read.
    fn look(&self, lead: &mut Lead) {
        let (ring, sets, now) = (self.ring.state(), self.gossip.sets(), self.now());
        let dead = self.dead(now);
        lead.view.see_date(self.clock.date());
        for (id, member) in &ring.members {
            let since = member.suspect_since.unwrap_or(member.since);
            let avoided = self.is_unsteady(*id, now);
            let mut view = MemberView { liveness: member.liveness, since, confirmed_dead: dead.contains(id), avoided };
            if planted(Bug::BelieveHearsay) {
                (view.since, view.confirmed_dead) = (Millis(0), true);
            }
            lead.view.see(*id, Some(view));
        }
        let me = MemberView { liveness: Liveness::Alive, since: Millis(0), confirmed_dead: false, avoided: false };
        lead.view.see(self.me, Some(me));
        let told = |id: &NodeId| *id == self.me || ring.members.contains_key(id);
        let gone: Vec<NodeId> = lead.view.members().map(|(id, _)| id).filter(|id| !told(id)).collect();
        gone.into_iter().for_each(|id| lead.view.see(id, None));
        lead.view.see_unseen_dead(dead.into_iter().filter(|id| !told(id)).collect());
        let gone: Vec<NodeId> = lead.sets.keys().filter(|owner| !sets.contains_key(*owner)).copied().collect();
        for owner in gone {
            lead.sets.remove(&owner).iter().for_each(|set| withdraw(&mut lead.view, owner, set, &[]));
        }
        for (owner, set) in sets.iter() {
            let known = lead.sets.get(owner);
            if known.is_some_and(|known| Arc::ptr_eq(known, set)) {
                continue;
            }
            if let Some(known) = lead.sets.insert(*owner, Arc::clone(set)) {
                withdraw(&mut lead.view, *owner, &known, &set.records);
            }
            for record in &set.records {
                let TaskRecord { fence, phase, exit, serving, .. } = &**record;
                let (fence, phase, exit, serving) = (*fence, *phase, exit.clone(), *serving);
                let report = Observed { node: *owner, fence, phase, exit, serving, since: now };
                lead.view.report(&record.task, report);
            }
        }
    }

    /// The scheduler's view as one that has just begun to lead would have it.
    pub(crate) fn ring_view(&self) -> RingView {
        let mut lead = Lead::new(0, self.now());
        self.look(&mut lead);
        lead.view
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
                    && (member.capacity, &member.custom) == (info.capacity, &info.custom)
                    && member.attributes == info.attributes
                    && member.zone == info.zone;
                let taken = state.members.values().any(|m| m.id != *id && m.address == info.address);
                (!same && !taken).then(|| Command::Refresh {
                    node: *id,
                    address: info.address,
                    capacity: info.capacity,
                    custom: info.custom.clone(),
                    attributes: info.attributes.clone(),
                    zone: info.zone.clone(),
                })
            });
            changed.collect()
        })
    }

    /// The version that all members speak now, if it is a higher one. A member that has not told what it speaks, since it
    /// is down, holds it back: it may come back as the binary that it was.
    fn new_level(&self) -> Option<Command> {
        let sets = self.gossip.sets();
        self.store.read(|state| {
            let spoken = state.members.keys().map(|id| sets.get(id).map_or(1, |set| set.info.speaks.max)).min()?;
            let spoken = if planted(Bug::RaiseLevelEarly) { self.info.speaks.max } else { spoken };
            (spoken > state.spoken_level()).then_some(Command::RaiseLevel(spoken))
        })
    }

    /// Lives of those who take part in consensus that the state does not have yet. Only there they outlast the restart of
    /// all who have heard them.
    fn births(&self) -> Vec<Command> {
        let Consensus { voters, learners, .. } = self.consensus.borrow().clone();
        self.store.read(|state| {
            if state.spoken_level() < 2 && !planted(Bug::WriteAboveLevel) {
                return vec![];
            }
            let new = voters.into_iter().chain(learners).filter_map(|node| {
                let life = if node == self.me { self.lives.me() } else { self.lives.of(node)? };
                let known = state.lives.get(&node);
                let newer = known.is_none_or(|known| life != *known && !life.is_over(known));
                (newer && state.members.contains_key(&node)).then_some(Command::Started { node, life })
            });
            new.collect()
        })
    }
}
