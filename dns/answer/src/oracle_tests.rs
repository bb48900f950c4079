//! The zone against a naive one: a flat list of every record, searched from end to end.

use crate::{naive_zone::NaiveZone, tests::show, *};
use proptest::prelude::*;
use std::{collections::BTreeSet, net::IpAddr};

type Member = fn(&Node) -> bool;

/// (owner, type, data) of every record, and every name that exists without records of its own.
fn flat(input: &SnapshotInput) -> (Vec<(String, RecordType, String)>, Vec<String>) {
    let zone = "fabric.internal.";
    let (mut records, mut names) = (Vec::new(), Vec::new());
    let own = format!("{}.node.{zone}", input.own_node);
    records.push((zone.into(), RecordType::Soa, format!("{own} {} {}", input.serial, input.negative_ttl)));
    records.push((zone.into(), RecordType::Ns, own));
    names.extend(["leader", "voters", "nodes", "node"].map(|n| format!("{n}.{zone}")));
    let address =
        |owner: String, a: IpAddr| (owner, if a.is_ipv4() { RecordType::A } else { RecordType::Aaaa }, a.to_string());
    for n in &input.nodes {
        records.push(address(format!("{}.node.{zone}", n.name), n.address));
        let groups: [(&str, Member); 3] =
            [("leader", |n| n.is_leader), ("voters", |n| n.is_voter), ("nodes", |_| true)];
        for (group, member) in groups {
            let other_up = input.nodes.iter().any(|m| member(m) && m.up);
            if member(n) && (n.up || !other_up) {
                records.push(address(format!("{group}.{zone}"), n.address));
            }
        }
    }
    for s in &input.services {
        names.push(format!("{}.{}.{zone}", s.service, s.app));
        names.extend(s.ports.iter().map(|p| format!("_{p}._tcp.{}.{}.{zone}", s.service, s.app)));
    }
    for i in &input.instances {
        let service = format!("{}.{}.{zone}", i.service, i.app);
        let own = format!("{}.{service}", i.label);
        let peers = || input.instances.iter().filter(|j| (&j.app, &j.service) == (&i.app, &i.service));
        let selectors = selectors(i, &peers().collect::<Vec<_>>());
        let registered = input.services.iter().filter(|s| (&s.app, &s.service) == (&i.app, &i.service));
        let mut ports =
            registered.flat_map(|s| s.ports.iter()).chain(peers().flat_map(|j| j.ports.iter().map(|p| &p.0)));
        let first = ports.next().cloned();
        names.push(own.clone());
        names.extend(selectors.iter().map(|(label, _)| format!("{label}.{service}")));
        let ports = first.iter().chain(ports);
        for port in ports {
            names.push(format!("_{port}._tcp.{service}"));
            names.extend(selectors.iter().map(|(label, _)| format!("_{port}._tcp.{label}.{service}")));
        }
        let is_shown = i.serving && !(i.suspected && peers().any(|j| j.serving && !j.suspected));
        let mut owners: Vec<String> = Vec::new();
        owners.extend(is_shown.then(|| service.clone()));
        let by_selector = selectors.iter().filter(|(_, is_shown)| *is_shown);
        owners.extend(by_selector.map(|(label, _)| format!("{label}.{service}")));
        for owner in &owners {
            for (port, number) in &i.ports {
                records.push((format!("_{port}._tcp.{owner}"), RecordType::Srv, format!("{number} {own}")));
            }
        }
        owners.extend((!owners.is_empty()).then(|| own.clone()));
        for owner in &owners {
            records.push(address(owner.clone(), i.address));
            records.extend(i.tags.iter().map(|t| (owner.clone(), RecordType::Txt, t.to_string())));
            if let Some((_, port)) = i.ports.iter().find(|(p, _)| Some(p) == first.as_ref()) {
                records.push((owner.clone(), RecordType::Srv, format!("{port} {own}")));
            }
        }
        for (port, number) in i.ports.iter().filter(|_| is_shown) {
            let kind = format!("_{port}._tcp.{zone}");
            let one = format!(r"{}\.{}\.{}.{kind}", i.label, i.service, i.app);
            records.push((format!("_services._dns-sd._udp.{zone}"), RecordType::Ptr, kind.clone()));
            records.push((kind, RecordType::Ptr, one.clone()));
            records.push((one.clone(), RecordType::Srv, format!("{number} {own}")));
            records.push((one, RecordType::Txt, i.tags.join("|")));
        }
    }
    (records, names)
}

