//! Every machine with what is taken of it, kept up to date as tasks are put and lifted.

use crate::{
    MemberView,
    fields::{FieldId, Fields, HOSTNAME, ValueId, ZONE},
    mirror::Spec,
};
use std::{collections::BTreeMap, num::NonZeroU32};
use taffeta_model::{Bug, Cpus, Liveness, Member, NodeId, NodeName, Resources, UnixMillis, planted};

/// Position of a machine. It stays the same for as long as the machine is a member.
pub(crate) type MachineId = usize;

/// The task at a position: app, job, slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskRef {
    pub(crate) app: usize,
    pub(crate) job: usize,
    pub(crate) slot: usize,
}

/// All machines.
#[derive(Default)]
pub(crate) struct Machines {
    pub(crate) all: Vec<Machine>,
    /// What is free on each, side by side: choosing reads it for every machine.
    free: Vec<Free>,
    by_id: BTreeMap<NodeId, MachineId>,
    holes: Vec<MachineId>,
    pub(crate) fields: Fields,
    /// Sum of what those offer that are members.
    pub(crate) total: Resources,
}

/// One machine.
pub(crate) struct Machine {
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) is_member: bool,
    /// Whether a person drains it.
    drained: bool,
    /// When its maintenance window ends, if one is open.
    pub(crate) maintained: Option<UnixMillis>,
    pub(crate) view: Option<MemberView>,
    pub(crate) capacity: Resources,
    custom: BTreeMap<String, u64>,
    values: Vec<(FieldId, ValueId)>,
    /// Sum of all requests; above the capacity if the machine has shrunk or a job has grown.
    pub(crate) used: Resources,
    /// Processors of it that revocable tasks asked for.
    revocable_cpus: u64,
    used_custom: BTreeMap<String, u64>,
    pub(crate) tasks: Vec<TaskRef>,
    /// Who has which fixed port. More than one holder only after a deploy has given running tasks a new port.
    fixed: BTreeMap<u16, Vec<TaskRef>>,
}

/// What is free, and whether it may be given.
#[derive(Clone, Copy)]
struct Free {
    cpus: u64,
    /// To revocable tasks: what others asked for is theirs as long as it is idle.
    revocable_cpus: u64,
    memory: u64,
    disk: u64,
    ports: u32,
    open: bool,
    /// This and the zone are kept here, too, as choosing asks every machine for them.
    avoided: bool,
    /// Narrow, so that a machine takes less than a line of the cache.
    zone: Option<NonZeroU32>,
}

impl Machines {
    pub(crate) fn position(&self, id: NodeId) -> Option<MachineId> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = MachineId> {
        self.by_id.values().copied()
    }

    /// Reads a member. Gives whether anything that matters for placing is another.
    pub(crate) fn read(&mut self, member: &Member, view: Option<MemberView>) -> bool {
        let values = self.fields.read(member);
        let at = match self.position(member.id) {
            Some(at) => at,
            None => self.add(member),
        };
        let machine = &mut self.all[at];
        let same = machine.is_member
            && machine.capacity == member.capacity
            && machine.custom == member.custom
            && machine.values == values
            && machine.drained == member.draining
            && machine.view == view;
        if same {
            return false;
        }
        if machine.is_member {
            self.total -= machine.capacity;
        }
        self.total += member.capacity;
        (machine.is_member, machine.drained, machine.view) = (true, member.draining, view);
        (machine.capacity, machine.custom, machine.values) = (member.capacity, member.custom.clone(), values);
        machine.name = member.name.clone();
        self.weigh(at);
        true
    }

    fn add(&mut self, member: &Member) -> MachineId {
        let machine = Machine {
            id: member.id,
            name: member.name.clone(),
            is_member: false,
            drained: false,
            maintained: None,
            view: None,
            capacity: Resources::default(),
            custom: BTreeMap::new(),
            values: vec![],
            used: Resources::default(),
            revocable_cpus: 0,
            used_custom: BTreeMap::new(),
            tasks: vec![],
            fixed: BTreeMap::new(),
        };
        let at = if let Some(hole) = self.holes.pop() {
            self.all[hole] = machine;
            hole
        } else {
            self.all.push(machine);
            self.free.push(Free::NOTHING);
            self.all.len() - 1
        };
        self.by_id.insert(member.id, at);
        at
    }

