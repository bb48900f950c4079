use super::*;

#[tokio::test]
async fn a_call_is_answered_and_the_callee_knows_the_caller() {
    let (a, mut b) = pair();
    assert_eq!(a.call(b.id, b"abc").await, Ok(b"cba".to_vec()));
    assert_eq!(b.heard().await, Heard::Call(Peer::Node(a.id), Lane::Control, Bytes::from_static(b"abc")));
    assert_eq!(a.call(b.id, b"").await, Ok(vec![]));
    assert!(a.net.round_trip(b.id).is_some_and(|rtt| rtt < Duration::from_secs(1)));
}

#[tokio::test]
async fn each_lane_carries_calls_between_nodes() {
    let (a, mut b) = pair();
    for lane in [Lane::Raft, Lane::Control, Lane::Catalogue, Lane::Join] {
        assert_eq!(a.net.call(b.id, lane, b"xy", LIMIT).await, Ok(b"yx".to_vec()));
        assert_eq!(b.heard().await, Heard::Call(Peer::Node(a.id), lane, Bytes::from_static(b"xy")));
    }
}

#[tokio::test]
async fn a_refusal_reaches_the_caller_in_words() {
    let (a, b) = pair();
    assert_eq!(a.call(b.id, b"refuse").await, Err(CallError::Refused("not today".into())));
}

#[tokio::test]
async fn a_call_without_an_answer_times_out_and_the_callee_stops_working() {
    let (a, mut b) = pair();
    a.call(b.id, b"dial").await.unwrap();
    b.heard().await;
    let hung = a.net.call(b.id, Lane::Control, b"hang", Duration::from_millis(300)).await;
    assert_eq!(hung, Err(CallError::Timeout));
    assert_eq!(b.heard().await, Heard::Call(Peer::Node(a.id), Lane::Control, Bytes::from_static(b"hang")));
    assert_eq!(b.heard().await, Heard::GivenUp);
}

#[tokio::test]
async fn a_call_that_waits_long_keeps_a_live_connection() {
    let (a, b) = pair();
    a.call(b.id, b"dial").await.unwrap();
    let before = a.net.pool().live(b.id).unwrap().id();
    let hung = a.net.call(b.id, Lane::Control, b"hang", Duration::from_millis(300)).await;
    assert_eq!(hung, Err(CallError::Timeout));
    assert_eq!(a.net.pool().live(b.id).map(crate::link::Link::id), Some(before));
}

#[tokio::test]
async fn a_push_arrives() {
    let (a, mut b) = pair();
    a.net.push(b.id, Lane::Catalogue, b"a set", LIMIT).await.unwrap();
    assert_eq!(b.heard().await, Heard::Push(a.id, Lane::Catalogue, Bytes::from_static(b"a set")));
}

#[tokio::test]
async fn a_datagram_sent_while_dialling_arrives() {
    let (a, mut b) = pair();
    a.net.send_datagram(b.id, Bytes::from_static(b"ping"));
    assert_eq!(b.heard().await, Heard::Datagram(a.id, Bytes::from_static(b"ping")));
}

#[tokio::test]
async fn the_largest_datagram_is_sent_and_a_larger_one_is_not() {
    let (a, mut b) = pair();
    a.net.send_datagram(b.id, vec![1; DATAGRAM_BYTES_MAX + 1].into());
    assert_eq!(a.net.inner.endpoint.open_connections(), 0, "nothing is dialled for it either");
    a.net.send_datagram(b.id, vec![2; DATAGRAM_BYTES_MAX].into());
    assert_eq!(b.heard().await, Heard::Datagram(a.id, vec![2; DATAGRAM_BYTES_MAX].into()));
    a.net.send_datagram(b.id, vec![3; DATAGRAM_BYTES_MAX + 1].into());
    a.net.send_datagram(b.id, vec![4; DATAGRAM_BYTES_MAX].into());
    assert_eq!(b.heard().await, Heard::Datagram(a.id, vec![4; DATAGRAM_BYTES_MAX].into()));
}

#[tokio::test]
async fn a_large_message_goes_and_comes_whole() {
    let (a, b) = pair();
    let large: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_le_bytes()[(i % 3) as usize]).collect();
    let turned: Vec<u8> = large.iter().rev().copied().collect();
    assert!(a.call(b.id, &large).await == Ok(turned));
}

#[tokio::test]
async fn several_messages_larger_than_the_window_pass_at_once() {
    let (a, b) = pair();
    let large = vec![7; 12 << 20];
    let calls = (0..3).map(|_| a.call(b.id, &large));
    for reply in futures::future::join_all(calls).await {
        assert_eq!(reply.map(|r| r.len()), Ok(12 << 20));
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_not_answered() {
    let (a, mut b) = pair();
    let reply = a.call(b.id, &vec![0; MESSAGE_BYTES_MAX]).await; // the lane's byte makes it one too many
    assert!(matches!(reply, Err(CallError::Broken(_))), "{reply:?}");
    b.heard_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_share_one_dial() {
    let (a, b) = pair();
    let calls = (0..50).map(|_| {
        let (net, id) = (a.net.clone(), b.id);
        tokio::spawn(async move { net.call(id, Lane::Control, b"ab", LIMIT).await })
    });
    for reply in futures::future::join_all(calls).await {
        assert_eq!(reply.unwrap(), Ok(b"ba".to_vec()));
    }
    assert_eq!(a.net.inner.endpoint.open_connections(), 1);
    assert_eq!(b.net.inner.endpoint.open_connections(), 1);
}

#[tokio::test]
async fn the_callee_answers_over_the_callers_connection() {
    let (a, b) = pair();
    a.call(b.id, b"ab").await.unwrap();
    assert_eq!(b.call(a.id, b"ab").await, Ok(b"ba".to_vec()));
    assert_eq!(b.net.inner.endpoint.open_connections(), 1);
}

#[tokio::test]
async fn nodes_that_dial_each_other_at_once_both_get_through() {
    let (a, b) = pair();
    let (to, fro) = tokio::join!(a.call(b.id, b"ab"), b.call(a.id, b"cd"));
    assert_eq!((to, fro), (Ok(b"ba".to_vec()), Ok(b"dc".to_vec())));
}

#[tokio::test]
async fn a_node_without_an_address_is_not_called() {
    let (a, _b) = pair();
    assert_eq!(a.call(NodeId(77), b"ab").await, Err(CallError::UnknownNode(NodeId(77))));
    a.net.send_datagram(NodeId(77), Bytes::from_static(b"ping"));
    assert_eq!(a.net.round_trip(NodeId(77)), None);
}
