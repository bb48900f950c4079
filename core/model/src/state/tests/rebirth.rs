//! A restored state: what stays, and who may come back.

use super::{member, shop};
use crate::{Fence, Member, NodeId, NodeName, Place};

#[test]
fn a_restored_state_is_newer_than_everything_before() {
    let mut log = shop();
    log.place("shop/web.1", 1);
    log.place("shop/web.2", 2);
    let newest = log.state.applied;
    let other = |n: u8, name: &str| Member { name: NodeName::new(name).unwrap(), ..member(n) };
    // Another machine under the name of the first one, and at the address of nobody.
    log.state.begin_again(other(9, "n1"), [8; 32]);
    let state = &log.state;
    let at = Fence { generation: 1, ..newest };
    assert_eq!((state.generation, state.applied, state.directory_fence), (1, at, at));
    assert_eq!(state.members.keys().copied().collect::<Vec<_>>(), [NodeId(2), NodeId(3), NodeId(9)]);
    assert!(state.members.values().all(|m| m.assigned_fence == at && m.assigned_fence > newest));
    assert_eq!(*log.place_of("shop/web.1"), Place::Waiting { last: Some(NodeId(1)) }, "its machine has given way");
    assert!(matches!(log.place_of("shop/web.2"), Place::On { node: NodeId(2), .. }), "its machine may come back");
    assert_eq!((state.admin_token_hash, state.tokens.len()), ([8; 32], 0));
    let mut log = shop();
    log.state.begin_again(Member { address: member(2).address, ..other(9, "new") }, [8; 32]);
    assert!(!log.state.members.contains_key(&NodeId(2)), "two machines have no one address");
}
