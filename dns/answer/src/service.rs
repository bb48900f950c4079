//! A service with its instances, and the records of its own names.

use crate::{Data, Instance, MAX_RRSET, Name, RecordType};
use smol_str::SmolStr;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, OnceLock},
};

/// Names below the domain that no app may take; [`crate::SnapshotInput`] promises to pass them over.
const RESERVED: [&str; 5] = ["node", "nodes", "leader", "voters", "tag"];

/// App and service, in lower case.
pub(crate) type ServiceKey = (SmolStr, SmolStr);

/// The records of one name by type; each RRset sorted, each record once. Empty for an empty non-terminal.
pub(crate) type RrSets = BTreeMap<RecordType, Vec<Data>>;

/// An instance as a snapshot holds it: names in lower case.
#[derive(Debug)]
pub(crate) struct Held {
    /// `2.web.shop.fabric.internal`; `None` if that is too long for DNS: it has no names then, and is not given.
    pub(crate) own: Option<Name>,
    pub(crate) label: SmolStr,
    pub(crate) node: SmolStr,
    pub(crate) address: IpAddr,
    pub(crate) ports: Box<[(SmolStr, u16)]>,
    pub(crate) tags: Box<[SmolStr]>,
    pub(crate) serving: bool,
    pub(crate) suspected: bool,
}

impl Held {
    fn new(service: &Name, instance: Instance) -> Self {
        let Instance { app: _, service: _, label, node, address, ports, tags, serving, suspected } = instance;
        let label = lowercase(label);
        let ports = ports.into_iter().map(|(name, number)| (lowercase(name), number)).collect();
        Self { own: service.child(&label).ok(), label, node, address, ports, tags: tags.into(), serving, suspected }
    }

    /// Whether it was made from an equal instance.
    fn is(&self, instance: &Instance) -> bool {
        let Instance { app: _, service: _, label, node, address, ports, tags, serving, suspected } = instance;
        let same_port = |((a, x), (b, y)): (&(SmolStr, u16), &(SmolStr, u16))| x == y && a.eq_ignore_ascii_case(b);
        (self.address, self.serving, self.suspected) == (*address, *serving, *suspected)
            && self.label.eq_ignore_ascii_case(label)
            && self.node == *node
            && self.ports.len() == ports.len()
            && self.ports.iter().zip(ports).all(same_port)
            && *self.tags == **tags
    }

    /// The number of a port by its name.
    pub(crate) fn port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
    }

    /// Whether it is given out.
    pub(crate) fn is_shown(&self, hides_suspected: bool) -> bool {
        self.serving && !(hides_suspected && self.suspected)
    }
}

/// A service and all its instances. Immutable; its records are laid out when the first question needs them.
#[derive(Debug)]
pub(crate) struct ServiceEntry {
    pub(crate) name: Name,
    /// Ports in order, registered ones first, in lower case.
    pub(crate) ports: Vec<SmolStr>,
    pub(crate) instances: Vec<Arc<Held>>,
    /// Whether suspected instances are hidden: another serves and is not suspected.
    pub(crate) hides_suspected: bool,
    layout: OnceLock<Layout>,
}

#[derive(Debug, Default)]
struct Layout {
    own: RrSets,
    /// SRV records by port. Every port has an entry whose name DNS can carry.
    ports: BTreeMap<SmolStr, Vec<Data>>,
    /// Positions of the instances in the order of their labels.
    by_label: Vec<u32>,
}

impl ServiceEntry {
    /// A service as it is now. Instances that are as they were in `before` are shared with it.
    pub(crate) fn new(name: Name, registered: Vec<SmolStr>, instances: Vec<Instance>, before: Option<&Self>) -> Self {
        let known = before.map(|b| &b.instances[..]).unwrap_or_default();
        let instances: Vec<Instance> = instances.into_iter().filter(|i| is_label(&i.label)).collect();
        let (start, end) = common_ends(known, &instances, |held, instance| held.is(instance));
        let (new_end, known_end) = (instances.len() - end, known.len() - end);
        let between = instances.into_iter().take(new_end).skip(start).map(|i| Arc::new(Held::new(&name, i)));
        let kept = |range: std::ops::Range<usize>| known[range].iter().cloned();
        let instances: Vec<_> = kept(0..start).chain(between).chain(kept(known_end..known.len())).collect();
        let ports = ports_in_order(registered, &instances);
        let hides_suspected = instances.iter().any(|i| i.serving && !i.suspected);
        Self { name, ports, instances, hides_suspected, layout: OnceLock::new() }
    }

