//! A service with its instances. Its records are laid out when the first question needs them.

use crate::{
    Empty, Instance, Name, Order, RecordType, ServiceDns, ServiceState,
    held::{Held, hides_suspected, lowercase},
    layout::{Layout, Plan, instance_set},
    machines::Machines,
    sets::Set,
    subset::{Subset, Subsets, subsets},
    wire::Block,
};
use smol_str::SmolStr;
use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

/// Names below the domain that no app may take; [`crate::SnapshotInput`] promises to pass them over.
const RESERVED: [&str; 5] = ["node", "nodes", "leader", "voters", "tag"];

/// App and service, in lower case.
pub(crate) type ServiceKey = (SmolStr, SmolStr);

/// A service and all its instances. Immutable.
#[derive(Debug)]
pub(crate) struct ServiceEntry {
    pub(crate) name: Name,
    /// Ports in order, registered ones first, in lower case.
    pub(crate) ports: Vec<SmolStr>,
    pub(crate) dns: ServiceDns,
    pub(crate) instances: Vec<Arc<Held>>,
    /// Whether suspected instances are hidden: another serves and is not suspected.
    pub(crate) hides_suspected: bool,
    /// Whether its name and all below do not exist: nothing serves, and it wants NXDOMAIN then.
    pub(crate) is_absent: bool,
    /// Laid out with the machines of whichever snapshot is asked first. All snapshots that share the entry say the
    /// same of where machines are, or its order does not depend on it.
    layout: OnceLock<Layout>,
    /// What is asked for most; of it the same is true.
    block: OnceLock<Block>,
    /// Positions of the instances in the order of their labels.
    by_label: OnceLock<Vec<u32>>,
    subsets: OnceLock<Subsets>,
}

impl ServiceEntry {
    /// A service as it is now. Instances that are as they were in `before` are shared with it.
    pub(crate) fn new(name: Name, state: ServiceState, before: Option<&Self>) -> Self {
        let known = before.map(|b| &b.instances[..]).unwrap_or_default();
        let instances: Vec<Instance> = state.instances.into_iter().filter(|i| is_label(&i.label)).collect();
        let (start, end) = common_ends(known, &instances, |held, instance| held.is(instance));
        let (new_end, known_end) = (instances.len() - end, known.len() - end);
        let between = instances.into_iter().take(new_end).skip(start).map(|i| Arc::new(Held::new(&name, i)));
        let kept = |range: std::ops::Range<usize>| known[range].iter().cloned();
        let instances: Vec<_> = kept(0..start).chain(between).chain(kept(known_end..known.len())).collect();
        let ports = ports_in_order(state.ports, &instances);
        Self::of(name, ports, state.dns, instances)
    }

    /// The same service, nothing laid out: machines have moved.
    pub(crate) fn anew(&self) -> Self {
        Self::of(self.name.clone(), self.ports.clone(), self.dns, self.instances.clone())
    }

    fn of(name: Name, ports: Vec<SmolStr>, dns: ServiceDns, instances: Vec<Arc<Held>>) -> Self {
        let serves = || instances.iter().any(|i| i.serving && i.own.is_some());
        Self {
            hides_suspected: hides_suspected(instances.iter().map(|i| &**i)),
            is_absent: dns.empty == Empty::NxDomain && !serves(),
            name,
            ports,
            dns,
            instances,
            layout: OnceLock::new(),
            block: OnceLock::new(),
            by_label: OnceLock::new(),
            subsets: OnceLock::new(),
        }
    }

    /// Whether its records depend on where machines are.
    pub(crate) fn is_near(&self) -> bool {
        self.dns.order == Order::Near
    }