/// Labels of tags and of the version that select an instance, and whether it is shown among those they select.
fn selectors(i: &Instance, peers: &[&Instance]) -> Vec<(String, bool)> {
    let tagged = |tag: &str| peers.iter().filter(|p| p.tags.iter().any(|t| *t == tag)).copied().collect::<Vec<_>>();
    let version = format!("v{}", i.version);
    let mut sets: Vec<(String, Vec<&Instance>)> = i.tags.iter().map(|tag| (tag.to_string(), tagged(tag))).collect();
    if i.version > 0 && tagged(&version).is_empty() {
        sets.push((version, peers.iter().filter(|p| p.version == i.version).copied().collect()));
    }
    sets.retain(|(label, _)| peers.iter().all(|p| p.label != *label));
    let is_shown = |set: Vec<&Instance>| i.serving && !(i.suspected && set.iter().any(|p| p.serving && !p.suspected));
    sets.into_iter().map(|(label, set)| (label, is_shown(set))).collect()
}

pub(crate) const TYPES: [RecordType; 8] = [
    RecordType::A,
    RecordType::Aaaa,
    RecordType::Srv,
    RecordType::Txt,
    RecordType::Ptr,
    RecordType::Ns,
    RecordType::Soa,
    RecordType::Other(257),
];

fn label() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "web", "1"]).prop_map(String::from)
}

fn an_address() -> impl Strategy<Value = IpAddr> {
    (any::<bool>(), 1..5u8)
        .prop_map(|(v4, n)| if v4 { [10, 0, 0, n].into() } else { [0xfd00, 0, 0, 0, 0, 0, 0, n.into()].into() })
}

prop_compose! {
    fn an_instance()(
        app in label(), service in label(), label in label(), address in an_address(),
        ports in prop::collection::btree_map(prop::sample::select(vec!["http", "grpc"]), 1..5u16, 0..3),
        tags in prop::collection::btree_set(prop::sample::select(vec!["v1", "v2", "web"]), 0..3), version in 0..3u64,
        serving in any::<bool>(), suspected in any::<bool>(),
    ) -> Instance {
        let ports = ports.into_iter().map(|(n, p)| (n.into(), p)).collect();
        let tags = tags.into_iter().map(Into::into).collect();
        let [app, service, label] = [app, service, label].map(Into::into);
        Instance { app, service, label, node: "n1".into(), address, ports, tags, version, weight: 10, serving, suspected }
    }
}

prop_compose! {
    pub(crate) fn an_input()(
        services in prop::collection::vec((label(), label(), prop::sample::subsequence(vec!["http", "grpc"], 0..=2)), 0..4),
        instances in prop::collection::vec(an_instance(), 0..12),
        nodes in prop::collection::vec((an_address(), any::<[bool; 3]>()), 1..4),
    ) -> SnapshotInput {
        let service = |(app, service, ports): (String, String, Vec<&str>)| {
            Service { app: app.into(), service: service.into(), ports: ports.into_iter().map(Into::into).collect(), dns: ServiceDns::default() }
        };
        let node = |(i, (address, [up, is_leader, is_voter])): (usize, (IpAddr, [bool; 3]))| {
            Node { name: format!("n{}", i + 1).into(), address, up, is_leader, is_voter, zone: "a".into(), distance: None }
        };
        SnapshotInput {
            ready: true,
            services: services.into_iter().map(service).collect(),
            instances,
            nodes: nodes.into_iter().enumerate().map(node).collect(),
            ..SnapshotInput::new("fabric.internal".parse().unwrap(), "n1")
        }
    }
}

