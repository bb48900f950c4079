//! Which machine takes one more instance of a job: all rules of the job, and the order of those that obey them.

use crate::{
    Lack, NODES_LISTED_MAX, NoRoom, NodeLacks, Waiting,
    fields::{FieldId, ValueId, ZONE},
    machines::{MachineId, TaskRef},
    mirror::{Scheduler, Spec, VersionId, target_of},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};
use taffeta_model::{AppName, Constraint, JobName, JobRef, NodeId, Operator, PlacementStrategy, fnv1a, mix};

/// The rules of a job, and where its instances are: all that is asked of a machine besides what it has free.
pub(crate) struct Rules {
    app: usize,
    job: usize,
    version: VersionId,
    constraints: Vec<Rule>,
    prefer: Vec<(Option<FieldId>, Vec<bool>, bool, i32)>,
    /// Instances of the job on each machine.
    of_job: Vec<u32>,
    /// Instances of the app on each machine.
    of_app: Vec<u32>,
    /// Instances of the job in each zone; the last is for machines without one.
    zones: Vec<u32>,
    /// All instances that are placed.
    placed: u32,
    /// For each job that it must be with: how many of it are on each machine.
    with: Vec<(JobRef, Vec<u32>)>,
    /// For each job that it must be apart from, by its own word or by the other's.
    apart: Vec<(JobRef, Vec<u32>)>,
    seed: u64,
}

/// One constraint.
struct Rule {
    constraint: Constraint,
    /// `None` if no machine has it.
    field: Option<FieldId>,
    /// For a rule that looks at the value alone: whether a value passes.
    passing: Option<Vec<bool>>,
    /// For one that counts: instances of the job for each value.
    counts: Vec<u32>,
    /// For `GROUP_BY`: how many values have instances, and the fewest that one of those has.
    groups: (usize, u32),
}

/// Outweighs whatever preferences say together.
const AVOIDED: i32 = 1 << 24;

/// How good a machine is, the smaller the better: see [`Candidates`].
type Key = (i32, u32, u32, u64, u64);

/// Machines that may take an instance, best first.
///
/// Order: those where `GROUP_BY` counts fewest; those that do not come and go; the heaviest preferences; when spreading, the zone with the fewest
/// instances of the job, then the machine with the fewest of the job, of the app, and the emptiest; when packing, the
/// fullest; last an order of the job's own.
pub(crate) struct Candidates {
    buckets: Vec<Bucket>,
    zones: Vec<Zone>,
    /// The newest key of each machine; an entry of a heap with another one is void.
    keys: Vec<Option<Key>>,
    /// Which bucket a machine is in.
    bucket_of: Vec<usize>,
    /// Buckets by a hash of their values; those that share one follow each other.
    by_hash: BTreeMap<u64, Vec<usize>>,
    /// The bucket that a machine was put into last: machines of one value often come one after another.
    last: Option<usize>,
    /// Rules that set machines apart by values that several share: a bucket has one value of each.
    shared: Vec<usize>,
    /// For each of these rules and each value of its field, none being the last: the zones of its buckets.
    zones_of: Vec<Vec<Vec<usize>>>,
    /// Whether a placement may change what other values than its own are good for.
    far: bool,
}

/// Machines that no rule tells apart but by themselves.
struct Bucket {
    zone: usize,
    /// Of the rules in [`Candidates::shared`].
    values: Vec<Option<ValueId>>,
    heap: BinaryHeap<Reverse<(Key, NodeId, MachineId)>>,
}

/// The buckets of a zone, and the best machine of them as of when it was last looked for.
#[derive(Default)]
struct Zone {
    buckets: Vec<usize>,
    best: Option<(Rank, MachineId)>,
    stale: bool,
}

/// Instances that count for `GROUP_BY`, and how good the machine is.
type Rank = (u32, Key, NodeId);

/// The same, with the instances in the zone after the preferences.
type ZoneRank = (u32, i32, u32, Key, NodeId);

/// As much of it as is told without a division: for `GROUP_BY`, preferences, in the zone, of the job, of the app.
type Rough = (u32, i32, u32, u32, u32);

