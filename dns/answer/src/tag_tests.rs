//! Tags, versions, and what names of ports say.

use crate::{
    tests::{ask_snapshot, input, instance, is_nodata, is_nxdomain, set, shown},
    *,
};
use RecordType::{A, Aaaa, Https, Srv, Svcb, Txt};

/// Instances 1 and 2 of version 3, 3 of version 4; 2 and 3 are canaries.
fn tagged() -> SnapshotInput {
    let mut i = input();
    i.instances[0].version = 3;
    i.instances[1].version = 3;
    i.instances[2].version = 4;
    i.instances[1].tags = vec!["Canary".into(), "eu-west".into()];
    i.instances[2].tags = vec!["canary".into(), "a.b".into(), "-x".into()];
    i
}

fn ask(i: &SnapshotInput, name: &str, record_type: RecordType) -> Answer {
    ask_snapshot(&Snapshot::build(i.clone()), &format!("{name}.fabric.internal"), record_type)
}

#[test]
fn tag_selects_the_instances_that_carry_it() {
    let i = tagged();
    assert_eq!(shown(&ask(&i, "canary.web.shop", A)), set(["10.0.0.2"]));
    assert_eq!(shown(&ask(&i, "CANARY.web.shop", Aaaa)), set(["fd00::3"]));
    assert_eq!(shown(&ask(&i, "canary.web.shop", Txt)), set(["Canary", "canary", "eu-west", "a.b", "-x"]));
    let targets = ["31010 2.web.shop.fabric.internal.", "31020 3.web.shop.fabric.internal."];
    assert_eq!(shown(&ask(&i, "canary.web.shop", Srv)), set(targets));
    assert_eq!(shown(&ask(&i, "_http._tcp.canary.web.shop", Srv)), set(targets));
    assert!(is_nodata(&ask(&i, "_tcp.canary.web.shop", A)));
    assert!(is_nxdomain(&ask(&i, "_nope._tcp.canary.web.shop", Srv)));
    assert!(is_nxdomain(&ask(&i, "x.canary.web.shop", A)));
}

#[test]
fn tag_that_is_no_label_selects_nothing() {
    for name in [r"a\.b.web.shop", "-x.web.shop"] {
        assert!(is_nxdomain(&ask(&tagged(), name, A)), "{name}");
    }
}

#[test]
fn version_selects_its_instances() {
    let i = tagged();
    assert_eq!(shown(&ask(&i, "v3.web.shop", A)), set(["10.0.0.1", "10.0.0.2"]));
    assert_eq!(shown(&ask(&i, "V4.web.shop", Aaaa)), set(["fd00::3"]));
    for name in ["v03", "v0", "v5", "4"] {
        assert!(is_nxdomain(&ask(&i, &format!("{name}.web.shop"), A)), "{name}");
    }
}

#[test]
fn instance_shadows_tag_and_tag_shadows_version() {
    let mut i = tagged();
    i.instances[0].tags = vec!["2".into(), "v4".into()];
    assert_eq!(shown(&ask(&i, "2.web.shop", A)), set(["10.0.0.2"]));
    assert_eq!(shown(&ask(&i, "v4.web.shop", A)), set(["10.0.0.1"]));
    assert!(is_nxdomain(&ask(&i, "_http._tcp.2.web.shop", Srv)));
}

#[test]
fn tag_exists_as_long_as_an_instance_carries_it() {
    let mut i = tagged();
    i.instances[1].serving = false;
    i.instances[2].serving = false;
    assert!(is_nodata(&ask(&i, "canary.web.shop", A)));
    assert!(is_nodata(&ask(&i, "_http._tcp.canary.web.shop", Srv)));
    i.instances.truncate(1);
    assert!(is_nxdomain(&ask(&i, "canary.web.shop", A)));
}

#[test]
fn suspected_instance_is_given_for_a_tag_that_no_other_serves() {
    let mut i = tagged();
    i.instances[1].suspected = true;
    assert_eq!(shown(&ask(&i, "eu-west.web.shop", A)), set(["10.0.0.2"]));
    assert_eq!(shown(&ask(&i, "2.web.shop", A)), set(["10.0.0.2"]), "a target has an address");
    assert_eq!(shown(&ask(&i, "web.shop", A)), set(["10.0.0.1"]));
    assert!(is_nodata(&ask(&i, "canary.web.shop", A)), "another canary serves");
    let told = explain(&Snapshot::build(i), &"eu-west.web.shop.fabric.internal".parse().unwrap(), A, 0);
    let verdicts: Vec<_> = told.behind.iter().map(|e| e.verdict).collect();
    assert_eq!(verdicts, [Verdict::NotSelected, Verdict::GivenThoughSuspected, Verdict::NotSelected]);
}

fn with_ports(ports: &[(&str, u16)]) -> SnapshotInput {
    let mut i = input();
    i.services.remove(0);
    i.instances = vec![instance("shop", "web", "1", "n1", "10.0.0.1", 1)];
    i.instances[0].ports = ports.iter().map(|(name, number)| ((*name).into(), *number)).collect();
    i
}

#[test]
fn ports_named_https_and_h3_give_https_records() {
    let target = "1.web.shop.fabric.internal.";
    let both = format!(r#"1 {target} alpn="h2,http/1.1" port=443"#);
    let one = format!(r#"1 {target} alpn="h3,h2,http/1.1" port=443"#);
    let h3 = format!(r#"1 {target} alpn="h3" no-default-alpn port=8443"#);
    for name in ["web.shop", "v1.web.shop", "1.web.shop"] {
        let https = |ports: &[(&str, u16)]| ask(&with_ports(ports), name, Https);
        assert_eq!(shown(&https(&[("https", 443)])), set([&*both]), "{name}");
        assert_eq!(shown(&https(&[("http", 80), ("HTTPS", 443), ("h3", 443)])), set([&*one]));
        assert_eq!(shown(&https(&[("https", 443), ("h3", 8443)])), set([&*both, &*h3]));
        assert!(is_nodata(&https(&[("http", 80)])));
        assert!(is_nodata(&ask(&with_ports(&[("https", 443)]), name, Svcb)));
    }
    let Answer::Data { additional, .. } = ask(&with_ports(&[("https", 443)]), "web.shop", Https) else { panic!() };
    assert_eq!(additional[0].name.to_string(), target);
}

#[test]
fn ports_of_known_protocols_give_service_bindings() {
    let i = with_ports(&[("grpc", 50051), ("dot", 853), ("admin", 9)]);
    let svcb = |port: &str| ask(&i, &format!("_{port}._tcp.web.shop"), Svcb);
    let target = "1.web.shop.fabric.internal.";
    assert_eq!(shown(&svcb("grpc")), set([&*format!(r#"1 {target} alpn="h2" port=50051"#)]));
    assert_eq!(shown(&svcb("dot")), set([&*format!(r#"1 {target} alpn="dot" port=853"#)]));
    assert!(is_nodata(&svcb("admin")));
    assert_eq!(shown(&ask(&i, "_grpc._tcp.web.shop", RecordType::Any)), set([&*format!("50051 {target}")]));
}

#[test]
fn types_that_the_fabric_has_not_are_nodata() {
    for code in [13, 15, 35, 43, 48, 257] {
        assert!(is_nodata(&ask(&input(), "web.shop", code.into())), "{code}");
    }
}
