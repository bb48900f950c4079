use crate::*;
use std::{collections::BTreeSet, net::IpAddr};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn instance(app: &str, service: &str, label: &str, node: &str, address: &str, port: u16) -> Instance {
    Instance {
        app: app.into(),
        service: service.into(),
        label: label.into(),
        node: node.into(),
        address: ip(address),
        ports: vec![("http".into(), port), ("admin".into(), port + 1)],
        tags: vec!["v1".into()],
        serving: true,
        version: 1,
        weight: 10,
        suspected: false,
    }
}

fn node(name: &str, address: &str, is_leader: bool) -> Node {
    Node {
        name: name.into(),
        address: ip(address),
        up: true,
        is_leader,
        is_voter: true,
        zone: "a".into(),
        distance: None,
    }
}

pub(crate) fn input() -> SnapshotInput {
    let service = |app: &str, service: &str, ports: &[&str]| Service {
        app: app.into(),
        service: service.into(),
        ports: ports.iter().map(|p| (*p).into()).collect(),
        dns: ServiceDns::default(),
    };
    SnapshotInput {
        serial: 7,
        ready: true,
        services: vec![service("shop", "web", &["http", "admin"]), service("shop", "idle", &["http"])],
        instances: vec![
            instance("shop", "web", "1", "n1", "10.0.0.1", 31000),
            instance("shop", "web", "2", "n2", "10.0.0.2", 31010),
            instance("shop", "web", "3", "n3", "fd00::3", 31020),
        ],
        nodes: vec![node("n1", "10.0.0.1", false), node("n2", "10.0.0.2", true), node("n3", "fd00::3", false)],
        ..SnapshotInput::new("fabric.internal".parse().unwrap(), "n1")
    }
}

fn ask(input: &SnapshotInput, name: &str, record_type: RecordType) -> Answer {
    ask_snapshot(&Snapshot::build(input.clone()), name, record_type)
}

pub(crate) fn ask_snapshot(snapshot: &Snapshot, name: &str, record_type: RecordType) -> Answer {
    answer(snapshot, &Question::new(name.parse().unwrap(), record_type), None, 1)
}

pub(crate) fn show(data: &Data) -> String {
    match data {
        Data::A(a) => a.to_string(),
        Data::Aaaa(a) => a.to_string(),
        Data::Srv { port, target, .. } => format!("{port} {target}"),
        Data::Txt(texts) => texts.join("|"),
        Data::Https(binding) | Data::Svcb(binding) => binding.to_string(),
        Data::Ptr(name) | Data::Ns(name) => name.to_string(),
        Data::Soa { mname, serial, minimum, .. } => format!("{mname} {serial} {minimum}"),
    }
}

pub(crate) fn shown(answer: &Answer) -> BTreeSet<String> {
    match answer {
        Answer::Data { records, .. } => records.iter().map(|r| show(&r.data)).collect(),
        other => panic!("no data: {other:?}"),
    }
}

pub(crate) fn set<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.iter().map(|t| t.to_string()).collect()
}

pub(crate) fn is_nodata(answer: &Answer) -> bool {
    matches!(answer, Answer::NoData { .. })
}

pub(crate) fn is_nxdomain(answer: &Answer) -> bool {
    matches!(answer, Answer::NxDomain { .. })
}

use RecordType::{A, Aaaa, Any, Ns, Ptr, Soa, Srv, Txt};

#[test]
fn service_gives_addresses_ports_and_tags() {
    let i = input();
    assert_eq!(shown(&ask(&i, "web.shop.fabric.internal", A)), set(["10.0.0.1", "10.0.0.2"]));
    assert_eq!(shown(&ask(&i, "web.shop.fabric.internal", Aaaa)), set(["fd00::3"]));
    assert_eq!(shown(&ask(&i, "web.shop.fabric.internal", Txt)), set(["v1"]));
    let first_port = set([
        "31000 1.web.shop.fabric.internal.",
        "31010 2.web.shop.fabric.internal.",
        "31020 3.web.shop.fabric.internal.",
    ]);
    assert_eq!(shown(&ask(&i, "web.shop.fabric.internal", Srv)), first_port);
    assert_eq!(shown(&ask(&i, "_http._tcp.web.shop.fabric.internal", Srv)), first_port);
}

