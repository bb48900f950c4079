//! Keeps the DNS snapshot and the events up to date with what this node knows.

mod distance;
mod index;
#[cfg(test)]
mod index_tests;
mod known;

pub(crate) use index::LastHeard;

use self::{
    distance::{Distances, distance},
    index::Index,
    known::{Bugs, Known, UNMET_WAIT},
};
use crate::{consensus::Consensus, decisions::Decided, gossip::Sets, node::Core, ring::RingState, view::liveness_word};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taffeta_dns_answer::Change;
use taffeta_model::{Bug, Directory, Fence, Liveness, NodeId, planted};
use tokio::time::{Instant, sleep, sleep_until};

/// Pause after a snapshot, in multiples of what it took: it takes a tenth of the time at most. Changes that come meanwhile
/// make one snapshot.
const SETTLE_PAUSE: u32 = 10;
const SETTLE_MIN: Duration = Duration::from_micros(500);
const SETTLE_MAX: Duration = Duration::from_millis(5);
/// How often the distances of other machines are looked at.
const MEASURE_EVERY: Duration = Duration::from_secs(10);
/// While a node that was just started makes up its mind, it looks this often at what time alone changes.
const RECONSIDER: Duration = Duration::from_millis(500);
/// How long a node that was just started waits for the sets of all that are alive, before it answers without them.
const VIEW_WAIT: Duration = Duration::from_secs(3);
/// Least time from one telling of events to the next.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// And in multiples of what a telling takes: it walks all tasks where one of them may have changed.
const TELL_PAUSE: u32 = 10;

