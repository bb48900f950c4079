use super::{Blast, Hit, Share};
use crate::targets::tests::fleet;
use std::time::Duration;
use taffeta_chaos_plan::{Fault, PartitionShape};

fn hit(node: &str, fault: Fault) -> Hit {
    Hit { node: node.into(), fault, peers: vec![], task: None }
}

fn left(hits: &[Hit]) -> (usize, bool) {
    let votes = Blast::of(hits, &fleet()).votes;
    assert_eq!((votes.of, votes.needed), (3, 2));
    (votes.left, votes.are_too_few())
}

const SPLIT: Fault = Fault::Partition { shape: PartitionShape::Split };

fn split(target: &[&str]) -> Vec<Hit> {
    let peers: Vec<String> =
        ["n1", "n2", "n3", "n4", "n5"].iter().filter(|n| !target.contains(n)).map(|n| (*n).into()).collect();
    target.iter().map(|node| Hit { peers: peers.clone(), ..hit(node, SPLIT) }).collect()
}

#[test]
fn dead_voters_and_full_disks_have_no_vote() {
    assert_eq!(left(&[]), (3, false));
    assert_eq!(left(&[hit("n4", Fault::KillMachine)]), (3, false));
    assert_eq!(left(&[hit("n1", Fault::KillMachine)]), (2, false));
    assert_eq!(left(&[hit("n1", Fault::KillMachine), hit("n2", Fault::DiskFull)]), (1, true));
    assert_eq!(left(&[hit("n1", Fault::KillMachine), hit("n2", Fault::Loss { fraction: 0.1 })]), (2, false));
}

#[test]
fn of_a_partition_the_larger_part_of_the_voters_counts() {
    assert_eq!(left(&split(&["n1"])), (2, false));
    assert_eq!(left(&split(&["n1", "n2", "n4"])), (2, false));
    assert_eq!(left(&[split(&["n1"]), split(&["n2"])].concat()), (1, true));
    assert_eq!(left(&[split(&["n1"]), vec![hit("n2", Fault::Pause)]].concat()), (1, true));
}

#[test]
fn tasks_and_shares_of_services_are_those_on_the_machines() {
    let blast = Blast::of(&[hit("n1", Fault::KillMachine), hit("n4", Fault::Pause)], &fleet());
    assert_eq!(blast.tasks, ["shop/web.1", "shop/web.2"]);
    assert_eq!(blast.services["web/shop"], Share { met: 2, of: 3 });
    let alone = Hit { task: Some("shop/web.1".into()), ..hit("n1", Fault::KillMachine) };
    let blast = Blast::of(&[alone], &fleet());
    assert_eq!((blast.tasks.len(), blast.votes.left), (1, 3));
}

#[test]
fn who_is_heard_too_rarely_or_too_late_is_parted() {
    let towards = |node: &str, fault: Fault| Hit { peers: vec!["n3".into()], ..hit(node, fault) };
    let late = |by_ms: u64| Fault::Delay { by: Duration::from_millis(by_ms), jitter: Duration::from_millis(100) };
    let lossy = |fraction: f64| Fault::Loss { fraction };
    assert_eq!(left(&[hit("n1", late(30_000)), hit("n2", late(30_000))]), (1, true));
    assert_eq!(left(&[hit("n1", late(400)), hit("n2", late(399))]), (2, false));
    assert_eq!(left(&[hit("n1", lossy(0.5))]), (2, false));
    assert_eq!(left(&[hit("n1", lossy(0.9)), hit("n2", lossy(0.9))]), (1, true));
    // Of three, two that do not hear each other both hear the third; not so of two.
    assert_eq!(left(&[towards("n1", lossy(0.9))]), (2, false));
    assert_eq!(left(&[towards("n1", lossy(0.9)), hit("n2", Fault::KillMachine)]), (1, true));
}

#[test]
fn what_goes_on_is_not_taken_away() {
    let lossy = Blast::of(&[hit("n1", Fault::Loss { fraction: 0.1 })], &fleet());
    assert_eq!((lossy.tasks.len(), lossy.nodes.len()), (0, 1));
    assert_eq!(lossy.words(), "no service; 3 of 3 votes are left, 2 are needed");
    // n1 and n2 are most of the voters: the others are away, and so is n4's task, with that of n5, which is dead.
    let blast = Blast::of(&split(&["n1", "n2"]), &fleet());
    assert_eq!(blast.tasks, ["shop/web.2", "shop/web.3"]);
    let drained = Blast::of(&[hit("n4", Fault::Drain)], &fleet());
    assert_eq!(drained.tasks, ["shop/web.2"]);
}