#[test]
fn srv_brings_the_address_of_every_target() {
    let Answer::Data { records, additional, .. } = ask(&input(), "_admin._tcp.web.shop.fabric.internal", Srv) else {
        panic!()
    };
    assert_eq!(records.len(), 3);
    let targets: BTreeSet<_> = additional.iter().map(|r| format!("{} {}", r.name, show(&r.data))).collect();
    let expected = set([
        "1.web.shop.fabric.internal. 10.0.0.1",
        "2.web.shop.fabric.internal. 10.0.0.2",
        "3.web.shop.fabric.internal. fd00::3",
    ]);
    assert_eq!(targets, expected);
}

#[test]
fn instance_has_address_port_and_tags_of_its_own() {
    let i = input();
    assert_eq!(shown(&ask(&i, "2.web.shop.fabric.internal", A)), set(["10.0.0.2"]));
    assert_eq!(shown(&ask(&i, "2.web.shop.fabric.internal", Srv)), set(["31010 2.web.shop.fabric.internal."]));
    assert!(is_nodata(&ask(&i, "2.web.shop.fabric.internal", Aaaa)));
    assert!(is_nxdomain(&ask(&i, "4.web.shop.fabric.internal", A)));
}

#[test]
fn machines_are_found_by_name_and_office() {
    let i = input();
    assert_eq!(shown(&ask(&i, "n2.node.fabric.internal", A)), set(["10.0.0.2"]));
    assert_eq!(shown(&ask(&i, "leader.fabric.internal", A)), set(["10.0.0.2"]));
    assert_eq!(shown(&ask(&i, "voters.fabric.internal", A)), set(["10.0.0.1", "10.0.0.2"]));
    assert_eq!(shown(&ask(&i, "nodes.fabric.internal", Aaaa)), set(["fd00::3"]));
    assert!(is_nxdomain(&ask(&i, "n9.node.fabric.internal", A)));
}

#[test]
fn group_hides_dead_machines_while_one_is_up() {
    let mut i = input();
    i.nodes[1].up = false;
    assert_eq!(shown(&ask(&i, "nodes.fabric.internal", A)), set(["10.0.0.1"]));
    assert_eq!(shown(&ask(&i, "leader.fabric.internal", A)), set(["10.0.0.2"]), "the only leader known");
    assert_eq!(shown(&ask(&i, "n2.node.fabric.internal", A)), set(["10.0.0.2"]));
}

#[test]
fn no_leader_is_nodata() {
    let mut i = input();
    i.nodes[1].is_leader = false;
    assert!(is_nodata(&ask(&i, "leader.fabric.internal", A)));
}

#[test]
fn apex_has_soa_and_ns_and_nothing_else() {
    let i = input();
    assert_eq!(shown(&ask(&i, "fabric.internal", Soa)), set(["n1.node.fabric.internal. 7 1"]));
    assert_eq!(shown(&ask(&i, "fabric.internal", Ns)), set(["n1.node.fabric.internal."]));
    assert!(is_nodata(&ask(&i, "fabric.internal", A)));
}

#[test]
fn empty_non_terminals_are_nodata() {
    let i = input();
    for name in ["shop", "_tcp.web.shop", "node", "_tcp", "_udp", "_dns-sd._udp"] {
        assert!(is_nodata(&ask(&i, &format!("{name}.fabric.internal"), A)), "{name}");
    }
}