impl Core {
    /// Changes the snapshot whenever something that it is made of changes: at once after a pause, so that a lone change
    /// does not wait for others.
    pub(crate) async fn run_names(self: Arc<Self>) {
        let (mut ring, mut sets) = (self.ring.watch(), self.gossip.watch());
        let (mut directory, mut consensus) = (self.directory.subscribe(), self.consensus.subscribe());
        let (mut complete, mut spoken) = (self.gossip.complete(), self.spoken.subscribe());
        let mut index = Index::default();
        let (mut distances, mut measure_at) = (Arc::new(Distances::new()), Instant::now());
        loop {
            let begun = Instant::now();
            ring.borrow_and_update();
            sets.borrow_and_update();
            directory.borrow_and_update();
            consensus.borrow_and_update();
            complete.borrow_and_update();
            spoken.borrow_and_update();
            if begun >= measure_at {
                self.measure(&mut distances);
                measure_at = begun + MEASURE_EVERY;
            }
            self.change_names(&mut index, &distances);
            sleep((begun.elapsed() * SETTLE_PAUSE).clamp(SETTLE_MIN, SETTLE_MAX)).await;
            let wake = self.reconsider_at(&index).map_or(measure_at, |at| at.min(measure_at));
            tokio::select! {
                changed = ring.changed() => if changed.is_err() { return },
                changed = sets.changed() => if changed.is_err() { return },
                changed = directory.changed() => if changed.is_err() { return },
                changed = consensus.changed() => if changed.is_err() { return },
                changed = complete.changed() => if changed.is_err() { return },
                changed = spoken.changed() => if changed.is_err() { return },
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Tells events whenever something that they are about changes; apart from the names, which do not wait for it.
    pub(crate) async fn run_events(self: Arc<Self>) {
        let (mut ring, mut sets) = (self.ring.watch(), self.gossip.watch());
        let (mut directory, mut consensus) = (self.directory.subscribe(), self.consensus.subscribe());
        let (mut applied, mut told) = (self.store.watch(), Told::default());
        loop {
            let begun = Instant::now();
            ring.borrow_and_update();
            sets.borrow_and_update();
            directory.borrow_and_update();
            consensus.borrow_and_update();
            applied.borrow_and_update();
            self.tell_events(&mut told);
            sleep(TELL_EVERY.max(begun.elapsed() * TELL_PAUSE)).await;
            tokio::select! {
                changed = ring.changed() => if changed.is_err() { return },
                changed = sets.changed() => if changed.is_err() { return },
                changed = directory.changed() => if changed.is_err() { return },
                changed = consensus.changed() => if changed.is_err() { return },
                changed = applied.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Puts the next snapshot in the place of the present one, if there is a difference.
    fn change_names(&self, index: &mut Index, distances: &Arc<Distances>) {
        let known = self.known(Arc::clone(distances));
        let ready = self.has_view() && known.directory.members.contains_key(&self.me);
        let snapshot = self.names.load_full();
        let change = Change { ready, ..index.update(known, &snapshot) };
        self.heard.store(Arc::new(index.heard()));
        if change != snapshot.no_change() {
            let serial = snapshot.serial().wrapping_add(1);
            self.names.store(Arc::new(snapshot.changed(Change { serial, ..change })));
        }
    }

    /// Looks at the round trips to the other machines.
    fn measure(&self, distances: &mut Arc<Distances>) {
        let members = Arc::clone(&self.directory.borrow());
        let others = members.members.keys().filter(|id| **id != self.me);
        let step = |id: &NodeId| Some((*id, distance(self.net().round_trip(*id)?, distances.get(id).copied())));
        let now: Distances = others.filter_map(step).collect();
        if now != **distances {
            *distances = Arc::new(now);
        }
    }

    fn known(&self, distances: Arc<Distances>) -> Known {
        let consensus = self.consensus.borrow().clone();
        Known {
            now: self.now(),
            me: self.me,
            name: self.settings.name.as_str().into(),
            address: self.settings.advertise.ip(),
            ring: self.ring.state(),
            sets: self.gossip.sets(),
            directory: Arc::clone(&self.directory.borrow()),
            leader: consensus.leader.map(|(leader, _)| leader),
            voters: consensus.voters,
            distances,
            bugs: Bugs {
                keep_dead: planted(Bug::KeepDeadRecords),
                hide_healthy: planted(Bug::HideHealthy),
                prefer_old: planted(Bug::PreferOldPlace),
            },
        }
    }

    /// Whether this node knows enough to say that something is not there: it has published what it runs itself, has
    /// compared with a member (or has met none for long), and holds the sets of all that are alive, or has waited for them long enough.
    fn has_view(&self) -> bool {
        // Where nobody answers, there is nobody to compare with: what is known here is all there is. That stays so when
        // others come, who may know nothing: a sole survivor, and machines that have just joined it.
        if self.epoch.elapsed() >= UNMET_WAIT && self.ring.state().alive().is_empty() {
            self.gossip.set_complete();
        }
        let compared = *self.gossip.complete().borrow();
        compared && *self.spoken.borrow() && (self.epoch.elapsed() >= VIEW_WAIT || self.holds_all())
    }

    fn holds_all(&self) -> bool {
        let sets = self.gossip.sets();
        self.ring.state().alive().iter().all(|id| sets.contains_key(id))
    }

    /// When time alone may change the snapshot.
    fn reconsider_at(&self, index: &Index) -> Option<Instant> {
        let settling = self.epoch.elapsed() < UNMET_WAIT + RECONSIDER;
        let turn = index.next_turn().map(|at| self.epoch + Duration::from_millis(at.0));
        turn.into_iter().chain(settling.then(|| Instant::now() + RECONSIDER)).min()
    }

    /// Compares with what was told last and tells the differences.
    fn tell_events(&self, told: &mut Told) {
        let heard = Heard {
            ring: self.ring.state(),
            sets: self.gossip.sets(),
            directory: Arc::clone(&self.directory.borrow()),
            consensus: self.consensus.borrow().clone(),
            applied: *self.store.watch().borrow(),
        };
        let before = told.heard.replace(heard.clone());
        if before.as_ref().is_some_and(|before| before.is(&heard)) {
            return; // nothing of what events are about has changed
        }
        self.tell_nodes(told, &heard.directory);
        self.tell_leader(told, heard.consensus.leader);
        if before.is_none_or(|before| !Arc::ptr_eq(&before.directory, &heard.directory)) {
            self.tell_apps(told, &heard.directory);
        }
        self.tell_tasks(told);
        self.tell_decisions(&mut told.decided);
        told.measure();
    }

    fn tell_nodes(&self, told: &mut Told, directory: &Directory) {
        // Of a member that was not met yet there is nothing to tell.
        let nodes: BTreeMap<_, _> = directory.members.keys().filter_map(|id| Some((*id, self.met(*id)?))).collect();
        for (id, liveness) in &nodes {
            if told.nodes.get(id) != Some(liveness) {
                let (name, word) = (self.name_of(*id), liveness_word(*liveness));
                let says = if *liveness == Liveness::Left { "has" } else { "is" };
                self.tell(&format!("node.{word}"), &name, format!("{name} {says} {word}"));
            }
        }
        told.nodes = nodes;
    }

    fn tell_leader(&self, told: &mut Told, leader: Option<(NodeId, u64)>) {
        if leader != told.leader {
            let (subject, message) = match leader {
                Some((id, term)) => (self.name_of(id), format!("{} leads in term {term}", self.name_of(id))),
                None => (String::new(), "no leader is known".into()),
            };
            self.tell("leader.changed", &subject, message);
        }
        told.leader = leader;
    }

    fn tell_apps(&self, told: &mut Told, directory: &Directory) {
        let shape = |jobs| format!("{jobs:?}");
        let apps: BTreeMap<_, _> = directory.apps.iter().map(|(app, jobs)| (app.to_string(), shape(jobs))).collect();
        for (app, shape) in &apps {
            if told.apps.get(app) != Some(shape) {
                self.tell("app.deployed", app, format!("{app} was deployed or changed"));
            }
        }
        for app in told.apps.keys().filter(|app| !apps.contains_key(*app)) {
            self.tell("app.stopped", app, format!("{app} was stopped"));
        }
        told.apps = apps;
    }

    fn tell_tasks(&self, told: &mut Told) {
        let mut tasks = BTreeMap::new();
        for view in self.tasks_view(None) {
            let name = format!("{}/{}", view.app, view.task);
            tasks.insert(name, (view.state, view.node, view.reason));
        }
        for (task, (state, node, reason)) in &tasks {
            let before = told.tasks.get(task).map(|(state, node, _)| (state, node));
            if before != Some((state, node)) {
                let place = node.as_ref().map(|n| format!(" on {n}")).unwrap_or_default();
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                self.tell(&format!("task.{state}"), task, format!("{task} is {state}{place}{why}"));
            }
        }
        for task in told.tasks.keys().filter(|task| !tasks.contains_key(*task)) {
            self.tell("task.gone", task, format!("{task} is gone"));
        }
        told.tasks = tasks;
    }

    fn tell(&self, kind: &str, subject: &str, message: String) {
        self.events.tell(self.clock.date(), kind, subject, message);
    }
}

impl Told {
    /// Gives the same to whoever collects metrics.
    fn measure(&self) {
        for state in [Liveness::Alive, Liveness::Suspect, Liveness::Down, Liveness::Left] {
            let count = self.nodes.values().filter(|l| **l == state).count();
            metrics::gauge!("taffeta_nodes", "state" => liveness_word(state)).set(count as f64);
        }
        for state in TASK_STATES {
            let count = self.tasks.values().filter(|(s, ..)| s == state).count();
            metrics::gauge!("taffeta_tasks", "state" => state).set(count as f64);
        }
        metrics::gauge!("taffeta_apps").set(self.apps.len() as f64);
        metrics::gauge!("taffeta_leader_known").set(if self.leader.is_some() { 1.0 } else { 0.0 });
        metrics::gauge!("taffeta_term").set(self.leader.map_or(0.0, |(_, term)| term as f64));
    }
}

/// The states of a task, as `ps` names them.
const TASK_STATES: [&str; 9] =
    ["waiting", "starting", "running", "healthy", "unhealthy", "stopping", "finished", "failed", "lost"];

/// What was told last.
#[derive(Default)]
struct Told {
    /// What it was told of; `None` before the first time.
    heard: Option<Heard>,
    leader: Option<(NodeId, u64)>,
    nodes: BTreeMap<NodeId, Liveness>,
    apps: BTreeMap<String, String>,
    tasks: BTreeMap<String, (String, Option<String>, String)>,
    decided: Option<Decided>,
}

/// All that events come from.
#[derive(Clone)]
struct Heard {
    ring: Arc<RingState>,
    sets: Arc<Sets>,
    directory: Arc<Directory>,
    consensus: Consensus,
    applied: Fence,
}

impl Heard {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ring, &other.ring)
            && Arc::ptr_eq(&self.sets, &other.sets)
            && Arc::ptr_eq(&self.directory, &other.directory)
            && (&self.consensus, self.applied) == (&other.consensus, other.applied)
    }
}
