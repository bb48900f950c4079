//! How much memory a node's gossip takes in a process of its own, where nothing is shared with others: an estimate by
//! counting.

use crate::node::Node;
use smol_str::SmolStr;
use std::sync::Arc;
use taffeta_catalogue::{BUCKETS, Held};
use taffeta_model::{NodeId, TaskRecord};
use taffeta_swim::{MemberFact, MemberState};

/// A live connection's end, without traffic, as measured with quinn and mutual TLS.
const CONNECTION_END: usize = 37 << 10;

/// Bytes of one node; `connections`: the live connections of a node on average.
pub(crate) fn estimate(node: &Node, connections: f64) -> u64 {
    let (members, sets) = (node.swim.members(), node.spread.catalogue().sets());
    // The protocol library's list, with the same fields, and this fabric's map.
    let member = size_of::<MemberFact>() + in_map(size_of::<(NodeId, MemberState)>());
    let entry = in_map(size_of::<(NodeId, Arc<Held>)>()) + in_map(size_of::<(u16, NodeId)>());
    let held: usize = sets.values().map(|held| entry + held_bytes(held)).sum();
    (members.len() * member + held + BUCKETS * size_of::<u64>()) as u64 + (connections * CONNECTION_END as f64) as u64
}

/// A B-tree that was filled in no order is two thirds full.
fn in_map(bytes: usize) -> usize {
    bytes * 3 / 2
}

/// What the allocator takes for so many bytes: glibc's.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

/// Behind an [`Arc`], with its two counters.
fn shared<T>() -> usize {
    allocated(size_of::<T>() + 16)
}

/// A set in memory, with all that it points to. Names of up to 23 bytes point to nothing.
fn held_bytes(held: &Held) -> usize {
    let info = &held.info;
    let attributes = info.attributes.iter().map(|(k, v)| in_map(2 * size_of::<String>()) + texts([k, v]));
    let records =
        held.records.iter().map(|record| size_of::<Arc<TaskRecord>>() + shared::<TaskRecord>() + points(record));
    let machine = attributes.sum::<usize>() + texts([&info.zone, &info.version]) + texts(&info.not_isolated);
    shared::<Held>() + machine + records.sum::<usize>()
}

fn points(record: &TaskRecord) -> usize {
    let ports = allocated(size_of_val(&record.ports[..])) + small(record.ports.iter().map(|(name, _)| name));
    let tags = allocated(size_of_val(&record.tags[..])) + small(&record.tags);
    ports + tags + small([&record.instance]) + texts([&record.reason])
}

/// Texts that are kept in place if they are short.
fn small<'a>(texts: impl IntoIterator<Item = &'a SmolStr>) -> usize {
    texts.into_iter().filter(|text| text.is_heap_allocated()).map(|text| allocated(text.len() + 16)).sum()
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(|text| allocated(text.len())).sum()
}
