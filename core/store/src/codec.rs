//! How entries, snapshots and the state in a backup are stored, with the version of their encoding.
//!
//! Version 1 had no mark. Its entries begin with their term, and only the one at index 0 has the term 0; a 0 that is
//! followed by a version is therefore no entry of version 1. Its snapshots begin with an `Option`, which is 0 or 1.

use crate::{
    log::bad,
    machine::Replicated,
    types::{Entry, Request},
};
use openraft::EntryPayload;
use serde::{Deserialize, Serialize};
use std::{io, sync::Arc};
use taffeta_model::{Command, State, v1};

/// The version that is written.
const VERSION: u8 = 2;

/// Encodes an entry of the log.
pub(crate) fn encode_entry(entry: &Entry) -> io::Result<Vec<u8>> {
    postcard::to_extend(entry, vec![0, VERSION]).map_err(bad)
}

/// Decodes an entry of this version or of an earlier one.
pub(crate) fn decode_entry(bytes: &[u8]) -> io::Result<Entry> {
    match bytes {
        [0, VERSION, entry @ ..] => postcard::from_bytes(entry).map_err(bad),
        [0, version, ..] if *version > VERSION => Err(newer(*version)),
        _ => Ok(entry_of_v1(postcard::from_bytes(bytes).map_err(bad)?)),
    }
}

/// Decodes an entry that a leader sent. What is of this version is stored as it is.
pub(crate) fn decode_sent(bytes: &[u8]) -> io::Result<Entry> {
    let mut entry = decode_entry(bytes)?;
    if let (EntryPayload::Normal(request), [0, VERSION, ..]) = (&mut entry.payload, bytes) {
        request.encoded = Some(bytes.into());
    }
    Ok(entry)
}

/// An entry as it is stored: as it was sent, or else encoded here.
pub(crate) fn stored(entry: &Entry) -> io::Result<Arc<[u8]>> {
    match &entry.payload {
        EntryPayload::Normal(Request { encoded: Some(bytes), command: _ }) => Ok(Arc::clone(bytes)),
        EntryPayload::Normal(_) | EntryPayload::Blank | EntryPayload::Membership(_) => {
            encode_entry(entry).map(Into::into)
        }
    }
}

/// Encodes the contents of a snapshot.
pub(crate) fn encode_snapshot(replicated: &Replicated) -> io::Result<Vec<u8>> {
    postcard::to_extend(replicated, vec![VERSION]).map_err(bad)
}

/// Decodes the contents of a snapshot of this version or of an earlier one.
pub(crate) fn decode_snapshot(bytes: &[u8]) -> io::Result<Replicated> {
    match bytes {
        [VERSION, contents @ ..] => postcard::from_bytes(contents).map_err(bad),
        [version, ..] if *version > VERSION => Err(newer(*version)),
        _ => postcard::from_bytes::<Replicated<v1::State>>(bytes).map_err(bad).map(|old| Replicated {
            applied: old.applied,
            membership: old.membership,
            state: old.state.into(),
        }),
    }
}

/// Encodes a state on its own, as it lies in a backup: behind the version, as in a snapshot.
pub fn encode_state(state: &State) -> Vec<u8> {
    postcard::to_extend(state, vec![VERSION]).expect("plain data can be encoded")
}

/// Decodes what [`encode_state`] gave, in this version or an earlier one that had it; there is none yet.
pub fn decode_state(bytes: &[u8]) -> io::Result<State> {
    match bytes {
        [VERSION, state @ ..] => postcard::from_bytes(state).map_err(bad),
        [version, ..] if *version > VERSION => Err(newer(*version)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not an encoded state")),
    }
}

/// An entry of version 1: openraft's, with the commands of that time.
#[derive(Serialize, Deserialize)]
struct EntryV1 {
    log_id: crate::types::LogId,
    payload: PayloadV1,
}

#[derive(Serialize, Deserialize)]
enum PayloadV1 {
    Blank,
    Normal(Box<v1::Command>),
    Membership(openraft::Membership<u64, openraft::BasicNode>),
}

fn entry_of_v1(old: EntryV1) -> Entry {
    let payload = match old.payload {
        PayloadV1::Blank => EntryPayload::Blank,
        PayloadV1::Normal(command) => EntryPayload::Normal(Request::new(Command::from(*command))),
        PayloadV1::Membership(membership) => EntryPayload::Membership(membership),
    };
    Entry { log_id: old.log_id, payload }
}

fn newer(version: u8) -> io::Error {
    let why = format!("it was written by a newer version of taffeta (encoding {version}, this one reads {VERSION})");
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;
