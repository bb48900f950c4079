//! Small calls as sealed datagrams: when they are made so, when not, and that no more is believed than on a connection.

use super::{counting::Counts, *};
use crate::sealed::{Kind, Seals};
use std::collections::BTreeSet;

/// Two nodes that know one another's address and key, and have a connection.
async fn connected() -> (Node, Node) {
    let (a, b) = introduced().await;
    a.call(b.id, b"").await.unwrap();
    (a, b)
}

impl Node {
    async fn brief(&self, to: NodeId, request: &[u8]) -> Result<Vec<u8>, CallError> {
        self.net.call_brief(to, Lane::Raft, request, LIMIT).await
    }
}

/// Sealed calls that went out and sealed calls that came in, replies included.
fn sealed(counts: &Counts) -> (u64, u64) {
    (counts.datagrams("call", "out"), counts.datagrams("call", "in"))
}

#[tokio::test]
async fn a_small_call_on_a_live_connection_is_two_sealed_datagrams() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, mut b) = connected().await;
    assert!(matches!(b.heard().await, Heard::Call(..)));
    let largest = vec![7; DATAGRAM_BYTES_MAX - 9];
    for (n, request) in [&b"ab"[..], b"", &largest].into_iter().enumerate() {
        let reply = request.iter().rev().copied().collect();
        assert_eq!(a.brief(b.id, request).await, Ok(reply));
        assert_eq!(b.heard().await, Heard::Call(Peer::Node(a.id), Lane::Raft, Bytes::copy_from_slice(request)));
        let datagrams = 2 * (n as u64 + 1);
        assert_eq!(sealed(&counts), (datagrams, datagrams));
    }
    assert_eq!(a.brief(b.id, b"refuse").await, Err(CallError::Refused("not today".into())));
    assert_eq!(b.brief(a.id, b"ab").await, Ok(b"ba".to_vec()), "the other way round on the same connection");
    assert_eq!(sealed(&counts), (10, 10));
}

#[tokio::test]
async fn what_is_large_or_on_another_lane_or_without_a_connection_goes_on_one() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, mut b) = introduced().await;
    assert_eq!(a.brief(b.id, b"first").await, Ok(b"tsrif".to_vec()));
    let large = vec![7; DATAGRAM_BYTES_MAX - 8];
    assert_eq!(a.brief(b.id, &large).await, Ok(large.clone()));
    assert_eq!(a.net.call_brief(b.id, Lane::Control, b"ab", LIMIT).await, Ok(b"ba".to_vec()));
    assert_eq!(sealed(&counts), (0, 0));
    for lane in [Lane::Raft, Lane::Raft, Lane::Control] {
        assert!(matches!(b.heard().await, Heard::Call(_, heard, _) if heard == lane));
    }
    assert_eq!(a.brief(b.id, b"ab").await, Ok(b"ba".to_vec()));
    assert_eq!(sealed(&counts), (2, 2), "all that is missing now is nothing");
}

#[tokio::test]
async fn a_lost_one_goes_once_more_on_the_connection_and_so_do_the_next() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, b) = pair();
    a.net.set_peer_key(b.id, key(2).public()).unwrap(); // b knows no key for a: as good as lost
    a.call(b.id, b"").await.unwrap();
    for _ in 0..3 {
        assert_eq!(a.brief(b.id, b"ab").await, Ok(b"ba".to_vec()));
        assert_eq!(sealed(&counts), (1, 0));
    }
    assert_eq!(counts.refused("unknown_sender"), 1);
}

#[tokio::test]
async fn one_that_is_not_answered_ends_when_the_time_is_over() {
    let (a, mut b) = connected().await;
    assert!(matches!(b.heard().await, Heard::Call(..)));
    let began = Instant::now();
    let limit = Duration::from_millis(200);
    assert_eq!(a.net.call_brief(b.id, Lane::Raft, b"hang", limit).await, Err(CallError::Timeout));
    assert!((limit..limit * 10).contains(&began.elapsed()), "{:?}", began.elapsed());
    for _ in 0..2 {
        assert!(matches!(b.heard().await, Heard::Call(..)), "once sealed, once on the connection");
    }
}

