//! Values of single keys: sizes, durations, processors, ports, checks, and how DNS answers.

use super::{job, refuse, refuse_line};
use crate::{Cpus, DnsEmpty, DnsOrder, DnsPolicy, HealthProbe, PortSpec};
use std::time::Duration;

#[test]
fn sizes_have_decimal_and_binary_units() {
    for (text, bytes) in [
        ("\"64MiB\"", 64 << 20),
        ("\"1GiB\"", 1 << 30),
        ("\"500MB\"", 500_000_000),
        ("\"2048 KiB\"", 2 << 20),
        ("\"3000kB\"", 3_000_000),
        ("\"1TiB\"", 1 << 40),
        ("\"1048576B\"", 1 << 20),
        ("1_048_576", 1 << 20),
        ("0x100000", 1 << 20),
    ] {
        assert_eq!(job(&format!("memory = {text}")).resources.memory, bytes, "{text}");
    }
    assert_eq!(job("disk = 0").resources.disk, 0);
    for bad in ["\"64\"", "\"MiB\"", "\"-1MiB\"", "\"1.5GiB\"", "\"64mib\"", "\"\"", "1.5", "-1", "\"16777216TiB\""] {
        let error = refuse_line(&format!("memory = {bad}"));
        assert!(error.message.starts_with("expected a whole number with"), "{bad}: {error}");
    }
    assert!(refuse_line("memory = 1000").message.contains("at least 1MiB"));
}

#[test]
fn durations_have_a_unit() {
    for (text, ms) in [("500ms", 500), ("1s", 1000), ("2m", 120_000), ("1h", 3_600_000), ("0s", 0)] {
        assert_eq!(job(&format!("grace = \"{text}\"")).grace, Duration::from_millis(ms));
    }
    assert_eq!(job("reschedule_after = \"3s\"").reschedule_after, Duration::from_secs(3));
    for bad in ["5", "s", "1.5s", "-1s", "1d", "1 s s", "99999999999999999h"] {
        let error = refuse_line(&format!("grace = \"{bad}\""));
        assert!(error.message.starts_with("expected a whole number with ms, s, m or h"), "{bad}: {error}");
    }
}

#[test]
fn cpus_are_kept_in_thousandths() {
    for (text, milli) in [("0.25", 250), ("2", 2000), ("0.001", 1), ("1.2345", 1235), ("1e1", 10_000)] {
        assert_eq!(job(&format!("cpus = {text}")).resources.cpus, Cpus(milli), "{text}");
    }
    for bad in ["0", "0.0001", "-1", "nan", "inf", "1e300", "\"1\""] {
        let error = refuse_line(&format!("cpus = {bad}"));
        assert!(error.message.starts_with("expected a number of processors of at least 0.001"), "{bad}: {error}");
    }
}

#[test]
fn processors_and_a_share_of_the_disks_are_read_when_asked_for() {
    let asked = job("cpuset = \"3,0-1\"\nio_weight = 10000");
    assert_eq!((asked.cpuset, asked.io_weight), (Some("0-1,3".parse().unwrap()), Some(10_000)));
}

#[test]
fn ports_are_names_tables_or_both_in_the_order_written() {
    let port = |name: &str, fixed| PortSpec { name: name.into(), fixed };
    let mixed = job("ports = [\"http\", { zeta = 9001, admin = 9000 }, \"rpc\"]");
    let expected = [port("http", None), port("zeta", Some(9001)), port("admin", Some(9000)), port("rpc", None)];
    assert_eq!(mixed.ports, expected);
    assert_eq!(mixed.resources.ports, 2, "only allocated ones are counted");
    assert_eq!(job("ports = { http = 8080 }").ports, [port("http", Some(8080))]);
    for bad in ["0", "65536", "-1", "\"8080\""] {
        let error = refuse_line(&format!("ports = {{ http = {bad} }}"));
        assert_eq!(error.field, "service.web.ports.http");
        assert!(error.message.starts_with("expected a port number from 1 to 65535"), "{error}");
    }
}

#[test]
fn a_check_has_one_kind_and_the_first_port_by_default() {
    let probe = |line: &str| job(&format!("health = {{ {line} }}\nports = [\"one\", \"two\"]")).health.unwrap().probe;
    let tcp = |port: &str| HealthProbe::Tcp { port: port.into() };
    assert_eq!(probe("tcp = true"), tcp("one"));
    assert_eq!(probe("tcp = \"two\""), tcp("two"));
    assert_eq!(probe("tcp = true, port = \"two\""), tcp("two"));
    assert_eq!(probe("http = \"/h\""), HealthProbe::Http { path: "/h".into(), port: "one".into() });
    assert_eq!(probe("run = [\"./check\"]"), HealthProbe::Run { run: vec!["./check".into()] });
    for (bad, message) in [
        ("", "exactly one of"),
        ("http = \"/\", tcp = true", "exactly one of"),
        ("every = \"1s\"", "exactly one of"),
        ("tcp = false", "expected true or the name of a port, found false"),
        ("http = \"/\"", "no port to check"),
        ("tcp = \"a\", port = \"b\"", "names the port `a` already"),
        ("run = [\"x\"], port = \"b\"", "has no port"),
        ("run = [\"x\"], failures = 0", "expected a number from 1 to 1000"),
    ] {
        let error = refuse_line(&format!("health = {{ {bad} }}"));
        assert!(error.message.contains(message), "{bad}: {error}");
    }
}

#[test]
fn a_service_says_how_dns_answers_for_it() {
    assert_eq!(job("").dns, DnsPolicy::default());
    let read = job("dns = { order = \"weighted\", answers = 2, empty = \"nxdomain\", weight = 0 }").dns;
    let (order, empty) = (DnsOrder::Weighted, DnsEmpty::NxDomain);
    assert_eq!(read, DnsPolicy { order, answers: std::num::NonZeroU8::new(2), empty, weight: 0 });
    let error = refuse("app = \"a\"\n[batch.b]\nrun = [\"x\"]\ndns = { answers = 1 }");
    assert_eq!(error.to_string(), "line 4: batch.b.dns: only a service has DNS names");
}
