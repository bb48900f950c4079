//! Which instances come first, and which are given at all.

use crate::{
    machines::Machines,
    sample::SplitMix,
    select::{Pick, Selector, Viewpoint},
    sets::Set,
    tests::{ask_snapshot, input, instance, ip, is_nodata, is_nxdomain, shown},
    verdict::outlooks,
    zone::RrSet,
    *,
};
use proptest::prelude::*;
use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, num::NonZeroU8};

const WEB: &str = "web.shop.fabric.internal";

/// Four instances on four machines; the first two machines are in one zone, `n4` is nearest of the others.
fn spread(order: Order, answers: Option<u8>) -> SnapshotInput {
    let mut i = input();
    let node = |n: u8, zone: &str, distance: Option<u8>| Node {
        name: format!("n{n}").into(),
        address: [10, 0, 0, n].into(),
        zone: zone.into(),
        distance,
        ..input().nodes[0].clone()
    };
    i.nodes = vec![node(1, "a", Some(0)), node(2, "a", Some(1)), node(3, "b", Some(9)), node(4, "", Some(4))];
    let one =
        |n: u8| instance("shop", "web", &n.to_string(), &format!("n{n}"), &format!("10.0.0.{n}"), 31000 + u16::from(n));
    i.instances = (1..=4).map(one).collect();
    i.services[0].dns = ServiceDns { order, answers: answers.and_then(NonZeroU8::new), ..ServiceDns::default() };
    i
}

fn ask(snapshot: &Snapshot, record_type: RecordType, client: Option<&str>, seed: u64) -> Vec<Data> {
    let question = Question::new(WEB.parse().unwrap(), record_type);
    match answer(snapshot, &question, client.map(ip), seed) {
        Answer::Data { records, .. } => records.into_iter().map(|r| r.data).collect(),
        other => panic!("no data: {other:?}"),
    }
}

/// Last bytes of the addresses, in order.
fn order_for(snapshot: &Snapshot, client: Option<&str>) -> Vec<u8> {
    let last = |data| if let Data::A(a) = data { a.octets()[3] } else { panic!("{data:?}") };
    ask(snapshot, RecordType::A, client, 5).into_iter().map(last).collect()
}

#[test]
fn nearest_come_first_by_machine_then_zone_then_distance() {
    let snapshot = Snapshot::build(spread(Order::Near, None));
    for (client, expected) in [
        (None, [1, 2, 4, 3]),
        (Some("172.17.0.9"), [1, 2, 4, 3]),
        (Some("10.0.0.2"), [2, 1, 4, 3]),
        (Some("::ffff:10.0.0.2"), [2, 1, 4, 3]),
        (Some("10.0.0.3"), [3, 1, 2, 4]),
        (Some("10.0.0.4"), [4, 1, 2, 3]),
    ] {
        assert_eq!(order_for(&snapshot, client), expected, "{client:?}");
    }
}

#[test]
fn priorities_of_the_near_say_how_near_in_few_steps() {
    let snapshot = Snapshot::build(spread(Order::Near, None));
    let priorities = |client| {
        let of = |data| {
            if let Data::Srv { priority, target, .. } = data { (target.to_string(), priority) } else { panic!() }
        };
        let records = ask(&snapshot, RecordType::Srv, client, 5).into_iter().map(of);
        records.map(|(target, priority)| (target[..1].to_owned(), priority)).collect::<Vec<_>>()
    };
    let expect = |list: [(&str, u16); 4]| list.map(|(label, priority)| (label.to_owned(), priority)).to_vec();
    assert_eq!(priorities(None), expect([("1", 0), ("2", 1), ("4", 5), ("3", 5)]));
    assert_eq!(priorities(Some("10.0.0.4")), expect([("4", 0), ("1", 2), ("2", 3), ("3", 5)]));
}

#[test]
fn near_answers_are_cut_after_the_nearest() {
    let snapshot = Snapshot::build(spread(Order::Near, Some(1)));
    assert_eq!(order_for(&snapshot, Some("10.0.0.3")), [3]);
    assert_eq!(ask(&snapshot, RecordType::Srv, Some("10.0.0.3"), 1).len(), 1);
}

