//! Who makes way for a task that fits nowhere.

use crate::{
    Waiting,
    choose::Rules,
    machines::{MachineId, TaskRef},
    mirror::{Priority, Spec, VersionId},
    plan::Turn,
};
use std::{cmp::Reverse, collections::BTreeMap, time::Duration};
use taffeta_model::{Cause, Constraint, JobRef, Operator, Resources, TaskId};

/// Most tasks that one turn takes from machines for the sake of others: looking for the least disturbance walks over all
/// machines.
const PREEMPTIONS_MAX: usize = 64;

/// How soon it is looked again for tasks that may make way: those of a service may as soon as others of it serve.
const AGAIN: Duration = Duration::from_secs(1);

/// How many of each service may still go, and who may not for that.
#[derive(Default)]
struct Budgets {
    /// By app and job.
    spare: BTreeMap<(usize, usize), usize>,
    shields: Option<TaskRef>,
}

/// How much a choice of victims disturbs: the highest priority among them, their number, what they have.
type Disturbance = (Priority, usize, u64, u64);

impl Turn<'_> {
    /// Makes room for a task on the machine where that disturbs least, or on this one. If nobody may make way, the error is
    /// one of lower priority that would have to and may not, as no more of its service may be missing; `None` if there is
    /// none.
    pub(crate) fn make_room(
        &mut self,
        task: TaskRef,
        rules: &Rules,
        only: Option<MachineId>,
    ) -> Result<MachineId, Option<TaskRef>> {
        let spec = rules.spec(self.s).clone();
        let lowest = self.s.by_priority.keys().next();
        if lowest.is_none_or(|lowest| *lowest >= spec.priority()) {
            return Err(None);
        }
        if self.preempted >= PREEMPTIONS_MAX {
            self.wake(task.app, self.now);
            return Err(None);
        }
        let mut best: Option<(Disturbance, taffeta_model::NodeId, MachineId, Vec<TaskRef>)> = None;
        let mut budgets = Budgets::default();
        for at in only.map_or_else(|| self.s.machines.members().collect(), |only| vec![only]) {
            if !self.s.machines.is_open(at) || !rules.lets_alone(self.s, at) {
                continue;
            }
            let Some(victims) = self.victims(at, &spec, rules, &mut budgets) else { continue };
            let (disturbance, id) = (self.disturbance(&victims), self.s.machines.all[at].id);
            if best.as_ref().is_none_or(|(least, other, ..)| (disturbance, id) < (*least, *other)) {
                best = Some((disturbance, id, at, victims));
            }
        }
        let Some((_, _, at, victims)) = best else {
            self.wake(task.app, self.now + AGAIN);
            return Err(budgets.shields);
        };
        let by = self.s.id(task);
        for victim in victims {
            self.lift(victim);
            self.remove(victim, Cause::Preempted { by: by.clone() });
            self.wait(victim, Waiting::Preempted { by: by.clone() });
            self.preempted += 1;
        }
        Ok(at)
    }

    fn disturbance(&self, victims: &[TaskRef]) -> Disturbance {
        let specs = || victims.iter().map(|victim| self.s.spec(*victim));
        let highest = specs().map(Spec::priority).max().unwrap_or_default();
        let sum = |of: fn(&Spec) -> u64| specs().map(of).fold(0, u64::saturating_add);
        (highest, victims.len(), sum(|spec| spec.resources.memory), sum(|spec| spec.resources.cpus.0))
    }

    /// The tasks on a machine that would have to go, the lowest priority first and of those the largest; `None` if those
    /// that may go do not make enough room.
    fn victims(&self, at: MachineId, spec: &Spec, rules: &Rules, budgets: &mut Budgets) -> Option<Vec<TaskRef>> {
        let mut may: Vec<(Priority, Reverse<u64>, TaskId, TaskRef)> = vec![];
        for task in self.s.tasks_on(at).iter().filter(|task| !self.is_fresh(**task)) {
            let victim = self.s.spec(*task);
            let lower = victim.priority() < spec.priority() && !self.decided.contains_key(task);
            // Its own older instances are its update's. One with a volume could go nowhere.
            if lower
                && victim.volume.is_none()
                && !rules.are_of(*task)
                && !rules.needs(self.s, *task)
                && !self.is_needed(at, *task)
                && !self.counted.contains(&(task.app, task.job))
            {
                may.push((victim.priority(), Reverse(victim.resources.memory), self.s.id(*task), *task));
            }
        }
        if may.is_empty() {
            return None;
        }
        may.sort();
        let mut short = Short::new(self, at, spec);
        let (mut chosen, mut lost): (Vec<TaskRef>, BTreeMap<(usize, usize), usize>) = (vec![], BTreeMap::new());
        for (_, _, _, victim) in may {
            if short.is_nothing() {
                break;
            }
            let job = (victim.app, victim.job);
            let gone = lost.get(&job).copied().unwrap_or_default();
            let spare = budgets.spare.entry(job).or_insert_with(|| self.spare(job.0, job.1, false));
            if self.costs(victim) && gone >= *spare {
                budgets.shields.get_or_insert(victim);
                continue;
            }
            if short.is_helped_by(self.s.spec(victim)) {
                short.free(self.s.spec(victim));
                chosen.push(victim);
                if self.costs(victim) {
                    lost.insert(job, gone + 1);
                }
            }
        }
        if !short.is_nothing() {
            return None;
        }
        // Whoever turned out not to be needed stays, the highest priority first.
        for i in (0..chosen.len()).rev() {
            let mut without = Short::new(self, at, spec);
            let others = chosen.iter().enumerate().filter(|(other, _)| *other != i);
            others.for_each(|(_, victim)| without.free(self.s.spec(*victim)));
            if without.is_nothing() {
                chosen.remove(i);
            }
        }
        Some(chosen)
    }

    /// Whether the task came in this turn and has no slot yet.
    pub(crate) fn is_fresh(&self, task: TaskRef) -> bool {
        task.slot >= self.s.job(task).slots.len()
    }

    /// Notes that an instance of this version was placed, if a rule of it wants others of the job to stay.
    pub(crate) fn note_placed(&mut self, (app, job): (usize, usize), version: VersionId) {
        let counts = |rule: &Constraint| matches!(rule.operator, Operator::GroupBy(_) | Operator::Cluster(None));
        if self.s.app(app).definition_of(job, version).constraints.iter().any(counts) {
            self.counted.insert((app, job));
        }
    }

    /// Whether a task on the machine must be with this one.
    fn is_needed(&self, at: MachineId, task: TaskRef) -> bool {
        self.needing(at, task).next().is_some()
    }

    /// The tasks on the machine that must be with this one, those included that came in this turn.
    pub(crate) fn needing(&self, at: MachineId, task: TaskRef) -> impl Iterator<Item = TaskRef> {
        let me = (&self.s.app(task.app).app.name, &self.s.job(task).name);
        let others = self.s.tasks_on(at).iter().filter(move |other| (other.app, other.job) != (task.app, task.job));
        others.copied().filter(move |other| {
            let app = self.s.app(other.app);
            let named = |target: &JobRef| (target.app.as_ref().unwrap_or(&app.app.name), &target.job) == me;
            app.definition(other.job).with.iter().any(named)
        })
    }

    /// Whether somebody misses the task: it is one of a service and serves.
    fn costs(&self, task: TaskRef) -> bool {
        !self.s.job(task).spec.kind.is_batch() && self.serves(task)
    }
}

