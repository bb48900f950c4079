//! From a name to what is there: a walk of the name's labels, then one look-up.
//!
//! Names are not stored but recognised by their shape. A name exists if something is there, or below it: the shapes of
//! empty non-terminals ask for the latter.

use crate::{
    Data, Name, RecordType, Snapshot,
    browsing::{Browsing, listed_set, lists},
    counted::Counted,
    layout::Layout,
    machines::GROUPS,
    select::Pick,
    service::{ServiceEntry, ServiceKey},
    sets::{RrSets, Set, text},
};
use smol_str::SmolStr;
use std::borrow::Cow;

/// What is at a name that exists.
pub(crate) enum Place<'a> {
    /// The apex of one of our zones.
    Apex,
    /// An empty non-terminal.
    Empty,
    /// One text.
    Text(&'static str),
    /// The SRV records of another place alone.
    Ports(Box<Self>),
    /// Records by type: of a machine, a service, a port, a tag.
    Sets(&'a RrSets),
    /// An instance of a service, by its label.
    Instance(&'a ServiceEntry, SmolStr),
    /// An instance in browsing, by its label and port.
    Listed(&'a ServiceEntry, SmolStr, SmolStr),
    /// `_services._dns-sd._udp`: pointers to the kinds.
    Kinds,
    /// `_http._tcp`: pointers to the instances.
    Kind(Name, &'a Counted<Name>),
}

/// An RRset of which a part can be taken without a walk of the whole.
pub(crate) enum RrSet<'a> {
    List(Cow<'a, Set>),
    /// The pointers of an address.
    Pointers(&'a Counted<Name>),
    Kinds(&'a Browsing),
    Kind(Name, &'a Counted<Name>),
}

impl Snapshot {
    /// What is at a name of the zone, by its labels below the domain, in lower case.
    pub(crate) fn place(&self, labels: &[&str]) -> Option<Place<'_>> {
        match *labels {
            [] => Some(Place::Apex),
            ["node"] => Some(Place::Empty),
            [node, "node"] => self.machines.by_name.get(node).map(Place::Sets),
            ["_tcp" | "_udp"] | ["_dns-sd", "_udp"] => (!self.browsing.is_empty()).then_some(Place::Empty),
            ["_services", "_dns-sd", "_udp"] => (!self.browsing.is_empty()).then_some(Place::Kinds),
            [kind, "_tcp"] => {
                let port = kind.strip_prefix('_')?;
                Some(Place::Kind(self.browsing.kind_name(port)?, self.browsing.kind(port)?))
            }
            [listed, kind, "_tcp"] => self.listed(listed, kind.strip_prefix('_')?),
            [group] if GROUPS.contains(&group) => {
                let sets = GROUPS.iter().position(|g| *g == group).map(|i| &self.machines.groups[i])?;
                Some(Place::Sets(sets))
            }
            [app] => self.has_app(app).then_some(Place::Empty),
            [ref below @ .., service, app] => self.in_service(self.service(app, service)?, below),
        }
    }

    /// What is at or below a service's name.
    pub(crate) fn in_service<'a>(&'a self, entry: &'a ServiceEntry, below: &[&str]) -> Option<Place<'a>> {
        let layout = || entry.layout(&self.machines);
        let selected = |label: &str| entry.subset(label).map(|set| entry.subset_layout(set, &self.machines));
        match *below {
            [] => Some(Place::Sets(&layout().own)),
            ["_tcp"] => has_ports(entry, None).then_some(Place::Empty),
            [label] if entry.has_instance(label) => Some(Place::Instance(entry, label.into())),
            [label] => Some(Place::Sets(&selected(label)?.own)),
            [port, "_tcp"] => port_place(layout(), port),
            ["_tcp", label] => (entry.subset(label).is_some() && has_ports(entry, Some(label))).then_some(Place::Empty),
            [port, "_tcp", label] => port_place(selected(label)?, port),
            _ => None,
        }
    }

    /// A service by its app and name in lower case. One that is absent now counts as none.
    pub(crate) fn service(&self, app: &str, service: &str) -> Option<&ServiceEntry> {
        let entry = self.index.service(app, service)?;
        (!entry.is_absent).then_some(entry)
    }

    /// Whether an app has a service that is not absent.
    pub(crate) fn has_app(&self, app: &str) -> bool {
        self.services_of(app).any(|(_, entry)| !entry.is_absent)
    }

    /// The services of an app, also absent ones.
    pub(crate) fn services_of<'a>(&'a self, app: &str) -> impl Iterator<Item = (&'a ServiceKey, &'a ServiceEntry)> {
        // No service has an empty name: those of the app follow it.
        let from = (SmolStr::new(app), SmolStr::default());
        let services = self.services.range(from.clone()..);
        services.take_while(move |((of, _), _)| *of == from.0).map(|(key, entry)| (key, &**entry))
    }

    /// The apps that have a service of this name.
    pub(crate) fn apps_with<'a>(&'a self, service: &str) -> impl Iterator<Item = &'a str> {
        let from = (SmolStr::new(service), SmolStr::default());
        let apps = self.by_service.range(from.clone()..);
        apps.take_while(move |(name, _)| *name == from.0).map(|(_, app)| app.as_str())
    }

    /// Whether there is a service that is not absent.
    pub(crate) fn has_services(&self) -> bool {
        self.present > 0
    }

    /// `2.web.shop` below a port. The label of an instance may have dots, app and service have none.
    fn listed(&self, listed: &str, port: &str) -> Option<Place<'_>> {
        let mut parts = listed.rsplitn(3, '.');
        let (app, service, label) = (parts.next()?, parts.next()?, parts.next()?);
        let entry = self.service(app, service)?;
        lists(entry, label, port).then(|| Place::Listed(entry, label.into(), port.into()))
    }
}

/// Whether there is a name below `_tcp` of a service, or of one of its tags.
fn has_ports(entry: &ServiceEntry, label: Option<&str>) -> bool {
    let mut ports = entry.ports.iter().map(|port| port.len() + 1);
    ports.any(|port| match label {
        None => entry.name.has_room_for([port, "_tcp".len()]),
        Some(label) => entry.name.has_room_for([port, "_tcp".len(), label.len()]),
    })
}

fn port_place<'a>(layout: &'a Layout, label: &str) -> Option<Place<'a>> {
    layout.ports.get(label.strip_prefix('_')?).map(Place::Sets)
}

