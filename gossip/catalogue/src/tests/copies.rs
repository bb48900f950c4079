//! Several catalogues in one process.

use super::{first_set, heads, merge, merge_update, publish, publish_update};
use crate::{Catalogue, Merged};
use std::sync::Arc;
use taffeta_model::NodeId;

fn holding(me: u64, owners: &[u64]) -> Catalogue {
    let mut catalogue = Catalogue::new(NodeId(me), 1);
    owners.iter().for_each(|owner| drop(merge(&mut catalogue, &first_set(*owner, 1, &[1, 2]))));
    catalogue
}

#[test]
fn a_copy_holds_the_same_and_goes_its_own_way() {
    let mut original = holding(9, &[1, 2, 3]);
    let mut copy = original.copy_for(NodeId(1), 1);
    assert_eq!((heads(&copy), copy.digest_hash()), (heads(&original), original.digest_hash()));
    assert_eq!(copy.bytes(), original.bytes());
    let update = publish_update(&mut copy, 1, &[1]).expect("a task has gone");
    assert_ne!(copy.digest_hash(), original.digest_hash());
    assert_eq!(merge_update(&mut original, &update), Ok(Merged::New), "it builds on the set that both held");
    assert_eq!(copy.digest_hash(), original.digest_hash());
    assert_eq!(publish(&mut original.copy_for(NodeId(2), 1), 2, &[1, 2]), None, "it is what it has said already");
}

#[test]
fn only_an_equal_set_takes_the_place_of_another() {
    let (mut one, mut other) = (holding(8, &[1, 2]), holding(9, &[1]));
    let held = Arc::clone(one.get(NodeId(1)).expect("held"));
    assert!(!Arc::ptr_eq(&held, other.get(NodeId(1)).expect("held")));
    other.share(&held);
    assert!(Arc::ptr_eq(&held, other.get(NodeId(1)).expect("held")));
    let newer = first_set(1, 2, &[7]);
    assert_eq!(merge(&mut one, &newer), Ok(Merged::New));
    one.share(&held);
    assert!(!Arc::ptr_eq(&held, one.get(NodeId(1)).expect("held")));
    other.share(one.get(NodeId(2)).expect("held"));
    assert!(other.get(NodeId(2)).is_none(), "what is not held is not brought in so");
}