    /// Forgets members that are none any more; their tasks have been lifted. Gives whether there were any.
    pub(crate) fn retain(&mut self, is_member: impl Fn(NodeId) -> bool) -> bool {
        let gone: Vec<(NodeId, MachineId)> =
            self.by_id.iter().filter(|(id, _)| !is_member(**id)).map(|(id, at)| (*id, *at)).collect();
        for (id, at) in &gone {
            self.by_id.remove(id);
            self.total -= self.all[*at].capacity;
            self.all[*at].is_member = false;
            self.free[*at] = Free::NOTHING;
            self.holes.push(*at);
        }
        !gone.is_empty()
    }

    pub(crate) fn see(&mut self, at: MachineId, view: Option<MemberView>) {
        self.all[at].view = view;
        self.weigh(at);
    }

    /// Its maintenance window opens or closes. Gives whether that is news.
    pub(crate) fn maintain(&mut self, at: MachineId, until: Option<UnixMillis>) -> bool {
        let news = self.all[at].maintained != until;
        self.all[at].maintained = until;
        self.weigh(at);
        news
    }

    /// Counts bytes of disk that no task there has.
    pub(crate) fn reserve(&mut self, at: MachineId, bytes: u64) {
        let disk = &mut self.all[at].used.disk;
        *disk = disk.saturating_add(bytes);
        self.weigh(at);
    }

    /// Undoes [`Machines::reserve`].
    pub(crate) fn unreserve(&mut self, at: MachineId, bytes: u64) {
        let disk = &mut self.all[at].used.disk;
        *disk = disk.saturating_sub(bytes);
        self.weigh(at);
    }

    /// Counts a task on the machine.
    pub(crate) fn put(&mut self, at: MachineId, spec: &Spec, task: TaskRef) {
        let machine = &mut self.all[at];
        machine.used += spec.resources;
        if spec.revocable {
            machine.revocable_cpus = machine.revocable_cpus.saturating_add(spec.resources.cpus.0);
        }
        for (name, count) in &spec.custom {
            *machine.used_custom.entry(name.clone()).or_default() += count;
        }
        for port in &spec.fixed_ports {
            machine.fixed.entry(*port).or_default().push(task);
        }
        machine.tasks.push(task);
        self.weigh(at);
    }

    /// Undoes [`Machines::put`].
    pub(crate) fn lift(&mut self, at: MachineId, spec: &Spec, task: TaskRef) {
        let machine = &mut self.all[at];
        machine.used -= spec.resources;
        if spec.revocable {
            machine.revocable_cpus = machine.revocable_cpus.saturating_sub(spec.resources.cpus.0);
        }
        for (name, count) in &spec.custom {
            if let Some(used) = machine.used_custom.get_mut(name) {
                *used = used.saturating_sub(*count);
            }
        }
        for port in &spec.fixed_ports {
            if let Some(holders) = machine.fixed.get_mut(port) {
                holders.retain(|holder| *holder != task);
                if holders.is_empty() {
                    machine.fixed.remove(port);
                }
            }
        }
        if let Some(i) = machine.tasks.iter().position(|known| *known == task) {
            machine.tasks.swap_remove(i);
        }
        self.weigh(at);
    }

    fn weigh(&mut self, at: MachineId) {
        let machine = &self.all[at];
        let (capacity, used) = (&machine.capacity, &machine.used);
        let firm = used.cpus.0.saturating_sub(machine.revocable_cpus);
        self.free[at] = Free {
            cpus: capacity.cpus.0.saturating_sub(firm),
            revocable_cpus: capacity.cpus.0.saturating_sub(machine.revocable_cpus),
            memory: capacity.memory.saturating_sub(used.memory),
            disk: capacity.disk.saturating_sub(used.disk),
            ports: capacity.ports.saturating_sub(used.ports),
            open: machine.is_open(),
            avoided: machine.is_avoided(),
            zone: machine.zone().and_then(|zone| NonZeroU32::new(u32::try_from(zone + 1).ok()?)),
        };
    }

    /// Whether the machine takes tasks and has what one of these asks for. Rules are not asked.
    pub(crate) fn fits(&self, at: MachineId, spec: &Spec) -> bool {
        let (free, asked) = (&self.free[at], &spec.resources);
        let cpus = if spec.revocable { free.revocable_cpus } else { free.cpus };
        let enough =
            asked.cpus.0 <= cpus && asked.memory <= free.memory && asked.disk <= free.disk && asked.ports <= free.ports;
        free.open
            && (enough || planted(Bug::OverCommit))
            && (spec.fixed_ports.is_empty() || spec.fixed_ports.iter().all(|n| self.all[at].holder(*n).is_none()))
            && (spec.custom.is_empty() || spec.custom.iter().all(|(name, n)| *n <= self.all[at].free_custom(name)))
    }

