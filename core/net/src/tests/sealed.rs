//! Packets of the ring without a connection.

use super::{counting::Counts, *};
use crate::sealed::{Kind, Seals};

/// As it would be in a cluster so large that a packet of the ring dials nothing.
fn large(node: &Node) {
    for n in 0..16 {
        node.net.set_address(NodeId(1_000 + n), free_address());
    }
}

/// Two nodes of a large cluster that know one another's address and key.
async fn sealed_pair() -> (Node, Node) {
    let (a, b) = introduced().await;
    large(&a);
    large(&b);
    (a, b)
}

#[tokio::test]
async fn two_nodes_exchange_packets_without_any_connection() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (mut a, mut b) = sealed_pair().await;
    for size in [0, 1, 500, DATAGRAM_BYTES_MAX] {
        a.net.send_datagram(b.id, vec![1; size].into());
        assert_eq!(b.heard().await, Heard::Datagram(a.id, vec![1; size].into()));
        b.net.send_datagram(a.id, vec![2; size].into());
        assert_eq!(a.heard().await, Heard::Datagram(b.id, vec![2; size].into()));
    }
    for node in [&a, &b] {
        assert_eq!(node.net.inner.endpoint.open_connections(), 0);
        assert_eq!(node.net.inner.endpoint.stats().outgoing_handshakes, 0);
    }
    assert_eq!((counts.datagrams("sealed", "out"), counts.datagrams("sealed", "in")), (8, 8));
    assert_eq!((counts.datagrams("quic", "out"), counts.datagrams("quic", "in")), (0, 0));
}

#[tokio::test]
async fn a_live_connection_is_preferred_and_a_small_cluster_gets_one() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, mut b) = introduced().await;
    a.net.send_datagram(b.id, Bytes::from_static(b"first"));
    assert_eq!(b.heard().await, Heard::Datagram(a.id, Bytes::from_static(b"first")));
    assert_eq!(counts.datagrams("sealed", "in"), 1);
    let connected = async {
        while a.net.round_trip(b.id).is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, connected).await.expect("the first packet also dials");
    a.net.send_datagram(b.id, Bytes::from_static(b"second"));
    assert_eq!(b.heard().await, Heard::Datagram(a.id, Bytes::from_static(b"second")));
    assert_eq!((counts.datagrams("sealed", "in"), counts.datagrams("quic", "in")), (1, 1));
}

#[tokio::test]
async fn what_is_not_authentic_and_new_is_refused_counted_and_not_delivered() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, mut b) = sealed_pair().await;
    // Its present life is the fifth, and is heard.
    let mut present = Seals::new(CLUSTER, &key(1), &[1; 32], 5);
    let mut past = Seals::new(CLUSTER, &key(1), &[2; 32], 4);
    let mut foreign = Seals::new(ClusterId(0xc2), &key(1), &[3; 32], 6);
    let mut unknown = Seals::new(CLUSTER, &key(3), &[4; 32], 5);
    for seals in [&mut present, &mut past, &mut foreign, &mut unknown] {
        seals.set_key(b.id, key(2).public()).unwrap();
    }
    let good = present.seal(b.id, Kind::Packet, b"good").unwrap();
    let mut flipped = present.seal(b.id, Kind::Packet, b"flipped").unwrap();
    flipped[40] ^= 1;
    let mut liar = unknown.seal(b.id, Kind::Packet, b"a's name, another's key").unwrap();
    liar[1..9].copy_from_slice(&a.id.0.to_be_bytes());
    liar[14] = 7;
    let truncated = &present.seal(b.id, Kind::Packet, b"truncated").unwrap()[..50];
    let socket = any_port();
    let bad: [(&str, &[u8]); 9] = [
        ("replay", &good),
        ("bad_seal", &flipped),
        ("bad_seal", &liar),
        ("bad_seal", truncated),
        ("bad_seal", &foreign.seal(b.id, Kind::Packet, b"foreign").unwrap()),
        ("old_session", &past.seal(b.id, Kind::Packet, b"past").unwrap()),
        ("unknown_sender", &unknown.seal(b.id, Kind::Packet, b"unknown").unwrap()),
        ("oversized", &[0x11; 1_400]),
        ("malformed", &[0x11; 44]),
    ];
    socket.send_to(&good, b.address).unwrap();
    assert_eq!(b.heard().await, Heard::Datagram(a.id, Bytes::from_static(b"good")));
    for (reason, datagram) in bad {
        let before = counts.refused(reason);
        socket.send_to(datagram, b.address).unwrap();
        let counted = async {
            while counts.refused(reason) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LIMIT, counted).await.unwrap_or_else(|_| panic!("{reason} is counted"));
        assert_eq!(counts.refused(reason), before + 1);
    }
    b.heard_nothing();
    let more = present.seal(b.id, Kind::Packet, b"more").unwrap();
    socket.send_to(&more, b.address).unwrap();
    assert_eq!(b.heard().await, Heard::Datagram(a.id, Bytes::from_static(b"more")), "the address does not matter");
    assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
}