#[test]
fn machines_that_move_change_what_is_near() {
    let before = Snapshot::build(spread(Order::Near, None));
    assert_eq!(order_for(&before, None), [1, 2, 4, 3]);
    let mut nodes = spread(Order::Near, None).nodes;
    nodes[2].zone = "a".into();
    nodes[1].zone = "b".into();
    let after = before.changed(Change { nodes: Some(nodes), ..before.no_change() });
    assert_eq!(order_for(&after, None), [1, 3, 2, 4]);
    assert_eq!(order_for(&before, None), [1, 2, 4, 3]);
}

#[test]
fn unknown_machine_and_unmeasured_distance_come_last() {
    let mut i = spread(Order::Near, None);
    i.nodes[1].distance = None;
    i.nodes[1].zone = "c".into();
    let snapshot = Snapshot::build(i.clone());
    assert_eq!(order_for(&snapshot, None), [1, 4, 3, 2]);
    i.nodes.remove(2);
    assert_eq!(order_for(&Snapshot::build(i), None)[..2], [1, 4]);
}

#[test]
fn answers_limit_what_stands_for_instances_and_not_texts() {
    let mut i = spread(Order::Random, Some(2));
    i.instances[0].tags = ["a", "b", "c"].map(Into::into).into();
    let snapshot = Snapshot::build(i);
    for (record_type, expected) in [(RecordType::A, 2), (RecordType::Srv, 2), (RecordType::Txt, 4)] {
        assert_eq!(ask(&snapshot, record_type, None, 3).len(), expected, "{record_type}");
    }
}

/// How often each address is first in 20,000 answers, and whether it is there at all.
fn firsts(i: SnapshotInput) -> BTreeMap<u8, u32> {
    let snapshot = Snapshot::build(i);
    let mut firsts = BTreeMap::new();
    for seed in 0..20_000 {
        let Data::A(first) = ask(&snapshot, RecordType::A, None, seed)[0] else { panic!() };
        *firsts.entry(first.octets()[3]).or_default() += 1;
    }
    firsts
}

#[test]
fn weights_decide_how_often_an_instance_is_first() {
    let mut i = spread(Order::Weighted, None);
    [1, 2, 7, 0].into_iter().zip(&mut i.instances).for_each(|(weight, instance)| instance.weight = weight);
    let firsts = firsts(i.clone());
    // 2,000, 4,000 and 14,000 are expected, with standard deviations of 42, 57 and 65: six of them either way.
    for (n, expected, off) in [(1, 2_000, 252), (2, 4_000, 342), (3, 14_000, 390)] {
        assert!(firsts[&n].abs_diff(expected) <= off, "{firsts:?}");
    }
    assert_eq!(firsts.len(), 3, "weight 0 is for when there is nothing else");
    i.instances.iter_mut().for_each(|instance| instance.weight = 0);
    assert_eq!(ask(&Snapshot::build(i), RecordType::A, None, 0).len(), 4);
}

#[test]
fn weights_of_instances_on_one_address_add_up_and_are_those_of_srv_records() {
    let mut i = spread(Order::Weighted, Some(1));
    [5, 5, 10, 0].into_iter().zip(&mut i.instances).for_each(|(weight, instance)| instance.weight = weight);
    i.instances[1].address = ip("10.0.0.1");
    let firsts = firsts(i.clone());
    assert!(firsts[&1].abs_diff(10_000) <= 425, "{firsts:?}");
    let weights = ask(&Snapshot::build(SnapshotInput { services: vec![], ..i }), RecordType::Srv, None, 0);
    let weights: BTreeMap<String, u16> = weights.into_iter().map(weight_of).collect();
    assert_eq!(weights.into_values().collect::<Vec<_>>(), [5, 5, 10, 0]);
}

