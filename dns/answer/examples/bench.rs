//! What a large zone costs: `cargo run --release -p taffeta-dns-answer --example bench [INSTANCES [SERVICES]]`.
//!
//! Prints the time to build it, the memory it takes, the time of one change, and that of one answer.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use taffeta_dns_answer::{
    Alias, Change, Instance, Node, Order, Question, RecordType, Scheme, Service, ServiceDns, ServiceState, Snapshot,
    SnapshotInput, answer,
};

const MACHINES: usize = 1_000;
const ROUNDS: usize = 2_000;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// Resident memory in MiB.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split(' ').nth(1).and_then(|p| p.parse().ok()).unwrap_or(f64::NAN);
    pages * 4096.0 / f64::from(1 << 20)
}

fn instance(service: usize, index: usize, of: usize) -> Instance {
    let machine = (service * 31 + index * 7) % MACHINES;
    Instance {
        app: format!("app{}", service / 20).into(),
        service: format!("service{service}").into(),
        label: (index + 1).to_string().into(),
        node: format!("machine{machine}").into(),
        address: [10, 0, (machine / 250) as u8, (machine % 250) as u8].into(),
        ports: vec![("http".into(), 20_000 + index as u16), ("metrics".into(), 30_000 + index as u16)],
        tags: vec![format!("of{of}").into()],
        serving: true,
        version: 1,
        weight: 10,
        suspected: false,
    }
}

/// Two services have an order of their own.
fn order(service: usize) -> Order {
    match service {
        8 => Order::Near,
        9 => Order::Weighted,
        _ => Order::Random,
    }
}

fn state(service: usize, of: usize, sick: usize) -> ServiceState {
    let one = |i| Instance { serving: i != sick, ..instance(service, i, of) };
    ServiceState {
        ports: vec!["http".into(), "metrics".into()],
        dns: ServiceDns { order: order(service), ..ServiceDns::default() },
        instances: (0..of).map(one).collect(),
    }
}

fn change(snapshot: &Snapshot, service: usize, state: ServiceState) -> Change {
    let key = (format!("app{}", service / 20).into(), format!("service{service}").into());
    Change { serial: snapshot.serial() + 1, services: [(key, Some(state))].into(), ..snapshot.no_change() }
}

fn input(services: usize, of: usize) -> SnapshotInput {
    let node = |i: usize| Node {
        name: format!("machine{i}").into(),
        address: [10, 0, (i / 250) as u8, (i % 250) as u8].into(),
        up: true,
        is_leader: i == 0,
        is_voter: i < 5,
        zone: format!("zone{}", i % 3).into(),
        distance: Some((i % 8) as u8),
    };
    let service = |s: usize| Service {
        app: format!("app{}", s / 20).into(),
        service: format!("service{s}").into(),
        ports: vec!["http".into(), "metrics".into()],
        dns: ServiceDns { order: order(s), ..ServiceDns::default() },
    };
    SnapshotInput {
        ready: true,
        services: (0..services).map(service).collect(),
        instances: (0..services).flat_map(|s| (0..of).map(move |i| instance(s, i, of))).collect(),
        nodes: (0..MACHINES).map(node).collect(),
        aliases: vec![Alias { domain: "mesos".parse().expect("a name"), scheme: Scheme::Mesos }],
        ..SnapshotInput::new("fabric.internal".parse().expect("a name"), "machine0")
    }
}

/// Median, 99th percentile and longest of what some work takes.
fn measure(what: &str, mut work: impl FnMut(usize)) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            let begun = now();
            work(round);
            begun.elapsed()
        })
        .collect();
    times.sort();
    let (median, p99) = (times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
    println!("{what:<44} median {median:>9.1?}  p99 {p99:>9.1?}  max {:>9.1?}", times[ROUNDS - 1]);
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|a| a.parse().ok());
    let (instances, services) = (arguments.next().unwrap_or(100_000), arguments.next().unwrap_or(2_000));
    let of = instances / services;
    let before = resident();
    let begun = now();
    let input = input(services, of);
    println!("{instances} instances in {services} services: input made in {:.1?}", begun.elapsed());
    let begun = now();
    let mut snapshot = Snapshot::build(input);
    println!("built in {:.1?}; {:.1} MiB resident", begun.elapsed(), resident() - before);
    // The first answer of a service lays it out.
    for service in 0..services {
        let name = format!("service{service}.app{}.fabric.internal", service / 20).parse().expect("a name");
        black_box(answer(&snapshot, &Question::new(name, RecordType::A), None, 0));
    }
    println!("every service asked for once: {:.1} MiB resident", resident() - before);

    let mut states = (0..ROUNDS).map(|round| state(round * 7 % services, of, round % of)).rev().collect::<Vec<_>>();
    measure("one instance changes", |round| {
        let state = states.pop().expect("one a round");
        snapshot = snapshot.changed(change(&snapshot, round * 7 % services, state));
    });
    measure("the same, its service made anew with it", |round| {
        let state = state(round * 7 % services, of, (round + 1) % of);
        snapshot = snapshot.changed(change(&snapshot, round * 7 % services, state));
    });
    let mut nodes = snapshot.nodes().to_vec();
    measure("a machine is suspected or well again", |round| {
        nodes[round % MACHINES].up ^= true;
        snapshot = snapshot.changed(Change { nodes: Some(nodes.clone()), ..snapshot.no_change() });
    });
    measure("a machine is further away than it was", |round| {
        nodes[round % MACHINES].distance = Some((round % 9) as u8);
        snapshot = snapshot.changed(Change { nodes: Some(nodes.clone()), ..snapshot.no_change() });
    });
    measure("clone", |_| drop(black_box(snapshot.clone())));
    for (name, record_type) in [
        ("service7.app0.fabric.internal", RecordType::A),
        ("service8.app0.fabric.internal", RecordType::A),
        ("service9.app0.fabric.internal", RecordType::A),
        ("service7.app0.fabric.internal", RecordType::Srv),
        ("v1.service7.app0.fabric.internal", RecordType::A),
        ("service7-app0.marathon.mesos", RecordType::A),
        ("nope.service7.app0.fabric.internal", RecordType::A),
        ("nope.fabric.internal", RecordType::A),
        ("_http._tcp.fabric.internal", RecordType::Ptr),
        ("9.0.0.10.in-addr.arpa", RecordType::Ptr),
    ] {
        let question = Question::new(name.parse().expect("a name"), record_type);
        measure(&format!("{record_type} {name}"), |round| {
            drop(black_box(answer(&snapshot, &question, None, round as u64)));
        });
    }
}
