//! Which copies there are of each instance, kept from change to change.
//!
//! What is known comes as whole values that share what did not change. The index compares each with the one before,
//! marks the services that a difference is about, and says anew only those. Comparing costs steps in proportion to the
//! difference for the sets, and to the number of machines when the ring or the directory changed; never to the number
//! of records.

use crate::{
    gossip::Sets,
    names::known::{Bugs, Known, Standing, rank},
};
use imbl::{OrdMap, ordmap::DiffItem};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use taffeta_dns_answer::{Change, Empty, Instance, Order, ServiceDns, ServiceState, Snapshot};
use taffeta_model::{AppName, Directory, DnsEmpty, DnsOrder, DnsPolicy, JobName, Liveness, Millis, NodeId, TaskRecord};

/// When each owner's set last changed, on this node's clock.
pub(crate) type LastHeard = OrdMap<NodeId, Millis>;

type ServiceKey = (AppName, JobName);

/// The copies of a task, by owner.
type Copies = Vec<(NodeId, Arc<TaskRecord>)>;

/// What a node's names were made of last, by service.
#[derive(Default)]
pub(crate) struct Index {
    /// `None` before the first.
    known: Option<Known>,
    /// The copies of each task by its index. No service here is without tasks, no task without copies.
    services: BTreeMap<ServiceKey, BTreeMap<u32, Copies>>,
    /// Of every owner of a set.
    standings: BTreeMap<NodeId, Standing>,
    sees_most: bool,
    heard: LastHeard,
    /// Whether a machine told of another zone than before.
    zones_changed: bool,
    /// When time alone changes a standing.
    next_turn: Option<Millis>,
    /// Services that are to be said anew.
    affected: BTreeSet<ServiceKey>,
}

impl Index {
    /// What is to be changed in a snapshot, which the changes before this one have led to. Serial and readiness are
    /// the caller's.
    pub(crate) fn update(&mut self, known: Known, snapshot: &Snapshot) -> Change {
        let before = self.known.take();
        let (ring, directory) = match &before {
            Some(b) => (!Arc::ptr_eq(&b.ring, &known.ring), !Arc::ptr_eq(&b.directory, &known.directory)),
            None => (true, true),
        };
        let office = before.as_ref().is_none_or(|b| (b.leader, &b.voters) != (known.leader, &known.voters));
        let moved = before.as_ref().is_none_or(|b| !Arc::ptr_eq(&b.distances, &known.distances));
        if ring || directory {
            self.sees_most = known.sees_most();
        }
        let changed_owners = match &before {
            Some(b) => self.take_sets(&b.sets, &known.sets),
            None => self.take_sets(&Sets::new(), &known.sets),
        };
        self.heard.extend(changed_owners.iter().map(|owner| (*owner, known.now)));
        if ring || directory || self.next_turn.is_some_and(|at| known.now >= at) {
            self.next_turn = None;
            known.sets.keys().for_each(|owner| self.judge(&known, *owner));
        } else {
            changed_owners.into_iter().for_each(|owner| self.judge(&known, owner));
        }
        if directory {
            self.take_directory(before.as_ref().map(|b| &*b.directory), &known.directory);
        }
        if before.is_some_and(|b| b.bugs != known.bugs) {
            known.sets.keys().for_each(|owner| self.judge(&known, *owner));
            self.affected.extend(self.services.keys().cloned());
        }
        let affected = std::mem::take(&mut self.affected);
        let words = |(app, job): &ServiceKey| (app.as_str().into(), job.as_str().into());
        let mut change = snapshot.no_change();
        change.stale = known.is_stale(self.sees_most);
        change.services = affected.iter().map(|key| (words(key), self.state(&known, key))).collect();
        let zones = std::mem::take(&mut self.zones_changed);
        change.nodes = (ring || directory || office || moved || zones)
            .then(|| known.machines())
            .filter(|n| *n != snapshot.nodes());
        self.known = Some(known);
        change
    }

    /// When each owner's set last changed.
    pub(crate) fn heard(&self) -> LastHeard {
        self.heard.clone()
    }

    /// When to ask again though nothing else changes.
    pub(crate) fn next_turn(&self) -> Option<Millis> {
        self.next_turn
    }

    /// Takes in what owners say; returns those that say something new.
    fn take_sets(&mut self, before: &Sets, now: &Sets) -> Vec<NodeId> {
        let mut owners = Vec::new();
        for difference in before.diff(now) {
            match difference {
                DiffItem::Add(owner, set) => {
                    self.zones_changed = true;
                    self.take_records(*owner, &[], &set.records);
                    owners.push(*owner);
                }
                DiffItem::Update { old: (owner, old), new: (_, new) } => {
                    self.zones_changed |= old.info.zone != new.info.zone;
                    self.take_records(*owner, &old.records, &new.records);
                    owners.push(*owner);
                }
                DiffItem::Remove(owner, set) => {
                    self.zones_changed = true;
                    self.take_records(*owner, &set.records, &[]);
                    self.standings.remove(owner);
                    self.heard.remove(owner);
                }
            }
        }
        owners
    }

    /// Both lists are ordered by task.
    fn take_records(&mut self, owner: NodeId, before: &[Arc<TaskRecord>], now: &[Arc<TaskRecord>]) {
        let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
        loop {
            let order = match (before.peek(), now.peek()) {
                (Some(old), Some(new)) => old.task.cmp(&new.task),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return,
            };
            let old = before.next_if(|_| order.is_le());
            let new = now.next_if(|_| order.is_ge());
            // Records that did not change are one in both sets: comparing them compares pointers.
            if old != new {
                old.into_iter().for_each(|record| self.remove(owner, record));
                new.into_iter().for_each(|record| self.insert(owner, record));
            }
        }
    }

