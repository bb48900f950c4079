//! The fast path says what the full path says.

use crate::{responder::Step, *};
use arc_swap::ArcSwap;
use hickory_proto::op::Message;
use proptest::{prelude::*, sample::Index};
use std::{
    net::IpAddr,
    num::NonZeroU8,
    sync::{Arc, LazyLock, Mutex, atomic::Ordering},
};
use taffeta_dns_answer::{
    Alias, Asker, DATAGRAM_MAX, Empty, Fast, FastPath, Instance, Node, Order, Room, Scheme, Service, ServiceDns,
    Snapshot, SnapshotInput,
};

const CASES: u32 = 100_000;
const BOUND: usize = DATAGRAM_MAX as usize;

/// Services of every size and wish; names that stand for several instances, and some that stand for none.
fn input() -> SnapshotInput {
    let random = ServiceDns::default();
    let few = |order| ServiceDns { order, answers: NonZeroU8::new(3), empty: Empty::NoData };
    let wishes = [
        ("web", 3, random),
        ("crowd", 60, random),
        ("mass", 450, random),
        ("idle", 0, random),
        ("gone", 0, ServiceDns { empty: Empty::NxDomain, ..random }),
        ("heavy", 8, ServiceDns { order: Order::Weighted, ..random }),
        ("near", 9, ServiceDns { order: Order::Near, ..random }),
        ("some", 450, few(Order::Random)),
        ("weighed", 40, few(Order::Weighted)),
        ("nearest", 40, few(Order::Near)),
    ];
    let instances =
        wishes.iter().enumerate().flat_map(|(s, (name, count, _))| (0..*count).map(move |i| instance(s, name, i)));
    let service = |(name, _, dns): &(&str, usize, ServiceDns)| Service {
        app: "shop".into(),
        service: (*name).into(),
        ports: vec!["http".into(), "https".into()],
        dns: *dns,
    };
    let node = |i: u8| Node {
        name: format!("n{i}").into(),
        address: if i == 3 { "fd00::3".parse().unwrap() } else { [10, 0, 0, i].into() },
        up: i != 4,
        is_leader: i == 1,
        is_voter: i < 4,
        zone: format!("z{}", i % 2).into(),
        distance: Some(i),
    };
    SnapshotInput {
        ready: true,
        serial: 7,
        ttl: 5,
        negative_ttl: 2,
        services: wishes.iter().map(service).collect(),
        instances: instances.collect(),
        nodes: (1..6).map(node).collect(),
        ..SnapshotInput::new("fabric.internal".parse().unwrap(), "n1")
    }
}

fn instance(s: usize, name: &str, i: usize) -> Instance {
    let address: IpAddr = if i % 5 == 4 {
        format!("fd00:{s:x}::{i:x}").parse().unwrap()
    } else {
        [10, 10 + s as u8, (i / 250) as u8, (i % 250) as u8].into()
    };
    Instance {
        app: "shop".into(),
        service: name.into(),
        // Two of one label, in some services.
        label: if s == 5 && i == 7 { "1".into() } else { (i + 1).to_string().into() },
        node: format!("n{}", i % 5 + 1).into(),
        address,
        ports: vec![("http".into(), 8000 + i as u16), ("https".into(), 9000)],
        tags: if i.is_multiple_of(3) { vec!["blue".into(), "stable".into()] } else { vec!["green".into()] },
        version: (i % 2) as u64,
        weight: (i * 7 % 20) as u16,
        serving: i % 11 != 10,
        suspected: i % 7 == 6,
    }
}

/// As it is; cut off; without a view; under a further zone; and under one inside its own.
static SNAPSHOTS: LazyLock<Vec<Snapshot>> = LazyLock::new(|| {
    let alias = |domain: &str| vec![Alias { domain: domain.parse().unwrap(), scheme: Scheme::Kubernetes }];
    let inputs = [
        input(),
        SnapshotInput { stale: true, ..input() },
        SnapshotInput { ready: false, ..input() },
        SnapshotInput { aliases: alias("svc.cluster.local"), ..input() },
        SnapshotInput { aliases: alias("inside.fabric.internal"), ..input() },
    ];
    inputs.into_iter().map(Snapshot::build).collect()
});

static RESPONDER: LazyLock<Responder> = LazyLock::new(|| {
    let snapshot = Arc::new(ArcSwap::from_pointee(SNAPSHOTS[0].clone()));
    Responder::new(snapshot, ForwardConfig::new(Upstreams::Nobody, Vec::new()), Arc::new(Sockets), 1)
});

#[derive(Clone, Debug)]
struct Asked {
    packet: Vec<u8>,
    client: IpAddr,
    seed: u64,
    snapshot: usize,
}

