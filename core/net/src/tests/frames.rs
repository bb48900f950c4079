//! Replies in frames.

use super::*;
use crate::{Frames, frame};

async fn ask(from: &Node, to: &Node, request: &[u8]) -> Frames {
    from.net.stream(to.id, Lane::Snapshot, request, LIMIT).await.unwrap()
}

/// Reads to the end and counts bytes.
async fn drain(mut frames: Frames) -> (usize, Result<(), CallError>) {
    let mut bytes = 0;
    loop {
        match frames.next().await {
            Ok(Some(frame)) => bytes += frame.len(),
            Ok(None) => return (bytes, Ok(())),
            Err(error) => {
                assert_eq!(frames.next().await, Err(error.clone()), "an error is final");
                return (bytes, Err(error));
            }
        }
    }
}

#[tokio::test]
async fn frames_arrive_whole_and_in_order() {
    let (a, mut b) = pair();
    let mut frames = ask(&a, &b, &[0, 0, 0, 200]).await;
    for n in 0..200 {
        assert_eq!(frames.next().await, Ok(Some(vec![n; 1_000].into())));
    }
    assert_eq!(frames.next().await, Ok(None));
    assert_eq!(frames.next().await, Ok(None));
    let request = Bytes::from_static(&[0, 0, 0, 200]);
    assert_eq!(b.heard().await, Heard::Call(Peer::Node(a.id), Lane::Snapshot, request));
}

#[tokio::test]
async fn more_than_any_window_passes() {
    let (a, b) = pair();
    assert_eq!(drain(ask(&a, &b, &20_000_u32.to_be_bytes()).await).await, (20_000_000, Ok(())));
}

#[tokio::test]
async fn a_callee_goes_no_faster_than_its_caller_and_stops_with_it() {
    let (a, mut b) = pair();
    let mut frames = ask(&a, &b, &u32::MAX.to_be_bytes()).await;
    b.heard().await;
    frames.next().await.unwrap();
    // It must now wait for us: 4 TB fit into no window.
    assert!(timeout(Duration::from_millis(300), b.heard.recv()).await.is_err());
    let before = a.net.pool().live(b.id).unwrap().connection.stats().udp_rx.bytes;
    assert!(before < 16 << 20, "{before} bytes came");
    drop(frames);
    assert_eq!(b.heard().await, Heard::GivenUp);
    assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()), "the connection lives");
}

#[tokio::test]
async fn a_refusal_reaches_the_caller_before_or_after_frames() {
    let (a, b) = pair();
    assert_eq!(drain(ask(&a, &b, b"refuse").await).await, (0, Err(CallError::Refused("not today".into()))));
    let not_all = Err(CallError::Refused("that was not all".into()));
    assert_eq!(drain(ask(&a, &b, &[0, 0, 0, 3, 1]).await).await, (3_000, not_all));
}

#[tokio::test]
async fn a_frame_over_the_limit_is_not_sent() {
    let (a, b) = pair();
    let (bytes, refused) = drain(ask(&a, &b, b"oversized").await).await;
    assert!(matches!(&refused, Err(CallError::Refused(why)) if why.contains("too long")), "{refused:?}");
    assert_eq!(bytes, 0);
}

#[tokio::test]
async fn a_frame_that_does_not_come_is_waited_for_no_longer_than_the_limit() {
    let (a, b) = pair();
    let mut frames = a.net.stream(b.id, Lane::Snapshot, b"hang", Duration::from_millis(200)).await.unwrap();
    assert_eq!(frames.next().await, Err(CallError::Timeout));
    assert_eq!(frames.next().await, Err(CallError::Timeout));
}

#[tokio::test]
async fn a_stream_and_a_call_do_not_meet() {
    let (a, mut b) = pair();
    assert!(matches!(a.net.stream(b.id, Lane::Control, b"ab", LIMIT).await.err(), Some(CallError::Refused(_))));
    assert!(matches!(a.net.call(b.id, Lane::Snapshot, b"ab", LIMIT).await, Err(CallError::Refused(_))));
    a.net.push(b.id, Lane::Snapshot, b"ab", LIMIT).await.unwrap();
    a.call(b.id, b"last").await.unwrap();
    assert_eq!(b.heard().await, Heard::Call(Peer::Node(a.id), Lane::Control, Bytes::from_static(b"last")));
    b.heard_nothing();
}

/// A callee that writes these bytes as its whole reply.
async fn answered_with(reply: Vec<u8>, finish: bool) -> (usize, Result<(), CallError>) {
    let (a, b) = pair();
    a.call(b.id, b"hi").await.unwrap();
    // The callee's endpoint takes the stream here instead of its service: a dials c, a bare QUIC server.
    let ca = authority(1);
    let means = Means::new(crate::crypto(), Arc::new(crate::SystemClock), Versions::ALL);
    let liar = Arc::new(Credentials::new(identity(&ca, 3), crate::crypto()).unwrap());
    let server = quinn::ServerConfig::with_crypto(Arc::new(liar.server_config(&means).unwrap()));
    let server = quinn::Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    a.net.set_address(liar.id(), server.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().await.unwrap();
        let (mut send, mut receive) = connection.accept_bi().await.unwrap();
        receive.read_to_end(100).await.unwrap();
        let _ = send.write_all(&reply).await;
        if finish {
            let _ = send.finish();
        } else {
            let _ = send.reset(VarInt::from_u32(0));
        }
        connection.closed().await;
        server.close(VarInt::from_u32(0), b"");
    });
    let frames = a.net.stream(liar.id(), Lane::Snapshot, b"all", LIMIT).await.unwrap();
    let result = drain(frames).await;
    a.net.close().await;
    timeout(LIMIT, serving).await.unwrap().unwrap();
    result
}

#[tokio::test]
async fn what_is_no_streamed_reply_gives_an_error() {
    let one = [&frame::data_head(3).unwrap()[..], b"abc"].concat();
    let broken = |why: &str| Err(CallError::Broken(why.into()));
    assert_eq!(answered_with(one.clone(), true).await, (3, broken("the stream is truncated")));
    assert_eq!(answered_with([&one[..], &one[..5]].concat(), true).await, (3, broken("the stream is truncated")));
    assert_eq!(answered_with(vec![], true).await, (0, broken("the stream is truncated")));
    let oversized = [&one[..], &[0, 0xff, 0xff, 0xff, 1]].concat();
    assert_eq!(answered_with(oversized, true).await, (3, broken("a frame of 16777215 bytes is too long")));
    assert_eq!(answered_with(vec![9; 10], true).await, (0, broken("a frame of unknown kind 9")));
    let whole = [&one[..], &frame::last(Ok(()))].concat();
    assert_eq!(answered_with(whole, true).await, (3, Ok(())));
    let (_, reset) = answered_with(one, false).await;
    assert!(matches!(reset, Err(CallError::Broken(_))), "{reset:?}");
}

#[tokio::test]
async fn a_broken_connection_ends_a_stream_with_an_error() {
    let (a, mut b) = pair();
    let frames = ask(&a, &b, b"hang").await;
    b.heard().await;
    b.net.drop_connection(a.id);
    let (_, ended) = timeout(LIMIT, drain(frames)).await.expect("it ends");
    assert!(matches!(ended, Err(CallError::Broken(_))), "{ended:?}");
}