impl Rules {
    /// Reads the rules of a job and counts its instances as the turn has them now.
    pub(crate) fn new(s: &Scheduler, app: usize, job: usize, version: VersionId) -> Self {
        let mirror = s.app(app);
        let definition = mirror.definition_of(job, version);
        let machines = &s.machines;
        let (mut of_job, mut of_app) = (vec![0; machines.all.len()], vec![0; machines.all.len()]);
        let rule = |constraint: &Constraint| {
            let field = machines.fields.field(constraint.plain_field());
            let passing = field.and_then(|field| machines.fields.passing(field, &constraint.operator));
            let counts = match (field, &passing) {
                (Some(field), None) => vec![0; machines.fields.count(field)],
                (Some(_), Some(_)) | (None, _) => vec![],
            };
            Rule { constraint: constraint.clone(), field, passing, counts, groups: (0, 0) }
        };
        let wish = |wish: &taffeta_model::Preference| {
            let field = machines.fields.field(wish.rule.plain_field());
            let passing = field.and_then(|field| machines.fields.passing(field, &wish.rule.operator));
            let absent = matches!(wish.rule.operator, Operator::Unlike(_));
            (field, passing.unwrap_or_default(), absent, i32::from(wish.weight))
        };
        let mut apart: Vec<JobRef> = definition.apart.clone();
        let me = (mirror.app.name.clone(), mirror.jobs[job].name.clone());
        for (other, j) in s.apart_of.get(&me).into_iter().flatten() {
            let other = s.app(*other);
            let app = (other.app.name != me.0).then(|| other.app.name.clone());
            apart.push(JobRef { app, job: other.jobs[*j].name.clone() });
        }
        apart.sort();
        apart.dedup();
        let mut rules = Self {
            app,
            job,
            version,
            constraints: definition.constraints.iter().map(rule).collect(),
            prefer: definition.prefer.iter().map(wish).collect(),
            of_job: vec![],
            of_app: vec![],
            zones: vec![0; machines.fields.count(ZONE) + 1],
            placed: 0,
            with: definition.with.iter().map(|target| (target.clone(), s.count_of(app, target))).collect(),
            apart: apart.into_iter().map(|target| (target.clone(), s.count_of(app, &target))).collect(),
            seed: fnv1a(format!("{}/{}", me.0, me.1).as_bytes()),
        };
        for (j, other) in mirror.jobs.iter().enumerate() {
            for machine in other.slots.iter().filter_map(|slot| slot.on) {
                of_app[machine] += 1;
                if j == job {
                    of_job[machine] += 1;
                    rules.count(s, machine, true);
                }
            }
        }
        for fresh in s.fresh.iter().filter(|fresh| fresh.task.app == app) {
            of_app[fresh.machine] += 1;
            if fresh.task.job == job {
                of_job[fresh.machine] += 1;
                rules.count(s, fresh.machine, true);
            }
        }
        (rules.of_job, rules.of_app) = (of_job, of_app);
        rules
    }

