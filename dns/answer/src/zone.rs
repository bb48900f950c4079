//! From a name to what is there: a walk of the name's labels, then one look-up.
//!
//! Names are not stored but recognised by their shape. A name exists if something is there, or below it: the shapes of
//! empty non-terminals ask for the latter.

use crate::{
    Data, Name, RecordType, Snapshot,
    browsing::{Browsing, listed_sets, lists},
    counted::Counted,
    machines::GROUPS,
    service::{RrSets, ServiceEntry},
};
use smol_str::SmolStr;
use std::borrow::Cow;

/// What is at a name that exists.
pub(crate) enum Place<'a> {
    /// The apex of the zone.
    Apex,
    /// An empty non-terminal.
    Empty,
    /// Records by type.
    Sets(&'a RrSets),
    /// SRV records alone.
    Port(&'a [Data]),
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
    List(Cow<'a, [Data]>),
    /// The pointers of an address.
    Pointers(&'a Counted<Name>),
    Kinds(&'a Browsing),
    Kind(Name, &'a Counted<Name>),
}

impl Snapshot {
    /// What is at a name; `None` if neither it nor any name below it exists, or it is not in the zone.
    pub(crate) fn find(&self, name: &Name) -> Option<Place<'_>> {
        let lower = name.to_lowercase();
        let labels: Option<Vec<&str>> =
            lower.strip(&self.domain)?.into_iter().map(|l| std::str::from_utf8(l).ok()).collect();
        match labels?[..] {
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
            [service, app] => self.service(app, service).map(|entry| Place::Sets(entry.own_sets())),
            ["_tcp", service, app] => self.service(app, service)?.has_ports().then_some(Place::Empty),
            [label, service, app] => {
                let entry = self.service(app, service)?;
                entry.has_instance(label).then(|| Place::Instance(entry, label.into()))
            }
            [port, "_tcp", service, app] => {
                self.service(app, service)?.port_set(port.strip_prefix('_')?).map(Place::Port)
            }
            _ => None,
        }
    }

    /// A service by its app and name in lower case.
    pub(crate) fn service(&self, app: &str, service: &str) -> Option<&ServiceEntry> {
        self.services.get(&(SmolStr::new(app), SmolStr::new(service))).map(|entry| &**entry)
    }

    fn has_app(&self, app: &str) -> bool {
        // No service has an empty name: the next one is the app's first.
        let next = self.services.get_next(&(SmolStr::new(app), SmolStr::default()));
        next.is_some_and(|((of, _), _)| of == app)
    }

    /// `2.web.shop` below a port. The label of an instance may have dots, app and service have none.
    fn listed(&self, listed: &str, port: &str) -> Option<Place<'_>> {
        let mut parts = listed.rsplitn(3, '.');
        let (app, service, label) = (parts.next()?, parts.next()?, parts.next()?);
        let entry = self.service(app, service)?;
        lists(entry, label, port).then(|| Place::Listed(entry, label.into(), port.into()))
    }
}

impl<'a> Place<'a> {
    /// The RRset of a type. ANY takes the first there is: one RRset is enough (RFC 8482 section 4.1).
    pub(crate) fn rrset(&self, snapshot: &'a Snapshot, asked: RecordType) -> Option<RrSet<'a>> {
        let of = |mut sets: RrSets| sets.pop_first().map(|(_, set)| RrSet::List(Cow::Owned(set)));
        match self {
            Self::Apex if asked.takes(RecordType::Ns) => Some(RrSet::one(Data::Ns(snapshot.own_node.clone()))),
            Self::Apex if asked.takes(RecordType::Soa) => Some(RrSet::one(snapshot.soa())),
            Self::Sets(sets) => {
                let set = if asked == RecordType::Any { sets.values().next() } else { sets.get(&asked) };
                set.map(|set| RrSet::List(Cow::Borrowed(set)))
            }
            Self::Port(set) if asked.takes(RecordType::Srv) && !set.is_empty() => Some(RrSet::List(Cow::Borrowed(set))),
            Self::Instance(entry, label) => of(entry.instance_sets(label, asked)),
            Self::Listed(entry, label, port) => of(listed_sets(entry, label, port, asked)),
            Self::Kinds if asked.takes(RecordType::Ptr) => Some(RrSet::Kinds(&snapshot.browsing)),
            Self::Kind(name, set) if asked.takes(RecordType::Ptr) => Some(RrSet::Kind(name.clone(), set)),
            Self::Apex | Self::Empty | Self::Port(_) | Self::Kinds | Self::Kind(..) => None,
        }
    }
}

impl RrSet<'_> {
    fn one(data: Data) -> Self {
        Self::List(Cow::Owned(vec![data]))
    }

    /// Number of records; never 0.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Kinds(browsing) => browsing.ports().len(),
            Self::Pointers(names) | Self::Kind(_, names) => names.len(),
        }
    }

    /// The record at a position below [`Self::len`].
    pub(crate) fn at(&self, position: usize) -> Data {
        match self {
            Self::List(list) => list[position].clone(),
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