#[test]
fn registered_service_without_instances_is_nodata_not_nxdomain() {
    let i = input();
    for name in ["idle.shop.fabric.internal", "_http._tcp.idle.shop.fabric.internal"] {
        assert!(is_nodata(&ask(&i, name, Srv)), "{name}");
    }
    assert!(is_nxdomain(&ask(&i, "_admin._tcp.idle.shop.fabric.internal", Srv)));
    assert!(is_nxdomain(&ask(&i, "nope.shop.fabric.internal", A)));
    assert!(is_nxdomain(&ask(&i, "web.nope.fabric.internal", A)));
}

#[test]
fn negative_soa_lives_for_the_smaller_of_ttl_and_minimum() {
    for (ttl, negative_ttl) in [(30, 5), (5, 30)] {
        let i = SnapshotInput { ttl, negative_ttl, ..input() };
        let Answer::NxDomain { soa, .. } = ask(&i, "nope.fabric.internal", A) else { panic!() };
        assert_eq!(soa.ttl, 5);
        assert_eq!(soa.name, i.domain);
    }
}

#[test]
fn suspected_instance_is_hidden_while_another_serves() {
    let mut i = input();
    i.instances[1].suspected = true;
    assert_eq!(shown(&ask(&i, "web.shop.fabric.internal", A)), set(["10.0.0.1"]));
    assert!(is_nodata(&ask(&i, "2.web.shop.fabric.internal", A)));
    assert_eq!(shown(&ask(&i, "_http._tcp.web.shop.fabric.internal", Srv)).len(), 2);
}

#[test]
fn suspected_instances_are_given_when_no_other_serves() {
    let mut i = input();
    i.instances.iter_mut().for_each(|x| x.suspected = true);
    i.instances[0].suspected = false;
    i.instances[0].serving = false;
    assert_eq!(shown(&ask(&i, "web.shop.fabric.internal", A)), set(["10.0.0.2"]));
}

#[test]
fn instance_that_does_not_serve_keeps_its_name_but_gives_nothing() {
    let mut i = input();
    i.instances[1].serving = false;
    assert!(is_nodata(&ask(&i, "2.web.shop.fabric.internal", A)));
    assert_eq!(shown(&ask(&i, "web.shop.fabric.internal", A)), set(["10.0.0.1"]));
}

#[test]
fn before_the_first_view_nothing_is_denied() {
    let i = SnapshotInput { ready: false, ..input() };
    assert_eq!(ask(&i, "nope.fabric.internal", A), Answer::NotReady);
    assert_eq!(ask(&i, "example.com", A), Answer::NotOurs);
}

#[test]
fn stale_snapshot_answers_the_same_and_says_so() {
    let i = SnapshotInput { stale: true, ..input() };
    assert!(matches!(ask(&i, "web.shop.fabric.internal", A), Answer::Data { stale: true, .. }));
    assert!(matches!(ask(&i, "nope.fabric.internal", A), Answer::NxDomain { stale: true, .. }));
}

#[test]
fn reverse_names_point_to_machine_and_tasks() {
    let i = input();
    let expected = set(["1.web.shop.fabric.internal.", "n1.node.fabric.internal."]);
    assert_eq!(shown(&ask(&i, "1.0.0.10.in-addr.arpa", Ptr)), expected);
    let v6 = Name::reverse_of(ip("fd00::3")).to_string();
    assert_eq!(shown(&ask(&i, &v6, Ptr)), set(["3.web.shop.fabric.internal.", "n3.node.fabric.internal."]));
    let Answer::NoData { soa, .. } = ask(&i, "1.0.0.10.in-addr.arpa", A) else { panic!() };
    assert_eq!(soa.name, "1.0.0.10.in-addr.arpa".parse().unwrap());
    assert_eq!(ask(&i, "9.0.0.10.in-addr.arpa", Ptr), Answer::NotOurs);
    assert_eq!(ask(&i, "01.0.0.10.in-addr.arpa", Ptr), Answer::NotOurs);
}

