//! Deltas: they make the very set that its owner signed, or nothing.

use super::{Checker, Keys, everyone, info, merge, merge_update, publish, publish_update, record};
use crate::{Catalogue, MergeError, Merged, RECORDS_MAX, SetDelta, Update};
use proptest::prelude::*;
use std::sync::Arc;
use taffeta_model::{NodeId, NodeInfo, TaskRecord};

/// An owner with some tasks, and a receiver that holds its set.
fn pair() -> (Catalogue, Catalogue) {
    let (mut owner, mut receiver) = (Catalogue::new(NodeId(2), 1), Catalogue::new(NodeId(1), 1));
    let set = publish(&mut owner, 2, &[1, 2, 3, 4, 5]).expect("new");
    merge(&mut receiver, &set).expect("valid");
    (owner, receiver)
}

fn delta(update: Option<Update>) -> SetDelta {
    match update.expect("new") {
        Update::Delta(delta) => (*delta).clone(),
        Update::Whole(_) => panic!("a small change of a large set"),
    }
}

fn take(receiver: &mut Catalogue, delta: &SetDelta) -> Result<Merged, MergeError> {
    merge_update(receiver, &Update::Delta(Arc::new(delta.clone())))
}

#[test]
fn a_small_change_is_sent_as_a_delta_and_makes_the_same_set() {
    let (mut owner, mut receiver) = pair();
    let before = Arc::clone(receiver.get(NodeId(2)).expect("held"));
    let delta = delta(publish_update(&mut owner, 2, &[1, 3, 4, 5, 9]));
    assert_eq!((delta.changed.len(), delta.removed.len(), &delta.info), (1, 1, &None));
    assert_eq!(take(&mut receiver, &delta), Ok(Merged::New));
    assert_eq!(take(&mut receiver, &delta), Ok(Merged::Same));
    assert_eq!(receiver.get(NodeId(2)), owner.get(NodeId(2)));
    let after = receiver.get(NodeId(2)).expect("held");
    assert_eq!(after.signed(), owner.get(NodeId(2)).expect("held").signed());
    assert!(Arc::ptr_eq(&before.records[0], &after.records[0]), "what did not change is the very record");
    assert_eq!((receiver.bytes(), receiver.digest_hash()), (owner.bytes(), owner.digest_hash()));
}

#[test]
fn a_change_of_the_machine_alone_is_a_delta_too() {
    let (mut owner, mut receiver) = pair();
    let moved = NodeInfo { zone: "z2".into(), ..info(NodeId(2)) };
    let records = (1..=5).map(record).collect();
    let delta = delta(owner.publish(moved.clone(), records, &Keys(NodeId(2))).expect("valid"));
    assert!(delta.changed.is_empty() && delta.removed.is_empty());
    assert_eq!(take(&mut receiver, &delta), Ok(Merged::New));
    assert_eq!(receiver.get(NodeId(2)).map(|held| &held.info), Some(&moved));
}

#[test]
fn a_change_of_everything_and_the_first_set_of_a_life_are_sent_whole() {
    let mut owner = Catalogue::new(NodeId(2), 1);
    let many: Vec<u32> = (1..=20).collect();
    assert!(matches!(publish_update(&mut owner, 2, &many), Some(Update::Whole(_))));
    let moved = NodeInfo { zone: "another".into(), ..info(NodeId(2)) };
    let update = owner.publish(moved, vec![], &Keys(NodeId(2))).expect("valid");
    assert!(matches!(update, Some(Update::Whole(_))), "twenty names of tasks are longer than none");
}

#[test]
fn a_forged_or_altered_delta_is_refused_and_changes_nothing() {
    let (mut owner, mut receiver) = pair();
    let good = delta(publish_update(&mut owner, 2, &[1, 3, 4, 5, 9]));
    let bad = [
        SetDelta { changed: vec![], ..good.clone() },
        SetDelta { changed: vec![Arc::new(record(8))], ..good.clone() },
        SetDelta { removed: vec![record(1).task], ..good.clone() },
        SetDelta { info: Some(info(NodeId(3))), ..good.clone() },
        SetDelta { seq: good.seq + 1, ..good.clone() },
        SetDelta { signature: [7; 64], ..good.clone() },
    ];
    let (revision, held) = (receiver.revision(), receiver.sets().clone());
    for bad in bad {
        assert_eq!(take(&mut receiver, &bad), Err(MergeError::BadSignature(NodeId(2))), "{bad:?}");
    }
    let twice = SetDelta { changed: vec![Arc::clone(&good.changed[0]); 2], ..good.clone() };
    assert_eq!(take(&mut receiver, &twice), Err(MergeError::Malformed));
    assert_eq!((receiver.revision(), receiver.sets()), (revision, &held));
    assert_eq!(take(&mut receiver, &good), Ok(Merged::New), "the good one is still welcome");
}