fn weight_of(data: Data) -> (String, u16) {
    if let Data::Srv { target, weight, .. } = data { (target.to_string(), weight) } else { panic!() }
}

#[test]
fn service_that_wants_nxdomain_does_not_exist_while_nothing_serves() {
    let mut i = input();
    i.services[0].dns.empty = Empty::NxDomain;
    let names = ["", "1.", "_http._tcp.", "_tcp.", "v1."].map(|below| format!("{below}{WEB}"));
    let outcomes = |i: &SnapshotInput, check: fn(&Answer) -> bool| {
        let snapshot = Snapshot::build(i.clone());
        names.iter().all(|name| check(&ask_snapshot(&snapshot, name, RecordType::Other(257))))
    };
    assert!(outcomes(&i, is_nodata));
    i.instances.iter_mut().for_each(|instance| instance.serving = false);
    assert!(outcomes(&i, is_nxdomain));
    let told = explain(&Snapshot::build(i.clone()), &WEB.parse().unwrap(), RecordType::A, 0);
    assert!(told.behind.len() == 3 && told.behind.iter().all(|e| e.verdict == Verdict::NotServing), "{told:?}");
    let app = |i: &SnapshotInput| ask_snapshot(&Snapshot::build(i.clone()), "shop.fabric.internal", RecordType::A);
    assert!(is_nodata(&app(&i)), "another service of the app exists");
    i.services.pop();
    assert!(is_nxdomain(&app(&i)), "nothing is below it");
    assert_eq!(shown(&ask_snapshot(&Snapshot::build(i), "1.0.0.10.in-addr.arpa", RecordType::Ptr)).len(), 2);
}

#[test]
fn explanation_tells_who_is_never_given() {
    let verdicts = |i: SnapshotInput| {
        let told = explain(&Snapshot::build(i), &WEB.parse().unwrap(), RecordType::A, 0);
        told.behind.iter().map(|e| e.verdict).collect::<Vec<_>>()
    };
    use Verdict::{Further, Given, NoWeight, Sampled};
    assert_eq!(verdicts(spread(Order::Random, Some(2))), [Sampled; 4]);
    assert_eq!(verdicts(spread(Order::Near, Some(2))), [Given, Given, Further, Further]);
    let mut i = spread(Order::Weighted, Some(3));
    i.instances[2].weight = 0;
    assert_eq!(verdicts(i), [Given, Given, NoWeight, Given]);
}

prop_compose! {
    fn a_place()(zone in 0..3u8, distance in prop::option::of(0..4u8), n in 0..6u8) -> (u8, Option<u8>, u8) {
        (zone, distance, n)
    }
}

fn machines(places: &[(u8, Option<u8>, u8)]) -> Vec<Node> {
    let node = |(i, (zone, distance, _)): (usize, &(u8, Option<u8>, u8))| Node {
        name: format!("n{i}").into(),
        address: [10, 9, 9, i as u8].into(),
        zone: if *zone == 0 { "".into() } else { format!("z{zone}").into() },
        distance: *distance,
        ..input().nodes[0].clone()
    };
    places.iter().enumerate().map(node).collect()
}

fn picks(set: &Set, machines: &Machines, client: IpAddr, seed: u64) -> Vec<Pick> {
    let from = Viewpoint { machines, client: Some(client) };
    Selector::default().select(&RrSet::List(Cow::Borrowed(set)), from, &mut SplitMix::new(seed)).to_vec()
}

