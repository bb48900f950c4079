use super::*;

fn token(ca: &Authority) -> JoinToken {
    JoinToken { cluster: CLUSTER, ca_hash: ca.hash(), id: taffeta_model::TokenId(1), secret: [8; 16] }
}

fn machine(n: u8) -> Unjoined {
    unjoined(&NodeKey::from_seed([n; 32]), any_port())
}

/// A connection without a certificate.
async fn stranger(machine: &Unjoined, to: &Node, ca: &Authority) -> Connection {
    let means = Means::new(crate::crypto(), Arc::new(crate::SystemClock), Versions::ALL);
    let config =
        quinn::ClientConfig::new(Arc::new(tls::join_config(CLUSTER, ca.hash(), Duration::ZERO, &means).unwrap()));
    machine.endpoint.connect_with(config, to.address, "join.taffeta.internal").unwrap().await.unwrap()
}

#[tokio::test]
async fn a_stranger_may_ask_to_join() {
    let ca = authority(1);
    let mut node = Node::new(&ca, 1);
    assert_eq!(machine(9).join(node.address, &token(&ca), b"me").await.unwrap(), b"em");
    assert_eq!(node.heard().await, Heard::Call(Peer::Stranger, Lane::Join, Bytes::from_static(b"me")));
}

#[tokio::test]
async fn a_refused_join_gives_the_reason() {
    let ca = authority(1);
    let node = Node::new(&ca, 1);
    let refused = machine(9).join(node.address, &token(&ca), b"refuse").await;
    assert!(matches!(&refused, Err(JoinError::Refused(why)) if why == "not today"), "{refused:?}");
}

#[tokio::test]
async fn a_stranger_is_refused_on_every_other_lane() {
    let ca = authority(1);
    let mut node = Node::new(&ca, 1);
    let machine = machine(9);
    let connection = stranger(&machine, &node, &ca).await;
    for lane in [Lane::Raft, Lane::Control, Lane::Catalogue, Lane::Ping, Lane::Renew] {
        let refused = exchange(&connection, lane, b"hello").await;
        assert_eq!(refused, Err(CallError::Refused("this needs a node's certificate".into())));
        let mut push = connection.open_uni().await.unwrap();
        push.write_all(&[lane.byte(), 1, 2, 3]).await.unwrap();
        push.finish().unwrap();
    }
    connection.send_datagram(Bytes::from_static(b"ping")).unwrap();
    // What came before has been dealt with when this is heard; it alone is.
    exchange(&connection, Lane::Join, b"last").await.unwrap();
    assert_eq!(node.heard().await, Heard::Call(Peer::Stranger, Lane::Join, Bytes::from_static(b"last")));
    node.heard_nothing();
    assert!(node.net.pool().live(identity(&ca, 9).id()).is_none());
}

#[tokio::test]
async fn a_stranger_may_not_send_much() {
    let ca = authority(1);
    let mut node = Node::new(&ca, 1);
    let machine = machine(9);
    let connection = stranger(&machine, &node, &ca).await;
    let reply = exchange(&connection, Lane::Join, &vec![0; STRANGER_BYTES_MAX]).await;
    assert!(matches!(reply, Err(CallError::Broken(_))), "{reply:?}");
    node.heard_nothing();
    let fits = exchange(&connection, Lane::Join, &vec![0; STRANGER_BYTES_MAX - 1]).await;
    assert_eq!(fits.map(|r| r.len()), Ok(STRANGER_BYTES_MAX - 1));
}

#[tokio::test]
async fn too_many_strangers_at_once_are_sent_away() {
    let ca = authority(1);
    let node = Node::new(&ca, 1);
    let machine = machine(9);
    let mut held = vec![];
    for _ in 0..STRANGERS_MAX {
        let connection = stranger(&machine, &node, &ca).await;
        exchange(&connection, Lane::Join, b"in").await.unwrap();
        held.push(connection);
    }
    let one_more = stranger(&machine, &node, &ca).await;
    let away = timeout(LIMIT, one_more.closed()).await.unwrap();
    assert!(away.to_string().contains("too many machines"), "{away}");
    held.pop().unwrap().close(VarInt::from_u32(0), b"");
    let let_in = async { while exchange(&stranger(&machine, &node, &ca).await, Lane::Join, b"in").await.is_err() {} };
    timeout(LIMIT, let_in).await.expect("a place that was left is given to another");
}

#[tokio::test]
async fn a_token_of_another_cluster_is_told_apart() {
    let node = Node::new(&authority(1), 1);
    let joined = machine(9).join(node.address, &token(&authority(2)), b"me").await;
    assert!(matches!(joined, Err(JoinError::ForeignCluster(at)) if at == node.address), "{joined:?}");
}

#[tokio::test]
async fn showing_the_pinned_ca_without_its_signature_is_not_enough() {
    let (ca, other) = (authority(1), authority(2));
    let liar = Identity { authorities: vec![ca.certificate().to_vec()], ..identity(&other, 1) };
    let mut node = Node::with(liar, any_port());
    let joined = machine(9).join(node.address, &token(&ca), b"me").await;
    assert!(matches!(joined, Err(JoinError::Unreachable(..))), "{joined:?}");
    node.heard_nothing();
}

#[tokio::test]
async fn nobody_at_the_address_is_said_so() {
    let address = free_address();
    let joined = machine(9).join(address, &token(&authority(1)), b"me").await;
    assert!(matches!(joined, Err(JoinError::Unreachable(at, _)) if at == address), "{joined:?}");
}

#[tokio::test]
async fn a_machine_that_has_joined_becomes_a_node_on_the_same_port() {
    let ca = authority(1);
    let node = Node::new(&ca, 1);
    let machine = machine(9);
    machine.join(node.address, &token(&ca), b"me").await.unwrap();
    let address = machine.local_address().unwrap();
    let mut joined = Node::started(machine, identity(&ca, 9), 1);
    assert_eq!(joined.address, address);
    node.knows(&joined);
    assert_eq!(node.call(joined.id, b"hi").await, Ok(b"ih".to_vec()));
    assert_eq!(joined.heard().await, Heard::Call(Peer::Node(node.id), Lane::Control, Bytes::from_static(b"hi")));
}

#[tokio::test]
async fn a_closed_machine_gives_its_port_back() {
    let ca = authority(1);
    let node = Node::new(&ca, 1);
    let machine = machine(9);
    machine.join(node.address, &token(&ca), b"refuse").await.unwrap_err();
    let address = machine.local_address().unwrap();
    machine.close().await;
    bind_again(address, Duration::from_secs(1)).await;
}
