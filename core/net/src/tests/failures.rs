use super::*;
use futures::FutureExt as _;
use std::{sync::mpsc as blocking, thread};
use tokio::sync::oneshot;

#[tokio::test]
async fn a_node_of_another_ca_is_refused_both_ways() {
    let (mut ours, mut theirs) = (Node::new(&authority(1), 1), Node::new(&authority(2), 2));
    ours.knows(&theirs);
    theirs.knows(&ours);
    for refused in [ours.call(theirs.id, b"hi").await, theirs.call(ours.id, b"hi").await] {
        assert!(matches!(refused, Err(CallError::Unreachable(..))), "{refused:?}");
    }
    ours.heard_nothing();
    theirs.heard_nothing();
}

/// The dialling side believes our CA, so that only our side can refuse.
#[tokio::test]
async fn a_certificate_that_our_ca_did_not_sign_is_refused() {
    let (ca, other) = (authority(1), authority(2));
    let mut ours = Node::new(&ca, 1);
    let liar = Identity { authorities: vec![ca.certificate().to_vec()], ..identity(&other, 2) };
    let liar = Node::with(liar, any_port());
    liar.knows(&ours);
    let refused = liar.call(ours.id, b"hi").await;
    assert!(matches!(refused, Err(CallError::Unreachable(..) | CallError::Broken(_))), "{refused:?}");
    ours.heard_nothing();
    assert!(ours.net.pool().live(liar.id).is_none());
}

#[tokio::test]
async fn another_node_at_the_address_is_refused_by_its_name() {
    let (a, mut b) = pair();
    let absent = NodeId(77);
    a.net.set_address(absent, b.address);
    let refused = a.call(absent, b"hi").await;
    assert!(
        matches!(&refused, Err(CallError::Unreachable(_, why)) if why.contains("not valid for name")),
        "{refused:?}"
    );
    b.heard_nothing();
}

#[tokio::test]
async fn garbage_does_no_harm() {
    let (a, mut b) = pair();
    a.call(b.id, b"hi").await.unwrap();
    b.heard().await;
    let socket = any_port();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..2_000_usize {
        let packet: Vec<u8> = (0..round % 1_300)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            })
            .collect();
        socket.send_to(&packet, b.address).unwrap();
    }
    // The form of a first packet of QUIC version 1, of the size that servers demand, with nonsense inside.
    let mut initial = vec![0x5a; 1_200];
    initial[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
    for kind in 0..=255 {
        initial[0] = kind;
        socket.send_to(&initial, b.address).unwrap();
    }
    let c = Node::new(&authority(1), 3);
    c.knows(&b);
    assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
    assert_eq!(c.call(b.id, b"cd").await, Ok(b"dc".to_vec()));
    b.heard().await;
    b.heard().await;
    b.heard_nothing();
}

#[tokio::test]
async fn a_stream_of_an_unknown_lane_is_dropped_and_the_connection_lives() {
    let (a, mut b) = pair();
    a.call(b.id, b"hi").await.unwrap();
    b.heard().await;
    let connection = a.net.pool().live(b.id).unwrap().connection.clone();
    for message in [&[99, 1, 2][..], &[]] {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(message).await.unwrap();
        send.finish().unwrap();
        assert_eq!(receive.read_to_end(10).await.unwrap(), b"");
    }
    b.heard_nothing();
    assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
}

#[tokio::test]
async fn a_dead_address_fails_in_time_and_a_new_one_works() {
    let (a, b) = pair();
    a.net.set_address(b.id, free_address());
    let began = Instant::now();
    let failed = a.call(b.id, b"hi").await;
    assert!(matches!(failed, Err(CallError::Unreachable(..))), "{failed:?}");
    assert!(began.elapsed() < DIAL_TIMEOUT + Duration::from_secs(1));
    a.knows(&b);
    assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_end_the_dial_of_others() {
    let (a, b) = pair();
    assert_eq!(a.call(b.id, b"ab").now_or_never(), None);
    assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
    assert_eq!(a.net.inner.endpoint.open_connections(), 1);
}

#[tokio::test]
async fn a_closed_node_ends_its_peers_connections() {
    let (a, b) = pair();
    a.call(b.id, b"hi").await.unwrap();
    b.net.close().await;
    let gone = async {
        while a.net.pool().live(b.id).is_some() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(2), gone).await.expect("the peer notices");
}

/// A node whose process can be killed: its runtime and socket go from one moment to the next, and nothing is said.
pub(super) struct Process {
    pub(super) id: NodeId,
    pub(super) address: SocketAddr,
    net: Net,
    kill: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Process {
    pub(super) fn start(socket: UdpSocket) -> Self {
        let (kill, killed) = oneshot::channel::<()>();
        let (tell, told) = blocking::channel();
        #[expect(clippy::disallowed_methods, reason = "a process of its own, which dies at once with all its tasks")]
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let node = Node::with(identity(&authority(1), 2), socket);
                tell.send((node.id, node.address, node.net.clone())).unwrap();
                let _ = killed.await;
            });
        });
        let (id, address, net) = told.recv().unwrap();
        Self { id, address, net, kill, thread }
    }

    pub(super) async fn kill(self) -> UdpSocket {
        let Self { address, net, kill, thread, .. } = self;
        drop(kill);
        thread.join().unwrap();
        drop(net);
        bind_again(address, Duration::from_secs(1)).await
    }
}

/// Calls as a voter does, with a short limit each, until one is answered.
async fn reached_again(a: &Node, id: NodeId) -> Duration {
    let began = Instant::now();
    let reached = async {
        while a.net.call(id, Lane::Raft, b"ab", Duration::from_millis(100)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, reached).await.expect("the peer is reached again");
    began.elapsed()
}

#[tokio::test]
async fn a_restarted_peer_that_was_dialled_is_reached_again_soon() {
    let a = Node::new(&authority(1), 1);
    let first = Process::start(any_port());
    a.net.set_address(first.id, first.address);
    let (id, address) = (first.id, first.address);
    a.call(id, b"hi").await.unwrap();
    let second = Process::start(first.kill().await);
    assert_eq!((second.id, second.address), (id, address));
    let took = reached_again(&a, id).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    second.kill().await;
}

#[tokio::test]
async fn a_restarted_peer_that_had_dialled_is_reached_again_soon() {
    let a = Node::new(&authority(1), 1);
    let first = Process::start(any_port());
    a.net.set_address(first.id, first.address);
    let id = first.id;
    first.net.set_address(a.id, a.address);
    first.net.call(a.id, Lane::Control, b"hi", LIMIT).await.unwrap();
    assert!(a.net.pool().live(id).is_some());
    let second = Process::start(first.kill().await);
    let took = reached_again(&a, id).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    second.kill().await;
}

/// No call tells that the connection is dead: the reset by the new process must.
#[tokio::test]
async fn packets_of_the_ring_alone_reach_a_restarted_peer_soon() {
    let a = Node::new(&authority(1), 1);
    let first = Process::start(any_port());
    a.net.set_address(first.id, first.address);
    a.call(first.id, b"hi").await.unwrap();
    let old = a.net.pool().live(first.id).unwrap().connection.clone();
    let id = first.id;
    let second = Process::start(first.kill().await);
    let began = Instant::now();
    while old.close_reason().is_none() && began.elapsed() < LIMIT {
        a.net.send_datagram(id, vec![0; 100].into());
        let _ = timeout(Duration::from_millis(20), old.closed()).await;
    }
    assert_eq!(old.close_reason(), Some(quinn::ConnectionError::Reset));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    second.kill().await;
}