/// Every name that exists, its ancestors, and for each a neighbour that as a rule does not exist.
fn all_names(records: &[(String, RecordType, String)], names: &[String]) -> BTreeSet<String> {
    let owners = records.iter().map(|r| r.0.clone()).chain(names.iter().cloned());
    owners
        .flat_map(|n| {
            let parent = n.split_once('.').map(|(_, p)| p.to_owned()).filter(|p| p.ends_with("fabric.internal."));
            // Behind an escaped dot the text is in the middle of a label: no name.
            let parent = parent.filter(|_| !n.contains('\\')).into_iter();
            [format!("x.{n}"), format!("web.{n}"), format!("v1.{n}"), format!("v2.{n}"), n]
                .into_iter()
                .chain(parent)
                .collect::<Vec<_>>()
        })
        .collect()
}

pub(crate) fn is_noerror(answer: &Answer) -> bool {
    matches!(answer, Answer::Data { .. } | Answer::NoData { .. })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn zone_equals_the_naive_one(input in an_input(), seed in any::<u64>()) {
        let (records, names) = flat(&input);
        let snapshot = Snapshot::build(input);
        for name in all_names(&records, &names) {
            let below = format!(".{name}");
            // An escaped dot is inside a label, so what follows it is not an ancestor.
            let here = |n: &String| *n == name || n.strip_suffix(&below).is_some_and(|rest| !rest.ends_with('\\'));
            let exists = names.iter().any(here) || records.iter().any(|r| here(&r.0));
            for record_type in TYPES {
                let expected: BTreeSet<&String> =
                    records.iter().filter(|r| r.0 == name && r.1 == record_type).map(|r| &r.2).collect();
                let asked: Name = name.parse().unwrap();
                prop_assert!(snapshot.answers_for(&[asked.wire(), &[0]].concat()), "{}", name);
                let got = answer(&snapshot, &Question::new(asked, record_type), None, seed);
                match got {
                    Answer::Data { records, .. } => {
                        let texts: Vec<String> = records.iter().map(|r| show(&r.data)).collect();
                        let unique: BTreeSet<&String> = texts.iter().collect();
                        prop_assert_eq!(&unique, &expected, "{} {}", name, record_type);
                        prop_assert_eq!(unique.len(), texts.len());
                    }
                    Answer::NoData { .. } => prop_assert!(exists && expected.is_empty(), "{} {}", name, record_type),
                    Answer::NxDomain { .. } => prop_assert!(!exists, "{} {}", name, record_type),
                    other => prop_assert!(false, "{} {}: {:?}", name, record_type, other),
                }
            }
        }
    }

    #[test]
    fn name_with_data_is_noerror_for_every_type(input in an_input(), other in any::<u16>()) {
        let (names, snapshot) = (NaiveZone::lay_out(input.clone()).names, Snapshot::build(input));
        for name in names.keys() {
            let any = answer(&snapshot, &Question::new(name.clone(), RecordType::Any), None, 0);
            prop_assert!(is_noerror(&any), "{} ANY: {:?}", name, any);
            for record_type in TYPES.into_iter().chain([RecordType::from(other)]) {
                let got = answer(&snapshot, &Question::new(name.clone(), record_type), None, 0);
                let transfer = matches!(record_type, RecordType::Axfr | RecordType::Ixfr);
                prop_assert!(transfer || is_noerror(&got), "{} {}: {:?}", name, record_type, got);
            }
        }
    }

    #[test]
    fn explanation_agrees_with_the_answer(input in an_input()) {
        let (names, snapshot) = (NaiveZone::lay_out(input.clone()).names, Snapshot::build(input));
        for name in names.keys() {
            for record_type in TYPES.into_iter().chain([RecordType::Any, RecordType::Https, RecordType::Svcb]) {
                let told = explain(&snapshot, name, record_type, 0);
                if matches!(told.subject, Subject::Structure) {
                    continue;
                }
                let given = told.behind.iter().any(|e| e.verdict.is_given());
                prop_assert_eq!(given, matches!(told.answer, Answer::Data { .. }), "{} {} {:?}", name, record_type, told);
            }
        }
    }

    #[test]
    fn reverse_names_round_trip(bytes in any::<[u8; 16]>(), v4 in any::<bool>()) {
        let address: IpAddr = if v4 { [bytes[0], bytes[1], bytes[2], bytes[3]].into() } else { bytes.into() };
        prop_assert_eq!(Name::reverse_of(address).reverse_address(), Some(address));
    }
}
