//! Conversations: frames both ways.

use super::*;

async fn begin(from: &Node, to: &Node) -> Talk {
    from.net.talk(to.id, Lane::Talk, LIMIT).await.unwrap()
}

#[tokio::test]
async fn each_frame_is_answered_while_the_conversation_goes_on() {
    let (a, mut b) = pair();
    let mut talk = begin(&a, &b).await;
    for n in 0..100u8 {
        talk.says.send(&[n, 1, 2]).await.unwrap();
        assert_eq!(talk.hears.next().await, Ok(Some(vec![2, 1, n].into())));
    }
    assert_eq!(b.heard().await, Heard::Call(Peer::Node(a.id), Lane::Talk, Bytes::new()));
    talk.says.end(Ok(())).await;
    assert_eq!(talk.hears.next().await, Ok(None));
    assert_eq!(b.heard().await, Heard::GivenUp);
}

#[tokio::test]
async fn either_side_may_end_it_and_says_why() {
    let (a, b) = pair();
    let mut talk = begin(&a, &b).await;
    talk.says.send(b"enough").await.unwrap();
    assert_eq!(talk.hears.next().await, Err(CallError::Refused("as you like".into())));
    let (mut other, mut listens) = (begin(&a, &b).await, b);
    other.says.send(b"ab").await.unwrap();
    assert_eq!(other.hears.next().await, Ok(Some(b"ba"[..].into())));
    drop(other);
    let gone = async { while listens.heard().await != Heard::GivenUp {} };
    timeout(LIMIT, gone).await.expect("the callee hears that the caller has gone");
}

#[tokio::test]
async fn neither_side_is_faster_than_the_other_takes_it() {
    let (a, b) = pair();
    let mut talk = begin(&a, &b).await;
    let frame = vec![7; 100_000];
    // Nobody takes what comes back, so what is said is not taken either at some time.
    let mut said = 0;
    while let Ok(sent) = timeout(Duration::from_millis(500), talk.says.send(&frame)).await {
        sent.unwrap();
        said += 1;
        assert!(said < 1_000, "100 MB fit into no window");
    }
    let received = a.net.pool().live(b.id).unwrap().connection.stats().udp_rx.bytes;
    assert!(received < 16 << 20, "{received} bytes came");
    for _ in 0..said {
        assert_eq!(talk.hears.next().await.unwrap().map(|frame| frame.len()), Some(100_000));
    }
}

#[tokio::test]
async fn nothing_else_is_done_on_its_lane_and_it_is_held_on_no_other() {
    let (a, b) = pair();
    assert!(matches!(a.net.talk(b.id, Lane::Control, LIMIT).await, Err(CallError::Refused(_))));
    assert!(matches!(a.net.call(b.id, Lane::Talk, b"ab", LIMIT).await, Err(CallError::Refused(_))));
    assert!(matches!(a.net.stream(b.id, Lane::Talk, b"ab", LIMIT).await, Err(CallError::Refused(_))));
}
