//! The names of machines: `NAME.node`, `leader`, `voters` and `nodes`. Laid out whole, for machines change rarely.

use crate::{
    Name, Node,
    service::{RrSets, add, address, canonical, lowercase, settle},
};
use smol_str::SmolStr;
use std::{collections::BTreeMap, net::IpAddr};

/// Names below the domain that stand for several machines.
pub(crate) const GROUPS: [&str; 3] = ["leader", "voters", "nodes"];

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
}

impl Machines {
    pub(crate) fn new(domain: &Name, list: Vec<Node>) -> Self {
        let mut machines = Self::default();
        for (group, sets) in GROUPS.iter().zip(&mut machines.groups) {
            in_group(&list, group).iter().for_each(|node| add(sets, address(node.address)));
            settle(sets);
        }
        for node in &list {
            let label = lowercase(node.name.clone());
            let Ok(name) = domain.child("node").and_then(|parent| parent.child(&label)) else { continue };
            add(machines.by_name.entry(label).or_default(), address(node.address));
            machines.pointers.push((canonical(node.address), name));
        }
        machines.by_name.values_mut().for_each(settle);
        machines.pointers.sort();
        Self { list, ..machines }
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
