//! Every machine with what is taken of it, and per job and app the number of instances on each: counted once for a
//! plan, then kept up to date as tasks are put and lifted, so that choosing a machine is one walk over the machines.

use crate::{
    Lack, MemberView, NODES_LISTED_MAX, NoRoom, NodeLacks, RingView, Waiting,
    survey::{JobSurvey, Survey},
};
use std::{collections::BTreeMap, sync::Arc};
use taffeta_model::{Bug, Constraint, Job, Liveness, Member, NodeId, Operator, Resources, State, TaskId, planted};

/// All machines and counts. Machines and jobs are named by their positions.
pub(crate) struct Pool<'a> {
    /// By name.
    pub(crate) nodes: Vec<Node<'a>>,
    by_id: BTreeMap<NodeId, usize>,
    /// In the order of [`Survey::jobs`].
    jobs: Vec<JobCounts<'a>>,
    /// Per app, the number of its instances on each machine.
    apps: Vec<BTreeMap<usize, u32>>,
}

/// One machine.
pub(crate) struct Node<'a> {
    pub(crate) member: &'a Member,
    pub(crate) view: Option<MemberView>,
    /// Copies of the member's own, kept close by: choosing reads them for every machine.
    id: NodeId,
    capacity: Resources,
    zone: usize,
    /// Sum of all requests; above the capacity if the machine has shrunk or a job has grown.
    used: Resources,
    /// Who has which fixed port. More than one holder only after a deploy has given running tasks a new port.
    fixed: BTreeMap<u16, Vec<&'a TaskId>>,
}

/// Where the instances of one job are.
struct JobCounts<'a> {
    job: &'a Job,
    app: usize,
    nodes: BTreeMap<usize, u32>,
    zones: BTreeMap<usize, u32>,
    /// Per constraint, the number of instances for each value of its field.
    values: Vec<BTreeMap<&'a str, u32>>,
}

/// How good a machine is for a task, the smaller the better from left to right: instances of the job on it, instances
/// of the app on it, instances of the job in its zone.
type Rank = (u32, u32, u32);

/// What decides between machines of the same rank: the share that would be taken, then an order of the task's own.
type Tie = (u64, u64, NodeId);

