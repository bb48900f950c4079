//! Further zones.

use crate::{
    alias::MAX_ALIASES,
    naive_zone::NaiveZone,
    oracle_tests::{TYPES, an_input, is_noerror},
    tests::{ask_snapshot, input, instance, is_nodata, is_nxdomain, set, shown},
    *,
};
use RecordType::{A, Ns, Soa, Srv, Txt};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn alias(domain: &str, scheme: Scheme) -> Alias {
    Alias { domain: domain.parse().unwrap(), scheme }
}

/// Everything under every scheme.
fn aliases() -> Vec<Alias> {
    vec![
        alias("old.example", Scheme::Fabric),
        alias("Mesos", Scheme::Mesos),
        alias("marathon.mesos", Scheme::Mesos),
        alias("consul", Scheme::Consul),
        alias("service.eu.consul", Scheme::Consul),
        alias("cluster.local", Scheme::Kubernetes),
        alias("svc.k8s.local", Scheme::Kubernetes),
    ]
}

fn snapshot() -> Snapshot {
    let mut i = input();
    i.instances[1].tags.push("canary".into());
    i.instances.push(instance("blog", "front-end", "1", "n1", "10.0.0.9", 32000));
    i.instances.push(instance("pay", "pay", "1", "n1", "10.0.0.8", 33000));
    i.instances.push(instance("pay", "idle", "1", "n1", "10.0.0.7", 34000));
    Snapshot::build(SnapshotInput { aliases: aliases(), ..i })
}

fn ask(name: &str, record_type: RecordType) -> Answer {
    ask_snapshot(&snapshot(), name, record_type)
}

fn has(name: &str, record_type: RecordType, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|t| (*t).to_owned()).collect();
    assert_eq!(shown(&ask(name, record_type)), expected, "{name} {record_type}");
}

const WEB: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
const WEB_HTTP: [&str; 3] =
    ["31000 1.web.shop.fabric.internal.", "31010 2.web.shop.fabric.internal.", "31020 3.web.shop.fabric.internal."];
const WEB_ADMIN: [&str; 3] =
    ["31001 1.web.shop.fabric.internal.", "31011 2.web.shop.fabric.internal.", "31021 3.web.shop.fabric.internal."];

#[test]
fn same_names_under_another_domain() {
    has("web.shop.old.example", A, &WEB);
    has("_http._tcp.web.shop.OLD.example", Srv, &WEB_HTTP);
    has("n2.node.old.example", A, &["10.0.0.2"]);
    assert!(is_nxdomain(&ask("nope.shop.old.example", A)));
}

#[test]
fn names_of_mesos() {
    for name in ["web-shop.marathon.mesos", "web-shop.other.mesos", "web-shop.marathon.slave.mesos"] {
        has(name, A, &WEB);
    }
    has("_web-shop._tcp.marathon.mesos", Srv, &WEB_HTTP);
    has("_admin._web-shop._tcp.chronos.mesos", Srv, &WEB_ADMIN);
    has("_admin._web-shop._tcp.marathon.mesos", Srv, &WEB_ADMIN);
    has("front-end-blog.marathon.mesos", A, &["10.0.0.9"]);
    has("blog.marathon.mesos", A, &["10.0.0.9"]);
    has("pay.marathon.mesos", A, &["10.0.0.8"]);
    has("2.web-shop.marathon.mesos", A, &["10.0.0.2"]);
    has("leader.mesos", A, &["10.0.0.2"]);
    has("master.mesos", A, &WEB);
    has("slave.mesos", A, &WEB);
    for name in ["chronos.mesos", "_tcp.chronos.mesos", "_tcp.marathon.mesos"] {
        assert!(is_nodata(&ask(name, A)), "{name}");
    }
    assert!(is_nodata(&ask("_web-shop._tcp.marathon.mesos", A)));
    let unknown = ["nope.marathon.mesos", "shop.marathon.mesos", "web.shop.chronos.mesos", "_x.mesos", "x.y.z.mesos"];
    for name in unknown {
        assert!(is_nxdomain(&ask(name, A)), "{name}");
    }
}

