//! Real endpoints on loopback: what nodes may say to one another, and what they refuse.

mod briefs;
mod calls;
mod certificates;
mod counting;
mod failures;
mod floods;
mod frames;
mod pool;
mod sealed;
mod strangers;
mod talks;
mod versions;

use crate::{
    Authority, Bytes, CONNECTIONS_MAX, CallError, Credentials, DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX, FrameSink,
    Identity, JoinError, JoinToken, Lane, Lives, MESSAGE_BYTES_MAX, Net, NetConfig, NodeKey, Peer, Refusal, RefusedFor,
    Service, Talk, Unjoined,
    endpoint::DIAL_TIMEOUT,
    net::exchange,
    serve::{STRANGER_BYTES_MAX, STRANGERS_MAX},
    tls::{self, Means},
};
use async_trait::async_trait;
use quinn::{Connection, VarInt};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};
use taffeta_model::{ClusterId, NodeId, UnixMillis, Versions};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

const CLUSTER: ClusterId = ClusterId(0xc1);
/// No test waits longer than this for anything.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Call(Peer, Lane, Bytes),
    Push(NodeId, Lane, Bytes),
    Datagram(NodeId, Bytes),
    /// A call was given up before its answer, or a stream has ended.
    GivenUp,
    /// A node refuses this one's certificate for good.
    Refused(Refusal),
}

/// Tells the test what it hears, and answers calls by their first word.
struct Echo(mpsc::UnboundedSender<Heard>);

struct OnDrop(mpsc::UnboundedSender<Heard>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(Heard::GivenUp);
    }
}

#[async_trait]
impl Service for Echo {
    async fn call(&self, peer: Peer, lane: Lane, request: Bytes) -> Result<Vec<u8>, String> {
        let _ = self.0.send(Heard::Call(peer, lane, request.clone()));
        match &request[..] {
            b"refuse" => Err("not today".into()),
            b"hang" => {
                let _given_up = OnDrop(self.0.clone());
                std::future::pending().await
            }
            other => Ok(other.iter().rev().copied().collect()),
        }
    }

    /// Counts down: as many frames as the request says, of 1,000 bytes each.
    async fn stream(&self, peer: Peer, lane: Lane, request: Bytes, sink: &mut FrameSink) -> Result<(), String> {
        let _ = self.0.send(Heard::Call(peer, lane, request.clone()));
        let _given_up = OnDrop(self.0.clone());
        match &request[..] {
            b"refuse" => return Err("not today".into()),
            b"oversized" => {
                let refused = sink.send(&vec![1; FRAME_BYTES_MAX + 1]).await;
                return Err(format!("{refused:?}"));
            }
            b"hang" => return std::future::pending().await,
            _ => {}
        }
        let (first, rest) = request.split_at(4);
        for n in 0..u32::from_be_bytes(first.try_into().unwrap()) {
            sink.send(&[(n % 251) as u8; 1_000]).await.map_err(|e| e.to_string())?;
        }
        if rest.is_empty() { Ok(()) } else { Err("that was not all".into()) }
    }

    /// Says each frame back, reversed, until there is no more or one says `enough`.
    async fn talk(&self, peer: Peer, lane: Lane, mut talk: Talk) {
        let _ = self.0.send(Heard::Call(peer, lane, Bytes::new()));
        let _given_up = OnDrop(self.0.clone());
        while let Ok(Some(frame)) = talk.hears.next().await {
            if &frame[..] == b"enough" {
                return talk.says.end(Err("as you like".into())).await;
            }
            let reversed: Vec<u8> = frame.iter().rev().copied().collect();
            if talk.says.send(&reversed).await.is_err() {
                return;
            }
        }
        talk.says.end(Ok(())).await;
    }

    fn push(&self, from: NodeId, lane: Lane, message: Bytes) {
        let _ = self.0.send(Heard::Push(from, lane, message));
    }

    fn datagram(&self, from: NodeId, packet: Bytes) {
        let _ = self.0.send(Heard::Datagram(from, packet));
    }

    fn refused(&self, refusal: Refusal) {
        let _ = self.0.send(Heard::Refused(refusal));
    }
}

