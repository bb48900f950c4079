//! The zone at one moment, indexed for questions, and how the next moment's comes from it.
//!
//! A snapshot is persistent: the next one shares with it all that did not change, so a change costs in proportion to
//! the services that changed, and whoever still reads the older one is not disturbed. Services are the unit; each lays
//! out its own records when the first question needs them. What services share (pointers to addresses, browsing) is in
//! sets that count their sources. Hidden instances are decided when a service is taken in, once.

use crate::{
    Alias, Change, Data, Instance, Name, Node, Service, ServiceState, SnapshotInput,
    alias::served,
    browsing::Browsing,
    counted::Counted,
    held::Held,
    machines::Machines,
    service::{ServiceEntry, ServiceKey, common_ends, is_label, service_key},
    sets::canonical,
    wire::Index,
};
use imbl::{OrdMap, OrdSet};
use smol_str::SmolStr;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// Most records in one RRset. BIND refuses more by default (`max-records-per-type`, CVE-2024-1737), and PowerDNS's
/// recursor has a like bound, so larger sets would be lost on the way. Above it a fair sample is given.
pub const MAX_RRSET: usize = 100;

/// An immutable view of the zone, cheap to ask, cheap to clone, and shared behind an atomic pointer.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) domain: Name,
    own_label: SmolStr,
    pub(crate) own_node: Name,
    pub(crate) serial: u32,
    pub(crate) ttl: u32,
    pub(crate) negative_ttl: u32,
    pub(crate) ready: bool,
    pub(crate) stale: bool,
    pub(crate) services: OrdMap<ServiceKey, Arc<ServiceEntry>>,
    /// The same by the hash of their names, for questions.
    pub(crate) index: Index,
    /// Those whose records depend on where machines are.
    near: OrdSet<ServiceKey>,
    /// Service and app of each.
    pub(crate) by_service: OrdSet<(SmolStr, SmolStr)>,
    /// How many are not absent.
    pub(crate) present: usize,
    /// The longest domains first.
    pub(crate) aliases: Arc<[Alias]>,
    /// Whether one of them is below the domain or in the reverse tree, so that these do not alone decide of a name.
    pub(crate) has_zones_within: bool,
    pub(crate) browsing: Browsing,
    /// Names by address, of instances hidden or not and of machines. None of the sets is empty.
    pub(crate) reverse: OrdMap<IpAddr, Arc<Counted<Name>>>,
    pub(crate) machines: Arc<Machines>,
}

impl Snapshot {
    /// The first snapshot. Takes time in proportion to the number of instances and ports.
    pub fn build(input: SnapshotInput) -> Self {
        let domain = input.domain.to_lowercase();
        let own_label = input.own_node.to_ascii_lowercase();
        let own_node = domain.child("node").and_then(|n| n.child(&own_label)).unwrap_or_else(|_| domain.clone());
        let aliases = served(input.aliases, &domain);
        let arpa = Name::from_labels(["arpa"]).expect("a label of four bytes");
        let is_within = |alias: &Alias| alias.domain.is_within(&domain) || alias.domain.is_within(&arpa);
        let mut snapshot = Self {
            own_label: own_label.into(),
            own_node,
            serial: input.serial,
            ttl: input.ttl,
            negative_ttl: input.negative_ttl,
            ready: input.ready,
            stale: input.stale,
            services: OrdMap::new(),
            index: Index::default(),
            near: OrdSet::new(),
            by_service: OrdSet::new(),
            present: 0,
            has_zones_within: aliases.iter().any(is_within),
            aliases: aliases.into(),
            browsing: Browsing::new(&domain),
            reverse: OrdMap::new(),
            machines: Arc::default(),
            domain,
        };
        snapshot.replace_machines(input.nodes);
        for ((app, service), state) in group(input.services, input.instances) {
            snapshot.replace_service(&app, &service, Some(state));
        }
        snapshot
    }

    /// The change that changes nothing: what is to be changed is put into it.
    pub fn no_change(&self) -> Change {
        Change {
            serial: self.serial,
            ttl: self.ttl,
            negative_ttl: self.negative_ttl,
            ready: self.ready,
            stale: self.stale,
            services: BTreeMap::new(),
            nodes: None,
        }
    }

    /// The next snapshot. Takes time in proportion to the instances of the services in the change, times the logarithm
    /// of all; with machines in it, also to their number.
    pub fn changed(&self, change: Change) -> Self {
        let Change { serial, ttl, negative_ttl, ready, stale, services, nodes } = change;
        let mut next = Self { serial, ttl, negative_ttl, ready, stale, ..self.clone() };
        if let Some(nodes) = nodes.filter(|nodes| *nodes != self.machines.list) {
            next.replace_machines(nodes);
        }
        for ((app, service), state) in services {
            next.replace_service(&app, &service, state);
        }
        next
    }

    /// The zone.
    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// Version of the view.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether the node has had a view of the ring yet.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether the node is cut off from most of the ring.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// The machines, as they were given.
    pub fn nodes(&self) -> &[Node] {
        &self.machines.list
    }

    pub(crate) fn soa(&self) -> Data {
        let rname = self.domain.child("hostmaster").unwrap_or_else(|_| self.domain.clone());
        Data::Soa { mname: self.own_node.clone(), rname, serial: self.serial, minimum: self.negative_ttl }
    }

    fn replace_machines(&mut self, nodes: Vec<Node>) {
        let (old, new) = (Arc::clone(&self.machines), Machines::new(&self.domain, &self.own_label, nodes));
        for (address, name) in only_in(&new.pointers, &old.pointers) {
            self.point(*address, name);
        }
        for (address, name) in only_in(&old.pointers, &new.pointers) {
            self.unpoint(*address, name);
        }
        self.machines = Arc::new(new);
        if !self.machines.has_equal_spots(&old) {
            self.lay_near_services_out_anew();
        }
    }

