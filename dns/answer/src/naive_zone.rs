//! The zone laid out name by name, every name that exists with every record: what a snapshot must be equal to.

use crate::{
    Data, Empty, Instance, Name, Node, RecordType, ServiceBinding, ServiceDns, SnapshotInput,
    service::{is_label, service_key},
    sets::{address, canonical, srv, text},
};
use smol_str::SmolStr;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The records of one name by type. Empty for an empty non-terminal.
pub(crate) type RrSets = BTreeMap<RecordType, Vec<Data>>;

#[derive(Debug, Default)]
struct ServiceEntry {
    /// Ports in order, registered ones first.
    ports: Vec<String>,
    dns: ServiceDns,
    instances: Vec<Instance>,
}

/// Those that are given out: suspected ones while no other serves.
fn shown<'a>(instances: &[&'a Instance]) -> Vec<&'a Instance> {
    let hide = instances.iter().any(|i| i.serving && !i.suspected);
    instances.iter().copied().filter(|i| i.serving && !(hide && i.suspected)).collect()
}

/// The instances by each label that selects them.
fn selected<'a>(all: &[&'a Instance]) -> BTreeMap<String, Vec<&'a Instance>> {
    let mut selected: BTreeMap<String, Vec<&Instance>> = BTreeMap::new();
    let labels = |i: &Instance| i.tags.iter().map(|t| t.to_ascii_lowercase()).collect::<BTreeSet<String>>();
    for instance in all {
        for label in labels(instance).into_iter().filter(|l| is_plain(l)) {
            selected.entry(label).or_default().push(instance);
        }
    }
    let tags: BTreeSet<String> = selected.keys().cloned().collect();
    for instance in all {
        let version = format!("v{}", instance.version);
        if instance.version > 0 && !tags.contains(&version) {
            selected.entry(version).or_default().push(instance);
        }
    }
    selected.retain(|label, _| all.iter().all(|i| i.label != *label));
    selected
}

fn is_plain(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    label.len() < 64 && label.chars().all(inner) && outer(label.chars().next()) && outer(label.chars().last())
}

/// Every name and every record.
#[derive(Debug)]
pub(crate) struct NaiveZone {
    domain: Name,
    own_node: Name,
    serial: u32,
    negative_ttl: u32,
    pub(crate) names: BTreeMap<Name, RrSets>,
    /// How names of services, their tags, ports and instances want to be answered for.
    pub(crate) dns: BTreeMap<Name, ServiceDns>,
    pub(crate) reverse: BTreeMap<IpAddr, Vec<Data>>,
    nodes: Vec<Node>,
}

impl NaiveZone {
    pub(crate) fn lay_out(input: SnapshotInput) -> Self {
        let domain = input.domain.to_lowercase();
        let own = input.own_node.to_ascii_lowercase();
        let own_node = domain.child("node").and_then(|n| n.child(&own)).unwrap_or_else(|_| domain.clone());
        let mut zone = Self {
            own_node,
            serial: input.serial,
            negative_ttl: input.negative_ttl,
            names: BTreeMap::new(),
            dns: BTreeMap::new(),
            reverse: BTreeMap::new(),
            nodes: input.nodes,
            domain,
        };
        zone.lay_out_apex();
        zone.lay_out_nodes();
        for ((app, service), entry) in &group(input.services, input.instances) {
            let _ = zone.lay_out_service(app, service, entry);
        }
        zone.settle();
        zone
    }

    fn soa(&self) -> Data {
        let rname = self.domain.child("hostmaster").unwrap_or_else(|_| self.domain.clone());
        Data::Soa { mname: self.own_node.clone(), rname, serial: self.serial, minimum: self.negative_ttl }
    }

    fn lay_out_apex(&mut self) {
        let (soa, ns) = (self.soa(), Data::Ns(self.own_node.clone()));
        let domain = self.domain.clone();
        self.add(&domain, soa);
        self.add(&domain, ns);
    }

