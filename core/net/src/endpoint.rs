//! The endpoint: one UDP socket, and on it everything that nodes say to one another.

use crate::{
    DATAGRAM_BYTES_MAX, MESSAGE_BYTES_MAX,
    connection_id::{SeededIds, initial_ids},
    key::NodeKey,
    peer::{CallError, Lane, Peer},
    pool::{Dialled, Pool, Way},
    seams::Clock,
    tls::{self, FOREIGN_CA, Identity, Means, TlsError},
    token::JoinToken,
};
use async_trait::async_trait;
pub use bytes::Bytes;
use quinn::{
    AsyncUdpSocket, Connection, ConnectionId, Endpoint, EndpointConfig, RecvStream, SendStream, TransportConfig, VarInt,
};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use taffeta_model::NodeId;
use thiserror::Error;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

/// A connection without traffic ends after this. Nothing keeps idle ones alive: the ring's own packets do for the
/// peers that matter.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// A handshake that takes longer is given up.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Requests under way from one peer: long polls, consensus, passed-on requests.
const STREAMS_MAX: u32 = 256;
/// Largest message from a stranger: a join request is a few hundred bytes.
const STRANGER_BYTES_MAX: usize = 64 << 10;
/// Connections of strangers at once: machines join by the dozen, and each connection may make us hold its window.
const STRANGERS_MAX: usize = 64;
/// A stranger is served for this long: a join takes less.
const STRANGER_LIFE: Duration = Duration::from_secs(20);
/// Bytes that a peer may have sent and that are not yet read; bounds the memory that one connection can claim.
const UNREAD_BYTES_MAX: u32 = 8 << 20;
/// Handshakes under way at once.
const INCOMING_MAX: usize = 1_024;

/// Silence for at least this long, and four round trips, during a call makes its connection doubtful: a live peer's
/// acknowledgement is delayed by 25 ms at most (RFC 9000, section 18.2).
const SILENCE_MIN: Duration = Duration::from_millis(80);

const REPLY_OK: u8 = 0;
const REPLY_REFUSED: u8 = 1;

/// What a node does with what others send it.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers a request. The lane has been checked against the peer. An `Err` is a reason in words for the caller.
    async fn call(&self, peer: Peer, lane: Lane, request: Bytes) -> Result<Vec<u8>, String>;
    /// Takes a message that wants no answer.
    fn push(&self, from: NodeId, lane: Lane, message: Bytes);
    /// Takes a packet of the ring.
    fn datagram(&self, from: NodeId, packet: Bytes);
}

/// What an endpoint is made of.
pub struct NetConfig {
    /// The UDP socket, real or simulated.
    pub socket: Arc<dyn AsyncUdpSocket>,
    /// Cipher suites and the randomness of TLS; [`crate::crypto`] is what a node uses.
    pub crypto: Arc<rustls::crypto::CryptoProvider>,
    /// Runs tasks and timers for the transport.
    pub runtime: Arc<dyn quinn::Runtime>,
    /// The date by which certificates are judged.
    pub clock: Arc<dyn Clock>,
    /// Seeds connection ids and the like.
    pub seed: [u8; 32],
    /// Whether the kernel may cut large sends into packets (GSO). Some network cards fail at it.
    pub segmentation_offload: bool,
}

