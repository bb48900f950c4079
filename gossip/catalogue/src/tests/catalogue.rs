//! What is held, what is refused, and what is forgotten.

use super::{Checker, Keys, everyone, first_set, heads, info, merge, owner_set, publish, record, signed};
use crate::{
    BUCKETS, Catalogue, DOWN_KEPT, EXCHANGE_BYTES_MAX, Head, MergeError, Merged, OwnerSet, PublishError, RECORDS_MAX,
    SET_BYTES_MAX, SignedSet, TEXT_BYTES_MAX, Update,
};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};
use taffeta_model::{Exit, Liveness, Millis, NodeId, TaskRecord};

#[test]
fn a_set_is_published_only_when_it_changes() {
    let mut catalogue = Catalogue::new(NodeId(1), 5);
    let first = publish(&mut catalogue, 1, &[2, 1]).expect("the first one");
    assert_eq!(first.head().map(|h| (h.owner, h.epoch, h.seq)), Some((NodeId(1), 5, 1)));
    assert_eq!(publish(&mut catalogue, 1, &[1, 2]), None, "the order does not matter");
    let revision = catalogue.revision();
    let second = publish(&mut catalogue, 1, &[1]).expect("another one");
    assert_eq!(second.head().map(|h| h.seq), Some(2));
    assert!(catalogue.revision() > revision);
}

#[test]
fn a_newer_set_replaces_the_whole_older_one() {
    let mut owner = Catalogue::new(NodeId(2), 1);
    let first = publish(&mut owner, 2, &[1, 2]).expect("new");
    let second = publish(&mut owner, 2, &[2, 3]).expect("new");
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    assert_eq!(merge(&mut catalogue, &first), Ok(Merged::New));
    assert_eq!(merge(&mut catalogue, &first), Ok(Merged::Same));
    assert_eq!(merge(&mut catalogue, &second), Ok(Merged::New));
    assert_eq!(merge(&mut catalogue, &first), Ok(Merged::Old));
    let held = catalogue.get(NodeId(2)).expect("held");
    assert_eq!(held.records.iter().map(|r| r.task.index).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(catalogue.sets().len(), 1);
}

#[test]
fn the_set_of_an_earlier_life_stays_until_that_of_the_new_one_comes() {
    let old = first_set(2, 1, &[1, 2]);
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    merge(&mut catalogue, &old).expect("valid");
    let mut restarted = Catalogue::new(NodeId(2), 2);
    assert_eq!(merge(&mut restarted, &old), Ok(Merged::Old), "its own past is nothing new to the owner");
    assert_eq!(catalogue.get(NodeId(2)).map(|s| s.records.len()), Some(2));
    let new = publish(&mut restarted, 2, &[]).expect("an empty first set is a set");
    assert_eq!(merge(&mut catalogue, &new), Ok(Merged::New));
    assert_eq!(catalogue.get(NodeId(2)).map(|s| s.records.len()), Some(0));
}

#[test]
fn a_forged_or_altered_set_is_refused() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    let good = first_set(2, 1, &[1]);
    let mut altered = (*good).clone();
    *altered.bytes.last_mut().expect("not empty") ^= 1;
    let by_another = SignedSet::sign(good.bytes.clone(), &Keys(NodeId(3)));
    let wrong = SignedSet { signature: [7; 64], ..(*good).clone() };
    for bad in [altered, by_another, wrong] {
        assert_eq!(merge(&mut catalogue, &Arc::new(bad)), Err(MergeError::BadSignature(NodeId(2))));
    }
    assert_eq!((catalogue.sets().len(), catalogue.revision()), (0, 0));
}

#[test]
fn the_set_of_an_unknown_owner_is_refused() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    let set = Update::from(first_set(2, 1, &[1]));
    let refused = catalogue.merge(&set, &Checker, &|owner| owner != NodeId(2));
    assert_eq!(refused, Err(MergeError::UnknownOwner(NodeId(2))));
    assert_eq!(catalogue.sets().len(), 0);
}