    fn lay_out_nodes(&mut self) {
        let nodes = std::mem::take(&mut self.nodes);
        for group in ["leader", "voters", "nodes"] {
            let Ok(name) = self.domain.child(group) else { continue };
            self.exists(&name);
            for node in in_group(&nodes, group) {
                self.add(&name, address(node.address));
            }
        }
        let Ok(parent) = self.domain.child("node") else { return };
        self.exists(&parent);
        for node in &nodes {
            let Ok(name) = parent.child(node.name.to_ascii_lowercase()) else { continue };
            self.add(&name, address(node.address));
            self.reverse.entry(canonical(node.address)).or_default().push(Data::Ptr(name));
        }
        self.nodes = nodes;
    }

    fn lay_out_service(&mut self, app: &str, service: &str, entry: &ServiceEntry) -> Result<(), crate::InvalidDnsName> {
        let name = self.domain.child(app)?.child(service)?;
        let all: Vec<&Instance> = entry.instances.iter().filter(|i| name.child(&i.label).is_ok()).collect();
        for instance in &all {
            let own = name.child(&instance.label)?;
            self.reverse.entry(canonical(instance.address)).or_default().push(Data::Ptr(own));
        }
        if entry.dns.empty == Empty::NxDomain && !all.iter().any(|i| i.serving) {
            return Ok(());
        }
        // A label that is too long for DNS hides suspected ones like any other.
        let given: Vec<&Instance> = shown(&entry.instances.iter().collect::<Vec<_>>());
        let given: Vec<&Instance> = given.into_iter().filter(|i| name.child(&i.label).is_ok()).collect();
        self.lay_out_set(&name, &name, &given, entry);
        let mut addressed = given.clone();
        for (label, members) in selected(&all) {
            let Ok(at) = name.child(&label) else { continue };
            self.lay_out_set(&at, &name, &shown(&members), entry);
            addressed.extend(shown(&members));
        }
        for instance in &all {
            let own = name.child(&instance.label)?;
            self.exists(&own);
            self.dns.insert(own.clone(), entry.dns);
            if addressed.iter().any(|a| std::ptr::eq(*a, *instance)) {
                self.lay_out_at(&own, &own, instance, entry);
            }
        }
        for instance in given {
            let own = name.child(&instance.label)?;
            self.lay_out_browsing(&own, instance, &format!("{}.{service}.{app}", instance.label));
        }
        Ok(())
    }

    /// The name of a service or a tag, and the ports below it.
    fn lay_out_set(&mut self, at: &Name, service: &Name, given: &[&Instance], entry: &ServiceEntry) {
        self.exists(at);
        self.dns.insert(at.clone(), entry.dns);
        for port in &entry.ports {
            let Ok(name) = at.child("_tcp").and_then(|tcp| tcp.child(format!("_{port}"))) else { continue };
            self.exists(&name);
            self.dns.insert(name.clone(), entry.dns);
            for instance in given {
                let Ok(own) = service.child(&instance.label) else { continue };
                for (_, number) in instance.ports.iter().filter(|(p, _)| p.eq_ignore_ascii_case(port)) {
                    self.add(&name, srv(*number, instance.weight, &own));
                    let alpn: &'static [&'static str] = match port.as_str() {
                        "https" => &["h2", "http/1.1"],
                        "grpc" => &["h2"],
                        "h3" => &["h3"],
                        _ => continue,
                    };
                    self.add(&name, Data::Svcb(binding(alpn, *number, &own)));
                }
            }
        }
        for instance in given {
            let Ok(own) = service.child(&instance.label) else { continue };
            self.lay_out_at(at, &own, instance, entry);
        }
    }

    /// What an instance gives to a name.
    fn lay_out_at(&mut self, name: &Name, own: &Name, instance: &Instance, entry: &ServiceEntry) {
        self.add(name, address(instance.address));
        if let Some(port) = entry.ports.first().and_then(|p| port_of(instance, p)) {
            self.add(name, srv(port, instance.weight, own));
        }
        for tag in &instance.tags {
            self.add(name, text([tag.as_str()]));
        }
        match (port_of(instance, "https"), port_of(instance, "h3")) {
            (Some(tcp), Some(udp)) if tcp == udp => {
                self.add(name, Data::Https(binding(&["h3", "h2", "http/1.1"], tcp, own)));
            }
            (tcp, udp) => {
                if let Some(port) = tcp {
                    self.add(name, Data::Https(binding(&["h2", "http/1.1"], port, own)));
                }
                if let Some(port) = udp {
                    let binding = ServiceBinding { no_default_alpn: true, ..binding(&["h3"], port, own) };
                    self.add(name, Data::Https(binding));
                }
            }
        }
    }

    /// DNS-SD (RFC 6763): `_http._tcp` lists the instances, each a single label such as `2.web.shop`.
    fn lay_out_browsing(&mut self, own: &Name, instance: &Instance, label: &str) {
        for (port, number) in &instance.ports {
            let kind = self.domain.child("_tcp").and_then(|n| n.child(format!("_{}", port.to_ascii_lowercase())));
            let all = ["_udp", "_dns-sd", "_services"].iter().try_fold(self.domain.clone(), |n, l| n.child(l));
            let (Ok(kind), Ok(all)) = (kind, all) else { continue };
            let Ok(one) = kind.child(label) else { continue };
            self.add(&all, Data::Ptr(kind.clone()));
            self.add(&kind, Data::Ptr(one.clone()));
            self.add(&one, srv(*number, instance.weight, own));
            // The TXT record is not optional, section 6.1; without tags it holds one empty string.
            let tags = instance.tags.iter().map(SmolStr::as_str);
            self.add(&one, if instance.tags.is_empty() { text([""]) } else { text(tags) });
        }
    }

    /// Makes a name and all its ancestors in the zone exist.
    fn exists(&mut self, name: &Name) {
        let mut at = name.clone();
        while !self.names.contains_key(&at) && at.is_within(&self.domain) {
            let parent = at.parent();
            self.names.insert(at, RrSets::new());
            let Some(parent) = parent else { break };
            at = parent;
        }
    }

    fn add(&mut self, name: &Name, data: Data) {
        self.exists(name);
        self.names.entry(name.clone()).or_default().entry(data.record_type()).or_default().push(data);
    }

    /// An RRset is a set (RFC 2181 section 5): two instances on one address are one A record.
    fn settle(&mut self) {
        let forward = self.names.values_mut().flat_map(BTreeMap::values_mut);
        for set in forward.chain(self.reverse.values_mut()) {
            set.sort();
            set.dedup();
        }
    }
}