    /// The instances that are given out.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Held> {
        self.instances.iter().map(|i| &**i).filter(|i| i.is_shown(self.hides_suspected))
    }

    /// The instances of a label; as a rule one or none.
    pub(crate) fn labelled<'a>(&'a self, label: &'a str) -> impl Iterator<Item = &'a Held> {
        let order = &self.layout().by_label;
        let at = |position: &u32| &*self.instances[*position as usize];
        let first = order.partition_point(|position| *at(position).label < *label);
        order[first..].iter().map(at).take_while(move |held| held.label == label)
    }

    /// The records of the service's name.
    pub(crate) fn own_sets(&self) -> &RrSets {
        &self.layout().own
    }

    /// The SRV records of a port, by its name in lower case; `None` if the name does not exist.
    pub(crate) fn port_set(&self, port: &str) -> Option<&[Data]> {
        self.layout().ports.get(port).map(|set| &set[..])
    }

    /// Whether there is a name below `_tcp`.
    pub(crate) fn has_ports(&self) -> bool {
        !self.layout().ports.is_empty()
    }

    /// Whether an instance's name exists.
    pub(crate) fn has_instance(&self, label: &str) -> bool {
        self.labelled(label).any(|held| held.own.is_some())
    }

    /// The records of an instance's name that are of a type, or all of them for ANY.
    pub(crate) fn instance_sets(&self, label: &str, asked: RecordType) -> RrSets {
        let mut sets = RrSets::new();
        for held in self.labelled(label).filter(|held| held.is_shown(self.hides_suspected)) {
            if let Some(own) = &held.own {
                self.add_own(&mut sets, asked, held, own);
            }
        }
        settle(&mut sets);
        sets
    }

    fn layout(&self) -> &Layout {
        self.layout.get_or_init(|| self.lay_out())
    }

    fn lay_out(&self) -> Layout {
        let mut layout = Layout::default();
        let tcp = self.name.child("_tcp");
        let fits = |port: &&SmolStr| tcp.as_ref().is_ok_and(|tcp| tcp.child(format!("_{port}")).is_ok());
        layout.ports = self.ports.iter().filter(fits).map(|port| (port.clone(), Vec::new())).collect();
        for held in self.shown() {
            let Some(own) = &held.own else { continue };
            self.add_own(&mut layout.own, RecordType::Any, held, own);
            for (port, number) in &held.ports {
                if let Some(set) = layout.ports.get_mut(port) {
                    set.push(srv(*number, own));
                }
            }
        }
        settle(&mut layout.own);
        layout.ports.values_mut().for_each(settle_set);
        layout.by_label = (0..u32::try_from(self.instances.len()).expect("memory has fewer")).collect();
        layout.by_label.sort_by_key(|position| &self.instances[*position as usize].label);
        layout
    }

    /// What the service's name and the instance's own have in common.
    fn add_own(&self, sets: &mut RrSets, asked: RecordType, held: &Held, own: &Name) {
        if asked.takes(address_type(held.address)) {
            add(sets, address(held.address));
        }
        if let Some(port) = self.ports.first().filter(|_| asked.takes(RecordType::Srv)).and_then(|p| held.port(p)) {
            add(sets, srv(port, own));
        }
        if asked.takes(RecordType::Txt) {
            held.tags.iter().for_each(|tag| add(sets, text([tag.as_str()])));
        }
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

pub(crate) fn lowercase(text: SmolStr) -> SmolStr {
    if text.bytes().any(|b| b.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text }
}

pub(crate) fn add(sets: &mut RrSets, data: Data) {
    sets.entry(data.record_type()).or_default().push(data);
}

/// An RRset is a set (RFC 2181 section 5): two instances on one address are one A record.
pub(crate) fn settle(sets: &mut RrSets) {
    sets.values_mut().for_each(settle_set);
}

fn settle_set(set: &mut Vec<Data>) {
    set.sort();
    set.dedup();
}

/// An IPv4 address in IPv6 clothes is the IPv4 address, in A and in the reverse zone.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn address_type(address: IpAddr) -> RecordType {
    if canonical(address).is_ipv4() { RecordType::A } else { RecordType::Aaaa }
}

pub(crate) fn address(address: IpAddr) -> Data {
    match canonical(address) {
        IpAddr::V4(v4) => Data::A(v4),
        IpAddr::V6(v6) => Data::Aaaa(v6),
    }
}

/// All instances are equal; a weight above zero makes clients spread over them (RFC 2782).
pub(crate) fn srv(port: u16, target: &Name) -> Data {
    Data::Srv { priority: 0, weight: 10, port, target: target.clone() }
}

/// Character strings hold 255 bytes; a longer text goes into several. At most [`MAX_RRSET`] of them.
pub(crate) fn text<'a>(texts: impl IntoIterator<Item = &'a str>) -> Data {
    let split = texts.into_iter().flat_map(|text| {
        let mut rest = text;
        let mut parts = Vec::new();
        while rest.len() > 255 {
            let cut = (0..=255).rev().find(|i| rest.is_char_boundary(*i)).unwrap_or(0);
            let (part, tail) = rest.split_at(cut);
            parts.push(part.to_owned());
            rest = tail;
        }
        parts.push(rest.to_owned());
        parts
    });
    Data::Txt(split.take(MAX_RRSET).collect())
}
