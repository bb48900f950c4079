//! What a packet of the ring costs on the wire and in CPU, sealed and on a QUIC connection: two nodes on loopback in one
//! thread, each packet answered by one of the same size before the next is sent.
//!
//! ```text
//! cargo run --release -p taffeta-net --example datagrams
//! ```

use async_trait::async_trait;
use quinn::{
    AsyncUdpSocket, Runtime, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use taffeta_model::{ClusterId, NodeId};
use taffeta_net::{
    Authority, Bytes, CONNECTIONS_MAX, Clock, Identity, Lane, Lives, Net, NetConfig, NodeKey, Peer, Service,
    SystemClock, Unjoined,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

/// Pings of one measurement.
const ROUNDS: u64 = 20_000;

/// Counts what it sends.
#[derive(Debug)]
struct Counted(Arc<dyn AsyncUdpSocket>, Arc<AtomicU64>);

impl AsyncUdpSocket for Counted {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.1.fetch_add(transmit.contents.len() as u64, Ordering::Relaxed);
        self.0.try_send(transmit)
    }
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, buffers, metas)
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments()
    }
}

struct Inlet(mpsc::UnboundedSender<Bytes>);

#[async_trait]
impl Service for Inlet {
    async fn call(&self, _: Peer, _: Lane, _: Bytes) -> Result<Vec<u8>, String> {
        Ok(vec![])
    }
    fn push(&self, _: NodeId, _: Lane, _: Bytes) {}
    fn datagram(&self, _: NodeId, packet: Bytes) {
        let _ = self.0.send(packet);
    }
}

struct Node {
    net: Net,
    id: NodeId,
    address: SocketAddr,
    packets: mpsc::UnboundedReceiver<Bytes>,
}

fn node(authority: &Authority, n: u8, wire: &Arc<AtomicU64>) -> Node {
    let runtime: Arc<dyn Runtime> = Arc::new(quinn::TokioRuntime);
    let socket =
        runtime.wrap_udp_socket(UdpSocket::bind("127.0.0.1:0").expect("a port is free")).expect("it is usable");
    let key = NodeKey::from_seed([n; 32]);
    let config = NetConfig {
        socket: Arc::new(Counted(socket, Arc::clone(wire))),
        crypto: taffeta_net::crypto(),
        runtime,
        clock: Arc::new(SystemClock),
        lives: Lives::default(),
        seed: [n; 32],
        connections_max: CONNECTIONS_MAX,
        segmentation_offload: true,
        versions: taffeta_model::Versions::ALL,
    };
    let unjoined = Unjoined::new(config, &key).expect("an endpoint");
    let address = unjoined.local_address().expect("it is bound");
    let certificate =
        authority.certify(key.public(), SystemClock.date(), Lives::default().certificate).expect("a certificate");
    let authorities = vec![authority.certificate().to_vec()];
    let identity =
        Identity { cluster: authority.cluster(), key: Arc::new(key), certificate, authorities, crosses: vec![] };
    let (sender, packets) = mpsc::unbounded_channel();
    let id = identity.id();
    let net = unjoined.start(identity, 1, Arc::new(Inlet(sender))).expect("a node");
    // As in a cluster so large that a packet dials nothing.
    (0..16).for_each(|n| net.set_address(NodeId(n), address));
    Node { net, id, address, packets }
}

/// CPU time of this process in clock ticks of 10 ms, user and system.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
}

async fn measure(
    what: &str,
    bytes: usize,
    nodes: (&Node, &mut Node),
    back: &mut mpsc::UnboundedReceiver<Bytes>,
    wire: &AtomicU64,
) {
    let (a, b) = nodes;
    let packet = Bytes::from(vec![7; bytes]);
    let (mut lost, began, cpu_before, wire_before) = (0, Instant::now(), cpu(), wire.load(Ordering::Relaxed));
    for _ in 0..ROUNDS {
        a.net.send_datagram(b.id, packet.clone());
        let there = timeout(Duration::from_millis(50), b.packets.recv()).await;
        b.net.send_datagram(a.id, packet.clone());
        let again = timeout(Duration::from_millis(50), back.recv()).await;
        lost += u64::from(there.is_err()) + u64::from(again.is_err());
    }
    let packets = 2 * ROUNDS;
    let wire = (wire.load(Ordering::Relaxed) - wire_before) as f64 / packets as f64;
    let (cpu, took) = ((cpu() - cpu_before).as_secs_f64() * 1e6, began.elapsed().as_secs_f64() * 1e6);
    println!(
        "{what:>6} {bytes:>5} B packet: {wire:>7.1} B of UDP payload, {:>5.1} us of CPU, {:>6.1} us a round trip, {lost} lost",
        cpu / packets as f64,
        took / ROUNDS as f64,
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let authority = Authority::create(ClusterId(1), [1; 32], SystemClock.date()).expect("a CA");
    let wire = Arc::new(AtomicU64::new(0));
    let (mut a, mut b) = (node(&authority, 1, &wire), node(&authority, 2, &wire));
    let keys = [1, 2].map(|n| NodeKey::from_seed([n; 32]).public());
    a.net.set_address(b.id, b.address);
    b.net.set_address(a.id, a.address);
    a.net.set_peer_key(b.id, keys[1]).expect("its key");
    b.net.set_peer_key(a.id, keys[0]).expect("its key");
    tokio::time::sleep(Duration::from_millis(50)).await; // until the sockets are known to be writable
    let (_, mut back) = mpsc::unbounded_channel();
    std::mem::swap(&mut back, &mut a.packets);
    let sizes = [64, 200, 1_100];
    for bytes in sizes {
        measure("sealed", bytes, (&a, &mut b), &mut back, &wire).await;
    }
    a.net.call(b.id, Lane::Control, b"", Duration::from_secs(5)).await.expect("a connection");
    for bytes in sizes {
        measure("quic", bytes, (&a, &mut b), &mut back, &wire).await;
    }
}