#[test]
fn a_newer_set_of_our_own_is_reported_and_not_taken() {
    let theirs = first_set(1, 9, &[4]);
    let mut catalogue = Catalogue::new(NodeId(1), 3);
    let head = theirs.head().expect("a head");
    assert_eq!(merge(&mut catalogue, &theirs), Err(MergeError::OwnIsNewer(head)));
    publish(&mut catalogue, 1, &[1]);
    assert_eq!(merge(&mut catalogue, &theirs), Err(MergeError::OwnIsNewer(head)));
    assert!(catalogue.lacks(&head), "the proof is to be asked for");
    assert!(!catalogue.lacks(&Head { epoch: 2, ..head }), "the past is no news");
    assert_eq!(catalogue.get(NodeId(1)).map(|s| s.epoch), Some(3));
}

#[test]
fn records_that_are_not_valid_are_refused_on_both_sides() {
    let port = |name: &str, port| TaskRecord { ports: vec![(name.into(), port)], ..record(1) };
    let bad = [
        vec![record(1), record(1)],
        vec![TaskRecord { instance: "No Label".into(), ..record(1) }],
        vec![TaskRecord { address: "0.0.0.0".parse().expect("an address"), ..record(1) }],
        vec![TaskRecord { tags: vec!["x".repeat(TEXT_BYTES_MAX + 1).into()], ..record(1) }],
        vec![TaskRecord { tags: vec!["x".into(); 101], ..record(1) }],
        vec![port("http", 0)],
        vec![port("-", 80)],
        (0..=RECORDS_MAX as u32).map(record).collect(),
    ];
    for records in bad {
        let mut catalogue = Catalogue::new(NodeId(1), 1);
        let merged = merge(&mut catalogue, &signed(&owner_set(records.clone())));
        assert!(matches!(merged, Err(MergeError::Invalid { owner: NodeId(2), .. })), "{merged:?}");
        let published = catalogue.publish(info(NodeId(1)), records, &Keys(NodeId(1)));
        assert!(matches!(published, Err(PublishError::Invalid(_))), "{published:?}");
        assert_eq!((catalogue.sets().len(), catalogue.revision()), (0, 0));
    }
    let zero = OwnerSet { seq: 0, ..owner_set(vec![]) };
    assert!(merge(&mut Catalogue::new(NodeId(1), 1), &signed(&zero)).is_err());
}

#[test]
fn a_long_reason_is_shortened_at_a_character() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    let long = "é".repeat(TEXT_BYTES_MAX);
    let exit = Some(Exit::NotStarted(long.clone()));
    let records = vec![TaskRecord { reason: format!("x{long}"), exit, ..record(1) }];
    catalogue.publish(info(NodeId(1)), records, &Keys(NodeId(1))).expect("shortened");
    let held = catalogue.get(NodeId(1)).expect("held");
    assert_eq!(held.records[0].reason.len(), TEXT_BYTES_MAX - 1);
}

#[test]
fn a_set_that_is_too_large_is_refused_on_both_sides() {
    let tags = vec![smol_str::SmolStr::from("x".repeat(TEXT_BYTES_MAX)); 10];
    let records: Vec<_> = (1..60).map(|i| TaskRecord { tags: tags.clone(), ..record(i) }).collect();
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    let set = signed(&owner_set(records.clone()));
    assert!(set.bytes.len() > SET_BYTES_MAX);
    assert_eq!(merge(&mut catalogue, &set), Err(MergeError::TooLarge(set.bytes.len())));
    let published = catalogue.publish(info(NodeId(1)), records, &Keys(NodeId(1)));
    assert!(matches!(published, Err(PublishError::TooLarge(_))));
    assert_eq!(catalogue.revision(), 0);
}

#[test]
fn bytes_after_the_end_of_a_set_are_refused() {
    let mut bytes = first_set(2, 1, &[1]).bytes.clone();
    bytes.push(0);
    let longer = Arc::new(SignedSet::sign(bytes, &Keys(NodeId(2))));
    assert_eq!(merge(&mut Catalogue::new(NodeId(1), 1), &longer), Err(MergeError::Malformed));
}