    pub(crate) fn spec<'s>(&self, s: &'s Scheduler) -> &'s Spec {
        s.app(self.app).jobs[self.job].spec_of(self.version)
    }

    fn count(&mut self, s: &Scheduler, machine: MachineId, more: bool) {
        let step = |count: &mut u32| *count = if more { *count + 1 } else { count.saturating_sub(1) };
        let on = &s.machines.all[machine];
        step(&mut self.placed);
        let zone = self.zone_of(s, machine);
        step(&mut self.zones[zone]);
        for rule in self.constraints.iter_mut().filter(|rule| rule.passing.is_none()) {
            if let Some(value) = rule.field.and_then(|field| on.value(field)) {
                step(&mut rule.counts[value]);
            }
            if matches!(rule.constraint.operator, Operator::GroupBy(_)) {
                let used = || rule.counts.iter().copied().filter(|count| *count > 0);
                rule.groups = (used().count(), used().min().unwrap_or_default());
            }
        }
    }

    /// An instance was put on the machine, or lifted from it.
    pub(crate) fn moved(&mut self, s: &Scheduler, machine: MachineId, put: bool) {
        for count in [&mut self.of_job[machine], &mut self.of_app[machine]] {
            *count = if put { *count + 1 } else { count.saturating_sub(1) };
        }
        self.count(s, machine, put);
    }

    /// Whether one rule lets one more instance onto a machine with this value of its field.
    fn lets(&self, rule: &Rule, value: Option<ValueId>) -> bool {
        let Some(value) = value else { return matches!(rule.constraint.operator, Operator::Unlike(_)) };
        if let Some(passing) = &rule.passing {
            return passing[value];
        }
        let count = rule.counts[value];
        match rule.constraint.operator {
            Operator::Unique => count == 0,
            Operator::MaxPer(most) => count < most,
            Operator::Cluster(_) => count > 0 || self.placed == 0,
            Operator::GroupBy(groups) => {
                let (used, fewest) = rule.groups;
                count == 0 || (groups.is_none_or(|groups| used >= groups as usize) && count == fewest)
            }
            Operator::Is(_) | Operator::Like(_) | Operator::Unlike(_) => false, // no machine has the field
        }
    }

    /// All rules that look at this machine alone.
    fn lets_machine(&self, s: &Scheduler, at: MachineId, shared: &[usize]) -> bool {
        let machine = &s.machines.all[at];
        let own = |(i, rule): (usize, &Rule)| {
            shared.contains(&i) || self.lets(rule, rule.field.and_then(|field| machine.value(field)))
        };
        self.with.iter().all(|(_, there)| there[at] > 0)
            && self.apart.iter().all(|(_, there)| there[at] == 0)
            && self.constraints.iter().enumerate().all(own)
    }

    /// Whether the machine may take one more instance.
    pub(crate) fn admit(&self, s: &Scheduler, at: MachineId) -> bool {
        s.machines.fits(at, self.spec(s)) && self.lets_machine(s, at, &[])
    }

    /// Whether the machine may take one more instance once it has room.
    pub(crate) fn lets_alone(&self, s: &Scheduler, at: MachineId) -> bool {
        self.lets_machine(s, at, &[])
    }

    /// Whether the task is an instance of this job.
    pub(crate) fn are_of(&self, task: TaskRef) -> bool {
        (self.app, self.job) == (task.app, task.job)
    }

    /// Whether an instance of this job is of use only beside that task.
    pub(crate) fn needs(&self, s: &Scheduler, task: TaskRef) -> bool {
        let (app, other) = (&s.app(self.app).app.name, s.app(task.app));
        let named = |target: &JobRef| target_of(app, target) == (other.app.name.clone(), s.job(task).name.clone());
        self.with.iter().any(|(target, _)| named(target))
    }

    /// Whether an instance that is there may stay, however many are where. A rule that counts lets one stay on a machine
    /// that has its field.
    pub(crate) fn lets_stay(&self, s: &Scheduler, at: MachineId) -> bool {
        let machine = &s.machines.all[at];
        self.constraints.iter().all(|rule| {
            let value = rule.field.and_then(|field| machine.value(field));
            (value.is_some() && rule.passing.is_none()) || self.lets(rule, value)
        })
    }

    /// Rules that look at how many instances have the same value as machines other than the one in question.
    fn shared(&self) -> Vec<usize> {
        let counts = |rule: &Rule| match rule.constraint.operator {
            // One machine has one hostname: what is full there stays so.
            Operator::Unique | Operator::MaxPer(_) => rule.constraint.plain_field() != "hostname",
            Operator::GroupBy(_) => true,
            Operator::Cluster(_) | Operator::Is(_) | Operator::Like(_) | Operator::Unlike(_) => rule.passing.is_none(),
        };
        let shared = |(i, rule): (usize, &Rule)| (rule.field.is_some() && counts(rule)).then_some(i);
        self.constraints.iter().enumerate().filter_map(shared).collect()
    }

    fn zone_of(&self, s: &Scheduler, at: MachineId) -> usize {
        s.machines.zone(at).unwrap_or(self.zones.len() - 1)
    }

    /// Instances that share the values for which `GROUP_BY` counts.
    fn grouped(&self, shared: &[usize], values: &[Option<ValueId>]) -> u32 {
        let of = |(rule, value): (&usize, &Option<ValueId>)| {
            let rule = &self.constraints[*rule];
            let is_group = matches!(rule.constraint.operator, Operator::GroupBy(_));
            value.filter(|_| is_group).map_or(0, |value| rule.counts[value])
        };
        shared.iter().zip(values).map(of).sum()
    }

    /// The best machine, by one walk: for few instances this is quicker than [`Candidates`], and gives the same.
    pub(crate) fn best(&self, s: &Scheduler) -> Option<MachineId> {
        let spec = self.spec(s);
        let spread = spec.strategy == PlacementStrategy::Spread;
        let is_group = |i: &usize| matches!(self.constraints[*i].constraint.operator, Operator::GroupBy(_));
        let groups: Vec<usize> = self.shared().into_iter().filter(is_group).collect();
        let mut best: Option<(Rough, (Key, NodeId), MachineId)> = None;
        for at in 0..s.machines.all.len() {
            if !s.machines.fits(at, spec) {
                continue;
            }
            let against = self.against(s, at);
            let rough = if groups.is_empty() {
                (0, against)
            } else {
                let machine = &s.machines.all[at];
                let value = |i: &usize| self.constraints[*i].field.and_then(|field| machine.value(field));
                let values: Vec<_> = groups.iter().map(value).collect();
                (self.grouped(&groups, &values), against)
            };
            let rough = if spread {
                (rough.0, rough.1, self.zones[self.zone_of(s, at)], self.of_job[at], self.of_app[at])
            } else {
                (rough.0, rough.1, 0, 0, 0)
            };
            // Most machines are told apart without a division, and most others without a look at their attributes.
            if best.as_ref().is_some_and(|(least, ..)| rough > *least) {
                continue;
            }
            let fine = (self.key(s, at), s.machines.all[at].id);
            let better = best.as_ref().is_none_or(|(least, than, _)| (rough, fine) < (*least, *than));
            if better && self.lets_machine(s, at, &[]) {
                best = Some((rough, fine, at));
            }
        }
        best.map(|(_, _, at)| at)
    }

    /// What speaks against a machine that may be taken: that it comes and goes, and what is preferred elsewhere.
    fn against(&self, s: &Scheduler, at: MachineId) -> i32 {
        let wishes = if self.prefer.is_empty() { 0 } else { -self.weight(s, at) };
        if s.machines.is_avoided(at) { wishes + AVOIDED } else { wishes }
    }

    fn weight(&self, s: &Scheduler, at: MachineId) -> i32 {
        let machine = &s.machines.all[at];
        let of = |(field, passing, absent, weight): &(Option<FieldId>, Vec<bool>, bool, i32)| {
            let value = field.and_then(|field| machine.value(field));
            if value.map_or(*absent, |value| passing[value]) { *weight } else { 0 }
        };
        self.prefer.iter().map(of).sum()
    }

    fn key(&self, s: &Scheduler, at: MachineId) -> Key {
        let spec = self.spec(s);
        let share = s.machines.share_with(at, &spec.resources);
        let tie = mix(self.seed ^ s.machines.all[at].id.0);
        let against = self.against(s, at);
        match spec.strategy {
            PlacementStrategy::Spread => (against, self.of_job[at], self.of_app[at], share, tie),
            PlacementStrategy::Pack => (against, 0, 0, u64::MAX - share, tie),
        }
    }

    /// Why no machine takes an instance.
    pub(crate) fn why(&self, s: &Scheduler) -> Waiting {
        let mut members: Vec<MachineId> = s.machines.members().collect();
        members.sort_by_key(|at| (!s.machines.all[*at].is_alive(), &s.machines.all[*at].name));
        if !members.iter().any(|at| s.machines.all[*at].is_alive()) {
            return Waiting::NoMachine;
        }
        let lacks = |at: &MachineId| NodeLacks { node: s.machines.all[*at].name.clone(), lacks: self.lacks(s, *at) };
        let nodes: Vec<NodeLacks> = members.iter().take(NODES_LISTED_MAX).map(lacks).collect();
        let more = members.len() - nodes.len();
        Waiting::NoRoom(Arc::new(NoRoom { nodes, more }))
    }

    pub(crate) fn lacks(&self, s: &Scheduler, at: MachineId) -> Vec<Lack> {
        let machine = &s.machines.all[at];
        if !machine.is_alive() {
            return vec![Lack::NotAlive(machine.view.map(|view| view.liveness))];
        }
        if let Some(until) = machine.maintained {
            return vec![Lack::Maintenance(until)];
        }
        if machine.draining() {
            return vec![Lack::Draining];
        }
        let spec = self.spec(s);
        let mut lacks = Lack::short(&spec.resources, &s.machines.free(at, spec));
        for (name, needed) in &spec.custom {
            let free = machine.free_custom(name);
            if free < *needed {
                lacks.push(Lack::Custom { name: name.clone(), needed: *needed, free });
            }
        }
        for port in &spec.fixed_ports {
            lacks.extend(machine.holder(*port).map(|by| Lack::PortTaken { port: *port, by: s.id(by) }));
        }
        for rule in &self.constraints {
            let value = rule.field.and_then(|field| Some((field, machine.value(field)?)));
            if self.lets(rule, value.map(|(_, value)| value)) {
                continue;
            }
            let count = value.and_then(|(_, value)| rule.counts.get(value).copied()).unwrap_or_default();
            let value = value.map(|(field, value)| s.machines.fields.text(field, value).to_owned());
            lacks.push(Lack::Refused { constraint: rule.constraint.clone(), value, count });
        }
        let missing = self.with.iter().filter(|(_, there)| there[at] == 0);
        lacks.extend(missing.map(|(job, _)| Lack::Without(job.clone())));
        let present = self.apart.iter().filter(|(_, there)| there[at] > 0);
        lacks.extend(present.map(|(job, _)| Lack::Beside(job.clone())));
        lacks
    }
}