    fn insert(&mut self, owner: NodeId, record: &Arc<TaskRecord>) {
        if record.kind.is_batch() {
            return;
        }
        let key = key_of(record);
        let copies = self.services.entry(key.clone()).or_default().entry(record.task.index).or_default();
        let at = copies.partition_point(|(known, _)| *known <= owner);
        copies.insert(at, (owner, Arc::clone(record)));
        self.affected.insert(key);
    }

    fn remove(&mut self, owner: NodeId, record: &Arc<TaskRecord>) {
        if record.kind.is_batch() {
            return;
        }
        let key = key_of(record);
        let tasks = self.services.get_mut(&key).expect("it was inserted");
        let copies = tasks.get_mut(&record.task.index).expect("it was inserted");
        let at = copies.partition_point(|(known, _)| *known < owner);
        let off = copies[at..].iter().position(|(_, copy)| copy == record).expect("it was inserted");
        copies.remove(at + off);
        if copies.is_empty() {
            tasks.remove(&record.task.index);
        }
        if tasks.is_empty() {
            self.services.remove(&key);
        }
        self.affected.insert(key);
    }

    /// Thinks about an owner of a set again.
    fn judge(&mut self, known: &Known, owner: NodeId) {
        self.next_turn = self.next_turn.into_iter().chain(known.next_turn(owner)).min();
        let standing = known.standing(owner, self.sees_most);
        if self.standings.get(&owner) != Some(&standing) {
            self.standings.insert(owner, standing);
            let records = known.sets.get(&owner).into_iter().flat_map(|set| &set.records);
            let services = records.filter(|record| !record.kind.is_batch());
            self.affected.extend(services.map(|record| key_of(record)));
        }
    }

    fn take_directory(&mut self, before: Option<&Directory>, now: &Directory) {
        let changed = |a: &Directory, b: &Directory| -> Vec<ServiceKey> {
            let apps = a.apps.iter().filter(|(app, jobs)| b.apps.get(app) != Some(jobs));
            apps.flat_map(|(app, jobs)| jobs.keys().map(|job| (app.clone(), job.clone()))).collect()
        };
        let nothing = Directory::default();
        let before = before.unwrap_or(&nothing);
        self.affected.extend(changed(before, now));
        self.affected.extend(changed(now, before));
    }

    /// A service as it is now; `None` if it is no more.
    fn state(&self, known: &Known, key: &ServiceKey) -> Option<ServiceState> {
        let registered = known.directory.apps.get(&key.0).and_then(|jobs| jobs.get(&key.1));
        let registered = registered.filter(|entry| !entry.kind.is_batch());
        let tasks = self.services.get(key).into_iter().flat_map(BTreeMap::values);
        let instances: Vec<Instance> = tasks.flat_map(|copies| self.instances(known, copies)).collect();
        let ports = registered.map(|entry| entry.ports.iter().map(Into::into).collect());
        (ports.is_some() || !instances.is_empty()).then(|| ServiceState {
            ports: ports.unwrap_or_default(),
            dns: registered.map(|entry| service_dns(entry.dns)).unwrap_or_default(),
            instances,
        })
    }

    /// The instances of one task: as a rule one, by label several where nodes publish a service themselves.
    fn instances(&self, known: &Known, copies: &Copies) -> Vec<Instance> {
        let mut best: BTreeMap<&str, (NodeId, &Standing, &TaskRecord)> = BTreeMap::new();
        for (owner, record) in copies {
            let standing = &self.standings[owner];
            let rank_of = |standing: &Standing, record: &TaskRecord| rank(known.bugs, standing, record);
            let better = |(_, s, r): &(NodeId, &Standing, &TaskRecord)| rank_of(s, r) < rank_of(standing, record);
            if best.get(record.instance.as_str()).is_none_or(better) {
                best.insert(&record.instance, (*owner, standing, record));
            }
        }
        let shown = |owner: NodeId| owner == known.me || !known.bugs.hide_healthy;
        let best = best.into_values().filter(|(owner, ..)| shown(*owner));
        best.map(|(_, standing, record)| instance(known.bugs, standing, record)).collect()
    }
}

fn instance(bugs: Bugs, standing: &Standing, record: &TaskRecord) -> Instance {
    Instance {
        app: record.task.app.as_str().into(),
        service: record.task.job.as_str().into(),
        label: record.instance.as_str().into(),
        node: (&*standing.name).into(),
        address: record.address,
        ports: record.ports.iter().map(|(name, number)| (name.as_str().into(), *number)).collect(),
        tags: record.tags.clone(),
        serving: record.serving && !standing.gone,
        version: record.version,
        weight: record.weight,
        suspected: standing.met != Some(Liveness::Alive) && !bugs.keep_dead,
    }
}

/// What the app file says, in the words of the answer.
fn service_dns(policy: DnsPolicy) -> ServiceDns {
    ServiceDns {
        order: match policy.order {
            DnsOrder::Random => Order::Random,
            DnsOrder::Weighted => Order::Weighted,
            DnsOrder::Near => Order::Near,
        },
        answers: policy.answers,
        empty: match policy.empty {
            DnsEmpty::NoData => Empty::NoData,
            DnsEmpty::NxDomain => Empty::NxDomain,
        },
    }
}

fn key_of(record: &TaskRecord) -> ServiceKey {
    (record.task.app.clone(), record.task.job.clone())
}
