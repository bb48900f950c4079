//! DNS-SD (RFC 6763): below the domain, `_http._tcp` lists the instances of all services that have this port, each as
//! a single label such as `2.web.shop`.
//!
//! Of each port the names of the instances are kept, in sets that are shared from snapshot to snapshot; the records
//! are made from them when they are asked for.

use crate::{
    Data, Name, RecordType,
    counted::Counted,
    held::Held,
    service::ServiceEntry,
    sets::{RrSets, Set, srv, text},
};
use imbl::OrdMap;
use smol_str::SmolStr;
#[cfg(test)]
use std::collections::BTreeMap;
use std::sync::Arc;

/// The instances that are given out, by the names of their ports.
#[derive(Clone, Debug)]
pub(crate) struct Browsing {
    /// `_tcp` below the domain; `None` where the domain is so long that names of browsing do not fit.
    tcp: Option<Name>,
    /// The instances' own names by port. None of the sets is empty.
    kinds: OrdMap<SmolStr, Arc<Counted<Name>>>,
    /// The keys of `kinds`.
    ports: Counted<SmolStr>,
}

impl Browsing {
    pub(crate) fn new(domain: &Name) -> Self {
        let longest = ["_udp", "_dns-sd", "_services"].iter().try_fold(domain.clone(), |n, l| n.child(l));
        let tcp = longest.and_then(|_| domain.child("_tcp")).ok();
        Self { tcp, kinds: OrdMap::new(), ports: Counted::default() }
    }

    /// Whether nothing can be browsed.
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// The ports that can be browsed.
    pub(crate) fn ports(&self) -> &Counted<SmolStr> {
        &self.ports
    }

    /// The instances of a port.
    pub(crate) fn kind(&self, port: &str) -> Option<&Counted<Name>> {
        self.kinds.get(port).map(|set| &**set)
    }

    /// `_http._tcp.fabric.internal`.
    pub(crate) fn kind_name(&self, port: &str) -> Option<Name> {
        self.tcp.as_ref()?.child(format!("_{port}")).ok()
    }

    /// The name under which an instance is listed: `2\.web\.shop` below the port's.
    pub(crate) fn listed_name(kind: &Name, own: &Name) -> Option<Name> {
        kind.child(own.labels().take(3).collect::<Vec<_>>().join(&b'.')).ok()
    }

    /// Lists an instance that is given out.
    pub(crate) fn add(&mut self, held: &Held) {
        for (port, own) in self.listings(held) {
            match self.kinds.get_mut(port) {
                Some(set) => Arc::make_mut(set).add(own.clone()),
                None => {
                    let mut set = Counted::default();
                    set.add(own.clone());
                    self.kinds.insert(port.clone(), Arc::new(set));
                    self.ports.add(port.clone());
                }
            }
        }
    }

    /// Takes back what [`Self::add`] did for an equal instance.
    pub(crate) fn take(&mut self, held: &Held) {
        for (port, own) in self.listings(held) {
            let set = Arc::make_mut(self.kinds.get_mut(port).expect("it was added"));
            set.take(own);
            if set.len() == 0 {
                self.kinds.remove(port);
                self.ports.take(port);
            }
        }
    }

    /// The ports under which an instance is listed, with its own name.
    fn listings<'a>(&self, held: &'a Held) -> Vec<(&'a SmolStr, &'a Name)> {
        let (Some(tcp), Some(own)) = (&self.tcp, &held.own) else { return Vec::new() };
        let label = own.labels().take(3).map(|l| l.len() + 1).sum::<usize>() - 1;
        let fits = |port: &&(SmolStr, u16)| tcp.has_room_for([label, port.0.len() + 1]);
        held.ports.iter().filter(fits).map(|(port, _)| (port, own)).collect()
    }
}

/// Whether a service lists an instance under a port.
pub(crate) fn lists(entry: &ServiceEntry, label: &str, port: &str) -> bool {
    listed(entry, label, port).next().is_some()
}

/// The records of a listed name that are of a type; SRV for ANY.
pub(crate) fn listed_set(entry: &ServiceEntry, label: &str, port: &str, asked: RecordType) -> Option<Set> {
    let mut records = Vec::new();
    for (held, own, number) in listed(entry, label, port) {
        if asked.takes(RecordType::Srv) {
            records.push(srv(number, held.weight, own));
        }
        // The TXT record is not optional, section 6.1; without tags it holds one empty string.
        if asked.takes(RecordType::Txt) {
            records.push(listed_text(held));
        }
    }
    RrSets::equal(records).into_first()
}

fn listed<'a>(
    entry: &'a ServiceEntry,
    label: &'a str,
    port: &'a str,
) -> impl Iterator<Item = (&'a Held, &'a Name, u16)> {
    let shown = entry.labelled(label).filter(|held| held.is_shown(entry.hides_suspected));
    shown.flat_map(move |held| {
        let numbers = held.ports.iter().filter(move |(name, _)| name == port).map(|(_, number)| *number);
        held.own.iter().zip(std::iter::repeat(numbers)).flat_map(move |(own, ns)| ns.map(move |n| (held, own, n)))
    })
}

fn listed_text(held: &Held) -> Data {
    if held.tags.is_empty() { text([""]) } else { text(held.tags.iter().map(SmolStr::as_str)) }
}

#[cfg(test)]
impl Browsing {
    /// All that is counted, by port. Panics if the ports are not those that have instances.
    pub(crate) fn counts(&self) -> BTreeMap<SmolStr, BTreeMap<Name, u32>> {
        assert_eq!(self.ports.counts(), self.kinds.keys().map(|port| (port.clone(), 1)).collect());
        self.kinds.iter().map(|(port, set)| (port.clone(), set.counts())).collect()
    }
}