impl Candidates {
    /// Looks at every machine once.
    pub(crate) fn new(s: &Scheduler, rules: &Rules) -> Self {
        let shared = rules.shared();
        let machines = &s.machines.all;
        let is_far = |i: &usize| {
            matches!(rules.constraints[*i].constraint.operator, Operator::GroupBy(_) | Operator::Cluster(_))
        };
        let mut found = Self {
            buckets: vec![],
            zones: (0..rules.zones.len()).map(|_| Zone::default()).collect(),
            keys: vec![None; machines.len()],
            bucket_of: vec![usize::MAX; machines.len()],
            by_hash: BTreeMap::new(),
            last: None,
            far: shared.iter().any(is_far),
            zones_of: shared.iter().map(|i| vec![vec![]; rules.constraints[*i].counts.len() + 1]).collect(),
            shared,
        };
        let spec = rules.spec(s);
        for at in 0..machines.len() {
            if s.machines.fits(at, spec) && rules.lets_machine(s, at, &found.shared) {
                found.add(s, rules, at);
            }
        }
        found
    }

    fn add(&mut self, s: &Scheduler, rules: &Rules, at: MachineId) {
        if self.bucket_of[at] == usize::MAX {
            self.bucket_of[at] = self.bucket(s, rules, at);
        }
        let key = rules.key(s, at);
        self.keys[at] = Some(key);
        let bucket = &mut self.buckets[self.bucket_of[at]];
        bucket.heap.push(Reverse((key, s.machines.all[at].id, at)));
        self.zones[bucket.zone].stale = true;
    }