    /// The instances that are given out.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Held> {
        self.instances.iter().map(|i| &**i).filter(|i| i.is_shown(self.hides_suspected))
    }

    /// The instances of a label; as a rule one or none.
    pub(crate) fn labelled<'a>(&'a self, label: &'a str) -> impl Iterator<Item = &'a Held> {
        let order = self.by_label();
        let at = |position: &u32| &*self.instances[*position as usize];
        let first = order.partition_point(|position| *at(position).label < *label);
        order[first..].iter().map(at).take_while(move |held| held.label == label)
    }

    /// Whether an instance's name exists.
    pub(crate) fn has_instance(&self, label: &str) -> bool {
        self.labelled(label).any(|held| held.own.is_some())
    }

    /// The instances that a tag or a version selects, by its label in lower case.
    pub(crate) fn subset(&self, label: &str) -> Option<&Subset> {
        self.subsets().get(label)
    }

    /// All subsets by their labels.
    pub(crate) fn subsets(&self) -> &Subsets {
        self.subsets.get_or_init(|| self.make_subsets())
    }

    /// The same, made now.
    pub(crate) fn make_subsets(&self) -> Subsets {
        let is_free = |label: &str| !self.has_instance(label) && self.name.has_room_for([label.len()]);
        subsets(&self.instances, is_free)
    }

    /// The labels of instances, each once.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &str> {
        let labels = self.by_label().iter().map(|position| self.instances[*position as usize].label.as_str());
        let mut last = None;
        labels.filter(move |label| last.replace(*label) != Some(*label))
    }

    /// The records of the service's name and of its ports.
    pub(crate) fn layout(&self, machines: &Machines) -> &Layout {
        self.layout.get_or_init(|| self.lay_out(machines))
    }

    /// The records that are asked for most, if they have been.
    #[inline]
    pub(crate) fn made_block(&self) -> Option<&Block> {
        self.block.get()
    }

    /// The records that are asked for most.
    #[inline]
    pub(crate) fn block(&self, machines: &Machines) -> &Block {
        self.block.get_or_init(|| Block::of(self, machines))
    }

    /// The same, laid out now.
    pub(crate) fn lay_out(&self, machines: &Machines) -> Layout {
        Layout::of(self.plan(machines), self.shown())
    }

    /// The records of a subset of its own.
    pub(crate) fn subset_layout<'a>(&'a self, subset: &'a Subset, machines: &Machines) -> &'a Layout {
        subset.layout(self.plan(machines), &self.instances)
    }

    /// The records of an instance's name that are of a type; of the first type there is for ANY.
    pub(crate) fn instance_set(&self, label: &str, asked: RecordType, machines: &Machines) -> Option<Set> {
        instance_set(self.plan(machines), asked, self.labelled(label).filter(|held| self.is_addressed(held)))
    }

    /// Whether an instance's name has records: it is given by its service or by one of its subsets, which may show one
    /// that the service hides. So no SRV record has a target without an address.
    pub(crate) fn is_addressed(&self, held: &Held) -> bool {
        held.is_shown(self.hides_suspected) || held.serving && self.is_shown_by_a_subset(held)
    }

    fn is_shown_by_a_subset(&self, held: &Held) -> bool {
        let version = crate::subset::version_label(held.version);
        let labels = held.tags.iter().map(|tag| lowercase(tag.clone())).chain(version);
        labels.filter_map(|label| self.subset(&label)).any(|subset| {
            !subset.hides_suspected && subset.instances(&self.instances).any(|member| std::ptr::eq(member, held))
        })
    }

    pub(crate) fn plan<'a>(&'a self, machines: &'a Machines) -> Plan<'a> {
        Plan { ports: &self.ports, dns: self.dns, machines }
    }

    fn by_label(&self) -> &[u32] {
        self.by_label.get_or_init(|| self.in_order_of_labels())
    }

    fn in_order_of_labels(&self) -> Vec<u32> {
        let mut positions: Vec<u32> = (0..u32::try_from(self.instances.len()).expect("memory has fewer")).collect();
        positions.sort_by_key(|position| &self.instances[*position as usize].label);
        positions
    }
}

/// How many items two lists have in common at their beginnings, and at their ends after that.
pub(crate) fn common_ends<A, B>(old: &[A], new: &[B], same: impl Fn(&A, &B) -> bool) -> (usize, usize) {
    let start = old.iter().zip(new).take_while(|(a, b)| same(a, b)).count();
    let rest = old[start..].iter().rev().zip(new[start..].iter().rev());
    (start, rest.take_while(|(a, b)| same(a, b)).count())
}

/// The key of a service, if DNS can carry it and no name of the fabric's own is like it.
pub(crate) fn service_key(app: &str, service: &str) -> Option<ServiceKey> {
    let (app, service) = (app.to_ascii_lowercase(), service.to_ascii_lowercase());
    let plain = |label: &str| is_label(label) && !label.contains('.');
    let fits = plain(&app) && plain(&service) && !RESERVED.contains(&app.as_str());
    fits.then(|| (app.into(), service.into()))
}

/// Whether DNS can carry the label and no name of the fabric's own begins like it.
pub(crate) fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len()) && !label.starts_with('_')
}

fn ports_in_order(registered: Vec<SmolStr>, instances: &[Arc<Held>]) -> Vec<SmolStr> {
    let mut known = BTreeSet::new();
    let mut ports: Vec<SmolStr> = registered.into_iter().map(lowercase).filter(|p| known.insert(p.clone())).collect();
    for (port, _) in instances.iter().flat_map(|i| &i.ports) {
        if !known.contains(port) {
            known.insert(port.clone());
            ports.push(port.clone());
        }
    }
    ports
}
