//! The records of a service's name and of its ports, or of some of its instances.

use crate::{
    Data, RecordType, ServiceDns,
    binding::{https_bindings, svcb_binding},
    held::Held,
    machines::Machines,
    sets::{Draft, RrSets, Set, address, srv, text},
};
use smol_str::SmolStr;
use std::collections::BTreeMap;

/// What a service's ports and its wishes decide about the records of its instances.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// Ports in order; the first answers SRV where no port is named.
    pub(crate) ports: &'a [SmolStr],
    pub(crate) dns: ServiceDns,
    pub(crate) machines: &'a Machines,
}

/// Records of one name and of the ports below it.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) own: RrSets,
    /// By port, in lower case. Every port has an entry, also one that no instance has.
    pub(crate) ports: BTreeMap<SmolStr, RrSets>,
}

impl Layout {
    /// The records of these instances.
    pub(crate) fn of<'a>(plan: Plan<'_>, instances: impl Iterator<Item = &'a Held>) -> Self {
        let mut own = Draft::default();
        let mut ports: BTreeMap<&SmolStr, Draft<'_>> = plan.ports.iter().map(|p| (p, Draft::default())).collect();
        for held in instances {
            add_own(&mut own, RecordType::Any, plan, held);
            add_ports(&mut ports, held);
        }
        let settle = |draft: Draft<'_>| draft.settle(plan.dns, plan.machines);
        let ports = ports.into_iter().map(|(port, draft)| (port.clone(), settle(draft))).collect();
        Self { own: settle(own), ports }
    }
}

/// The records at the name of an instance that are of a type; of the first type there is for ANY.
pub(crate) fn instance_set<'a>(
    plan: Plan<'_>,
    asked: RecordType,
    instances: impl Iterator<Item = &'a Held>,
) -> Option<Set> {
    let mut draft = Draft::default();
    instances.for_each(|held| add_own(&mut draft, asked, plan, held));
    draft.settle_first(plan.dns, plan.machines)
}

/// What the service's name and the instance's own have in common.
fn add_own<'a>(draft: &mut Draft<'a>, asked: RecordType, plan: Plan<'_>, held: &'a Held) {
    let Some(own) = &held.own else { return };
    let address = address(held.address);
    if asked.takes(address.record_type()) {
        draft.add(address, held);
    }
    if let Some(port) = plan.ports.first().filter(|_| asked.takes(RecordType::Srv)).and_then(|p| held.port(p)) {
        draft.add(srv(port, held.weight, own), held);
    }
    if asked.takes(RecordType::Txt) {
        held.tags.iter().for_each(|tag| draft.add(text([tag.as_str()]), held));
    }
    if asked.takes(RecordType::Https) {
        https_bindings(held, own).for_each(|binding| draft.add(Data::Https(binding), held));
    }
}

fn add_ports<'a>(ports: &mut BTreeMap<&SmolStr, Draft<'a>>, held: &'a Held) {
    let Some(own) = &held.own else { return };
    for (port, number) in &held.ports {
        let Some(draft) = ports.get_mut(port) else { continue };
        draft.add(srv(*number, held.weight, own), held);
        if let Some(binding) = svcb_binding(port, *number, own) {
            draft.add(Data::Svcb(binding), held);
        }
    }
}