#[tokio::test]
async fn a_restarted_node_is_heard_at_once() {
    let (a, mut b) = sealed_pair().await;
    a.net.send_datagram(b.id, Bytes::from_static(b"before"));
    assert_eq!(b.heard().await, Heard::Datagram(a.id, Bytes::from_static(b"before")));
    for start in [2, 3, 1_000_000] {
        let identity = identity(&authority(1), 1);
        let again = Node::started(unjoined(&identity.key, any_port()), identity, start);
        large(&again);
        again.knows(&b);
        again.net.set_peer_key(b.id, key(2).public()).unwrap();
        again.writable().await;
        again.net.send_datagram(b.id, Bytes::from_static(b"again"));
        assert_eq!(b.heard().await, Heard::Datagram(a.id, Bytes::from_static(b"again")));
    }
}

#[tokio::test]
async fn a_node_whose_start_was_set_back_is_heard_when_it_is_raised() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, mut b) = sealed_pair().await;
    let mut former = Seals::new(CLUSTER, &key(1), &[1; 32], 9);
    former.set_key(b.id, key(2).public()).unwrap();
    any_port().send_to(&former.seal(b.id, Kind::Packet, b"ninth life").unwrap(), b.address).unwrap();
    b.heard().await;
    a.net.send_datagram(b.id, Bytes::from_static(b"first life"));
    a.net.raise_start(10);
    a.net.send_datagram(b.id, Bytes::from_static(b"tenth life"));
    assert_eq!(b.heard().await, Heard::Datagram(a.id, Bytes::from_static(b"tenth life")));
    assert_eq!(counts.refused("old_session"), 1);
}

#[tokio::test]
async fn packets_come_through_while_a_large_message_does() {
    let (a, mut b) = sealed_pair().await;
    let c = Node::new(&authority(1), 3);
    c.knows(&b);
    let large = vec![7; 16 << 20];
    let (call, ()) = tokio::join!(c.call(b.id, &large), async {
        for n in 0..200_u64 {
            a.net.send_datagram(b.id, Bytes::copy_from_slice(&n.to_be_bytes()));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(call.map(|reply| reply.len()), Ok(large.len()));
    let mut arrived = 0;
    while let Ok(heard) = b.heard.try_recv() {
        arrived += u32::from(matches!(heard, Heard::Datagram(..)));
    }
    assert!(arrived > 100, "{arrived} of 200 packets arrived"); // the kernel may drop some in a burst of the call
}

#[tokio::test]
async fn a_forgotten_node_is_neither_heard_nor_sent_to() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, mut b) = sealed_pair().await;
    b.call(a.id, b"hi").await.unwrap();
    b.net.forget_peer(a.id);
    let gone = async {
        while a.net.pool().live(b.id).is_some() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, gone).await.expect("its connection is closed");
    a.net.send_datagram(b.id, Bytes::from_static(b"still here"));
    let counted = async {
        while counts.refused("unknown_sender") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, counted).await.expect("its packet is refused");
    b.heard_nothing();
    assert_eq!((b.net.address(a.id), b.net.round_trip(a.id)), (None, None));
    let sent = counts.datagrams("sealed", "out");
    b.net.send_datagram(a.id, Bytes::from_static(b"hello"));
    assert_eq!(counts.datagrams("sealed", "out"), sent);
}

#[tokio::test]
async fn a_closed_node_sends_and_hears_nothing() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, mut b) = sealed_pair().await;
    a.net.send_datagram(b.id, Bytes::from_static(b"before"));
    b.heard().await;
    b.net.close().await;
    b.net.send_datagram(a.id, Bytes::from_static(b"after"));
    a.net.send_datagram(b.id, Bytes::from_static(b"after"));
    assert_eq!(counts.datagrams("sealed", "out"), 2, "both of them by the one that lives");
    assert_eq!(timeout(Duration::from_millis(100), b.heard.recv()).await.ok(), None);
}

#[tokio::test]
async fn no_packet_of_quic_is_taken_for_a_sealed_one() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, b) = pair();
    for _ in 0..100 {
        assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
        assert_eq!(b.call(a.id, b"ab").await, Ok(b"ba".to_vec()));
    }
    assert_eq!(counts.refused("malformed"), 0);
}
