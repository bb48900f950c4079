//! Keeps the DNS snapshot and the events up to date with what this node knows.

use crate::{node::Core, view::liveness_word, view::records};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taffeta_dns_answer::{Instance, Name, Node, Service, Snapshot, SnapshotInput};
use taffeta_model::{Bug, Directory, Fence, JobKind, Liveness, NodeId, TaskId, TaskRecord, planted};
use tokio::time::sleep;

/// Changes that come within this time make one snapshot.
const SETTLE: Duration = Duration::from_millis(5);
/// While time alone changes what is said, it is looked at this often.
const RECONSIDER: Duration = Duration::from_millis(500);
/// How long a node that was just started waits for the sets of all that are alive, before it answers without them.
const VIEW_WAIT: Duration = Duration::from_secs(3);
/// How long a node that was just started takes a machine that it has not met for one that is there.
const UNMET_WAIT: Duration = Duration::from_secs(10);
/// How long the last instance of a machine that left is still given: it runs on while its agent is replaced.
const LEFT_KEPT: Duration = Duration::from_secs(10);

impl Core {
    /// Rebuilds the snapshot whenever something that it is made of changes.
    pub(crate) async fn run_names(self: Arc<Self>) {
        let (mut ring, mut sets) = (self.ring.watch(), self.gossip.watch());
        let (mut directory, mut consensus) = (self.directory.subscribe(), self.consensus.subscribe());
        let (mut complete, mut spoken) = (self.gossip.complete(), self.spoken.subscribe());
        let mut applied = self.store.watch();
        let mut serial = 0u32;
        let mut told = Told::default();
        loop {
            ring.borrow_and_update();
            sets.borrow_and_update();
            directory.borrow_and_update();
            consensus.borrow_and_update();
            complete.borrow_and_update();
            spoken.borrow_and_update();
            applied.borrow_and_update();
            serial = serial.wrapping_add(1);
            self.names.store(Arc::new(Snapshot::build(self.snapshot_input(serial))));
            self.tell_events(&mut told);
            tokio::select! {
                changed = ring.changed() => if changed.is_err() { return },
                changed = sets.changed() => if changed.is_err() { return },
                changed = directory.changed() => if changed.is_err() { return },
                changed = consensus.changed() => if changed.is_err() { return },
                changed = complete.changed() => if changed.is_err() { return },
                changed = spoken.changed() => if changed.is_err() { return },
                changed = applied.changed() => if changed.is_err() { return },
                () = sleep(RECONSIDER), if self.is_settling() => {}
            }
            sleep(SETTLE).await;
        }
    }

    fn snapshot_input(&self, serial: u32) -> SnapshotInput {
        let (ring, sets) = (self.ring.state(), self.gossip.sets());
        let (directory, consensus) = (Arc::clone(&self.directory.borrow()), self.consensus.borrow().clone());
        let domain: Name = self.domain.parse().expect("checked at start");
        let mut input = SnapshotInput::new(domain, self.name().to_string());
        input.serial = serial;
        input.ready = self.has_view() && directory.members.contains_key(&self.me);
        input.stale = !ring.majority || (self.epoch.elapsed() >= UNMET_WAIT && !self.sees_most(&directory));
        for (app, jobs) in &directory.apps {
            for (job, entry) in jobs.iter().filter(|(_, entry)| entry.kind == JobKind::Service) {
                let (app, service) = (app.to_string(), job.to_string());
                input.services.push(Service { app, service, ports: entry.ports.clone() });
            }
        }
        // Cut off from most of the ring, our verdicts are worth no more than a suspicion; nor is it a verdict that a
        // machine was not met yet, until those that are there have had their time to be met.
        let sees_most = self.sees_most(&directory);
        let unmet_is_gone = sees_most && self.epoch.elapsed() >= UNMET_WAIT;
        let left_long = |owner| ring.members.get(&owner).is_none_or(|m| self.now().since(m.since) >= LEFT_KEPT);
        let is_gone = |owner| {
            !planted(Bug::KeepDeadRecords)
                && ring.majority
                && match self.met(owner) {
                    Some(Liveness::Down) => true,
                    Some(Liveness::Left) => left_long(owner),
                    Some(Liveness::Alive | Liveness::Suspect) => false,
                    None => unmet_is_gone,
                }
        };
        // Of a task that has moved, the newer placement counts, whatever the older node still says; but as long as the
        // newer one does not serve, and the older one does, that one is better than nothing.
        let rank = |owner: NodeId, record: &TaskRecord| {
            let serves = record.serving && !is_gone(owner);
            if planted(Bug::PreferOldPlace) {
                return (false, false, Fence { index: u64::MAX - record.fence.index, ..record.fence });
            }
            (serves, serves && self.met(owner) == Some(Liveness::Alive), record.fence)
        };
        let mut best: BTreeMap<(&TaskId, &str), (NodeId, &TaskRecord)> = BTreeMap::new();
        for (owner, record) in records(&sets).filter(|(_, r)| r.kind == JobKind::Service) {
            let key = (&record.task, record.instance.as_str());
            if best.get(&key).is_none_or(|(holder, known)| rank(*holder, known) < rank(owner, record)) {
                best.insert(key, (owner, record));
            }
        }
        let shown = |owner| owner == self.me || !planted(Bug::HideHealthy);
        for (owner, record) in best.into_values().filter(|(owner, _)| shown(*owner)) {
            let (liveness, gone) = (self.met(owner), is_gone(owner));
            input.instances.push(Instance {
                app: record.task.app.to_string(),
                service: record.task.job.to_string(),
                label: record.instance.clone(),
                node: self.name_of(owner),
                address: record.address,
                ports: record.ports.clone(),
                tags: record.tags.clone(),
                serving: record.serving && !gone,
                suspected: liveness != Some(Liveness::Alive) && !planted(Bug::KeepDeadRecords),
            });
        }
        for (id, member) in &directory.members {
            let address = ring.members.get(id).map_or(member.address, |m| m.identity.address);
            input.nodes.push(Node {
                name: member.name.to_string(),
                address: if *id == self.me { self.settings.advertise.ip() } else { address.ip() },
                up: self.liveness(*id) == Liveness::Alive,
                is_leader: consensus.leader.is_some_and(|(leader, _)| leader == *id),
                is_voter: consensus.voters.contains(id),
            });
        }
        input
    }

