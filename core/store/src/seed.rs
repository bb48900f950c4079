//! The beginning of a log that begins with a state: what a restore writes onto an empty disk.

use crate::{
    codec::encode_snapshot,
    disk::Op,
    log::bad,
    machine::Replicated,
    types::{LogId, SnapshotMeta, StoredMembership, Vote},
};
use openraft::{BasicNode, Membership};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};
use taffeta_model::{NodeId, State};

/// The changes that make an empty disk the log of a cluster in this state, with `id` as its only voter. The log goes on
/// after the entry at [`State::applied`]. To be made durable in one commit.
pub fn seed(id: NodeId, address: SocketAddr, state: &State) -> io::Result<Vec<Op>> {
    let at = LogId::new_term_index(state.applied.term, state.applied.index);
    let voter = BTreeMap::from([(id.0, BasicNode::new(address))]);
    let membership = Membership::new(vec![BTreeSet::from([id.0])], voter).map_err(bad)?;
    let membership = StoredMembership::new(Some(at), membership);
    let replicated = Replicated { applied: Some(at), membership: membership.clone(), state: state.clone() };
    let meta = SnapshotMeta { last_log_id: Some(at), last_membership: membership };
    let encode = |encoded: postcard::Result<Vec<u8>>| encoded.map_err(bad);
    Ok(vec![
        Op::Snapshot(encode(postcard::to_stdvec(&meta))?, encode_snapshot(&replicated)?),
        Op::Purge(at.index, encode(postcard::to_stdvec(&at))?),
        // Not committed: the next election must be in a newer term.
        Op::Vote(encode(postcard::to_stdvec(&Vote::new(state.applied.term, id.0)))?),
    ])
}

#[cfg(test)]
mod tests;