struct Node {
    net: Net,
    id: NodeId,
    address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Node {
    fn new(authority: &Authority, n: u8) -> Self {
        Self::with(identity(authority, n), any_port())
    }

    fn with(identity: Identity, socket: UdpSocket) -> Self {
        let unjoined = unjoined(&identity.key, socket);
        Self::started(unjoined, identity, 1)
    }

    fn started(unjoined: Unjoined, identity: Identity, start: u64) -> Self {
        let (sender, heard) = mpsc::unbounded_channel();
        let (id, address) = (identity.id(), unjoined.local_address().unwrap());
        let net = unjoined.start(identity, start, Arc::new(Echo(sender))).unwrap();
        Self { net, id, address, heard }
    }

    fn knows(&self, other: &Self) {
        self.net.set_address(other.id, other.address);
    }

    /// Waits until the socket is known to take datagrams: one that is sent sealed before is lost.
    async fn writable(&self) {
        use quinn::AsyncUdpSocket as _;
        let mut poller = Arc::clone(&self.net.inner.socket).create_io_poller();
        std::future::poll_fn(|cx| poller.as_mut().poll_writable(cx)).await.unwrap();
    }

    async fn call(&self, to: NodeId, request: &[u8]) -> Result<Vec<u8>, CallError> {
        self.net.call(to, Lane::Control, request, LIMIT).await
    }

    async fn heard(&mut self) -> Heard {
        timeout(LIMIT, self.heard.recv()).await.expect("something is heard in time").expect("the service lives")
    }

    /// Waits for a condition that nothing tells of.
    async fn until(&self, what: &str, condition: impl Fn(&Net) -> bool) {
        let met = async {
            while !condition(&self.net) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(LIMIT, met).await.unwrap_or_else(|_| panic!("{what} in time"));
    }

    #[track_caller]
    fn heard_nothing(&mut self) {
        assert_eq!(self.heard.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    }
}

fn any_port() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// Nobody listens there.
fn free_address() -> SocketAddr {
    any_port().local_addr().unwrap()
}

/// Binds an address whose former owner is just ending.
async fn bind_again(address: SocketAddr, limit: Duration) -> UdpSocket {
    let again = async {
        loop {
            match UdpSocket::bind(address) {
                Ok(socket) => return socket,
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    timeout(limit, again).await.expect("the port is given back in time")
}

fn unjoined(key: &NodeKey, socket: UdpSocket) -> Unjoined {
    unjoined_with(key, socket, CONNECTIONS_MAX)
}

fn unjoined_with(key: &NodeKey, socket: UdpSocket, connections_max: usize) -> Unjoined {
    unjoined_living(key, socket, connections_max, Lives::default())
}

fn unjoined_living(key: &NodeKey, socket: UdpSocket, connections_max: usize, lives: Lives) -> Unjoined {
    unjoined_as(key, socket, connections_max, lives, Versions::ALL)
}

fn unjoined_that_speaks(key: &NodeKey, socket: UdpSocket, connections_max: usize, versions: Versions) -> Unjoined {
    unjoined_as(key, socket, connections_max, Lives::default(), versions)
}

fn unjoined_as(key: &NodeKey, socket: UdpSocket, connections_max: usize, lives: Lives, versions: Versions) -> Unjoined {
    let runtime: Arc<dyn quinn::Runtime> = Arc::new(crate::FabricRuntime);
    let socket = Arc::new(crate::FabricSocket::new(socket).unwrap());
    let mut seed = [0; 32];
    use crate::seams::Entropy as _;
    crate::SystemEntropy.fill(&mut seed); // each life of a process has its own
    let clock = Arc::new(crate::SystemClock);
    let crypto = crate::crypto();
    let segmentation_offload = true;
    let config =
        NetConfig { socket, crypto, runtime, clock, lives, seed, connections_max, segmentation_offload, versions };
    Unjoined::new(config, key).unwrap()
}

fn key(n: u8) -> NodeKey {
    NodeKey::from_seed([n; 32])
}

fn now() -> UnixMillis {
    use crate::seams::Clock as _;
    crate::SystemClock.date()
}

fn authority(n: u8) -> Authority {
    Authority::create(CLUSTER, [n; 32], now()).unwrap()
}

fn identity(authority: &Authority, n: u8) -> Identity {
    certified_at(authority, n, now())
}

fn certified_at(authority: &Authority, n: u8, date: UnixMillis) -> Identity {
    let key = NodeKey::from_seed([n; 32]);
    let certificate = authority.certify(key.public(), date, Lives::default().certificate).unwrap();
    let authorities = vec![authority.certificate().to_vec()];
    Identity { cluster: authority.cluster(), key: Arc::new(key), certificate, authorities, crosses: vec![] }
}

/// Two nodes of one cluster that know each other's address.
fn pair() -> (Node, Node) {
    let ca = authority(1);
    let (a, b) = (Node::new(&ca, 1), Node::new(&ca, 2));
    a.knows(&b);
    b.knows(&a);
    (a, b)
}

/// The same, and each other's keys: `a` is 1 and `b` is 2.
async fn introduced() -> (Node, Node) {
    let (a, b) = pair();
    a.net.set_peer_key(b.id, key(2).public()).unwrap();
    b.net.set_peer_key(a.id, key(1).public()).unwrap();
    a.writable().await;
    b.writable().await;
    (a, b)
}