    fn bucket(&mut self, s: &Scheduler, rules: &Rules, at: MachineId) -> usize {
        let machine = &s.machines.all[at];
        let zone = rules.zone_of(s, at);
        let value = |i: &usize| rules.constraints[*i].field.and_then(|field| machine.value(field));
        let same = |b: &&usize| {
            let bucket = &self.buckets[**b];
            bucket.zone == zone && self.shared.iter().zip(&bucket.values).all(|(i, known)| value(i) == *known)
        };
        if let Some(last) = self.last.as_ref().filter(same) {
            return *last;
        }
        let step = |hash: u64, i: &usize| mix(hash ^ value(i).map_or(u64::MAX, |value| value as u64));
        let hash = self.shared.iter().fold(zone as u64, step);
        let known = self.by_hash.entry(hash).or_default();
        let bucket = known.iter().find(same).copied().unwrap_or_else(|| {
            let values: Vec<Option<ValueId>> = self.shared.iter().map(value).collect();
            for (zones_of, value) in self.zones_of.iter_mut().zip(&values) {
                let none = zones_of.len() - 1;
                let zones = &mut zones_of[value.unwrap_or(none)];
                if !zones.contains(&zone) {
                    zones.push(zone);
                }
            }
            self.buckets.push(Bucket { zone, values, heap: BinaryHeap::new() });
            let bucket = self.buckets.len() - 1;
            known.push(bucket);
            self.zones[zone].buckets.push(bucket);
            bucket
        });
        self.last = Some(bucket);
        bucket
    }