#[test]
fn browsing_leads_from_kinds_to_instances() {
    let i = input();
    let kinds = shown(&ask(&i, "_services._dns-sd._udp.fabric.internal", Ptr));
    assert_eq!(kinds, set(["_http._tcp.fabric.internal.", "_admin._tcp.fabric.internal."]));
    let all = shown(&ask(&i, "_http._tcp.fabric.internal", Ptr));
    assert!(all.contains(r"2\.web\.shop._http._tcp.fabric.internal."), "{all:?}");
    let one = r"2\.web\.shop._http._tcp.fabric.internal";
    assert_eq!(shown(&ask(&i, one, Srv)), set(["31010 2.web.shop.fabric.internal."]));
    assert_eq!(shown(&ask(&i, one, Txt)), set(["v1"]));
}

#[test]
fn case_of_the_question_is_ignored_and_kept() {
    let Answer::Data { records, .. } = ask(&input(), "WeB.sHoP.Fabric.INTERNAL", A) else { panic!() };
    assert_eq!(records[0].name.to_string(), "WeB.sHoP.Fabric.INTERNAL.");
}

#[test]
fn any_gives_one_rrset() {
    let Answer::Data { records, .. } = ask(&input(), "web.shop.fabric.internal", Any) else { panic!() };
    let types: BTreeSet<_> = records.iter().map(|r| r.data.record_type()).collect();
    assert_eq!(types.len(), 1);
}

#[test]
fn other_classes_and_transfers_are_refused() {
    let snapshot = Snapshot::build(input());
    let question = Question { class: Class::Other, ..Question::new("fabric.internal".parse().unwrap(), A) };
    assert_eq!(answer(&snapshot, &question, None, 0), Answer::Refused);
    assert_eq!(ask(&input(), "fabric.internal", RecordType::Axfr), Answer::Refused);
    assert_eq!(ask(&input(), "fabric.internal", RecordType::Ixfr), Answer::Refused);
}

#[test]
fn names_that_only_look_like_the_zone_are_not_ours() {
    assert_eq!(ask(&input(), "web.shop.xfabric.internal", A), Answer::NotOurs);
    assert_eq!(ask(&input(), "internal", A), Answer::NotOurs);
    assert_eq!(ask(&input(), ".", Ns), Answer::NotOurs);
}

#[test]
fn two_instances_on_one_address_are_one_record() {
    let mut i = input();
    i.instances[1].address = ip("10.0.0.1");
    let Answer::Data { records, .. } = ask(&i, "web.shop.fabric.internal", A) else { panic!() };
    assert_eq!(records.len(), 1);
}

#[test]
fn names_of_peers_cannot_shadow_the_zone() {
    let mut i = input();
    i.instances.push(instance("node", "n2", "x", "n9", "6.6.6.6", 1));
    i.instances.push(instance("leader", "x", "1", "n9", "6.6.6.6", 1));
    i.instances.push(instance("shop", "web", "_tcp", "n9", "6.6.6.6", 1));
    i.instances.push(instance("shop", "", "1", "n9", "6.6.6.6", 1));
    i.instances.push(instance("shop", &"x".repeat(64), "1", "n9", "6.6.6.6", 1));
    let (with, without) = (Snapshot::build(i.clone()), Snapshot::build(input()));
    assert!(with.services.keys().eq(without.services.keys()) && with.reverse.keys().eq(without.reverse.keys()));
    assert!(is_nxdomain(&ask(&i, "x.leader.fabric.internal", A)));
    assert!(is_nxdomain(&ask(&i, "x.node.fabric.internal", A)));
    assert_eq!(shown(&ask(&i, "n2.node.fabric.internal", A)), set(["10.0.0.2"]));
}

fn crowd(count: u16) -> SnapshotInput {
    let many = |n: u16| instance("shop", "web", &n.to_string(), "n1", &format!("10.1.{}.{}", n / 250, n % 250), 20000);
    SnapshotInput { instances: (1..=count).map(many).collect(), ..input() }
}

