use super::*;
use std::collections::BTreeSet;

fn draw(seed: u8) -> Vec<ConnectionId> {
    let mut ids = SeededIds::new(&[seed; 32]);
    (0..1_000).map(|_| ids.generate_cid()).collect()
}

#[test]
fn ids_repeat_from_their_seed_and_from_no_other() {
    assert_eq!(draw(1), draw(1));
    assert!(draw(1).iter().all(|id| !draw(2).contains(id)));
}

#[test]
fn ids_of_one_endpoint_differ() {
    let bytes: BTreeSet<Vec<u8>> = draw(1).iter().map(|id| id.to_vec()).collect();
    assert_eq!(bytes.len(), 1_000);
}