/// Why there is no endpoint.
#[derive(Debug, Error)]
pub enum NetError {
    /// The socket failed.
    #[error("the fabric's UDP socket failed")]
    Socket(#[from] io::Error),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a join gave no reply. Nothing was changed here.
#[derive(Debug, Error)]
pub enum JoinError {
    /// Nobody answers.
    #[error("no node answers at {0}: {1}")]
    Unreachable(SocketAddr, String),
    /// The address belongs to another cluster than the token.
    #[error("the node at {0} belongs to another cluster than the token: its CA is not the one that the token pins")]
    ForeignCluster(SocketAddr),
    /// The cluster refused, with its reason.
    #[error("{0}")]
    Refused(String),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The fabric's endpoint. Cheap to clone; all clones are one endpoint.
#[derive(Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    identity: Identity,
    client_config: quinn::ClientConfig,
    service: Arc<dyn Service>,
    pool: Mutex<Pool>,
    strangers: Semaphore,
}

/// An endpoint that has no identity yet: it can ask to join, and become a [`Net`].
pub struct Unjoined {
    endpoint: Endpoint,
    means: Means,
    initial_ids: Arc<dyn Fn() -> ConnectionId + Send + Sync>,
    segmentation_offload: bool,
}

impl Unjoined {
    /// Takes the socket into use. `key` makes stateless resets (RFC 9000, section 10.3) valid across restarts, so that
    /// peers of a restarted node notice at once that their connections are gone.
    pub fn new(config: NetConfig, key: &NodeKey) -> Result<Self, NetError> {
        let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key.derive("stateless-reset"));
        let mut endpoint_config = EndpointConfig::new(Arc::new(reset_key));
        endpoint_config.rng_seed(Some(config.seed));
        let ids = config.seed;
        endpoint_config.cid_generator(move || Box::new(SeededIds::new(&ids)));
        let endpoint = Endpoint::new_with_abstract_socket(endpoint_config, None, config.socket, config.runtime)?;
        let means = Means::new(config.crypto, config.clock);
        let initial_ids = initial_ids(&config.seed);
        Ok(Self { endpoint, means, initial_ids, segmentation_offload: config.segmentation_offload })
    }

    /// Where the socket is bound.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Sends a join request to the node at `address`, whose cluster must be the token's.
    pub async fn join(&self, address: SocketAddr, token: &JoinToken, request: &[u8]) -> Result<Vec<u8>, JoinError> {
        let unreachable = |why: String| JoinError::Unreachable(address, why);
        let mut config = quinn::ClientConfig::new(Arc::new(tls::join_config(token.ca_hash, &self.means)?));
        config.transport_config(transport(self.segmentation_offload));
        config.initial_dst_cid_provider(Arc::clone(&self.initial_ids));
        // The name is not known yet; the pinned CA is what is checked.
        let connecting = self.endpoint.connect_with(config, address, "join.taffeta.internal");
        let connecting = connecting.map_err(|e| unreachable(e.to_string()))?;
        let connection = match timeout(DIAL_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) if e.to_string().contains(FOREIGN_CA) => return Err(JoinError::ForeignCluster(address)),
            Ok(Err(e)) => return Err(unreachable(e.to_string())),
            Err(_) => return Err(unreachable("no answer in time".into())),
        };
        let reply = timeout(Duration::from_secs(15), exchange(&connection, Lane::Join, request)).await;
        connection.close(VarInt::from_u32(0), b"joined");
        match reply {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(CallError::Refused(why))) => Err(JoinError::Refused(why)),
            Ok(Err(e)) => Err(unreachable(e.to_string())),
            Err(_) => Err(unreachable("the join was not answered in time".into())),
        }
    }

    /// Gives the socket back: when this returns, the port is free, or will be within a moment.
    pub async fn close(self) {
        self.endpoint.close(VarInt::from_u32(0), b"not joined");
        let _ = timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }

    /// Becomes the endpoint of a node.
    pub fn start(self, identity: Identity, service: Arc<dyn Service>) -> Result<Net, NetError> {
        let transport = transport(self.segmentation_offload);
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(identity.server_config(&self.means)?));
        server.transport_config(Arc::clone(&transport)).max_incoming(INCOMING_MAX);
        let mut client_config = quinn::ClientConfig::new(Arc::new(identity.client_config(&self.means)?));
        client_config.transport_config(transport);
        client_config.initial_dst_cid_provider(self.initial_ids);
        self.endpoint.set_server_config(Some(server));
        let endpoint = self.endpoint;
        let strangers = Semaphore::new(STRANGERS_MAX);
        let inner = Inner { endpoint, identity, client_config, service, pool: Mutex::default(), strangers };
        let net = Net { inner: Arc::new(inner) };
        tokio::spawn(net.clone().accept());
        Ok(net)
    }
}

impl Net {
    /// Says where a node is reached. Calls to it go there from now on.
    pub fn set_address(&self, node: NodeId, address: SocketAddr) {
        self.pool().set_address(node, address);
    }