impl<'a> Pool<'a> {
    /// The machines, with nothing on them yet.
    pub(crate) fn new(state: &'a State, ring: &RingView, survey: &Survey<'a>) -> Self {
        let mut zones = BTreeMap::new();
        let mut members: Vec<&Member> = state.members.values().collect();
        members.sort_by_key(|member| &member.name);
        let node = |member: &'a Member| {
            let next = zones.len();
            let zone = *zones.entry(member.zone.as_str()).or_insert(next);
            let view = ring.members.get(&member.id).copied();
            let (id, capacity) = (member.id, member.capacity);
            Node { member, view, id, capacity, zone, used: Resources::default(), fixed: BTreeMap::new() }
        };
        let nodes: Vec<Node<'_>> = members.into_iter().map(node).collect();
        let by_id = nodes.iter().enumerate().map(|(i, node)| (node.member.id, i)).collect();
        let (mut jobs, mut apps, mut last) = (vec![], vec![], None);
        for JobSurvey { app, job, .. } in &survey.jobs {
            if last.replace(*app) != Some(*app) {
                apps.push(BTreeMap::new());
            }
            let values = vec![BTreeMap::new(); job.constraints.len()];
            jobs.push(JobCounts { job, app: apps.len() - 1, nodes: BTreeMap::new(), zones: BTreeMap::new(), values });
        }
        Self { nodes, by_id, jobs, apps }
    }

    /// Position of a member.
    pub(crate) fn position(&self, id: NodeId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Counts an instance of the job on the machine.
    pub(crate) fn put(&mut self, node: usize, job: usize, task: &'a TaskId) {
        let (on, counts) = (&mut self.nodes[node], &mut self.jobs[job]);
        on.used += counts.job.resources;
        for port in counts.job.ports.iter().filter_map(|port| port.fixed) {
            on.fixed.entry(port).or_default().push(task);
        }
        *counts.nodes.entry(node).or_default() += 1;
        *counts.zones.entry(on.zone).or_default() += 1;
        for (constraint, values) in counts.job.constraints.iter().zip(&mut counts.values) {
            if let Some(value) = value_of(on.member, &constraint.field) {
                *values.entry(value).or_default() += 1;
            }
        }
        *self.apps[counts.app].entry(node).or_default() += 1;
    }

    /// Undoes [`Pool::put`].
    pub(crate) fn lift(&mut self, node: usize, job: usize, task: &TaskId) {
        let (on, counts) = (&mut self.nodes[node], &mut self.jobs[job]);
        on.used -= counts.job.resources;
        for port in counts.job.ports.iter().filter_map(|port| port.fixed) {
            on.fixed.entry(port).or_default().retain(|holder| *holder != task);
        }
        decrement(&mut counts.nodes, &node);
        decrement(&mut counts.zones, &on.zone);
        for (constraint, values) in counts.job.constraints.iter().zip(&mut counts.values) {
            if let Some(value) = value_of(on.member, &constraint.field) {
                decrement(values, &value);
            }
        }
        decrement(&mut self.apps[counts.app], &node);
    }

    /// Whether the machine may take one more instance of the job.
    pub(crate) fn admits(&self, node: usize, job: usize) -> bool {
        let (on, counts) = (&self.nodes[node], &self.jobs[job]);
        on.is_alive()
            && (planted(Bug::OverCommit) || on.free().fits(&counts.job.resources))
            && counts.job.ports.iter().all(|port| port.fixed.is_none_or(|n| on.holder(n).is_none()))
            && (0..counts.values.len()).all(|constraint| counts.admits(constraint, on.member))
    }

    /// The best machine for an instance of the job: spread over machines, apps and zones, then the emptiest.
    pub(crate) fn best(&self, job: usize, task: &TaskId) -> Option<usize> {
        let counts = &self.jobs[job];
        let (mut of_job, mut of_app) = (walk(&counts.nodes), walk(&self.apps[counts.app]));
        let seed = seed(task);
        let mut best: Option<(Rank, Tie, usize)> = None;
        for (i, node) in self.nodes.iter().enumerate() {
            let rank = (of_job(i), of_app(i), counts.zones.get(&node.zone).copied().unwrap_or_default());
            if best.is_some_and(|(least, ..)| rank > least) || !self.admits(i, job) {
                continue;
            }
            let tie = (node.share_with(&counts.job.resources), mix(seed, node.id), node.id);
            if best.is_none_or(|(least, than, _)| (rank, tie) < (least, than)) {
                best = Some((rank, tie, i));
            }
        }
        best.map(|(_, _, node)| node)
    }

    /// Why no machine takes an instance of the job.
    pub(crate) fn why(&self, job: usize) -> Waiting {
        if !self.nodes.iter().any(Node::is_alive) {
            return Waiting::NoMachine;
        }
        let alive = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_alive());
        let others = (0..self.nodes.len()).filter(|node| !self.nodes[*node].is_alive());
        let listed = alive.chain(others).take(NODES_LISTED_MAX);
        let lacks = |i: usize| NodeLacks { node: self.nodes[i].member.name.clone(), lacks: self.lacks(i, job) };
        let nodes: Vec<NodeLacks> = listed.map(lacks).collect();
        let more = self.nodes.len() - nodes.len();
        Waiting::NoRoom(Arc::new(NoRoom { nodes, more }))
    }

    fn lacks(&self, node: usize, job: usize) -> Vec<Lack> {
        let (on, counts) = (&self.nodes[node], &self.jobs[job]);
        if !on.is_alive() {
            return vec![Lack::NotAlive(on.view.map(|view| view.liveness))];
        }
        let mut lacks = short_of(&counts.job.resources, &on.free());
        for port in counts.job.ports.iter().filter_map(|port| port.fixed) {
            lacks.extend(on.holder(port).map(|by| Lack::PortTaken { port, by: by.clone() }));
        }
        for (i, constraint) in counts.job.constraints.iter().enumerate().filter(|(i, _)| !counts.admits(*i, on.member))
        {
            let value = value_of(on.member, &constraint.field);
            let count = value.map_or(0, |value| counts.with_value(i, value));
            lacks.push(Lack::Refused { constraint: constraint.clone(), value: value.map(String::from), count });
        }
        lacks
    }
}