    /// Only as many steps as services that are ordered by nearness have instances; where machines are changes seldom.
    fn lay_near_services_out_anew(&mut self) {
        for key in &self.near {
            if let Some(entry) = self.services.get_mut(key) {
                *entry = Arc::new(entry.anew());
                self.index.set(&key.0, &key.1, Some(entry.clone()));
            }
        }
    }

    fn replace_service(&mut self, app: &str, service: &str, state: Option<ServiceState>) {
        // A name too long for DNS was refused at deploy; one that a peer made up is passed over.
        let Some(key) = service_key(app, service) else { return };
        let Ok(name) = self.domain.child(&key.0).and_then(|app| app.child(&key.1)) else { return };
        let old = self.services.get(&key).cloned();
        let new = state.map(|state| Arc::new(ServiceEntry::new(name, state, old.as_deref())));
        self.replace_shared(old.as_deref(), new.as_deref());
        self.list(&key, old.as_deref(), new.as_deref());
        self.index.set(&key.0, &key.1, new.clone());
        match new {
            Some(entry) => drop(self.services.insert(key, entry)),
            None => drop(self.services.remove(&key)),
        }
    }

    /// Lists a service where it is found other than by its key.
    fn list(&mut self, key: &ServiceKey, old: Option<&ServiceEntry>, new: Option<&ServiceEntry>) {
        let is_near = |entry: Option<&ServiceEntry>| entry.is_some_and(ServiceEntry::is_near);
        match (is_near(old), is_near(new)) {
            (false, true) => drop(self.near.insert(key.clone())),
            (true, false) => drop(self.near.remove(key)),
            (true, true) | (false, false) => {}
        }
        let (app, service) = key.clone();
        match (old, new) {
            (None, Some(_)) => drop(self.by_service.insert((service, app))),
            (Some(_), None) => drop(self.by_service.remove(&(service, app))),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let present = |entry: Option<&ServiceEntry>| usize::from(entry.is_some_and(|e| !e.is_absent));
        self.present = self.present + present(new) - present(old);
    }

    /// Adds what a service gives to the names it shares with others, and takes away what it gave. Adding comes first,
    /// so that nothing goes and comes again.
    fn replace_shared(&mut self, old: Option<&ServiceEntry>, new: Option<&ServiceEntry>) {
        let instances = |entry: Option<&ServiceEntry>| entry.map(|e| e.instances.clone()).unwrap_or_default();
        let hides = |entry: Option<&ServiceEntry>| entry.is_some_and(|e| e.hides_suspected);
        let (was, is) = (instances(old), instances(new));
        let (start, end) = common_ends(&was, &is, Arc::ptr_eq);
        let (was_changed, is_changed) = (&was[start..was.len() - end], &is[start..is.len() - end]);
        is_changed.iter().filter_map(|i| pointer(i)).for_each(|(address, own)| self.point(address, own));
        was_changed.iter().filter_map(|i| pointer(i)).for_each(|(address, own)| self.unpoint(address, own));
        // Whether suspected ones are hidden is of all instances, also of those that are as they were.
        let (was_hiding, is_hiding) = (hides(old), hides(new));
        let (gone, come) = if was_hiding == is_hiding { (was_changed, is_changed) } else { (&was[..], &is[..]) };
        come.iter().filter(|i| i.is_shown(is_hiding)).for_each(|i| self.browsing.add(i));
        gone.iter().filter(|i| i.is_shown(was_hiding)).for_each(|i| self.browsing.take(i));
    }

    fn point(&mut self, address: IpAddr, name: &Name) {
        match self.reverse.get_mut(&address) {
            Some(names) => Arc::make_mut(names).add(name.clone()),
            None => {
                let mut names = Counted::default();
                names.add(name.clone());
                self.reverse.insert(address, Arc::new(names));
            }
        }
    }

    fn unpoint(&mut self, address: IpAddr, name: &Name) {
        let names = Arc::make_mut(self.reverse.get_mut(&address).expect("it was pointed to"));
        names.take(name);
        if names.len() == 0 {
            self.reverse.remove(&address);
        }
    }
}

fn pointer(held: &Held) -> Option<(IpAddr, &Name)> {
    held.own.as_ref().map(|own| (canonical(held.address), own))
}

/// The items of a sorted list that another does not have; of equal ones, those that it has fewer of.
fn only_in<'a, T: Ord>(list: &'a [T], other: &'a [T]) -> impl Iterator<Item = &'a T> {
    let mut rest = other.iter().peekable();
    list.iter().filter(move |item| {
        while rest.next_if(|o| o < item).is_some() {}
        rest.next_if(|o| o == item).is_none()
    })
}

fn group(registered: Vec<Service>, instances: Vec<Instance>) -> BTreeMap<ServiceKey, ServiceState> {
    let mut services: BTreeMap<ServiceKey, ServiceState> = BTreeMap::new();
    for Service { app, service, ports, dns } in registered {
        if let Some(key) = service_key(&app, &service) {
            let state = services.entry(key).or_default();
            state.ports.extend(ports);
            state.dns = dns;
        }
    }
    for instance in instances {
        // A service of which nothing is known but instances that DNS cannot carry does not exist.
        let Some(key) = service_key(&instance.app, &instance.service).filter(|_| is_label(&instance.label)) else {
            continue;
        };
        services.entry(key).or_default().instances.push(instance);
    }
    services
}