    pub(crate) fn zone(&self, at: MachineId) -> Option<ValueId> {
        self.free[at].zone.map(|zone| zone.get() as usize - 1)
    }

    /// Whether the machine takes tasks, whatever it has left.
    pub(crate) fn is_open(&self, at: MachineId) -> bool {
        self.free[at].open
    }

    /// Whether the machine was not there several times lately: it is chosen last.
    pub(crate) fn is_avoided(&self, at: MachineId) -> bool {
        self.free[at].avoided
    }

    /// What tasks of this kind may still take.
    pub(crate) fn free(&self, at: MachineId, spec: &Spec) -> Resources {
        let free = &self.free[at];
        let cpus = Cpus(if spec.revocable { free.revocable_cpus } else { free.cpus });
        Resources { cpus, memory: free.memory, disk: free.disk, ports: free.ports }
    }

    /// The share that is taken, in millionths, of the resource that is scarcest once one more is here.
    pub(crate) fn share_with(&self, at: MachineId, asked: &Resources) -> u64 {
        let Machine { used, capacity, .. } = &self.all[at];
        let mut used = *used;
        used += *asked;
        share(&used, capacity)
    }
}

/// The largest share, in millionths, that `used` is of `whole`.
pub(crate) fn share(used: &Resources, whole: &Resources) -> u64 {
    let of = |used: u64, whole: u64| match (used, whole) {
        (0, _) => 0,
        (_, 0) => u64::MAX,
        // The wide division is slow, and this is asked of every machine; 18 TB and less do without.
        (used, whole) => match used.checked_mul(1_000_000) {
            Some(millionths) => millionths / whole,
            None => u64::try_from(u128::from(used) * 1_000_000 / u128::from(whole)).unwrap_or(u64::MAX),
        },
    };
    of(used.cpus.0, whole.cpus.0)
        .max(of(used.memory, whole.memory))
        .max(of(used.disk, whole.disk))
        .max(of(used.ports.into(), whole.ports.into()))
}

impl Machine {
    pub(crate) fn is_alive(&self) -> bool {
        self.is_member && self.view.is_some_and(|view| view.liveness == Liveness::Alive)
    }

    fn is_open(&self) -> bool {
        self.is_alive() && !self.draining()
    }

    /// Whether its services are to move elsewhere, by a person's word or in a maintenance window.
    pub(crate) fn draining(&self) -> bool {
        self.drained || self.maintained.is_some()
    }

    /// Whether it was not there several times lately.
    fn is_avoided(&self) -> bool {
        self.view.is_some_and(|view| view.avoided)
    }

    pub(crate) fn holder(&self, port: u16) -> Option<TaskRef> {
        self.fixed.get(&port)?.first().copied()
    }

    pub(crate) fn holders(&self, port: u16) -> usize {
        self.fixed.get(&port).map_or(0, Vec::len)
    }

    pub(crate) fn free_custom(&self, name: &str) -> u64 {
        let (used, capacity) = self.used_custom(name);
        capacity.saturating_sub(used)
    }

    /// What is taken, and what there is, of a countable resource.
    pub(crate) fn used_custom(&self, name: &str) -> (u64, u64) {
        let of = |counts: &BTreeMap<String, u64>| counts.get(name).copied().unwrap_or_default();
        (of(&self.used_custom), of(&self.custom))
    }

    /// What is taken of what tasks of this kind may take.
    pub(crate) fn used_beside(&self, spec: &Spec) -> Resources {
        let cpus =
            if spec.revocable { self.revocable_cpus } else { self.used.cpus.0.saturating_sub(self.revocable_cpus) };
        Resources { cpus: Cpus(cpus), ..self.used }
    }

    pub(crate) fn value(&self, field: FieldId) -> Option<ValueId> {
        match field {
            HOSTNAME => self.values.first().map(|(_, value)| *value),
            field => self.values.iter().find(|(known, _)| *known == field).map(|(_, value)| *value),
        }
    }

    fn zone(&self) -> Option<ValueId> {
        self.value(ZONE)
    }
}

impl Free {
    const NOTHING: Self =
        Self { cpus: 0, revocable_cpus: 0, memory: 0, disk: 0, ports: 0, open: false, avoided: false, zone: None };
}