    /// Whether more than half of the members that have not left are there, as far as this node has met them.
    fn sees_most(&self, directory: &Directory) -> bool {
        let met = |id: &NodeId| self.met(*id);
        let there = |id: &&NodeId| matches!(met(id), Some(Liveness::Alive | Liveness::Suspect));
        let stays = |id: &&NodeId| met(id) != Some(Liveness::Left);
        let members = directory.members.keys();
        members.clone().filter(there).count() * 2 > members.filter(stays).count()
    }

    /// Whether this node knows enough to say that something is not there: it has published what it runs itself, has
    /// compared with a member (or has met none for long), and holds the sets of all that are alive, or has waited for them long enough.
    fn has_view(&self) -> bool {
        // Where nobody answers, there is nobody to compare with: what is known here is all there is.
        let alone = self.ring.state().alive().is_empty() && self.epoch.elapsed() >= UNMET_WAIT;
        let compared = *self.gossip.complete().borrow() || alone;
        compared && *self.spoken.borrow() && (self.holds_all() || self.epoch.elapsed() >= VIEW_WAIT)
    }

    fn holds_all(&self) -> bool {
        let sets = self.gossip.sets();
        self.ring.state().alive().iter().all(|id| sets.contains_key(id))
    }

    /// Whether time alone may change the snapshot.
    fn is_settling(&self) -> bool {
        let ring = self.ring.state();
        let leaving = |m: &taffeta_swim::MemberState| {
            m.liveness == Liveness::Left && self.now().since(m.since) < LEFT_KEPT + RECONSIDER
        };
        self.epoch.elapsed() < UNMET_WAIT + RECONSIDER || ring.members.values().any(leaving)
    }

    /// Compares with what was told last and tells the differences.
    fn tell_events(&self, told: &mut Told) {
        let at = self.clock.date();
        let directory = Arc::clone(&self.directory.borrow());
        let mut now = Told {
            leader: self.consensus.borrow().leader,
            // Of a member that was not met yet there is nothing to tell.
            nodes: directory.members.keys().filter_map(|id| Some((*id, self.met(*id)?))).collect(),
            apps: directory.apps.iter().map(|(app, jobs)| (app.to_string(), format!("{jobs:?}"))).collect(),
            tasks: BTreeMap::new(),
        };
        for view in self.tasks_view(None) {
            let name = format!("{}/{}", view.app, view.task);
            now.tasks.insert(name, (view.state, view.node, view.reason));
        }
        for (id, liveness) in &now.nodes {
            if told.nodes.get(id) != Some(liveness) {
                let (name, word) = (self.name_of(*id), liveness_word(*liveness));
                let says = if *liveness == Liveness::Left { "has" } else { "is" };
                self.events.tell(at, &format!("node.{word}"), &name, format!("{name} {says} {word}"));
            }
        }
        if now.leader != told.leader {
            let (subject, message) = match now.leader {
                Some((id, term)) => (self.name_of(id), format!("{} leads in term {term}", self.name_of(id))),
                None => (String::new(), "no leader is known".into()),
            };
            self.events.tell(at, "leader.changed", subject, message);
        }
        for (app, shape) in &now.apps {
            if told.apps.get(app) != Some(shape) {
                self.events.tell(at, "app.deployed", app, format!("{app} was deployed or changed"));
            }
        }
        for app in told.apps.keys().filter(|app| !now.apps.contains_key(*app)) {
            self.events.tell(at, "app.stopped", app, format!("{app} was stopped"));
        }
        for (task, (state, node, reason)) in &now.tasks {
            let before = told.tasks.get(task).map(|(state, node, _)| (state, node));
            if before != Some((state, node)) {
                let place = node.as_ref().map(|n| format!(" on {n}")).unwrap_or_default();
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                self.events.tell(at, &format!("task.{state}"), task, format!("{task} is {state}{place}{why}"));
            }
        }
        for task in told.tasks.keys().filter(|task| !now.tasks.contains_key(*task)) {
            self.events.tell(at, "task.gone", task, format!("{task} is gone"));
        }
        now.measure();
        *told = now;
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
    leader: Option<(NodeId, u64)>,
    nodes: BTreeMap<NodeId, Liveness>,
    apps: BTreeMap<String, String>,
    tasks: BTreeMap<String, (String, Option<String>, String)>,
}
