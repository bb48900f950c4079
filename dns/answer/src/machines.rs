//! Machines: their names (`NAME.node`, `leader`, `voters` and `nodes`), laid out whole, for machines change rarely; and
//! where they are.

use crate::{
    Name, Node,
    held::lowercase,
    sets::{RrSets, address, canonical},
};
use smol_str::SmolStr;
use std::{collections::BTreeMap, net::IpAddr};

/// Names below the domain that stand for several machines.
pub(crate) const GROUPS: [&str; 3] = ["leader", "voters", "nodes"];

/// Rank of a machine whose distance is not known.
pub(crate) const UNKNOWN: u8 = u8::MAX;

/// All machines with their records.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    pub(crate) list: Vec<Node>,
    /// By name in lower case.
    pub(crate) by_name: BTreeMap<SmolStr, RrSets>,
    /// In the order of [`GROUPS`].
    pub(crate) groups: [RrSets; 3],
    /// Address and name of each, sorted.
    pub(crate) pointers: Vec<(IpAddr, Name)>,
    spots: BTreeMap<SmolStr, Spot>,
    by_address: BTreeMap<IpAddr, Here>,
    own: Here,
}

/// Where an instance runs. Machines and zones are numbers that mean something within one list of machines only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) machine: Option<u32>,
    pub(crate) zone: Option<u32>,
    /// From this node.
    pub(crate) distance: Option<u8>,
}

/// Where a client is: machine and zone, as in [`Spot`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Here {
    pub(crate) machine: Option<u32>,
    pub(crate) zone: Option<u32>,
}

impl Machines {
    pub(crate) fn new(domain: &Name, own_node: &str, list: Vec<Node>) -> Self {
        let mut machines = Self::default();
        for (group, sets) in GROUPS.iter().zip(&mut machines.groups) {
            *sets = RrSets::equal(in_group(&list, group).iter().map(|node| address(node.address)));
        }
        machines.name(domain, &list);
        machines.place(own_node, &list);
        Self { list, ..machines }
    }

    /// Where a machine is; nowhere if it is not known.
    pub(crate) fn spot(&self, node: &str) -> Spot {
        self.spots.get(&*node.to_ascii_lowercase()).copied().unwrap_or_default()
    }

    /// Where a client is: on the machine of its address, or else at this node, as it asks this one.
    pub(crate) fn here(&self, client: Option<IpAddr>) -> Here {
        client.and_then(|address| self.by_address.get(&canonical(address))).copied().unwrap_or(self.own)
    }

    /// Whether [`Self::spot`] says the same of every machine.
    pub(crate) fn has_equal_spots(&self, other: &Self) -> bool {
        self.spots == other.spots
    }

    fn name(&mut self, domain: &Name, list: &[Node]) {
        let Ok(parent) = domain.child("node") else { return };
        let named = list.iter().filter_map(|node| {
            let label = lowercase(node.name.clone());
            Some((parent.child(&label).ok()?, label, node.address))
        });
        let mut named: Vec<(Name, SmolStr, IpAddr)> = named.collect();
        named.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
        let of_name = |same: &[(Name, SmolStr, IpAddr)]| {
            (same[0].1.clone(), RrSets::equal(same.iter().map(|(.., node)| address(*node))))
        };
        self.by_name = named.chunk_by(|(_, a, _), (_, b, _)| a == b).map(of_name).collect();
        self.pointers = named.into_iter().map(|(name, _, address)| (canonical(address), name)).collect();
        self.pointers.sort();
    }

    /// Of two machines of one name or address the first counts.
    fn place(&mut self, own_node: &str, list: &[Node]) {
        let mut zones: BTreeMap<&str, u32> = BTreeMap::new();
        for (machine, node) in (0u32..).zip(list) {
            let new = zones.len() as u32;
            let zone = (!node.zone.is_empty()).then(|| *zones.entry(&node.zone).or_insert(new));
            let spot = Spot { machine: Some(machine), zone, distance: node.distance };
            let spot = *self.spots.entry(lowercase(node.name.clone())).or_insert(spot);
            self.by_address.entry(canonical(node.address)).or_insert(Here { machine: spot.machine, zone: spot.zone });
        }
        let Spot { machine, zone, .. } = self.spot(own_node);
        self.own = Here { machine, zone };
    }
}

/// Members of `leader`, `voters` or `nodes`: those that are up, or all of them if none is.
pub(crate) fn in_group<'a>(nodes: &'a [Node], group: &str) -> Vec<&'a Node> {
    let members = group_members(nodes, group);
    let any_up = members.iter().any(|n| n.up);
    members.into_iter().filter(|n| n.up || !any_up).collect()
}

/// Members of `leader`, `voters` or `nodes`, up or not.
pub(crate) fn group_members<'a>(nodes: &'a [Node], group: &str) -> Vec<&'a Node> {
    let member = |n: &&Node| match group {
        "leader" => n.is_leader,
        "voters" => n.is_voter,
        _ => true,
    };
    nodes.iter().filter(member).collect()
}