#[tokio::test]
async fn a_sealed_call_is_answered_only_for_whom_the_connection_vouches() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, mut b) = pair();
    b.net.set_peer_key(a.id, key(1).public()).unwrap();
    b.writable().await;
    let mut seals = Seals::new(CLUSTER, &key(1), &[1; 32], 5); // a's, in a later life
    seals.set_key(b.id, key(2).public()).unwrap();
    let socket = any_port();
    let (id, address) = (b.id, b.address);
    let mut send = |kind, packet: &[u8]| {
        socket.send_to(&seals.seal(id, kind, packet).unwrap(), address).unwrap();
    };
    let call = |lane: u8| [&1_u64.to_be_bytes()[..], &[lane], b"forged"].concat();
    send(Kind::Call, &call(1)); // authentic, but there is no connection
    send(Kind::Packet, b"after it");
    assert_eq!(b.heard().await, Heard::Datagram(a.id, Bytes::from_static(b"after it")));
    a.call(b.id, b"connects").await.unwrap();
    assert!(matches!(b.heard().await, Heard::Call(_, Lane::Control, _)));
    for lane in [0, 2, 3, 4, 5, 6, 7, 8, 9] {
        send(Kind::Call, &call(lane)); // not for small calls, or no lane at all
    }
    send(Kind::Call, b"short");
    send(Kind::Reply, b"short");
    send(Kind::Reply, &call(1)); // that nobody waits for
    send(Kind::Call, &call(1));
    assert_eq!(b.heard().await, Heard::Call(Peer::Node(a.id), Lane::Raft, Bytes::from_static(b"forged")));
    b.net.set_removed(BTreeSet::from([a.id]));
    send(Kind::Call, &call(1));
    let counted = async {
        while counts.refused("unknown_sender") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, counted).await.expect("a removed node's is refused");
    while let Ok(Some(heard)) = timeout(Duration::ZERO, b.heard.recv()).await {
        assert!(!matches!(heard, Heard::Call(..)), "{heard:?}");
    }
}

#[tokio::test]
async fn none_is_answered_whose_caller_has_shown_a_certificate_that_has_ended() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (mut fresh, ended) = certificates::fresh_and_ended(86_400_000, true).await;
    ended.net.set_peer_key(fresh.id, key(1).public()).unwrap();
    ended.writable().await;
    ended.net.date_of(fresh.id, LIMIT).await.unwrap(); // there is a connection
    let refused = ended.brief(fresh.id, b"hi").await;
    assert!(matches!(&refused, Err(CallError::Refused(why)) if why.contains("has ended")), "{refused:?}");
    assert_eq!(sealed(&counts), (1, 1), "it came, and nothing was said to it");
    fresh.heard_nothing();
    let not_asked = fresh.brief(ended.id, b"hi").await;
    assert!(matches!(&not_asked, Err(CallError::Refused(_))), "{not_asked:?}");
    assert_eq!(sealed(&counts), (1, 1), "nor is such a node asked");
}

#[tokio::test]
async fn none_is_made_to_or_answered_by_a_node_of_version_1() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let ca = authority(1);
    let (a, older) = (Node::new(&ca, 1), identity(&ca, 2));
    let unjoined = unjoined_that_speaks(&older.key, any_port(), CONNECTIONS_MAX, Versions { min: 1, max: 1 });
    let mut older = Node::started(unjoined, older, 1);
    a.knows(&older);
    older.knows(&a);
    a.net.set_peer_key(older.id, key(2).public()).unwrap();
    older.net.set_peer_key(a.id, key(1).public()).unwrap();
    for _ in 0..2 {
        assert_eq!(a.brief(older.id, b"ab").await, Ok(b"ba".to_vec()));
        assert!(matches!(older.heard().await, Heard::Call(..)));
    }
    let packet = [&1_u64.to_be_bytes()[..], &[1], b"too new"].concat();
    let sealed_call = a.net.seals().seal(older.id, Kind::Call, &packet).unwrap();
    any_port().send_to(&sealed_call, older.address).unwrap();
    a.net.send_datagram(older.id, Bytes::from_static(b"after it"));
    assert_eq!(older.heard().await, Heard::Datagram(a.id, Bytes::from_static(b"after it")));
    assert_eq!(sealed(&counts), (0, 1));
}