impl<'a> Place<'a> {
    /// The RRset of a type. ANY takes the first there is: one RRset is enough (RFC 8482 section 4.1).
    pub(crate) fn rrset(&self, snapshot: &'a Snapshot, asked: RecordType) -> Option<RrSet<'a>> {
        let owned = |set| RrSet::List(Cow::Owned(set));
        match self {
            Self::Apex if asked.takes(RecordType::Ns) => Some(RrSet::one(Data::Ns(snapshot.own_node.clone()))),
            Self::Apex if asked.takes(RecordType::Soa) => Some(RrSet::one(snapshot.soa())),
            Self::Sets(sets) => {
                let set = if asked == RecordType::Any { sets.values().next() } else { sets.get(asked) };
                set.map(|set| RrSet::List(Cow::Borrowed(set)))
            }
            Self::Instance(entry, label) => entry.instance_set(label, asked, &snapshot.machines).map(owned),
            Self::Listed(entry, label, port) => listed_set(entry, label, port, asked).map(owned),
            Self::Kinds if asked.takes(RecordType::Ptr) => Some(RrSet::Kinds(&snapshot.browsing)),
            Self::Kind(name, set) if asked.takes(RecordType::Ptr) => Some(RrSet::Kind(name.clone(), set)),
            Self::Text(one) if asked.takes(RecordType::Txt) => Some(RrSet::one(text([*one]))),
            Self::Ports(of) if asked.takes(RecordType::Srv) => of.rrset(snapshot, RecordType::Srv),
            Self::Apex | Self::Empty | Self::Text(_) | Self::Ports(_) | Self::Kinds | Self::Kind(..) => None,
        }
    }
}

impl RrSet<'_> {
    fn one(data: Data) -> Self {
        Self::List(Cow::Owned(Set::equal(vec![data])))
    }

    /// Number of records; never 0.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::List(list) => list.records.len(),
            Self::Kinds(browsing) => browsing.ports().len(),
            Self::Pointers(names) | Self::Kind(_, names) => names.len(),
        }
    }

    /// A record that was picked.
    pub(crate) fn at(&self, pick: Pick) -> Data {
        let position = pick.position as usize;
        match self {
            Self::List(list) => list.records[position].clone().further_by(pick.step),
            Self::Pointers(names) => Data::Ptr(names.at(position).clone()),
            Self::Kinds(browsing) => {
                let name = browsing.kind_name(browsing.ports().at(position));
                Data::Ptr(name.expect("only what fits was added"))
            }
            Self::Kind(kind, names) => {
                let name = Browsing::listed_name(kind, names.at(position));
                Data::Ptr(name.expect("only what fits was added"))
            }
        }
    }
}
