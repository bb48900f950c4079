use super::{Blast, Hit, Share};
use crate::targets::tests::fleet;
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
