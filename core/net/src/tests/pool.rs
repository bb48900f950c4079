//! How many connections are kept, and which.

use super::*;
use crate::link::Link;

fn bounded(n: u8, connections_max: usize) -> Node {
    let identity = identity(&authority(1), n);
    Node::started(unjoined_with(&identity.key, any_port(), connections_max), identity, 1)
}

fn connection(from: &Node, to: &Node) -> Connection {
    from.net.pool().live(to.id).unwrap().connection.clone()
}

async fn closed(connection: &Connection) -> String {
    timeout(LIMIT, connection.closed()).await.expect("it is closed in time").to_string()
}

#[tokio::test]
async fn one_connection_too_many_closes_the_one_used_longest_ago() {
    let hub = bounded(1, 3);
    let others: Vec<Node> = (2..=6).map(|n| Node::new(&authority(1), n)).collect();
    for other in &others {
        hub.knows(other);
    }
    for other in &others[..3] {
        hub.call(other.id, b"hi").await.unwrap();
    }
    hub.call(others[0].id, b"hi").await.unwrap();
    let longest_ago = connection(&hub, &others[1]);
    hub.call(others[3].id, b"hi").await.unwrap();
    assert_eq!(longest_ago.close_reason(), Some(quinn::ConnectionError::LocallyClosed));
    let kept = |n: usize| hub.net.pool().live(others[n].id).is_some();
    assert_eq!([0, 1, 2, 3].map(kept), [true, false, true, true]);
    assert!(hub.net.round_trip(others[1].id).is_some(), "its round trip is remembered");
    others[1].until("the peer hears of it", |net| net.pool().live(hub.id).is_none()).await;
    assert_eq!(hub.call(others[1].id, b"ab").await, Ok(b"ba".to_vec()), "it is dialled again when needed");
    hub.until("no more are open", |net| net.inner.endpoint.open_connections() <= 3).await;
}

#[tokio::test]
async fn connections_that_others_dial_count_too() {
    let hub = bounded(1, 2);
    let others: Vec<Node> = (2..=7).map(|n| Node::new(&authority(1), n)).collect();
    for other in &others {
        other.knows(&hub);
        assert_eq!(other.call(hub.id, b"ab").await, Ok(b"ba".to_vec()));
    }
    hub.until("no more are open", |net| net.inner.endpoint.open_connections() <= 2).await;
    others[0].until("the first is closed", |net| net.pool().live(hub.id).is_none()).await;
}

#[tokio::test]
async fn a_connection_with_a_call_under_way_outlives_idle_ones() {
    let hub = bounded(1, 2);
    let mut others: Vec<Node> = (2..=4).map(|n| Node::new(&authority(1), n)).collect();
    for other in &others {
        hub.knows(other);
    }
    let (net, busy) = (hub.net.clone(), others[0].id);
    let hanging = tokio::spawn(async move { net.call(busy, Lane::Control, b"hang", LIMIT * 2).await });
    others[0].heard().await;
    for other in &others[1..] {
        hub.call(other.id, b"hi").await.unwrap();
    }
    let kept = |n: usize| hub.net.pool().live(others[n].id).is_some();
    assert_eq!([0, 1, 2].map(kept), [true, false, true]);
    hanging.abort();
    let _ = hanging.await;
    hub.call(others[1].id, b"hi").await.unwrap();
    let kept = |n: usize| hub.net.pool().live(others[n].id).is_some();
    assert_eq!([0, 1, 2].map(kept), [false, true, true], "the call is over");
}

#[tokio::test]
async fn of_many_connections_of_one_node_the_newest_is_used_and_the_old_ones_are_closed() {
    let a = Node::new(&authority(1), 1);
    let twins: Vec<Node> = (0..5).map(|_| Node::new(&authority(1), 2)).collect();
    let mut connections = vec![];
    for twin in &twins {
        twin.knows(&a);
        twin.call(a.id, b"hi").await.unwrap();
        connections.push(connection(twin, &a));
    }
    for old in &connections[..3] {
        assert!(closed(old).await.contains("newer connections"));
    }
    assert!(connections[4].close_reason().is_none());
    let used = a.net.pool().live(twins[4].id).map(|link| link.connection.remote_address());
    assert_eq!(used, Some(twins[4].address));
    a.until("two remain at most", |net| net.inner.endpoint.open_connections() <= 2).await;
}

