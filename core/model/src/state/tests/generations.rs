//! A new generation, levels and lives.

use super::*;
use crate::{Life, Recovery};

fn life(start: u64, nonce: u64) -> Life {
    Life { start, nonce }
}

#[test]
fn a_new_generation_outranks_all_that_anybody_obeyed_and_moves_no_task() {
    let mut log = shop();
    let placed = log.place("shop/web.1", 2);
    let before = log.state.clone();
    let recovery =
        Recovery { cluster: ClusterId(9), generation: 1, node: NodeId(3), date: NOW, signature: vec![0; 64] };
    let at = Fence { generation: 1, term: 9, index: log.index + 1 };
    log.state.recover(at, recovery.clone());
    assert_eq!((log.state.generation, log.state.recovery.as_ref()), (1, Some(&recovery)));
    assert_eq!((log.state.applied, log.state.directory().fence), (at, at));
    for node in 1..=3 {
        // Above whatever the lost entries of the old generation may have made it obey.
        assert!(log.assigned_fence(node) > Fence { generation: 0, term: u64::MAX, index: u64::MAX });
    }
    assert_eq!(log.state.assigned_to(NodeId(2)).unwrap().tasks[&task("shop/web.1")].fence, placed);
    assert_eq!((&log.state.apps, &log.state.tasks, &log.state.tokens), (&before.apps, &before.tasks, &before.tokens));
}

#[test]
fn a_level_is_only_raised() {
    let mut log = ring();
    assert_eq!(log.state.spoken_level(), 1);
    for (raised, level) in [(2, 2), (1, 2), (3, 3)] {
        log.apply(Command::RaiseLevel(raised));
        assert_eq!(log.state.spoken_level(), level);
    }
}

#[test]
fn what_raises_the_level_is_readable_below_it() {
    assert_eq!(Command::RaiseLevel(7).level(), 1);
    assert_eq!(Command::Started { node: NodeId(1), life: life(1, 1) }.level(), 2);
}

#[test]
fn of_a_member_the_newest_life_is_kept() {
    let mut log = ring();
    let started = |start, nonce| Command::Started { node: NodeId(2), life: life(start, nonce) };
    log.apply(started(4, 7));
    log.apply(started(4, 7));
    assert_eq!(log.refuse(started(4, 8)), Refusal::Outdated, "another one of the same count");
    assert_eq!(log.refuse(started(3, 7)), Refusal::Outdated);
    log.apply(started(6, 1));
    assert_eq!(log.state.lives, BTreeMap::from([(NodeId(2), life(6, 1))]));
    let stranger = Command::Started { node: NodeId(77), life: life(1, 1) };
    assert_eq!(log.refuse(stranger), Refusal::UnknownMember(NodeId(77)));
}