/// What a machine is short of for one more task.
struct Short {
    needed: Resources,
    capacity: Resources,
    used: Resources,
    revocable: bool,
    /// Fixed ports that are taken, and how many hold each.
    ports: Vec<(u16, usize)>,
    custom: Vec<Countable>,
}

/// A countable resource that is asked for.
struct Countable {
    name: String,
    needed: u64,
    used: u64,
    capacity: u64,
}

impl Countable {
    fn is_short(&self) -> bool {
        self.needed > self.capacity.saturating_sub(self.used)
    }
}

impl Short {
    fn new(turn: &Turn<'_>, at: MachineId, spec: &Spec) -> Self {
        let machine = &turn.s.machines.all[at];
        let custom = |(name, needed): &(String, u64)| {
            let (used, capacity) = machine.used_custom(name);
            Countable { name: name.clone(), needed: *needed, used, capacity }
        };
        Self {
            needed: spec.resources,
            capacity: machine.capacity,
            used: machine.used_beside(spec),
            revocable: spec.revocable,
            ports: spec
                .fixed_ports
                .iter()
                .map(|port| (*port, machine.holders(*port)))
                .filter(|(_, n)| *n > 0)
                .collect(),
            custom: spec.custom.iter().map(custom).collect(),
        }
    }

    fn is_nothing(&self) -> bool {
        self.left().fits(&self.needed) && self.ports.is_empty() && !self.custom.iter().any(Countable::is_short)
    }

    fn left(&self) -> Resources {
        let mut left = self.capacity;
        left -= self.used; // nothing, where a machine that has shrunk owes some
        left
    }

    /// Processors of revocable tasks are not counted against others.
    fn frees_cpus(&self, victim: &Spec) -> bool {
        victim.revocable == self.revocable
    }

    fn is_helped_by(&self, victim: &Spec) -> bool {
        let (needed, free, has) = (&self.needed, self.left(), &victim.resources);
        (needed.cpus > free.cpus && has.cpus.0 > 0 && self.frees_cpus(victim))
            || (needed.memory > free.memory && has.memory > 0)
            || (needed.disk > free.disk && has.disk > 0)
            || (needed.ports > free.ports && has.ports > 0)
            || victim.fixed_ports.iter().any(|port| self.ports.iter().any(|(known, _)| known == port))
            || self
                .custom
                .iter()
                .filter(|asked| asked.is_short())
                .any(|asked| victim.custom.iter().any(|(known, count)| *known == asked.name && *count > 0))
    }

    fn free(&mut self, victim: &Spec) {
        let mut freed = victim.resources;
        if !self.frees_cpus(victim) {
            freed.cpus.0 = 0;
        }
        self.used -= freed;
        for (port, holders) in &mut self.ports {
            *holders -= usize::from(victim.fixed_ports.contains(port));
        }
        self.ports.retain(|(_, holders)| *holders > 0);
        for (name, count) in &victim.custom {
            for asked in self.custom.iter_mut().filter(|asked| asked.name == *name) {
                asked.used = asked.used.saturating_sub(*count);
            }
        }
    }
}