    /// Where a node is reached, as far as known.
    pub fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.pool().address(node)
    }

    /// Calls a node and waits for its reply, at most `limit`.
    pub async fn call(&self, node: NodeId, lane: Lane, request: &[u8], limit: Duration) -> Result<Vec<u8>, CallError> {
        let deadline = Instant::now() + limit;
        let connection = timeout_at(deadline, self.connection(node)).await.map_err(|_| CallError::Timeout)??;
        let (began, heard) = (Instant::now(), packets_heard(&connection));
        if let Ok(reply) = timeout_at(deadline, exchange(&connection, lane, request)).await {
            return reply;
        }
        // A live peer acknowledges packets even while it works on the answer. Total silence means that the process at
        // the other end is no more, and perhaps another one is there already: the next call dials.
        let patience = SILENCE_MIN.max(connection.rtt() * 4);
        if began.elapsed() >= patience && packets_heard(&connection) == heard {
            self.pool().drop_ended(node, connection.stable_id());
        }
        Err(CallError::Timeout)
    }

    /// Sends a message that wants no answer. Reliable as long as the connection lives.
    pub async fn push(&self, node: NodeId, lane: Lane, message: &[u8], limit: Duration) -> Result<(), CallError> {
        let work = async {
            let connection = self.connection(node).await?;
            let mut stream = connection.open_uni().await.map_err(broken)?;
            stream.write_all(&[lane.byte()]).await.map_err(broken)?;
            stream.write_all(message).await.map_err(broken)?;
            stream.finish().map_err(broken)
        };
        timeout(limit, work).await.map_err(|_| CallError::Timeout)?
    }

    /// Sends a packet of the ring. Lost packets are the ring's business; a missing connection is dialled meanwhile.
    pub fn send_datagram(&self, node: NodeId, packet: Bytes) {
        if packet.len() > DATAGRAM_BYTES_MAX {
            tracing::warn!(%node, bytes = packet.len(), "a packet of the ring is too large and was not sent");
            return;
        }
        let mut pool = self.pool();
        match pool.way(node) {
            Way::Open(connection) => {
                drop(pool);
                if let Err(e) = connection.send_datagram(packet) {
                    tracing::debug!(%node, error = %e, "datagram not sent");
                }
            }
            Way::Wait(_) => pool.queue(node, packet),
            Way::Dial(address, report) => {
                pool.queue(node, packet);
                drop(pool);
                tokio::spawn(self.clone().dial(node, address, report));
            }
            Way::Unknown => {}
        }
    }

    /// Round-trip time to a node, if there is a live connection.
    pub fn round_trip(&self, node: NodeId) -> Option<Duration> {
        self.pool().live(node).map(|c| c.rtt())
    }

    /// Ends all connections, giving what was sent last a moment to leave.
    pub async fn close(&self) {
        self.inner.endpoint.close(VarInt::from_u32(0), b"bye");
        let _ = timeout(Duration::from_millis(500), self.inner.endpoint.wait_idle()).await;
    }

    /// Ends all connections at once, and with them the loop that accepts new ones.
    pub fn close_now(&self) {
        self.inner.endpoint.close(VarInt::from_u32(0), b"bye");
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.inner.pool.lock().expect("no panic while the pool is held")
    }

    async fn connection(&self, node: NodeId) -> Result<Connection, CallError> {
        let way = self.pool().way(node);
        let mut waiting = match way {
            Way::Open(connection) => return Ok(connection),
            Way::Unknown => return Err(CallError::UnknownNode(node)),
            Way::Wait(receiver) => receiver,
            Way::Dial(address, report) => {
                let receiver = report.subscribe();
                // In a task of its own: the caller may give up, others wait for the same dial.
                tokio::spawn(self.clone().dial(node, address, report));
                receiver
            }
        };
        let ended = waiting.wait_for(Option::is_some).await;
        let ended = ended.map_err(|_| CallError::Broken("the dial was given up".into()))?;
        ended.clone().expect("waited until it was there")
    }

    async fn dial(self, node: NodeId, address: SocketAddr, report: watch::Sender<Dialled>) {
        let result = self.try_dial(node, address).await;
        if let Ok(connection) = &result {
            self.adopt(node, connection);
        }
        self.pool().end_dial(node);
        report.send_replace(Some(result));
    }

    async fn try_dial(&self, node: NodeId, address: SocketAddr) -> Result<Connection, CallError> {
        let unreachable = |why: String| CallError::Unreachable(address.to_string(), why);
        let name = tls::server_name(self.inner.identity.cluster, node);
        let config = self.inner.client_config.clone();
        let connecting = self.inner.endpoint.connect_with(config, address, &name);
        let connecting = connecting.map_err(|e| unreachable(e.to_string()))?;
        let connected = timeout(DIAL_TIMEOUT, connecting).await.map_err(|_| unreachable("no answer in time".into()))?;
        connected.map_err(|e| unreachable(e.to_string()))
    }

    /// Takes a connection to a node into use and serves what comes in on it.
    fn adopt(&self, node: NodeId, connection: &Connection) {
        for packet in self.pool().adopt(node, connection.clone()) {
            let _ = connection.send_datagram(packet);
        }
        tokio::spawn(self.clone().serve(Peer::Node(node), connection.clone()));
    }

    async fn accept(self) {
        while let Some(incoming) = self.inner.endpoint.accept().await {
            tokio::spawn(self.clone().welcome(incoming));
        }
    }

    async fn welcome(self, incoming: quinn::Incoming) {
        let from = incoming.remote_address();
        let connection = match timeout(DIAL_TIMEOUT, async { incoming.await }).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => return tracing::debug!(%from, error = %e, "handshake refused"),
            Err(_) => return,
        };
        match tls::peer_of(&connection, self.inner.identity.cluster) {
            Some(Peer::Node(node)) => self.adopt(node, &connection),
            Some(Peer::Stranger) => self.serve_stranger(connection).await,
            None => connection.close(VarInt::from_u32(1), b"the certificate is not one of a node"),
        }
    }

    async fn serve_stranger(self, connection: Connection) {
        let Ok(_permit) = self.inner.strangers.try_acquire() else {
            return connection.close(VarInt::from_u32(2), b"too many machines join at once; try again");
        };
        if timeout(STRANGER_LIFE, self.clone().serve(Peer::Stranger, connection.clone())).await.is_err() {
            connection.close(VarInt::from_u32(3), b"a join takes less time");
        }
    }

    /// Serves streams and datagrams of one connection until it ends.
    async fn serve(self, peer: Peer, connection: Connection) {
        let mut work = JoinSet::new(); // ends with the connection; bounded by STREAMS_MAX
        loop {
            tokio::select! {
                stream = connection.accept_bi() => match stream {
                    Ok((send, receive)) => { work.spawn(self.clone().answer(peer, send, receive)); }
                    Err(_) => break,
                },
                stream = connection.accept_uni() => match stream {
                    Ok(receive) => { work.spawn(self.clone().take(peer, receive)); }
                    Err(_) => break,
                },
                datagram = connection.read_datagram() => match (datagram, peer) {
                    (Ok(packet), Peer::Node(node)) => self.inner.service.datagram(node, packet),
                    (Ok(_), Peer::Stranger) => {}
                    (Err(_), Peer::Node(_) | Peer::Stranger) => break,
                },
                Some(_) = work.join_next() => {}
            }
        }
        if let Peer::Node(node) = peer {
            self.pool().drop_ended(node, connection.stable_id());
        }
    }

    async fn answer(self, peer: Peer, mut send: SendStream, receive: RecvStream) {
        let Some((lane, request)) = read_message(peer, receive).await else { return };
        let reply = if lane.allows(peer) {
            let stopped = send.stopped();
            tokio::select! {
                biased;
                reply = self.inner.service.call(peer, lane, request) => reply,
                _ = stopped => return, // the caller has given up
            }
        } else {
            Err("this needs a node's certificate".into())
        };
        let (status, body) = match reply {
            Ok(body) => (REPLY_OK, body),
            Err(why) => (REPLY_REFUSED, why.into_bytes()),
        };
        if send.write_all(&[status]).await.is_ok() && send.write_all(&body).await.is_ok() {
            let _ = send.finish();
        }
    }

    async fn take(self, peer: Peer, receive: RecvStream) {
        let (Some((lane, message)), Peer::Node(node)) = (read_message(peer, receive).await, peer) else { return };
        if lane.allows(peer) {
            self.inner.service.push(node, lane, message);
        }
    }
}