fn names() -> impl Strategy<Value = String> {
    let service = prop::sample::select(vec![
        "web", "crowd", "mass", "idle", "gone", "heavy", "near", "some", "weighed", "nearest", "wep",
    ]);
    let below = prop::sample::select(vec![
        "",
        "",
        "",
        "_http._tcp.",
        "_https._tcp.",
        "_http._tcp.",
        "_no._tcp.",
        "_tcp.",
        "_udp.",
        "1.",
        "2.",
        "5.",
        "11.",
        "99.",
        "blue.",
        "v1.",
        "_http._tcp.green.",
        "_tcp.green.",
        "x.y.z.1.2.",
        "\u{e9}.",
    ]);
    let of_service = (below, service).prop_map(|(below, service)| format!("{below}{service}.shop.fabric.internal"));
    let fixed = prop::sample::select(vec![
        "fabric.internal",
        "shop.fabric.internal",
        "nope.fabric.internal",
        "node.fabric.internal",
        "n1.node.fabric.internal",
        "n3.node.fabric.internal",
        "n9.node.fabric.internal",
        "leader.fabric.internal",
        "voters.fabric.internal",
        "nodes.fabric.internal",
        "_tcp.fabric.internal",
        "_http._tcp.fabric.internal",
        "_services._dns-sd._udp.fabric.internal",
        "1.0.10.10.in-addr.arpa",
        "0.0.10.10.in-addr.arpa",
        "1.0.0.10.in-addr.arpa",
        "01.0.0.10.in-addr.arpa",
        "1.1.0.0.10.in-addr.arpa",
        "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
        "example.com",
        "internal",
        "xfabric.internal",
        "web.shop.svc.cluster.local",
        "inside.fabric.internal",
        "web.shop.inside.fabric.internal",
        "",
    ]);
    prop_oneof![4 => of_service, 1 => fixed.prop_map(str::to_owned), 1 => "[a-z_.1-9]{1,40}\\.fabric\\.internal"]
}

fn types() -> impl Strategy<Value = u16> {
    prop_oneof![
        12 => prop::sample::select(vec![1, 28, 33, 16, 12]),
        2 => prop::sample::select(vec![2, 5, 6, 15, 64, 65, 255, 252, 251, 257, 0, 41, 249]),
        1 => any::<u16>()
    ]
}

fn packets() -> impl Strategy<Value = Vec<u8>> {
    let edns = prop_oneof![
        Just(None),
        (prop_oneof![Just(1232), Just(512), Just(4096), any::<u16>()], any::<bool>()).prop_map(Some)
    ];
    let flags = (prop_oneof![4 => Just(0), 1 => any::<u8>()], prop_oneof![4 => Just(0), 1 => any::<u8>()]);
    let edits = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    let damage = (prop::bool::weighted(0.1), edits, any::<Index>(), prop::bool::weighted(0.02));
    (any::<u16>(), flags, names(), any::<u64>(), types(), edns, damage).prop_map(
        |(id, (high, low), name, case, record_type, edns, (is_damaged, edits, cut, is_cut))| {
            let mut packet =
                vec![(id >> 8) as u8, id as u8, high & 0x0f | 1, low, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
            for label in name.split('.').filter(|label| !label.is_empty()) {
                packet.push(label.len().min(63) as u8);
                let byte = |(i, b): (usize, u8)| if case >> (i % 64) & 1 == 1 { b.to_ascii_uppercase() } else { b };
                packet.extend(label.bytes().take(63).enumerate().map(byte));
            }
            packet.push(0);
            packet.extend([(record_type >> 8) as u8, record_type as u8, 0, 1]);
            if let Some((size, dnssec_ok)) = edns {
                packet.extend([0, 0, 41, (size >> 8) as u8, size as u8, 0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0]);
            }
            for (at, byte) in edits.into_iter().filter(|_| is_damaged) {
                let at = at.index(packet.len());
                packet[at] = byte;
            }
            packet.truncate(if is_cut { cut.index(packet.len()) } else { packet.len() });
            packet
        },
    )
}

fn asked() -> impl Strategy<Value = Asked> {
    let clients: Vec<IpAddr> = ["127.0.0.1", "10.0.0.2", "192.0.2.7", "fd00::3"].map(|a| a.parse().unwrap()).into();
    let parts = (packets(), prop::sample::select(clients), any::<u64>(), prop_oneof![3 => Just(0), 1 => 0..5usize]);
    parts.prop_map(|(packet, client, seed, snapshot)| Asked { packet, client, seed, snapshot })
}

/// The reply of the fast path, unless it is unusual for it.
fn fast(asked: &Asked, room: Room, out: &mut [u8]) -> Option<usize> {
    let asker = Asker { address: asked.client, recursion_available: RESPONDER.resolves_for(asked.client), room };
    match FastPath::default().respond(&SNAPSHOTS[asked.snapshot], &asked.packet, &asker, asked.seed, out) {
        Fast::Reply(len) => Some(len),
        Fast::Unusual => None,
    }
}

fn full(asked: &Asked, transport: Transport) -> Option<Vec<u8>> {
    // One responder, one seed at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    RESPONDER.next_seed.store(asked.seed, Ordering::Relaxed);
    match RESPONDER.begin_at(&SNAPSHOTS[asked.snapshot], &asked.packet, asked.client, transport) {
        Step::Done(reply) => reply,
        Step::Relay(_) => panic!("nobody to relay to"),
    }
}

/// Both mean the same, to the order of records. The additional section may be cut at another place, if both are full.
fn assert_equal(asked: &Asked, fast: &[u8], full: &[u8], limit: usize) {
    let (a, b) = (Message::from_vec(fast).expect("it decodes"), Message::from_vec(full).expect("it decodes"));
    assert_eq!(a.metadata, b.metadata, "{asked:?}");
    assert_eq!((&a.queries, &a.edns), (&b.queries, &b.edns), "{asked:?}");
    assert_eq!((&a.answers, &a.authorities), (&b.answers, &b.authorities), "{asked:?}");
    let shorter = a.additionals.len().min(b.additionals.len());
    assert_eq!(a.additionals[..shorter], b.additionals[..shorter], "{asked:?}");
    if a.additionals.len() != b.additionals.len() {
        assert!(fast.len().max(full.len()) + 64 > limit, "{asked:?}: {} and {}", fast.len(), full.len());
    }
    assert!(fast.len() <= limit, "{asked:?}");
}

fn limit_of(packet: &[u8]) -> usize {
    let edns = Message::from_vec(packet).ok().and_then(|m| m.edns).map_or(512, |e| e.max_payload());
    edns.clamp(512, DATAGRAM_MAX).into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn fast_path_means_what_the_full_path_means(asked in asked()) {
        let mut out = [0; BOUND];
        if let Some(len) = fast(&asked, Room::Datagram, &mut out) {
            let full = full(&asked, Transport::Udp).expect("what has a fast reply has a full one");
            assert_equal(&asked, &out[..len], &full, limit_of(&asked.packet));
            assert_eq!(out[12..16], full[12..16], "the question is echoed");
        }
    }
}

fn query(name: &str, record_type: u16, edns: bool) -> Vec<u8> {
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend(label.bytes());
    }
    packet.extend([0, 0, record_type as u8, 0, 1]);
    if edns {
        packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }
    packet
}

