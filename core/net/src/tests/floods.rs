//! Many who dial at once, and never mean it.

use super::{counting::Counts, *};
use crate::handshakes::UNCHECKED_MAX;
use quinn::{
    AsyncUdpSocket, Endpoint, EndpointConfig, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// Sends and hears nothing: whoever dials over it never finishes a handshake, like a sender with an invented address.
#[derive(Debug)]
struct Deaf(Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for Deaf {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }
    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [io::IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn deaf_client() -> Endpoint {
    let socket = Arc::new(crate::FabricSocket::new(any_port()).unwrap());
    let runtime = Arc::new(quinn::TokioRuntime);
    Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, Arc::new(Deaf(socket)), runtime).unwrap()
}

#[tokio::test]
async fn calls_go_on_while_hundreds_dial_and_never_answer() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let fate = |fate: &str| counts.of("taffeta_net_incoming_total", &[fate]);
    let ca = authority(1);
    let (a, b) = pair();
    a.call(b.id, b"hi").await.unwrap();
    assert_eq!(fate("accepted"), 1);
    let means = Means::new(crate::crypto(), Arc::new(crate::SystemClock), Versions::ALL);
    let config =
        quinn::ClientConfig::new(Arc::new(tls::join_config(CLUSTER, ca.hash(), Duration::ZERO, &means).unwrap()));
    let mut dials = vec![];
    for _ in 0..3 {
        let client = deaf_client();
        for _ in 0..100 {
            let dial = client.connect_with(config.clone(), b.address, "join.taffeta.internal").unwrap();
            dials.push((client.clone(), dial));
            assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
        }
    }
    b.until("the flood has come", |_| fate("retried") >= 200).await;
    assert!(b.net.inner.handshakes.under_way() <= UNCHECKED_MAX);
    assert!(b.net.inner.endpoint.open_connections() <= UNCHECKED_MAX + 1);
    // A new node still gets in: it hears what is asked of it.
    let c = Node::new(&ca, 3);
    c.knows(&b);
    let began = Instant::now();
    assert_eq!(c.call(b.id, b"cd").await, Ok(b"dc".to_vec()));
    assert!(began.elapsed() < DIAL_TIMEOUT);
    b.until("the handshakes are given up", |net| net.inner.handshakes.under_way() < UNCHECKED_MAX / 2).await;
    assert!(fate("refused") >= 32, "{}", fate("refused"));
    assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
}

#[tokio::test]
async fn a_flood_of_things_like_first_packets_begins_no_handshake() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, b) = pair();
    a.call(b.id, b"hi").await.unwrap();
    let socket = any_port();
    let mut initial = vec![0x5a; 1_200];
    initial[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]); // a long header of QUIC version 1
    for n in 0..2_000_u32 {
        initial[6..10].copy_from_slice(&n.to_be_bytes()); // another connection each time
        socket.send_to(&initial, b.address).unwrap();
        if n % 100 == 0 {
            assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
        }
    }
    assert_eq!(counts.of("taffeta_net_incoming_total", &["accepted"]), 1, "that of a alone");
    assert_eq!(b.net.inner.endpoint.open_connections(), 1);
}

#[tokio::test]
async fn a_flood_of_sealed_datagrams_does_not_hold_up_calls() {
    let counts = Counts::default();
    let _counting = metrics::set_default_local_recorder(&counts);
    let (a, mut b) = pair();
    a.call(b.id, b"hi").await.unwrap();
    b.heard().await;
    let socket = any_port();
    let forged = vec![0x11; 1_100];
    let mut calls = 0;
    for n in 0..5_000 {
        socket.send_to(&forged, b.address).unwrap();
        if n % 250 == 0 {
            assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
            calls += 1;
        }
    }
    assert!(counts.refused("unknown_sender") > 250, "{}", counts.refused("unknown_sender"));
    for _ in 0..calls {
        assert!(matches!(b.heard().await, Heard::Call(..)));
    }
    b.heard_nothing();
}
