use super::{Dice, in_order};
use hickory_proto::rr::{Name, rdata::SRV};
use std::collections::BTreeMap;

fn records(priority_and_weight: &[(u16, u16)]) -> Vec<SRV> {
    let port = 1..;
    let pairs = priority_and_weight.iter().zip(port);
    pairs.map(|((priority, weight), port)| SRV::new(*priority, *weight, port, Name::root())).collect()
}

/// How often each port came first in 10,000 draws from one seed.
fn firsts(records: &[SRV]) -> BTreeMap<u16, u32> {
    let dice = Dice::new(7);
    let mut firsts = BTreeMap::new();
    for _ in 0..10_000 {
        *firsts.entry(in_order(records.iter().collect(), &dice)[0].port).or_default() += 1;
    }
    firsts
}

#[test]
fn each_target_comes_once() {
    let records = records(&[(0, 0), (0, 5), (0, 0), (1, 9), (1, 0)]);
    let dice = Dice::new(1);
    for _ in 0..1000 {
        let mut ports: Vec<u16> = in_order(records.iter().collect(), &dice).iter().map(|srv| srv.port).collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_lower_priority_number_comes_first() {
    let records = records(&[(20, 100), (10, 0), (30, 65535), (10, 1)]);
    let dice = Dice::new(1);
    for _ in 0..1000 {
        let priorities: Vec<u16> = in_order(records.iter().collect(), &dice).iter().map(|srv| srv.priority).collect();
        assert_eq!(priorities, [10, 10, 20, 30]);
    }
}

#[test]
fn targets_without_weight_are_drawn_alike() {
    let firsts = firsts(&records(&[(0, 0), (0, 0), (0, 0)]));
    assert_eq!(firsts.len(), 3);
    assert!(firsts.values().all(|n| (3000..3700).contains(n)), "{firsts:?}");
}

#[test]
fn targets_are_drawn_by_weight() {
    let firsts = firsts(&records(&[(0, 100), (0, 300)]));
    assert!((2200..2800).contains(&firsts[&1]), "{firsts:?}");
}

#[test]
fn a_seed_repeats_its_order() {
    let records = records(&[(0, 1); 8]);
    let ports = |seed| -> Vec<u16> {
        in_order(records.iter().collect(), &Dice::new(seed)).iter().map(|srv| srv.port).collect()
    };
    assert_eq!(ports(3), ports(3));
    assert_ne!(ports(3), ports(4));
}

#[test]
fn no_targets_have_no_order() {
    assert!(in_order(vec![], &Dice::new(1)).is_empty());
}
