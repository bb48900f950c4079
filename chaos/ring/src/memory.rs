//! How much memory a node's gossip takes: an estimate by counting, explained at [`crate::RingReport`].

use crate::node::Node;
use std::sync::Arc;
use taffeta_catalogue::{Head, OwnerSet, SignedSet};
use taffeta_model::{NodeId, TaskRecord};
use taffeta_swim::{MemberFact, MemberState};

/// A live connection's end, without traffic, as measured with quinn and mutual TLS.
const CONNECTION_END: usize = 37 << 10;

/// Bytes of one node in a ring of `nodes` that looks like this one; `connections`: its live connections on average.
pub(crate) fn estimate(node: &Node, nodes: usize, connections: f64) -> u64 {
    let sets = node.catalogue.owners();
    let set = sets.len().max(1);
    let decoded: usize = node.catalogue.owners().map(|set| decoded(set)).sum::<usize>() / set;
    let ids: Vec<NodeId> = node.catalogue.owners().map(|set| set.owner).collect();
    let encoded = node.catalogue.sets_of(&ids, 0).iter().map(|set| encoded(set)).sum::<usize>() / set;
    let member = size_of::<MemberFact>() + in_map(size_of::<(NodeId, MemberState)>());
    let entry = in_map(size_of::<(NodeId, Head, Arc<SignedSet>, Arc<OwnerSet>)>()) + encoded + decoded;
    (node.swim.members().len() * member + nodes * entry) as u64 + (connections * CONNECTION_END as f64) as u64
}

/// A B-tree that was filled in no order is two thirds full.
fn in_map(bytes: usize) -> usize {
    bytes * 3 / 2
}

fn encoded(set: &SignedSet) -> usize {
    size_of::<SignedSet>() + set.bytes.len()
}

/// A set in memory, with the texts that it points to.
fn decoded(set: &OwnerSet) -> usize {
    let texts = |r: &TaskRecord| {
        let ports = r.ports.iter().map(|(name, _)| size_of::<(String, u16)>() + name.len());
        let tags = r.tags.iter().map(|tag| size_of::<String>() + tag.len());
        r.task.to_string().len() + r.instance.len() + r.reason.len() + ports.chain(tags).sum::<usize>()
    };
    let records = set.records.iter().map(|r| size_of::<TaskRecord>() + texts(r));
    let attributes = set.info.attributes.iter().map(|(k, v)| in_map(2 * size_of::<String>()) + k.len() + v.len());
    size_of::<OwnerSet>() + records.chain(attributes).sum::<usize>()
}