#[test]
fn names_of_consul() {
    for name in ["web.service.consul", "web-shop.service.consul", "web.service.dc1.consul", "web.service.eu.consul"] {
        has(name, A, &WEB);
    }
    has("canary.web.service.consul", A, &["10.0.0.2"]);
    has("canary.web.service.dc1.consul", A, &["10.0.0.2"]);
    has("_web._tcp.service.consul", Srv, &WEB_HTTP);
    has("_web._canary.service.consul", Srv, &["31010 2.web.shop.fabric.internal."]);
    has("n2.node.consul", A, &["10.0.0.2"]);
    has("n2.node.dc1.consul", A, &["10.0.0.2"]);
    has("pay.service.consul", A, &["10.0.0.8"]);
    for name in ["service.consul", "node.consul", "dc1.consul", "idle.service.consul", "_tcp.service.consul"] {
        assert!(is_nodata(&ask(name, A)), "{name}");
    }
    for name in
        ["nope.service.consul", "web.query.dc1.consul", "nope.node.consul", "_x.consul", "blue.web.service.consul"]
    {
        assert!(is_nxdomain(&ask(name, A)), "{name}");
    }
}

#[test]
fn names_of_kubernetes() {
    has("web.shop.svc.cluster.local", A, &WEB);
    has("web.shop.svc.k8s.local", A, &WEB);
    has("_http._tcp.web.shop.svc.cluster.local", Srv, &WEB_HTTP);
    has("2.web.shop.svc.cluster.local", A, &["10.0.0.2"]);
    has("dns-version.cluster.local", Txt, &["1.1.0"]);
    for name in ["svc.cluster.local", "shop.svc.cluster.local", "_tcp.web.shop.svc.cluster.local"] {
        assert!(is_nodata(&ask(name, A)), "{name}");
    }
    for name in
        ["nope.svc.cluster.local", "n2.node.svc.cluster.local", "leader.svc.cluster.local", "web.shop.cluster.local"]
    {
        assert!(is_nxdomain(&ask(name, A)), "{name}");
    }
}

#[test]
fn alias_answers_as_a_zone_of_its_own() {
    let snapshot = snapshot();
    for Alias { domain, .. } in snapshot.aliases.iter() {
        assert_eq!(shown(&ask_snapshot(&snapshot, &domain.to_string(), Ns)), set(["n1.node.fabric.internal."]));
        assert_eq!(shown(&ask_snapshot(&snapshot, &domain.to_string(), Soa)).len(), 1);
        let name = domain.child("_no").unwrap().child("such").unwrap().to_string();
        let Answer::NxDomain { soa, .. } = ask_snapshot(&snapshot, &name, A) else { panic!("{name}") };
        assert_eq!(soa.name, *domain);
    }
    let Answer::Data { records, additional, .. } = ask("_Web-Shop._tcp.Marathon.mesos", Srv) else { panic!() };
    assert_eq!(records[0].name.to_string(), "_Web-Shop._tcp.Marathon.mesos.");
    assert_eq!(additional.len(), 3);
    assert!(additional.iter().all(|record| record.name.is_within(snapshot.domain())));
}