#[tokio::test]
async fn a_dropped_connection_is_closed_and_its_round_trip_remembered() {
    let (a, b) = pair();
    a.call(b.id, b"hi").await.unwrap();
    let dropped = connection(&b, &a);
    let (net, id) = (a.net.clone(), b.id);
    let hanging = tokio::spawn(async move { net.call(id, Lane::Control, b"hang", LIMIT * 2).await });
    tokio::task::yield_now().await;
    a.net.drop_connection(b.id);
    assert!(a.net.pool().live(b.id).is_none());
    assert!(closed(&dropped).await.contains("taken for dead"));
    let broken = timeout(LIMIT, hanging).await.expect("it fails at once").unwrap();
    assert!(matches!(broken, Err(CallError::Broken(_))), "{broken:?}");
    assert!(a.net.round_trip(b.id).is_some_and(|rtt| rtt < Duration::from_secs(1)));
    assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
    a.net.drop_connection(NodeId(77)); // unknown
}

#[tokio::test]
async fn a_sign_of_life_is_given_on_a_live_connection_only() {
    let (a, mut b) = pair();
    assert_eq!(a.net.probe_live(b.id, LIMIT).await, None);
    assert_eq!(a.net.inner.endpoint.open_connections(), 0, "none is dialled");
    a.call(b.id, b"hi").await.unwrap();
    b.heard().await;
    assert_eq!(a.net.probe_live(b.id, LIMIT).await, Some(true));
    b.heard_nothing();
    assert_eq!(b.net.probe_live(a.id, LIMIT).await, Some(true), "in both directions");
}

#[tokio::test]
async fn a_node_forgotten_while_it_is_dialled_gets_no_connection() {
    let (a, b) = pair();
    let call = a.call(b.id, b"hi");
    tokio::pin!(call);
    assert!(futures::poll!(&mut call).is_pending());
    a.net.forget_peer(b.id);
    assert_eq!(call.await, Err(CallError::UnknownNode(b.id)));
    assert!(a.net.pool().live(b.id).is_none());
}

/// A connection that nobody acknowledges anything on.
async fn with_a_dead_peer(a: &Node) -> (NodeId, failures::Process, Link) {
    let peer = failures::Process::start(any_port());
    a.net.set_address(peer.id, peer.address);
    a.call(peer.id, b"hi").await.unwrap();
    let link = a.net.pool().live(peer.id).unwrap().clone();
    (peer.id, peer, link)
}

#[tokio::test]
async fn a_push_on_a_silent_connection_waits_for_its_acknowledgement() {
    let a = Node::new(&authority(1), 1);
    let (id, peer, link) = with_a_dead_peer(&a).await;
    // To a peer that lives: silent for long, and the push succeeds.
    link.backdate(Duration::from_secs(10));
    assert_eq!(a.net.push(id, Lane::Catalogue, b"a set", LIMIT).await, Ok(()));
    // To a dead one it would succeed as well if it were trusted.
    let _socket = peer.kill().await;
    assert_eq!(a.net.push(id, Lane::Catalogue, b"a set", LIMIT).await, Ok(()), "heard a moment ago");
    link.backdate(Duration::from_secs(10));
    let limit = Duration::from_millis(300);
    assert_eq!(a.net.push(id, Lane::Catalogue, b"a set", limit).await, Err(CallError::Timeout));
    assert!(a.net.pool().live(id).is_none(), "the next one dials");
    assert_eq!(a.net.probe_live(id, limit).await, None);
}

#[tokio::test]
async fn a_dead_peer_gives_no_sign_of_life_and_its_connection_is_used_no_more() {
    let a = Node::new(&authority(1), 1);
    let (id, peer, _) = with_a_dead_peer(&a).await;
    let _socket = peer.kill().await;
    assert_eq!(a.net.probe_live(id, Duration::from_millis(300)).await, Some(false));
    assert_eq!(a.net.probe_live(id, Duration::from_millis(300)).await, None);
    assert!(a.net.round_trip(id).is_some(), "remembered");
}

#[tokio::test]
async fn packets_that_nobody_acknowledges_go_sealed() {
    let counts = counting::Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let a = Node::new(&authority(1), 1);
    let (id, peer, link) = with_a_dead_peer(&a).await;
    a.net.set_peer_key(id, NodeKey::from_seed([2; 32]).public()).unwrap();
    let _socket = peer.kill().await;
    a.net.send_datagram(id, Bytes::from_static(b"first"));
    assert_eq!((counts.datagrams("quic", "out"), counts.datagrams("sealed", "out")), (1, 0));
    link.backdate(Duration::from_secs(2));
    a.net.send_datagram(id, Bytes::from_static(b"second"));
    assert_eq!((counts.datagrams("quic", "out"), counts.datagrams("sealed", "out")), (1, 1));
    assert!(a.net.pool().live(id).is_some(), "for calls it counts until one fails");
}
