use super::*;

mod histories;
mod ring;
mod rules;

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}
