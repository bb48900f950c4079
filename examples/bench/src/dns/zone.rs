//! The same zone for every server: services of two instances, as a snapshot and as a zone file.

use smol_str::{SmolStr, format_smolstr};
use std::{fmt::Write, net::Ipv4Addr};
use taffeta_dns_answer::{Change, Instance, Node, Service, ServiceDns, ServiceState, Snapshot, SnapshotInput};

/// The zone.
pub(crate) const DOMAIN: &str = "fabric.internal";
/// Instances of a service, and so SRV records of a name.
const INSTANCES: u32 = 2;
/// Services of an app.
const SERVICES_OF_APP: u32 = 10;

/// App and service of a number.
pub(crate) fn service(number: u32) -> (SmolStr, SmolStr) {
    (format_smolstr!("shop{}", number / SERVICES_OF_APP), format_smolstr!("web{}", number % SERVICES_OF_APP))
}

/// The name of a service.
pub(crate) fn service_name(number: u32) -> String {
    let (app, service) = service(number);
    format!("{service}.{app}.{DOMAIN}")
}

/// The name of the service whose addresses say how many changes there were.
pub(crate) fn counter_name() -> String {
    format!("number.changes.{DOMAIN}")
}

/// The change that has a number: the service that counts, and another one, whose instances move.
pub(crate) fn change(before: &Snapshot, services: u32, number: u32) -> Change {
    let moved = number % services;
    let state = |instances| ServiceState { ports: vec!["http".into()], dns: ServiceDns::default(), instances };
    let mut elsewhere = instances(moved);
    for (instance, i) in elsewhere.iter_mut().zip(0..) {
        instance.address = address(number % (1 << 20), i).into();
    }
    let changes = [(service(moved), Some(state(elsewhere))), (counter(), Some(state(counting(number))))];
    Change { serial: number, services: changes.into(), ..before.no_change() }
}

fn counter() -> (SmolStr, SmolStr) {
    ("changes".into(), "number".into())
}

/// Both instances of the service that counts are at addresses whose low 24 bits are the number.
fn counting(number: u32) -> Vec<Instance> {
    let at = |network: u32| Ipv4Addr::from((network << 24) + (number & 0x00ff_ffff));
    (0..INSTANCES).map(|i| instance(counter(), i, at(20 + i))).collect()
}

fn address(number: u32, instance: u32) -> Ipv4Addr {
    Ipv4Addr::from((10 << 24) + number * INSTANCES + instance + 1)
}

/// The instances of a service.
pub(crate) fn instances(number: u32) -> Vec<Instance> {
    (0..INSTANCES).map(|i| instance(service(number), i, address(number, i))).collect()
}

fn instance((app, service): (SmolStr, SmolStr), i: u32, address: Ipv4Addr) -> Instance {
    Instance {
        app,
        service,
        label: format_smolstr!("{i}"),
        node: "n1".into(),
        address: address.into(),
        ports: vec![("http".into(), port(i))],
        tags: Vec::new(),
        version: 1,
        weight: 10,
        serving: true,
        suspected: false,
    }
}

fn port(instance: u32) -> u16 {
    31_000 + u16::try_from(instance).expect("a few")
}

/// What a snapshot with these services is built from.
pub(crate) fn input(services: u32) -> SnapshotInput {
    let registered = |number| {
        let (app, service) = service(number);
        Service { app, service, ports: vec!["http".into()], dns: ServiceDns::default() }
    };
    let node = Node {
        name: "n1".into(),
        address: Ipv4Addr::LOCALHOST.into(),
        up: true,
        is_leader: true,
        is_voter: true,
        zone: "a".into(),
        distance: Some(0),
    };
    SnapshotInput {
        serial: 1,
        ready: true,
        services: (0..services).map(registered).collect(),
        instances: (0..services).flat_map(instances).chain(counting(0)).collect(),
        nodes: vec![node],
        ..SnapshotInput::new(DOMAIN.parse().expect("a name"), "n1")
    }
}

/// The same as a zone file.
pub(crate) fn file(services: u32) -> String {
    let mut text = format!(
        "$ORIGIN {DOMAIN}.\n$TTL 1\n@ SOA n1.node hostmaster 1 3600 600 86400 1\n@ NS n1.node\nn1.node A 127.0.0.1\n"
    );
    for number in 0..services {
        let (app, service) = service(number);
        let name = format!("{service}.{app}");
        for i in 0..INSTANCES {
            let (address, port) = (address(number, i), port(i));
            let srv = format!("SRV 0 10 {port} {i}.{name}");
            writeln!(text, "{name} A {address}\n{i}.{name} A {address}\n{name} {srv}\n_http._tcp.{name} {srv}")
                .expect("memory");
        }
    }
    text
}
