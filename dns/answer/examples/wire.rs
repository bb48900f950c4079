//! What the fast path costs: `cargo run --release -p taffeta-dns-answer --example wire [SECONDS]`.
//!
//! Prints nanoseconds per reply, on one core, with questions for all names in turn in random order, for a zone of 1,000
//! services and for one of 100,000 records; then the same questions through the engine alone, without any encoding.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};
use taffeta_dns_answer::{
    Asker, DATAGRAM_MAX, Fast, FastPath, Instance, Name, Question, Room, Service, ServiceDns, Snapshot, SnapshotInput,
    answer,
};

const A: u16 = 1;
const SRV: u16 = 33;
const BATCH: usize = 32;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// Services of `of` instances each, with one port: an address, a record of the service, and a pointer for each.
fn snapshot(services: usize, of: usize) -> Snapshot {
    let instance = |s: usize, i: usize| Instance {
        app: format!("app{}", s / 20).into(),
        service: format!("service{s}").into(),
        label: (i + 1).to_string().into(),
        node: format!("machine{}", (s * 31 + i * 7) % 1000).into(),
        address: [10, (s >> 12) as u8, (s >> 4) as u8, ((s << 4) + i) as u8].into(),
        ports: vec![("http".into(), 20_000 + i as u16)],
        tags: Vec::new(),
        version: 1,
        weight: 10,
        serving: true,
        suspected: false,
    };
    let service = |s: usize| Service {
        app: format!("app{}", s / 20).into(),
        service: format!("service{s}").into(),
        ports: vec!["http".into()],
        dns: ServiceDns::default(),
    };
    Snapshot::build(SnapshotInput {
        ready: true,
        services: (0..services).map(service).collect(),
        instances: (0..services).flat_map(|s| (0..of).map(move |i| instance(s, i))).collect(),
        ..SnapshotInput::new("fabric.internal".parse().expect("a name"), "machine0")
    })
}

/// A query with EDNS.
fn query(name: &str, record_type: u16) -> Vec<u8> {
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&record_type.to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    packet
}

struct Case {
    what: &'static str,
    record_type: u16,
    name: fn(usize) -> String,
}

const CASES: [Case; 4] = [
    Case { what: "A", record_type: A, name: |s| format!("service{s}.app{}.fabric.internal", s / 20) },
    Case { what: "SRV", record_type: SRV, name: |s| format!("_http._tcp.service{s}.app{}.fabric.internal", s / 20) },
    Case { what: "A of one instance", record_type: A, name: |s| format!("1.service{s}.app{}.fabric.internal", s / 20) },
    Case { what: "NXDOMAIN", record_type: A, name: |s| format!("nope{s}.app{}.fabric.internal", s / 20) },
];

/// Nanoseconds of one call, the best of several rounds.
fn measure(time: Duration, mut work: impl FnMut(u64)) -> f64 {
    let (mut best, begun, mut seed) = (f64::INFINITY, now(), 0);
    while begun.elapsed() < time {
        let round = now();
        for _ in 0..20_000 {
            seed += 1;
            work(seed);
        }
        best = best.min(round.elapsed().as_nanos() as f64 / 20_000.0);
    }
    best
}

fn run(services: usize, of: usize, time: Duration) {
    let snapshot = snapshot(services, of);
    let asker = Asker { address: IpAddr::V4(Ipv4Addr::LOCALHOST), recursion_available: true, room: Room::Datagram };
    let (mut path, mut out) = (FastPath::default(), [0; DATAGRAM_MAX as usize]);
    for Case { what, record_type, name } in CASES {
        // A step that shares no factor with the number visits every service, in no order that a cache can foresee.
        let order = |i: usize| i * 7_919 % services;
        let names: Vec<String> = (0..services).map(|i| name(order(i))).collect();
        // The first answer of a service lays it out: in another order than they are asked in below.
        for service in 0..services {
            let packet = query(&name(service), record_type);
            assert!(matches!(path.respond(&snapshot, &packet, &asker, 1, &mut out), Fast::Reply(_)), "{what}");
        }
        // One after the other in memory, as a socket gives them: what is measured is not the way to the question.
        let (mut packets, mut ends) = (Vec::new(), vec![0]);
        for name in &names {
            packets.extend(query(name, record_type));
            ends.push(packets.len());
        }
        let packet = |seed: u64| &packets[ends[seed as usize % services]..ends[seed as usize % services + 1]];
        let fast = measure(time, |seed| {
            black_box(path.respond(&snapshot, packet(seed), &asker, seed, &mut out));
        });
        let mut queries: Vec<&[u8]> = Vec::new();
        let batched = measure(time, |seed| {
            queries.push(packet(seed));
            if queries.len() == BATCH {
                path.look_ahead(&snapshot, queries.iter().copied());
                for query in queries.drain(..) {
                    black_box(path.respond(&snapshot, query, &asker, seed, &mut out));
                }
            }
        });
        let questions: Vec<Question> =
            names.iter().map(|name| Question::new(name.parse::<Name>().expect("a name"), record_type.into())).collect();
        let engine = measure(time, |seed| {
            drop(black_box(answer(&snapshot, &questions[seed as usize % services], Some(asker.address), seed)));
        });
        println!(
            "{services:>6} services of {of:>2}  {what:<18} {fast:>6.0} ns   in batches {batched:>6.0} ns   engine alone {engine:>6.0} ns"
        );
    }
}

fn main() {
    let seconds: f64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(1.0);
    let time = Duration::from_secs_f64(seconds);
    run(1_000, 2, time);
    run(1_000, 10, time);
    // An address, an SRV record and an address of its target: 100,000 records and more.
    run(20_000, 2, time);
    run(5_000, 10, time);
}