#[test]
fn common_questions_are_for_the_fast_path() {
    let names = [
        "web",
        "_http._tcp.web",
        "1.web",
        "nope.web",
        "nope",
        "idle",
        "some",
        "near",
        "_http._tcp.weighed",
        "blue.web",
    ];
    let names = names.map(|name| format!("{name}.shop.fabric.internal"));
    let more = ["n1.node.fabric.internal", "nodes.fabric.internal", "shop.fabric.internal", "nope.fabric.internal"];
    for name in names.iter().map(String::as_str).chain(more) {
        for (record_type, snapshot) in [1, 28, 16].into_iter().flat_map(|t| [0, 1, 2, 3].map(|s| (t, s))) {
            let asked =
                Asked { packet: query(name, record_type, true), client: [10, 0, 0, 2].into(), seed: 1, snapshot };
            assert!(fast(&asked, Room::Datagram, &mut [0; BOUND]).is_some(), "{name} {record_type} {snapshot}");
        }
    }
    for (name, record_type) in [
        ("web.shop.fabric.internal", 33),
        ("_http._tcp.near.shop.fabric.internal", 33),
        ("_http._tcp.crowd.shop.fabric.internal", 33),
        ("1.0.10.10.in-addr.arpa", 12),
        ("1.0.10.10.in-addr.arpa", 1),
    ] {
        for edns in [false, true] {
            let asked =
                Asked { packet: query(name, record_type, edns), client: [10, 0, 0, 2].into(), seed: 1, snapshot: 0 };
            assert!(fast(&asked, Room::Datagram, &mut [0; BOUND]).is_some(), "{name} {record_type}");
        }
    }
}

#[test]
fn reply_on_a_stream_is_whole() {
    for name in ["mass", "_http._tcp.crowd", "_http._tcp.mass"] {
        let name = format!("{name}.shop.fabric.internal");
        let asked = Asked {
            packet: query(&name, if name.starts_with('_') { 33 } else { 1 }, true),
            client: [10, 0, 0, 2].into(),
            seed: 5,
            snapshot: 0,
        };
        let mut out = vec![0; 65_535];
        let len = fast(&asked, Room::Stream, &mut out).expect("a fast reply");
        assert_equal(&asked, &out[..len], &full(&asked, Transport::Tcp).unwrap(), 65_535);
        assert!(out[2] & 2 == 0 && len > BOUND, "{name}");
    }
}

#[test]
fn short_buffer_is_a_lower_limit() {
    let asked = Asked {
        packet: query("crowd.shop.fabric.internal", 1, true),
        client: [10, 0, 0, 2].into(),
        seed: 5,
        snapshot: 0,
    };
    for room in 0..200 {
        let mut out = vec![0; room];
        if let Some(len) = fast(&asked, Room::Datagram, &mut out) {
            assert!(len <= room && out[2] & 2 == 2);
        }
    }
}