#[test]
fn large_rrset_is_a_sample_of_100_that_differs_by_seed() {
    let snapshot = Snapshot::build(crowd(300));
    let question = Question::new("web.shop.fabric.internal".parse().unwrap(), A);
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..600 {
        let given = answer(&snapshot, &question, None, seed);
        let Answer::Data { records, .. } = &given else { panic!() };
        assert_eq!(records.len(), MAX_RRSET);
        assert_eq!(shown(&given).len(), MAX_RRSET, "none twice");
        records.iter().for_each(|r| *seen.entry(show(&r.data)).or_default() += 1);
    }
    // Each is expected 200 times with a standard deviation of 11.5: six of them either way.
    assert_eq!(seen.len(), 300);
    assert!(seen.values().all(|n| (131..=269).contains(n)), "{seen:?}");
}

#[test]
fn every_instance_comes_first_equally_often() {
    let snapshot = Snapshot::build(crowd(4));
    let question = Question::new("web.shop.fabric.internal".parse().unwrap(), A);
    let mut first = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..4000 {
        let Answer::Data { records, .. } = answer(&snapshot, &question, None, seed) else { panic!() };
        *first.entry(show(&records[0].data)).or_default() += 1;
    }
    assert!(first.len() == 4 && first.values().all(|n| (836..=1164).contains(n)), "{first:?}");
}

#[test]
fn explanation_names_who_is_hidden_and_why() {
    let mut i = input();
    i.instances[1].suspected = true;
    i.instances.push(Instance { serving: false, ..instance("shop", "web", "4", "n1", "10.0.0.1", 31030) });
    let name: Name = "web.shop.fabric.internal".parse().unwrap();
    let told = explain(&Snapshot::build(i), &name, A, 0);
    let verdicts: Vec<_> = told.behind.iter().map(|e| (e.name.as_str(), e.verdict)).collect();
    let expected = [
        ("1.web.shop", Verdict::Given),
        ("2.web.shop", Verdict::Suspected),
        ("3.web.shop", Verdict::OtherFamily),
        ("4.web.shop", Verdict::NotServing),
    ];
    assert_eq!(verdicts, expected);
}

#[test]
fn explanation_knows_subjects() {
    let snapshot = Snapshot::build(input());
    let subject = |name: &str| explain(&snapshot, &name.parse().unwrap(), A, 0).subject;
    assert_eq!(subject("n2.node.fabric.internal"), Subject::Machines);
    assert_eq!(subject("leader.fabric.internal"), Subject::Machines);
    assert_eq!(subject("shop.fabric.internal"), Subject::Structure);
    assert_eq!(subject("_tcp.web.shop.fabric.internal"), Subject::Structure);
    assert_eq!(subject("x.fabric.internal"), Subject::Unknown);
    assert_eq!(subject("example.com"), Subject::NotOurs);
    assert_eq!(subject("2.0.0.10.in-addr.arpa"), Subject::Address(ip("10.0.0.2")));
    let port = explain(&snapshot, &"_admin._tcp.WEB.shop.fabric.internal".parse().unwrap(), Srv, 0);
    assert_eq!(port.behind[1].port, Some(31011));
}

#[test]
fn names_round_trip_through_text() {
    for text in ["web.shop.fabric.internal.", r"2\.web\\x._http._tcp.a.", r"\000\255.a.", "."] {
        assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
    }
    assert_eq!("a..b".parse::<Name>(), Err(InvalidDnsName::EmptyLabel));
    assert_eq!("x".repeat(64).parse::<Name>(), Err(InvalidDnsName::LabelTooLong));
    assert_eq!("abcdefg.".repeat(32).parse::<Name>(), Err(InvalidDnsName::NameTooLong));
    assert_eq!(r"a\25".parse::<Name>(), Err(InvalidDnsName::BadEscape));
    assert_eq!("TYPE257".parse(), Ok(RecordType::Other(257)));
    assert_eq!("type1".parse(), Ok(A));
}