#[test]
fn a_down_owner_is_kept_ten_minutes_and_not_brought_back_by_a_slower_peer() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    publish(&mut catalogue, 1, &[9]);
    let set = first_set(2, 1, &[1]);
    merge(&mut catalogue, &set).expect("valid");
    let head = set.head().expect("a head");
    let down = |_: NodeId| Some((Liveness::Down, Millis(1000)));
    let almost = Millis(1000) + (DOWN_KEPT - Duration::from_millis(1));
    assert!(catalogue.expire(almost, &down, &everyone).is_empty());
    assert_eq!(catalogue.expire(Millis(1000) + DOWN_KEPT, &down, &everyone), [NodeId(2)]);
    assert!(catalogue.get(NodeId(1)).is_some(), "our own set stays, whatever the ring thinks");
    assert_eq!(merge(&mut catalogue, &set), Ok(Merged::Same));
    assert!(!catalogue.lacks(&head) && catalogue.get(NodeId(2)).is_none());
    assert_eq!((0..BUCKETS as u16).flat_map(|b| catalogue.dropped_in(b)).collect::<Vec<_>>(), [head]);
    assert_eq!(merge(&mut catalogue, &first_set(2, 2, &[1])), Ok(Merged::New), "its next life is welcome");
}

#[test]
fn the_dropped_set_of_a_node_that_is_back_without_a_restart_is_welcome_again() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    let set = first_set(2, 1, &[1]);
    merge(&mut catalogue, &set).expect("valid");
    let now = Millis(1000) + DOWN_KEPT;
    catalogue.expire(now, &|_| Some((Liveness::Down, Millis(1000))), &everyone);
    assert_eq!(merge(&mut catalogue, &set), Ok(Merged::Same));
    catalogue.expire(now, &|_| Some((Liveness::Alive, now)), &everyone);
    assert_eq!((0..BUCKETS as u16).flat_map(|b| catalogue.dropped_in(b)).count(), 0);
    assert_eq!(merge(&mut catalogue, &set), Ok(Merged::New));
}

#[test]
fn who_is_no_member_any_more_is_dropped_at_once_and_who_left_as_late_as_who_is_down() {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    for id in 2..=5 {
        merge(&mut catalogue, &first_set(id, 1, &[1])).expect("valid");
    }
    let verdict = |id: NodeId| match id.0 {
        2 => Some((Liveness::Left, Millis(0))),
        3 => Some((Liveness::Suspect, Millis(0))),
        _ => None,
    };
    let gone = catalogue.expire(Millis(1), &verdict, &|id| id != NodeId(4));
    assert_eq!(gone, [NodeId(4)]);
    let later = Millis(0) + DOWN_KEPT;
    assert_eq!(catalogue.expire(later, &verdict, &|_| true), [NodeId(2)]);
    assert_eq!(catalogue.sets().values().map(|s| s.owner.0).collect::<Vec<_>>(), [3, 5]);
}

#[test]
fn an_exchange_is_bounded_and_the_next_ones_bring_the_rest() {
    let tags = vec![smol_str::SmolStr::from("x".repeat(1000)); 10];
    let mut full = Catalogue::new(NodeId(1), 1);
    for id in 2..22 {
        let records = (1..45).map(|i| TaskRecord { tags: tags.clone(), ..record(i) }).collect();
        let set = OwnerSet { owner: NodeId(id), ..owner_set(records) };
        merge(&mut full, &signed(&set)).expect("valid");
    }
    let mut empty = Catalogue::new(NodeId(30), 1);
    let mut rounds = 0;
    while empty.digest_hash() != full.digest_hash() {
        let wanted: Vec<NodeId> = heads(&full).iter().filter(|h| empty.lacks(h)).map(|h| h.owner).collect();
        let sets = full.sets_of(&wanted, rounds);
        assert!(!sets.is_empty() && sets.iter().map(|s| s.bytes.len()).sum::<usize>() <= EXCHANGE_BYTES_MAX);
        sets.iter().for_each(|set| assert_eq!(merge(&mut empty, set), Ok(Merged::New)));
        rounds += 1;
    }
    assert_eq!(rounds, 3);
}

