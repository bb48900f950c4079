//! What is stored, byte for byte: `format-2.txt` beside this file is what version 2 writes of values in which every field
//! is set. Folders with such bytes in them exist, so they never change.
//!
//! A new version gets a file of its own: TAFFETA_RECORD_FORMAT=1 lets the test write the one that is missing.

use super::{commands, id, values};
use crate::{
    codec::{VERSION, decode_entry, decode_snapshot, decode_state, encode_entry, encode_snapshot, encode_state},
    machine::Replicated,
    types::{Entry, LogId, Request, SnapshotMeta, StoredMembership, Vote},
};
use openraft::{BasicNode, EntryPayload, Membership};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};
use taffeta_shapes::{assert_recorded, record_if_asked, recorded};

fn file(version: u8) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/codec/tests/format-{version}.txt"))
}

/// Half of a change of who votes, with a learner besides.
fn membership() -> Membership<u64, BasicNode> {
    let nodes = (1..=4).map(|n| (n, BasicNode::new(format!("10.0.0.{n}:7400"))));
    let sets = vec![BTreeSet::from([1]), BTreeSet::from([1, 2, 3])];
    Membership::new(sets, nodes.collect::<BTreeMap<u64, BasicNode>>()).unwrap()
}

fn stored_membership() -> StoredMembership {
    StoredMembership::new(Some(id(299, 380)), membership())
}

fn replicated() -> Replicated {
    Replicated { applied: Some(id(300, 400)), membership: stored_membership(), state: values::state() }
}

fn entries() -> Vec<(String, Entry)> {
    let command = |command: taffeta_model::Command| {
        (format!("entry {}", command.kind()), EntryPayload::Normal(Request::new(command)))
    };
    let other = [
        ("entry of nothing".to_owned(), EntryPayload::Blank),
        ("entry of who votes".to_owned(), EntryPayload::Membership(membership())),
    ];
    let payloads = other.into_iter().chain(commands::commands().into_iter().map(command));
    payloads.zip(400..).map(|((name, payload), index)| (name, Entry { log_id: id(300, index), payload })).collect()
}

/// Everything, by name.
fn written() -> BTreeMap<String, Vec<u8>> {
    let meta = SnapshotMeta { last_log_id: Some(id(300, 400)), last_membership: stored_membership() };
    let other = [
        ("position".to_owned(), postcard::to_stdvec(&id(300, 400)).unwrap()),
        ("vote".to_owned(), postcard::to_stdvec(&Vote::new(300, 7)).unwrap()),
        ("about a snapshot".to_owned(), postcard::to_stdvec(&meta).unwrap()),
        ("snapshot".to_owned(), encode_snapshot(&replicated()).unwrap()),
        ("state of a backup".to_owned(), encode_state(&values::state())),
    ];
    let entries = entries().into_iter().map(|(name, entry)| (name, encode_entry(&entry).unwrap()));
    entries.chain(other).collect()
}

#[test]
fn what_is_stored_changes_only_with_a_new_version() {
    let advice = format!(
        "folders of version {VERSION} exist. Keep the shapes of that time as `taffeta_model::v1` does, with a conversion, read \
         them in codec.rs, and raise VERSION there and FORMAT in core/node/src/folder.rs."
    );
    assert_recorded(&file(VERSION), &written(), &advice);
}

#[test]
fn what_earlier_versions_and_this_one_wrote_is_read() {
    record_if_asked(&file(VERSION), &written());
    for version in 2..=VERSION {
        for (name, bytes) in recorded(&file(version)) {
            match name.as_str() {
                "position" => assert!(postcard::from_bytes::<LogId>(&bytes).is_ok()),
                "vote" => assert!(postcard::from_bytes::<Vote>(&bytes).is_ok()),
                "about a snapshot" => assert!(postcard::from_bytes::<SnapshotMeta>(&bytes).is_ok()),
                "state of a backup" => {
                    let read = decode_state(&bytes).unwrap();
                    assert!(version < VERSION || read == values::state());
                }
                "snapshot" => {
                    let read = decode_snapshot(&bytes).unwrap();
                    assert!(version < VERSION || read.state == values::state());
                }
                entry => {
                    let read = decode_entry(&bytes).unwrap_or_else(|e| panic!("version {version}, {entry}: {e}"));
                    assert!(version < VERSION || encode_entry(&read).unwrap() == bytes, "{entry}");
                }
            }
        }
    }
}

/// The encoding of a command begins with its number: they follow one another, and none is left out.
#[test]
fn there_is_a_command_of_every_kind() {
    let all = commands::commands();
    for (number, command) in all.iter().enumerate() {
        let encoded = postcard::to_stdvec(command).unwrap();
        assert_eq!(usize::from(encoded[0]), number, "{}", command.kind());
        assert_eq!(commands::kinds(command), all.len());
    }
}