async fn read_message(peer: Peer, mut receive: RecvStream) -> Option<(Lane, Bytes)> {
    let limit = match peer {
        Peer::Node(_) => MESSAGE_BYTES_MAX,
        Peer::Stranger => STRANGER_BYTES_MAX,
    };
    let mut message = Bytes::from(receive.read_to_end(limit).await.ok()?);
    let lane = Lane::from_byte(*message.first()?)?;
    Some((lane, message.split_off(1)))
}

async fn exchange(connection: &Connection, lane: Lane, request: &[u8]) -> Result<Vec<u8>, CallError> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(broken)?;
    send.write_all(&[lane.byte()]).await.map_err(broken)?;
    send.write_all(request).await.map_err(broken)?;
    send.finish().map_err(broken)?;
    let mut reply = receive.read_to_end(MESSAGE_BYTES_MAX).await.map_err(broken)?;
    if reply.is_empty() {
        return Err(CallError::Broken("an empty reply".into()));
    }
    let body = reply.split_off(1);
    match reply[0] {
        REPLY_OK => Ok(body),
        REPLY_REFUSED => Err(CallError::Refused(String::from_utf8_lossy(&body).into_owned())),
        other => Err(CallError::Broken(format!("a reply of unknown kind {other}"))),
    }
}

fn packets_heard(connection: &Connection) -> u64 {
    connection.stats().udp_rx.datagrams
}

fn broken(e: impl std::fmt::Display) -> CallError {
    CallError::Broken(e.to_string())
}

fn transport(segmentation_offload: bool) -> Arc<TransportConfig> {
    let mut t = TransportConfig::default();
    t.max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("five seconds fit")))
        .initial_rtt(Duration::from_millis(50)) // a lost first packet costs 3 of these, not a second
        .mtu_discovery_config(None) // pinned: discovery can decide wrongly that large packets vanish, and drop ours
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX))
        .receive_window(VarInt::from_u32(UNREAD_BYTES_MAX))
        .datagram_receive_buffer_size(Some(256 << 10))
        .datagram_send_buffer_size(64 << 10)
        .enable_segmentation_offload(segmentation_offload);
    Arc::new(t)
}

#[cfg(test)]
mod tests;
