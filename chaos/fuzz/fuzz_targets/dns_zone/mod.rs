//! A small zone, and packets for it.

use taffeta_dns_answer::{Alias, Instance, Node, Order, Scheme, Service, ServiceDns, Snapshot, SnapshotInput};

/// Names that exist, nearly exist, or belong to others.
const NAMES: [&str; 12] = [
    "web.shop.fabric.internal",
    "_http._tcp.web.shop.fabric.internal",
    "1.web.shop.fabric.internal",
    "blue.web.shop.fabric.internal",
    "near.shop.fabric.internal",
    "_http._tcp.near.shop.fabric.internal",
    "n1.node.fabric.internal",
    "nodes.fabric.internal",
    "_services._dns-sd._udp.fabric.internal",
    "3.0.1.10.in-addr.arpa",
    "web.shop.svc.cluster.local",
    "example.com",
];

pub fn snapshot() -> Snapshot {
    let instance = |(service, i): (&str, u8)| Instance {
        app: "shop".into(),
        service: service.into(),
        label: i.to_string().into(),
        node: format!("n{}", i % 3).into(),
        address: if i % 4 == 3 { "fd00::3".parse().unwrap() } else { [10, 1, 0, i].into() },
        ports: vec![("http".into(), 8000 + u16::from(i)), ("https".into(), 9000)],
        tags: vec!["blue".into()],
        version: i.into(),
        weight: i.into(),
        serving: i != 7,
        suspected: i == 6,
    };
    let service = |(name, order)| Service {
        app: "shop".into(),
        service: name,
        ports: vec!["http".into()],
        dns: ServiceDns { order, ..ServiceDns::default() },
    };
    let node = |i: u8| Node {
        name: format!("n{i}").into(),
        address: [127, 0, 0, i + 1].into(),
        up: true,
        is_leader: i == 1,
        is_voter: true,
        zone: format!("z{}", i % 2).into(),
        distance: Some(i),
    };
    Snapshot::build(SnapshotInput {
        ready: true,
        stale: true,
        aliases: vec![Alias { domain: "svc.cluster.local".parse().unwrap(), scheme: Scheme::Kubernetes }],
        services: vec![service(("web".into(), Order::Random)), service(("near".into(), Order::Near))],
        instances: (1..4).map(|i| ("web", i)).chain((1..120).map(|i| ("near", i))).map(instance).collect(),
        nodes: (0..3).map(node).collect(),
        ..SnapshotInput::new("fabric.internal".parse().unwrap(), "n1")
    })
}

/// The bytes as they are, or, if the first one says so, behind the header and the name of a good query.
pub fn packet(bytes: &[u8]) -> Vec<u8> {
    let Some(([first, counts], rest)) = bytes.split_first_chunk() else { return Vec::new() };
    if first & 0x80 == 0 {
        return bytes.to_vec();
    }
    let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, counts >> 4 & 1, 0, counts & 3];
    for label in NAMES[usize::from(first & 0x7f) % NAMES.len()].split('.') {
        packet.push(label.len() as u8);
        packet.extend(label.bytes());
    }
    packet.push(0);
    packet.extend(rest);
    packet
}