    /// An instance was put on the machine, or what is on it has changed otherwise.
    pub(crate) fn refresh(&mut self, s: &Scheduler, rules: &Rules, at: MachineId) {
        self.keys[at] = None;
        if self.far {
            self.zones.iter_mut().for_each(|zone| zone.stale = true);
        } else {
            // The value that has one more may be there in other zones, too.
            let machine = &s.machines.all[at];
            for (i, zones_of) in self.shared.iter().zip(&self.zones_of) {
                let value = rules.constraints[*i].field.and_then(|field| machine.value(field));
                zones_of[value.unwrap_or(zones_of.len() - 1)].iter().for_each(|zone| self.zones[*zone].stale = true);
            }
        }
        self.zones[rules.zone_of(s, at)].stale = true;
        if s.machines.fits(at, rules.spec(s)) && rules.lets_machine(s, at, &self.shared) {
            self.add(s, rules, at);
        }
    }

    /// The best machine.
    pub(crate) fn best(&mut self, s: &Scheduler, rules: &Rules) -> Option<MachineId> {
        let spread = rules.spec(s).strategy == PlacementStrategy::Spread;
        let mut best: Option<(ZoneRank, MachineId)> = None;
        for zone in 0..self.zones.len() {
            if self.zones[zone].stale {
                self.zones[zone].best = self.best_of(rules, zone);
                self.zones[zone].stale = false;
            }
            let Some(((group, key, id), at)) = self.zones[zone].best else { continue };
            let rank = (group, key.0, if spread { rules.zones[zone] } else { 0 }, key, id);
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                best = Some((rank, at));
            }
        }
        best.map(|(_, at)| at)
    }

    fn best_of(&mut self, rules: &Rules, zone: usize) -> Option<(Rank, MachineId)> {
        let Self { buckets, keys, shared, zones, .. } = self;
        let mut best: Option<(Rank, MachineId)> = None;
        for bucket in &zones[zone].buckets {
            let Bucket { values, heap, .. } = &mut buckets[*bucket];
            let allowed = |(rule, value): (&usize, &Option<ValueId>)| rules.lets(&rules.constraints[*rule], *value);
            if !shared.iter().zip(&*values).all(allowed) {
                continue;
            }
            while heap.peek().is_some_and(|Reverse((key, _, at))| keys[*at] != Some(*key)) {
                heap.pop();
            }
            let Some(Reverse((key, id, at))) = heap.peek() else { continue };
            let rank = (rules.grouped(shared, values), *key, *id);
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                best = Some((rank, *at));
            }
        }
        best
    }
}

fn fresh_of<'s>(s: &'s Scheduler, app: &'s AppName, job: &'s JobName) -> impl Iterator<Item = MachineId> + 's {
    s.fresh.iter().filter(move |fresh| fresh.id.app == *app && fresh.id.job == *job).map(|fresh| fresh.machine)
}

impl Scheduler {
    /// How many instances of a job, named by one of `app`, are on each machine.
    fn count_of(&self, app: usize, target: &JobRef) -> Vec<u32> {
        let mut counts = vec![0; self.machines.all.len()];
        let (name, job) = target_of(&self.app(app).app.name, target);
        let other = self.by_name.get(&name).and_then(|at| self.apps[*at].as_ref());
        for machine in other.and_then(|other| other.job(&job)).iter().flat_map(|job| &job.slots).filter_map(|s| s.on) {
            counts[machine] += 1;
        }
        for fresh in fresh_of(self, &name, &job) {
            counts[fresh] += 1;
        }
        counts
    }

    /// The tasks on a machine.
    pub(crate) fn tasks_on(&self, at: MachineId) -> &[TaskRef] {
        &self.machines.all[at].tasks
    }
}
