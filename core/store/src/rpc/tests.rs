//! What voters say to each other, byte for byte: `wire-2.txt` beside this file. The commands in it are those of the log.

use super::*;
use crate::{codec::encode_entry, types::Request};
use openraft::{Membership, raft::TransferLeaderError};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use taffeta_model::Command;
use taffeta_shapes::{assert_every_variant, assert_recorded};

fn at(index: u64) -> LogId {
    LogId::new_term_index(300, index)
}

fn membership() -> Membership<u64, BasicNode> {
    let nodes = [1, 2].map(|n| (n, BasicNode::new(format!("10.0.0.{n}:7400"))));
    Membership::new(vec![BTreeSet::from([1])], BTreeMap::from(nodes)).unwrap()
}

fn calls() -> Vec<(&'static str, Vec<u8>)> {
    let vote = Vote::new(300, 7);
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(Request::new(Command::RaiseLevel(2))),
        EntryPayload::Membership(membership()),
    ];
    let entries = payloads.into_iter().zip(400..).map(|(payload, index)| Entry { log_id: at(index), payload });
    let append = AppendEntriesRequest {
        vote: Vote::new_committed(300, 7),
        prev_log_id: Some(at(399)),
        entries: entries.collect(),
        leader_commit: Some(at(398)),
    };
    let encoded: Vec<Arc<[u8]>> = append.entries.iter().map(|entry| encode_entry(entry).unwrap().into()).collect();
    let asked = VoteRequest::new(vote, Some(at(400)));
    let meta = SnapshotMeta {
        last_log_id: Some(at(400)),
        last_membership: crate::types::StoredMembership::new(Some(at(380)), membership()),
    };
    [
        ("call to append", Call::Append(Append::of(&append, &encoded))),
        ("call for a vote", Call::Vote(asked.clone())),
        ("call before a vote", Call::PreVote(asked)),
        ("call with a snapshot", Call::Snapshot(vote, meta, vec![2, 1, 0])),
        ("call to transfer", Call::Transfer(TransferLeaderRequest::new(vote, 8, Some(at(400))))),
    ]
    .map(|(name, call)| (name, postcard::to_stdvec(&call).unwrap()))
    .into()
}

fn replies() -> Vec<(&'static str, Vec<u8>)> {
    let vote = Vote::new(300, 7);
    let changed = TransferLeaderError::VoteChanged { expected: vote, actual: Vote::new(301, 8) };
    let behind = TransferLeaderError::LogNotFlushed { expected: Some(at(400)), actual: Some(at(399)) };
    [
        ("reply of success", Reply::Append(AppendEntriesResponse::Success)),
        ("reply of success in part", Reply::Append(AppendEntriesResponse::PartialSuccess(Some(at(400))))),
        ("reply of conflict", Reply::Append(AppendEntriesResponse::Conflict)),
        ("reply of a higher vote", Reply::Append(AppendEntriesResponse::HigherVote(vote))),
        ("reply with a vote", Reply::Vote(VoteResponse::new(vote, Some(at(400)), true))),
        ("reply to a snapshot", Reply::Snapshot(SnapshotResponse::new(vote))),
        ("reply to a transfer", Reply::Transfer(Ok(()))),
        ("reply of a changed vote to a transfer", Reply::Transfer(Err(changed))),
        ("reply of a shorter log to a transfer", Reply::Transfer(Err(behind))),
    ]
    .map(|(name, reply)| (name, postcard::to_stdvec(&reply).unwrap()))
    .into()
}

#[test]
fn what_voters_say_to_each_other_changes_only_with_a_new_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rpc/tests/wire-2.txt");
    let now = calls().into_iter().chain(replies()).map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    assert_recorded(&path, &now, taffeta_shapes::WIRE);
}

#[test]
fn every_message_is_recorded() {
    assert_every_variant::<Call<'_>>(calls().iter().map(|(_, bytes)| bytes));
    assert_every_variant::<Reply>(replies().iter().map(|(_, bytes)| bytes));
}