proptest! {
    #[test]
    fn selection_takes_what_the_order_says(
        places in prop::collection::vec(a_place(), 1..6), on in prop::collection::vec((0..8usize, 0..3u16, 1..9u8), 1..40),
        order in prop::sample::select(vec![Order::Random, Order::Weighted, Order::Near]),
        answers in prop::option::of(1..50u8), client in 0..8u8, seed in any::<u64>(),
    ) {
        let nodes = machines(&places);
        let mut i = SnapshotInput { nodes: nodes.clone(), instances: Vec::new(), ..spread(order, answers) };
        for (n, (node, weight, address)) in on.iter().enumerate() {
            let (node, address) = (format!("n{node}"), format!("10.0.0.{address}"));
            let one = instance("shop", "web", &n.to_string(), &node, &address, 1);
            i.instances.push(Instance { weight: *weight, ..one });
        }
        let snapshot = Snapshot::build(i.clone());
        let client: IpAddr = [10, 9, 9, client].into();
        for record_type in [RecordType::A, RecordType::Srv] {
            let Some(RrSet::List(set)) = snapshot.find(&WEB.parse().unwrap()).unwrap().rrset(&snapshot, record_type)
                else { panic!() };
            let picks = picks(&set, &snapshot.machines, client, seed);
            let behind = |pick: &Pick| {
                let data = &set.records[pick.position as usize];
                let is_behind = |i: &&Instance| match data {
                    Data::A(a) => i.address == IpAddr::V4(*a),
                    Data::Srv { target, .. } => target.to_string().starts_with(&format!("{}.", i.label)),
                    other => panic!("{other:?}"),
                };
                i.instances.iter().filter(is_behind).collect::<Vec<_>>()
            };
            let position = |position: u32| Pick { position, step: 0 };
            let all: Vec<Pick> = (0..set.records.len() as u32).map(position).collect();
            let weight = |pick: &Pick| behind(pick).iter().map(|i| u32::from(i.weight)).sum::<u32>();
            let here = nodes.iter().find(|n| n.address == client).unwrap_or_else(|| nodes.iter().find(|n| n.name == "n1").unwrap_or(&nodes[0]));
            let here = (nodes.iter().any(|n| n.address == client || n.name == "n1")).then_some(here);
            let rank = |pick: &Pick| behind(pick).iter().map(|i| {
                let node = nodes.iter().find(|n| n.name == i.node);
                match (node, here) {
                    (Some(node), Some(here)) if node.name == here.name => 0,
                    (Some(node), Some(here)) if !node.zone.is_empty() && node.zone == here.zone => 1,
                    (Some(node), _) => node.distance.map_or(255, |d| d + 2),
                    (None, _) => 255,
                }
            }).min().unwrap();
            let candidates: Vec<&Pick> = match order {
                Order::Weighted if all.iter().any(|p| weight(p) > 0) => all.iter().filter(|p| weight(p) > 0).collect(),
                Order::Weighted | Order::Random | Order::Near => all.iter().collect(),
            };
            let count = usize::from(answers.unwrap_or(100)).min(candidates.len());
            prop_assert_eq!(picks.len(), count);
            let unique: std::collections::BTreeSet<u32> = picks.iter().map(|p| p.position).collect();
            prop_assert_eq!(unique.len(), count);
            prop_assert!(unique.iter().all(|p| candidates.iter().any(|c| c.position == *p)));
            let outlooks = outlooks(&set, Viewpoint { machines: &snapshot.machines, client: Some(client) });
            for pick in &all {
                match outlooks[pick.position as usize] {
                    Verdict::Given => prop_assert!(unique.contains(&pick.position)),
                    Verdict::Sampled => {}
                    never => prop_assert!(!unique.contains(&pick.position), "{:?}", never),
                }
            }
            if order == Order::Near {
                let mut ranks: Vec<u8> = all.iter().map(rank).collect();
                ranks.sort_unstable();
                prop_assert_eq!(picks.iter().map(rank).collect::<Vec<_>>(), &ranks[..count]);
                prop_assert!(picks.iter().all(|p| p.step == rank(p).min(5)));
            }
        }
    }
}

#[test]
fn near_at_random_among_equals() {
    let mut i = spread(Order::Near, Some(1));
    i.nodes.iter_mut().for_each(|node| node.zone = "a".into());
    i.own_node = "n9".into();
    i.nodes.iter_mut().for_each(|node| node.distance = Some(3));
    let firsts = firsts(i);
    assert!(firsts.len() == 4 && firsts.values().all(|n| n.abs_diff(5_000) <= 370), "{firsts:?}");
}