#[test]
fn longest_domain_wins_and_what_is_above_it_exists() {
    let with = |domains: &[&str]| {
        let aliases = domains.iter().map(|domain| alias(domain, Scheme::Fabric)).collect();
        Snapshot::build(SnapshotInput { aliases, ..input() })
    };
    let snapshot = with(&["internal", "a.b.fabric.internal"]);
    let apex = |name: &str| match ask_snapshot(&snapshot, name, RecordType::Other(99)) {
        Answer::NxDomain { soa, .. } | Answer::NoData { soa, .. } => soa.name.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(apex("x.y.internal"), "internal.");
    assert_eq!(apex("x.y.fabric.internal"), "fabric.internal.");
    assert_eq!(apex("x.y.a.b.fabric.internal"), "a.b.fabric.internal.");
    assert!(is_nodata(&ask_snapshot(&snapshot, "b.fabric.internal", A)), "there is a zone below");
    assert!(is_nxdomain(&ask_snapshot(&snapshot, "c.fabric.internal", A)));
    assert_eq!(shown(&ask_snapshot(&snapshot, "web.shop.a.b.fabric.internal", A)), set(WEB));
    assert_eq!(with(&["fabric.internal", ".", "x.y", "X.y"]).aliases.len(), 1);
    let many: Vec<String> = (0..2 * MAX_ALIASES).map(|n| format!("a{n}.example")).collect();
    assert_eq!(with(&many.iter().map(String::as_str).collect::<Vec<_>>()).aliases.len(), MAX_ALIASES);
}

#[test]
fn name_of_an_absent_service_does_not_mean_another() {
    let mut i = input();
    let service = |app: &str, service: &str| {
        let dns = ServiceDns { empty: Empty::NxDomain, ..ServiceDns::default() };
        Service { app: app.into(), service: service.into(), ports: vec![], dns }
    };
    i.services = vec![service("b-c", "a"), service("c", "a-b")];
    i.instances = vec![instance("c", "a-b", "1", "n1", "10.0.0.1", 1)];
    let ask = |i: &SnapshotInput| {
        let snapshot = Snapshot::build(SnapshotInput { aliases: aliases(), ..i.clone() });
        ask_snapshot(&snapshot, "a-b-c.marathon.mesos", A)
    };
    assert!(is_nxdomain(&ask(&i)));
    i.services.remove(0);
    assert_eq!(shown(&ask(&i)), set(["10.0.0.1"]));
}

#[test]
fn nothing_is_above_services_that_are_all_absent() {
    let mut i = SnapshotInput { aliases: aliases(), ..input() };
    i.services.truncate(1);
    i.services[0].dns.empty = Empty::NxDomain;
    let names =
        ["svc.cluster.local", "shop.svc.k8s.local", "x.mesos", "_tcp.x.mesos", "service.consul", "_x.service.consul"];
    for serving in [true, false] {
        i.instances.iter_mut().for_each(|instance| instance.serving = serving);
        let snapshot = Snapshot::build(i.clone());
        let is_right = if serving { is_nodata } else { is_nxdomain };
        assert!(names.iter().all(|name| is_right(&ask_snapshot(&snapshot, name, A))), "{serving}");
    }
}

#[test]
fn explanation_tells_how_a_name_is_read() {
    let snapshot = snapshot();
    let told = |name: &str, record_type| explain(&snapshot, &name.parse().unwrap(), record_type, 0);
    let read_as = |name: &str| told(name, A).alias.unwrap().name.map(|name| name.to_string());
    assert_eq!(read_as("canary.web.service.dc1.consul").unwrap(), "canary.web.shop.fabric.internal.");
    assert_eq!(read_as("master.mesos").unwrap(), "voters.fabric.internal.");
    assert_eq!(read_as("service.consul"), None);
    assert_eq!(told("web.shop.fabric.internal", A).alias, None);
    let ports = told("_web-shop._tcp.marathon.mesos", Srv);
    assert!(ports.behind.iter().all(|e| e.verdict == Verdict::Given), "{ports:?}");
    assert!(told("_web-shop._tcp.marathon.mesos", A).behind.iter().all(|e| e.verdict == Verdict::NoSuchType));
    assert_eq!(told("consul", A).subject, Subject::Structure);
    assert_eq!(told("x.cluster.local", A).subject, Subject::Unknown);
}

/// Names of aliases with the name of our own zone whose records they have, or whose SRV records alone.
fn written(own: &Name, domain: &Name) -> Vec<(String, bool)> {
    let text = own.to_string();
    let Some(below) = text.strip_suffix(&domain.to_string()).and_then(|b| b.strip_suffix('.')) else { return vec![] };
    let labels: Vec<&str> = below.split('.').collect();
    let mut names = vec![(format!("{below}.old.example."), false)];
    let node = |name: &str| names.iter().cloned().chain([(name.to_owned(), false)]).collect::<Vec<_>>();
    match labels[..] {
        ["leader"] => return node("leader.mesos."),
        ["voters"] => return node("master.mesos."),
        ["nodes"] => return node("slave.mesos."),
        [n, "node"] => {
            names.push((format!("{n}.node.consul."), false));
            names.push((format!("{n}.node.dc.consul."), false));
            return names;
        }
        // An escaped dot, or names of browsing.
        _ if below.contains('\\') || labels.len() < 2 || below.ends_with("_tcp") || below.ends_with("_udp") => {
            return names;
        }
        _ => {}
    }
    let [ref front @ .., service, app] = labels[..] else { return names };
    let front: String = front.iter().map(|label| format!("{label}.")).collect();
    names.push((format!("{below}.svc.cluster.local."), false));
    names.push((format!("{below}.svc.k8s.local."), false));
    for zone in
        ["x.mesos", "x.slave.mesos", "marathon.mesos", "service.consul", "service.dc.consul", "service.eu.consul"]
    {
        names.push((format!("{front}{service}-{app}.{zone}."), false));
    }
    if front.is_empty() {
        let zones = ["x.mesos", "marathon.mesos", "service.consul"];
        names.extend(zones.map(|zone| (format!("_{service}-{app}._tcp.{zone}."), true)));
    }
    if let Some(port) = front.strip_suffix("._tcp.").filter(|port| !port.contains('.')) {
        names.push((format!("{port}._{service}-{app}._tcp.x.mesos."), false));
    } else if let Some(tag) = front.strip_suffix('.').filter(|label| !label.contains('.') && !label.starts_with('_')) {
        names.push((format!("_{service}-{app}._{tag}.service.consul."), true));
    }
    names
}

fn data(answer: Answer) -> Option<Vec<Data>> {
    if let Answer::Data { records, .. } = answer { Some(records.into_iter().map(|r| r.data).collect()) } else { None }
}

fn ancestors(name: &Name) -> impl Iterator<Item = Name> {
    std::iter::successors(Some(name.clone()), Name::parent)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn name_of_an_alias_has_the_records_of_its_own(input in an_input(), seed in any::<u64>()) {
        let zone = NaiveZone::lay_out(input.clone());
        let snapshot = Snapshot::build(SnapshotInput { aliases: aliases(), ..input });
        let ask = |name: &Name, record_type| answer(&snapshot, &Question::new(name.clone(), record_type), None, seed);
        for own in zone.names.keys() {
            for (name, ports_alone) in written(own, snapshot.domain()) {
                let name: Name = name.parse().unwrap();
                for record_type in TYPES {
                    let given = ask(&name, record_type);
                    prop_assert!(is_noerror(&given), "{} {}: {:?}", name, record_type, given);
                    let expected = if ports_alone && record_type != Srv { None } else { data(ask(own, record_type)) };
                    prop_assert_eq!(data(given), expected, "{} {}", name, record_type);
                }
            }
        }
    }

    #[test]
    fn below_a_name_that_does_not_exist_nothing_does(input in an_input(), labels in prop::collection::vec(0..18usize, 1..6)) {
        const LABELS: [&str; 18] = [
            "a", "b", "web", "1", "a-b", "web-1", "v1", "_tcp", "_a-b", "_web-web", "_http", "service", "node", "svc", "n1",
            "slave", "x", "_v1",
        ];
        let snapshot = Snapshot::build(SnapshotInput { aliases: aliases(), ..input });
        let exists = |name: &Name| is_noerror(&answer(&snapshot, &Question::new(name.clone(), A), None, 0));
        for apex in snapshot.aliases.iter().map(|alias| &alias.domain).chain([snapshot.domain()]) {
            let name = apex.below(labels.iter().map(|at| LABELS[*at])).unwrap();
            let within: Vec<Name> = ancestors(&name).take(labels.len() + 1).collect();
            let first = within.iter().position(exists).unwrap_or(within.len());
            prop_assert!(within[first..].iter().all(exists), "{:?}", within);
            // All types agree on it.
            for record_type in TYPES.into_iter().chain([RecordType::Any]) {
                let given = answer(&snapshot, &Question::new(name.clone(), record_type), None, 0);
                prop_assert_eq!(is_noerror(&given), first == 0, "{} {}", name, record_type);
            }
        }
    }
}
