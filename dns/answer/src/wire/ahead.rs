//! Fetching what the queries of a batch will need, all at once.
//!
//! In a large zone a reply waits for memory several times, one after the other. The replies of a batch need not wait for
//! one another: this walks the same ways for all of them step by step, and processors overlap the steps of several.

use super::{index::hash, query::Asked, reply::FastPath};
use crate::{Snapshot, service::ServiceEntry};
use std::hint::black_box;

/// Most queries that are looked at together.
const AHEAD: usize = 32;
/// With fewer, there is little to overlap.
const QUERIES_MIN: usize = 4;
/// Services up to which a zone is in the cache anyway.
const SERVICES_MIN: usize = 2048;

impl FastPath {
    /// Reads the parts of the snapshot that replies to these queries will read, of up to 32. Changes nothing but time;
    /// does nothing where that would cost more than it saves.
    pub fn look_ahead<'q>(&self, snapshot: &Snapshot, queries: impl ExactSizeIterator<Item = &'q [u8]>) {
        if queries.len() < QUERIES_MIN || snapshot.index.len() < SERVICES_MIN {
            return;
        }
        let mut hashes = [None; AHEAD];
        for (hash, query) in hashes.iter_mut().zip(queries) {
            *hash = hash_of(snapshot, query);
        }
        let services: [Option<&ServiceEntry>; AHEAD] = hashes.map(|hash| snapshot.index.candidate(hash?));
        let blocks = services.map(|service| service?.made_block());
        black_box(blocks.iter().flatten().fold(0, |sum, block| sum ^ block.touch()));
    }
}

/// Of the service that a common query asks for.
#[inline]
fn hash_of(snapshot: &Snapshot, query: &[u8]) -> Option<u64> {
    let asked = Asked::read(query)?;
    let below = asked.name.within(snapshot.domain.wire())?;
    let [.., service, app] = *below.labels()? else { return None };
    Some(hash(app, service))
}
