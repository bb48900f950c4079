//! Nodes of two versions.

use super::*;

fn node(n: u8, min: u32, max: u32) -> Node {
    let identity = identity(&authority(1), n);
    let unjoined = unjoined_that_speaks(&identity.key, any_port(), CONNECTIONS_MAX, Versions { min, max });
    Node::started(unjoined, identity, 1)
}

#[tokio::test]
async fn two_nodes_speak_the_newest_version_that_both_know() {
    for ((a, b), version) in
        [(((1, 1), (1, 2)), 1), (((1, 2), (1, 1)), 1), (((1, 2), (1, 2)), 2), (((2, 2), (1, 2)), 2)]
    {
        let (a, b) = (node(1, a.0, a.1), node(2, b.0, b.1));
        a.knows(&b);
        b.knows(&a);
        let large = b"web.shop ".repeat(100_000);
        let reply = a.call(b.id, &large).await.unwrap();
        assert!(reply.iter().rev().eq(&large), "it comes whole in either version");
        assert_eq!((a.net.version(b.id), b.net.version(a.id)), (Some(version), Some(version)));
        let link = a.net.pool().take_live(b.id).unwrap();
        let received = link.connection.stats().udp_rx.bytes;
        assert_eq!(received < 200_000, version == 2, "version 2 packs it: {received} bytes");
    }
}

#[tokio::test]
async fn nodes_without_a_common_version_do_not_connect_and_a_join_says_why() {
    let (a, b) = (node(1, 1, 1), node(2, 2, 2));
    a.knows(&b);
    assert!(matches!(a.call(b.id, b"x").await, Err(CallError::Unreachable(..))));
    let key = NodeKey::from_seed([3; 32]);
    let stranger = unjoined_that_speaks(&key, any_port(), CONNECTIONS_MAX, Versions { min: 1, max: 1 });
    let token = JoinToken { cluster: CLUSTER, ca_hash: authority(1).hash(), id: Default::default(), secret: [0; 16] };
    let refused = stranger.join(b.address, &token, b"x").await;
    assert!(matches!(refused, Err(JoinError::OtherVersion(..))), "{refused:?}");
}

#[tokio::test]
async fn a_machine_of_data_format_1_ends_in_the_handshake() {
    let (ca, b) = (authority(1), node(2, 1, 2));
    let means = Means::new(crate::crypto(), Arc::new(crate::SystemClock), Versions::ALL);
    let machine = unjoined(&NodeKey::from_seed([3; 32]), any_port());
    // What it offered, and what version 1 of this protocol offers.
    for (offered, is_heard) in [("taffeta/1", false), ("taffeta/v1", true)] {
        let mut tls = tls::join_tls(CLUSTER, ca.hash(), Duration::ZERO, &means).unwrap();
        tls.alpn_protocols = vec![offered.into()];
        let config: quinn::crypto::rustls::QuicClientConfig = tls.try_into().unwrap();
        let config = quinn::ClientConfig::new(Arc::new(config));
        let shaken = machine.endpoint.connect_with(config, b.address, "join.taffeta.internal").unwrap().await;
        match shaken {
            Ok(_) => assert!(is_heard, "{offered} was let in"),
            Err(error) => assert!(!is_heard && tls::is_other_version(&error), "{offered}: {error}"),
        }
    }
}