#[test]
fn the_hashes_depend_on_what_is_held_and_not_on_how_it_came() {
    let sets: Vec<_> = (2..40).map(|id| first_set(id, 1, &[1])).collect();
    let (mut one, mut other) = (Catalogue::new(NodeId(1), 1), Catalogue::new(NodeId(50), 1));
    let empty = one.digest_hash();
    sets.iter().for_each(|set| drop(merge(&mut one, set)));
    sets.iter().rev().for_each(|set| drop(merge(&mut other, set)));
    assert_eq!(one.digest_hash(), other.digest_hash());
    let all = |c: &Catalogue| (0..BUCKETS as u16).map(|bucket| c.bucket_hash(bucket)).collect::<Vec<_>>();
    assert_eq!(all(&one), all(&other));

    merge(&mut one, &first_set(7, 2, &[1])).expect("a newer one");
    let differing: Vec<u16> = (0..BUCKETS as u16).filter(|b| one.bucket_hash(*b) != other.bucket_hash(*b)).collect();
    assert_eq!(differing.len(), 1);
    assert!(one.heads_in(differing[0]).any(|head| head.owner == NodeId(7)));
    assert_ne!(one.digest_hash(), other.digest_hash());

    one.expire(Millis(0), &|_| None, &|_| false);
    assert_eq!(one.digest_hash(), empty, "what was dropped counts no more");
}

#[test]
fn an_encoding_that_is_not_the_only_one_is_refused() {
    let set = OwnerSet { seq: 1, ..owner_set(vec![]) };
    let mut bytes = postcard::to_stdvec(&set).expect("plain data");
    assert_eq!(bytes.pop(), Some(0), "no records");
    bytes.extend([0x80, 0]); // zero again, in two bytes
    let longer = Arc::new(SignedSet::sign(bytes, &Keys(NodeId(2))));
    assert_eq!(merge(&mut Catalogue::new(NodeId(1), 1), &longer), Err(MergeError::Malformed));
}

#[test]
fn records_out_of_order_are_refused() {
    let set = signed(&owner_set(vec![record(2), record(1)]));
    let merged = merge(&mut Catalogue::new(NodeId(1), 1), &set);
    assert!(matches!(merged, Err(MergeError::Invalid { .. })), "{merged:?}");
}

#[test]
fn a_set_can_be_passed_on_as_it_came_and_shares_what_did_not_change() {
    let mut owner = Catalogue::new(NodeId(2), 1);
    let first = publish(&mut owner, 2, &[1, 2]).expect("new");
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    merge(&mut catalogue, &first).expect("valid");
    let before = Arc::clone(catalogue.get(NodeId(2)).expect("held"));
    assert_eq!((&before.signed(), before.size()), (&*first, first.bytes.len()));
    merge(&mut catalogue, &publish(&mut owner, 2, &[2, 3]).expect("new")).expect("valid");
    let after = catalogue.get(NodeId(2)).expect("held");
    assert!(Arc::ptr_eq(&before.records[1], &after.records[0]));
    assert_eq!(catalogue.bytes(), after.size());
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut catalogue = Catalogue::new(NodeId(1), 1);
        let forged = SignedSet { bytes: bytes.clone(), public_key: [0; 32], signature: [0; 64] };
        prop_assert!(merge(&mut catalogue, &Arc::new(forged)).is_err());
        // Also behind a good signature: the owner itself may be faulty.
        let owner = SignedSet { bytes: bytes.clone(), public_key: [0; 32], signature: [0; 64] }.head().map(|h| h.owner);
        let by_owner = SignedSet::sign(bytes.clone(), &Keys(owner.unwrap_or_default()));
        prop_assert!(merge(&mut catalogue, &Arc::new(by_owner)).is_err());
        prop_assert_eq!(catalogue.revision(), 0);
        drop(postcard::from_bytes::<SignedSet>(&bytes));
    }

    #[test]
    fn a_damaged_set_behind_a_good_signature_never_panics(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut bytes = first_set(2, 1, &[1, 2, 3]).bytes.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let head = SignedSet { bytes: bytes.clone(), public_key: [0; 32], signature: [0; 64] }.head();
        let set = SignedSet::sign(bytes, &Keys(head.map(|h| h.owner).unwrap_or_default()));
        let mut catalogue = Catalogue::new(NodeId(1), 1);
        let merged = merge(&mut catalogue, &Arc::new(set));
        prop_assert_eq!(merged == Ok(Merged::New), catalogue.revision() == 1);
    }

    #[test]
    fn a_signed_set_survives_the_wire(signature in prop::array::uniform32(any::<u8>()), bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        let mut whole = [9; 64];
        whole[32..].copy_from_slice(&signature);
        let set = SignedSet { bytes, public_key: signature, signature: whole };
        let encoded = postcard::to_stdvec(&set).expect("plain data");
        prop_assert_eq!(postcard::from_bytes(&encoded), Ok(set));
    }
}