#[test]
fn a_delta_that_does_not_build_on_what_is_held_is_a_gap() {
    let (mut owner, mut receiver) = pair();
    let skipped = delta(publish_update(&mut owner, 2, &[1, 2, 3, 4, 6]));
    let next = delta(publish_update(&mut owner, 2, &[1, 2, 3, 4, 7]));
    let revision = receiver.revision();
    assert_eq!(take(&mut receiver, &next), Ok(Merged::Gap));
    let other_life = SetDelta { epoch: 2, ..skipped.clone() };
    assert_eq!(take(&mut receiver, &other_life), Ok(Merged::Gap));
    let other_content = SetDelta { base: (skipped.base.0, 1), ..skipped.clone() };
    assert_eq!(take(&mut receiver, &other_content), Ok(Merged::Gap));
    assert_eq!(take(&mut Catalogue::new(NodeId(3), 1), &skipped), Ok(Merged::Gap));
    assert_eq!(receiver.revision(), revision);
    assert_eq!(take(&mut receiver, &skipped), Ok(Merged::New));
    assert_eq!(take(&mut receiver, &next), Ok(Merged::New));
    assert_eq!(take(&mut receiver, &skipped), Ok(Merged::Old));
}

#[test]
fn a_delta_of_an_unknown_owner_is_refused() {
    let (mut owner, mut receiver) = pair();
    let update = publish_update(&mut owner, 2, &[1, 2, 3, 4]).expect("new");
    let refused = receiver.merge(&update, &Checker, &|id| id != NodeId(2));
    assert_eq!(refused, Err(MergeError::UnknownOwner(NodeId(2))));
    assert!(everyone(NodeId(2)));
}

#[test]
fn a_delta_of_our_own_that_is_newer_is_reported() {
    let (mut owner, mut copy) = (Catalogue::new(NodeId(2), 1), Catalogue::new(NodeId(2), 1));
    publish(&mut owner, 2, &[1, 2, 3]);
    publish(&mut copy, 2, &[1, 2, 3]);
    let update = publish_update(&mut copy, 2, &[1, 2, 3, 4]).expect("new");
    let head = copy.get(NodeId(2)).expect("held").head;
    assert_eq!(merge_update(&mut owner, &update), Err(MergeError::OwnIsNewer(head)));
    let mut restarted = Catalogue::new(NodeId(2), 2);
    assert_eq!(merge_update(&mut restarted, &update), Ok(Merged::Old), "its own past is nothing new");
}

#[test]
fn what_a_delta_leads_to_is_bounded_as_a_whole_set_is() {
    let (owner, mut receiver) = pair();
    let base = owner.get(NodeId(2)).expect("held");
    let sign = |records: Vec<Arc<TaskRecord>>| {
        let set = crate::OwnerSet { seq: 2, records, ..base.set.clone() };
        let signature = super::signed(&set).signature;
        SetDelta::between(base, &set, signature)
    };
    let many = sign((1..=RECORDS_MAX as u32 + 1).map(|i| Arc::new(record(i))).collect());
    assert!(matches!(take(&mut receiver, &many), Err(MergeError::Invalid { owner: NodeId(2), .. })));
    let bad = sign(vec![Arc::new(TaskRecord { instance: "No Label".into(), ..record(1) })]);
    assert!(matches!(take(&mut receiver, &bad), Err(MergeError::Invalid { owner: NodeId(2), .. })));
    let tags = vec![smol_str::SmolStr::from("x".repeat(crate::TEXT_BYTES_MAX)); 10];
    let large = sign((1..60).map(|i| Arc::new(TaskRecord { tags: tags.clone(), ..record(i) })).collect());
    assert!(matches!(take(&mut receiver, &large), Err(MergeError::TooLarge(_))));
    assert_eq!(receiver.revision(), 1);
}

proptest! {
    /// The oracle is the owner: whoever gets its updates in any order, some lost, and asks for the whole set at a gap
    /// and at the end, holds the same in the same bytes.
    #[test]
    fn deltas_in_any_order_with_loss_and_wants_lead_to_the_same_set(
        history in prop::collection::vec(prop::collection::btree_set(1..12u32, 0..8), 1..30),
        order in any::<u64>(),
        loss in 0..4u64,
    ) {
        let mut owner = Catalogue::new(NodeId(2), 1);
        let mut receiver = Catalogue::new(NodeId(1), 1);
        let mut updates = Vec::new();
        for tasks in &history {
            updates.extend(publish_update(&mut owner, 2, &Vec::from_iter(tasks.iter().copied())));
            let at = taffeta_model::mix(order ^ updates.len() as u64);
            if at % 4 < loss {
                continue; // nothing arrives just now
            }
            // Mostly the newest, sometimes an earlier one.
            let index = if !at.is_multiple_of(3) { updates.len() } else { 1 + at as usize % updates.len() };
            let merged = updates.get(index - 1).map(|update| merge_update(&mut receiver, update));
            if merged == Some(Ok(Merged::Gap)) && !at.is_multiple_of(5) {
                let whole = receiver_wants(&owner);
                merge_update(&mut receiver, &whole).expect("valid");
            }
        }
        merge_update(&mut receiver, &receiver_wants(&owner)).expect("valid");
        prop_assert_eq!(receiver.get(NodeId(2)), owner.get(NodeId(2)));
        prop_assert_eq!(receiver.get(NodeId(2)).map(|h| h.signed()), owner.get(NodeId(2)).map(|h| h.signed()));
        prop_assert_eq!((receiver.bytes(), receiver.digest_hash()), (owner.bytes(), owner.digest_hash()));
    }
}

fn receiver_wants(owner: &Catalogue) -> Update {
    Update::from(Arc::clone(&owner.sets_of(&[NodeId(2)], 0)[0]))
}