impl<'a> Node<'a> {
    fn is_alive(&self) -> bool {
        self.view.is_some_and(|view| view.liveness == Liveness::Alive)
    }

    fn free(&self) -> Resources {
        let mut free = self.capacity;
        free -= self.used;
        free
    }

    fn holder(&self, port: u16) -> Option<&'a TaskId> {
        self.fixed.get(&port)?.first().copied()
    }

    /// The share that is taken, in millionths, of the resource that is scarcest once `request` is here too.
    fn share_with(&self, request: &Resources) -> u64 {
        let mut used = self.used;
        used += *request;
        let of = |used: u64, capacity: u64| match (used, capacity) {
            (0, _) => 0,
            (_, 0) => u64::MAX,
            // The wide division is slow, and this is asked of every machine; 18 TB and less do without.
            (used, capacity) => match used.checked_mul(1_000_000) {
                Some(millionths) => millionths / capacity,
                None => u64::try_from(u128::from(used) * 1_000_000 / u128::from(capacity)).unwrap_or(u64::MAX),
            },
        };
        let capacity = &self.capacity;
        of(used.cpus.0, capacity.cpus.0)
            .max(of(used.memory, capacity.memory))
            .max(of(used.disk, capacity.disk))
            .max(of(used.ports.into(), capacity.ports.into()))
    }
}

impl JobCounts<'_> {
    fn with_value(&self, constraint: usize, value: &str) -> u32 {
        self.values[constraint].get(value).copied().unwrap_or_default()
    }

    fn admits(&self, constraint: usize, member: &Member) -> bool {
        let Constraint { field, operator } = &self.job.constraints[constraint];
        // A machine without the field is refused: nobody can tell whether it is the same as another.
        let Some(value) = value_of(member, field) else { return false };
        match operator {
            Operator::Unique => self.with_value(constraint, value) == 0,
            Operator::MaxPer(most) => self.with_value(constraint, value) < *most,
            Operator::Is(wanted) => value == wanted,
        }
    }
}

fn value_of<'m>(member: &'m Member, field: &str) -> Option<&'m str> {
    match field {
        "hostname" => Some(member.name.as_str()),
        "zone" => Some(member.zone.as_str()).filter(|zone| !zone.is_empty()),
        attribute => member.attributes.get(attribute).map(String::as_str),
    }
}

fn short_of(needed: &Resources, free: &Resources) -> Vec<Lack> {
    let mut lacks = Vec::new();
    if needed.cpus > free.cpus {
        lacks.push(Lack::Cpus { needed: needed.cpus, free: free.cpus });
    }
    if needed.memory > free.memory {
        lacks.push(Lack::Memory { needed: needed.memory, free: free.memory });
    }
    if needed.disk > free.disk {
        lacks.push(Lack::Disk { needed: needed.disk, free: free.disk });
    }
    if needed.ports > free.ports {
        lacks.push(Lack::Ports { needed: needed.ports, free: free.ports });
    }
    lacks
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
    }
}

/// Reads sparse counts at rising positions, without a search at each.
fn walk(counts: &BTreeMap<usize, u32>) -> impl FnMut(usize) -> u32 {
    let mut rest = counts.iter().peekable();
    move |position| {
        while rest.next_if(|(at, _)| **at < position).is_some() {}
        rest.next_if(|(at, _)| **at == position).map_or(0, |(_, count)| *count)
    }
}

/// FNV-1a of the task's name: machines that are equal otherwise are tried in an order of the task's own, so that the
/// first task of every app does not land on the same machine.
fn seed(task: &TaskId) -> u64 {
    let index = task.index.to_le_bytes();
    let bytes = task.app.as_str().bytes().chain(*b"/").chain(task.job.as_str().bytes()).chain(*b".").chain(index);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The finaliser of SplitMix64: spreads seed and id over all bits.
fn mix(seed: u64, node: NodeId) -> u64 {
    let mut z = seed ^ node.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
