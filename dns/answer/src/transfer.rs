//! All records of the zone, for a secondary (RFC 5936).
//!
//! Left out is what has no record: a transfer cannot say that a name exists without any. A secondary gives everybody
//! the same, so records are as they are for nobody in particular: no order, no `answers`, the first priority.

use crate::{
    Data, MAX_RRSET, Name, Record, RecordType, Snapshot,
    browsing::{Browsing, listed_set},
    layout::Layout,
    machines::GROUPS,
    sample::{SplitMix, sample},
    select::Pick,
    service::ServiceEntry,
    sets::{Ranking, RrSets, Set},
    zone::RrSet,
};
use smol_str::{SmolStr, format_smolstr};
use std::{borrow::Cow, iter};

/// Types of the records of an instance.
const OF_INSTANCES: [RecordType; 5] =
    [RecordType::A, RecordType::Aaaa, RecordType::Srv, RecordType::Txt, RecordType::Https];

impl Snapshot {
    /// All records of a zone, its SOA first and last, RRset by RRset; `None` for a zone that is not transferred, as
    /// aliases are not. They are made one service at a time. No RRset has more than [`MAX_RRSET`] records, as
    /// secondaries refuse larger ones; of those that have, a sample is given that is the same for one serial.
    ///
    /// Whether there is a view at all ([`Self::is_ready`]) and who may have it is for the caller to ask.
    pub fn transfer(&self, zone: &Name) -> Option<impl Iterator<Item = Record> + use<'_>> {
        let soa = || iter::once(self.record(&self.domain, self.soa()));
        let ns = iter::once(self.record(&self.domain, Data::Ns(self.own_node.clone())));
        let services = self.services.values().filter(|entry| !entry.is_absent);
        let services = services.flat_map(|entry| self.of_service(entry));
        (*zone == self.domain)
            .then(|| soa().chain(ns).chain(self.of_machines()).chain(services).chain(self.of_browsing()).chain(soa()))
    }

    fn record(&self, owner: &Name, data: Data) -> Record {
        Record { name: owner.clone(), ttl: self.ttl, data }
    }

    fn of_machines(&self) -> impl Iterator<Item = Record> + use<'_> {
        let groups = GROUPS.iter().zip(&self.machines.groups);
        let groups = groups.filter_map(|(group, sets)| Some((self.domain.child(group).ok()?, sets)));
        let named = self.machines.by_name.iter();
        let named = named.filter_map(|(label, sets)| Some((self.domain.below([label, "node"]).ok()?, sets)));
        groups.chain(named).flat_map(|(owner, sets)| self.of_sets(&owner, sets))
    }

    /// Of one service; nothing of it is kept.
    fn of_service(&self, entry: &ServiceEntry) -> Vec<Record> {
        let mut records = self.of_layout(&entry.name, &entry.lay_out(&self.machines));
        for (label, subset) in &entry.make_subsets() {
            if let Ok(owner) = entry.name.child(label) {
                let layout = subset.lay_out(entry.plan(&self.machines), &entry.instances);
                records.extend(self.of_layout(&owner, &layout));
            }
        }
        for label in entry.labels() {
            let Ok(owner) = entry.name.child(label) else { continue };
            let sets = OF_INSTANCES.iter().filter_map(|of_type| entry.instance_set(label, *of_type, &self.machines));
            records.extend(sets.flat_map(|set| self.of_set(&owner, &RrSet::List(Cow::Owned(set)))));
        }
        records
    }

    fn of_layout(&self, owner: &Name, layout: &Layout) -> Vec<Record> {
        let mut records = self.of_sets(owner, &layout.own);
        for (port, sets) in &layout.ports {
            if let Ok(owner) = owner.below([&*format_smolstr!("_{port}"), "_tcp"]) {
                records.extend(self.of_sets(&owner, sets));
            }
        }
        records
    }

    fn of_sets(&self, owner: &Name, sets: &RrSets) -> Vec<Record> {
        sets.values().flat_map(|set| self.of_set(owner, &RrSet::List(Cow::Borrowed(set)))).collect()
    }

    fn of_browsing(&self) -> impl Iterator<Item = Record> + use<'_> {
        let all = self.domain.below(["_services", "_dns-sd", "_udp"]).ok().filter(|_| !self.browsing.is_empty());
        let all = all.into_iter().flat_map(|owner| self.of_set(&owner, &RrSet::Kinds(&self.browsing)));
        all.chain(self.browsing.ports().iter().flat_map(|port| self.of_kind(port)))
    }

    fn of_kind<'a>(&'a self, port: &'a SmolStr) -> impl Iterator<Item = Record> + use<'a> {
        let kind = self.browsing.kind_name(port).zip(self.browsing.kind(port));
        kind.into_iter().flat_map(move |(owner, names)| {
            let pointers = self.of_set(&owner, &RrSet::Kind(owner.clone(), names));
            pointers.into_iter().chain(names.iter().flat_map(move |own| self.of_listed(own, port)))
        })
    }

    /// The records under which browsing lists an instance.
    fn of_listed(&self, own: &Name, port: &str) -> Vec<Record> {
        let listed = self.browsing.kind_name(port).and_then(|kind| Browsing::listed_name(&kind, own));
        let (Some(owner), Some(labels)) = (listed, own.strip(&self.domain)) else { return Vec::new() };
        let texts: Vec<&str> = labels.iter().filter_map(|l| std::str::from_utf8(l).ok()).collect();
        let [label, service, app] = texts[..] else { return Vec::new() };
        let Some(entry) = self.service(app, service) else { return Vec::new() };
        let sets = [RecordType::Srv, RecordType::Txt].map(|of_type| listed_set(entry, label, port, of_type));
        sets.into_iter().flatten().flat_map(|set| self.of_set(&owner, &RrSet::List(Cow::Owned(set)))).collect()
    }

    fn of_set(&self, owner: &Name, set: &RrSet<'_>) -> Vec<Record> {
        let mut positions = Vec::new();
        sample(set.len(), MAX_RRSET, &mut SplitMix::new(self.serial.into()), &mut positions);
        let weighed = |position: &u32| match set {
            RrSet::List(list) => has_weight(list, *position as usize),
            RrSet::Pointers(_) | RrSet::Kinds(_) | RrSet::Kind(..) => true,
        };
        let pick = |position| self.record(owner, set.at(Pick { position, step: 0 }));
        positions.into_iter().filter(weighed).map(pick).collect()
    }
}

/// Whether a record is ever given.
fn has_weight(set: &Set, position: usize) -> bool {
    match &set.ranking {
        Ranking::Weighted(weights) => weights.has(position),
        Ranking::Equal | Ranking::Near(_) => true,
    }
}