/// Members of `leader`, `voters` or `nodes`: those that are up, or all of them if none is.
fn in_group<'a>(nodes: &'a [Node], group: &str) -> Vec<&'a Node> {
    let member = |n: &&Node| match group {
        "leader" => n.is_leader,
        "voters" => n.is_voter,
        _ => true,
    };
    let members: Vec<&Node> = nodes.iter().filter(member).collect();
    let any_up = members.iter().any(|n| n.up);
    members.into_iter().filter(|n| n.up || !any_up).collect()
}

fn group(registered: Vec<crate::Service>, instances: Vec<Instance>) -> BTreeMap<(String, String), ServiceEntry> {
    let mut services: BTreeMap<(String, String), ServiceEntry> = BTreeMap::new();
    for s in registered {
        let Some((app, service)) = service_key(&s.app, &s.service) else { continue };
        let entry = services.entry((app.to_string(), service.to_string())).or_default();
        add_ports(&mut entry.ports, s.ports.iter());
        entry.dns = s.dns;
    }
    for mut instance in instances {
        let Some((app, service)) = service_key(&instance.app, &instance.service) else { continue };
        if !is_label(&instance.label) {
            continue;
        }
        instance.label = instance.label.to_ascii_lowercase().into();
        let entry = services.entry((app.to_string(), service.to_string())).or_default();
        add_ports(&mut entry.ports, instance.ports.iter().map(|(name, _)| name));
        entry.instances.push(instance);
    }
    services
}

fn add_ports<'a>(ports: &mut Vec<String>, more: impl Iterator<Item = &'a SmolStr>) {
    let mut known: BTreeSet<String> = ports.iter().cloned().collect();
    for port in more.map(|p| p.to_ascii_lowercase()) {
        if known.insert(port.clone()) {
            ports.push(port);
        }
    }
}

fn binding(alpn: &'static [&'static str], port: u16, target: &Name) -> ServiceBinding {
    ServiceBinding { priority: 1, target: target.clone(), alpn, no_default_alpn: false, port }
}

fn port_of(instance: &Instance, name: &str) -> Option<u16> {
    instance.ports.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}
