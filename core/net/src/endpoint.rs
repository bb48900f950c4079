//! The endpoint: one UDP socket, and what it is made of.

use crate::{
    authority::Lives,
    brief::Briefs,
    close::Close,
    connection_id::{SeededIds, initial_ids},
    counts::Datagrams,
    credentials::{Credentials, Identity},
    handshakes::{Handshakes, INCOMING_MAX},
    key::NodeKey,
    net::{Inner, Net, exchange},
    peer::{CallError, Lane, Peer},
    pool::Pool,
    refusal::{Grounds, Refusal},
    sealed::Seals,
    seams::Clock,
    serve::STRANGERS_MAX,
    shared_socket::SharedSocket,
    stream::FrameSink,
    talk::Talk,
    tls::{self, FOREIGN_CA, Means, TlsError, Whom},
    token::JoinToken,
};
use async_trait::async_trait;
pub use bytes::Bytes;
use quinn::{AsyncUdpSocket, ConnectionId, Endpoint, EndpointConfig, TransportConfig, VarInt};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};
use taffeta_model::{NodeId, Versions};
use thiserror::Error;
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

/// A connection without traffic ends after this: calls to the same peer within it need no handshake. Nothing keeps idle
/// ones alive, and nothing waits for this time to pass when a peer has died.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that a node keeps: to all others of a cluster of this size. Each idle one costs some 40 kB at each end.
pub const CONNECTIONS_MAX: usize = 512;

/// A handshake that takes longer is given up.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Requests under way from one peer: long polls, consensus, passed-on requests.
const STREAMS_MAX: u32 = 256;
/// Bytes that a peer may have sent and that are not yet read; bounds the memory that one connection can claim.
const UNREAD_BYTES_MAX: u32 = 8 << 20;

/// What a node does with what others send it.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers a request. The lane has been checked against the peer. An `Err` is a reason in words for the caller.
    async fn call(&self, peer: Peer, lane: Lane, request: Bytes) -> Result<Vec<u8>, String>;
    /// Answers a request on a lane whose replies are streams, frame by frame. An `Err` is a reason in words for the caller,
    /// who then knows that the frames before it are incomplete. Dropped when the caller has given up.
    async fn stream(&self, _peer: Peer, _lane: Lane, _request: Bytes, _sink: &mut FrameSink) -> Result<(), String> {
        Err("nothing is streamed here".into())
    }
    /// Holds a conversation, to its end. Dropped when the connection has ended.
    async fn talk(&self, _peer: Peer, _lane: Lane, talk: Talk) {
        talk.says.end(Err("there is nobody to talk to".into())).await;
    }
    /// Takes a message that wants no answer.
    fn push(&self, from: NodeId, lane: Lane, message: Bytes);
    /// Takes a packet of the ring, which came on a connection or sealed; from whom is certain in both cases.
    fn datagram(&self, from: NodeId, packet: Bytes);
    /// A node refuses this one's certificate for good.
    fn refused(&self, _refusal: Refusal) {}
    /// What to say to a node whose certificate is refused for good; `statement` is what the CA has to sign.
    fn grounds(&self, _statement: &[u8]) -> Grounds {
        Grounds::default()
    }
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
    /// How long certificates live, and what is granted after their end.
    pub lives: Lives,
    /// Seeds connection ids, sessions of sealed datagrams and the like. Fresh randomness in each life of a process.
    pub seed: [u8; 32],
    /// Connections to nodes that are kept at once, at least 1: one more closes the one used longest ago, of idle ones if
    /// there are any. [`CONNECTIONS_MAX`] suits most.
    pub connections_max: usize,
    /// Whether the kernel may cut large sends into packets (GSO). Some network cards fail at it.
    pub segmentation_offload: bool,
    /// Versions of the protocol that are spoken: [`Versions::ALL`], unless an older node is to be played.
    pub versions: Versions,
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
    /// The node there and this one have no version of the protocol in common.
    #[error("the node at {0} speaks no version of the protocol that this one does: it speaks {1}")]
    OtherVersion(SocketAddr, Versions),
    /// The cluster refused, with its reason.
    #[error("{0}")]
    Refused(String),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// An endpoint that has no identity yet: it can ask to join, and become a [`Net`].
pub struct Unjoined {
    pub(crate) endpoint: Endpoint,
    socket: Arc<SharedSocket>,
    sealed: mpsc::Receiver<Bytes>,
    means: Means,
    lives: Lives,
    seed: [u8; 32],
    initial_ids: Arc<dyn Fn() -> ConnectionId + Send + Sync>,
    connections_max: usize,
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
        endpoint_config.grease_quic_bit(false); // the bit tells QUIC's packets from the sealed datagrams
        let (socket, sealed) = SharedSocket::new(config.socket);
        let socket = Arc::new(socket);
        let shared = Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>;
        let endpoint = Endpoint::new_with_abstract_socket(endpoint_config, None, shared, config.runtime)?;
        let means = Means::new(config.crypto, config.clock, config.versions);
        let (seed, initial_ids) = (config.seed, initial_ids(&config.seed));
        let NetConfig { lives, connections_max, segmentation_offload, .. } = config;
        Ok(Self { endpoint, socket, sealed, means, lives, seed, initial_ids, connections_max, segmentation_offload })
    }

    /// Where the socket is bound.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Sends a join request to the node at `address`, whose cluster must be the token's.
    pub async fn join(&self, address: SocketAddr, token: &JoinToken, request: &[u8]) -> Result<Vec<u8>, JoinError> {
        let unreachable = |why: String| JoinError::Unreachable(address, why);
        let tls = tls::join_config(token.cluster, token.ca_hash, self.lives.grace, &self.means)?;
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(transport(self.segmentation_offload));
        config.initial_dst_cid_provider(Arc::clone(&self.initial_ids));
        // The name is not known yet; the pinned CA is what is checked.
        let connecting = self.endpoint.connect_with(config, address, "join.taffeta.internal");
        let connecting = connecting.map_err(|e| unreachable(e.to_string()))?;
        let connection = match timeout(DIAL_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) if e.to_string().contains(FOREIGN_CA) => return Err(JoinError::ForeignCluster(address)),
            Ok(Err(e)) if tls::is_other_version(&e) => {
                return Err(JoinError::OtherVersion(address, self.means.versions()));
            }
            Ok(Err(e)) => return Err(unreachable(e.to_string())),
            Err(_) => return Err(unreachable("no answer in time".into())),
        };
        let reply = timeout(Duration::from_secs(15), exchange(&connection, Lane::Join, request)).await;
        Close::Bye.connection(&connection);
        match reply {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(CallError::Refused(why))) => Err(JoinError::Refused(why)),
            Ok(Err(e)) => Err(unreachable(e.to_string())),
            Err(_) => Err(unreachable("the join was not answered in time".into())),
        }
    }

    /// Gives the socket back: when this returns, the port is free, or will be within a moment.
    pub async fn close(self) {
        self.endpoint.close(Close::Bye.code(), Close::Bye.reason());
        let _ = timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }

    /// Becomes the endpoint of a node. `start` counts the starts of the node and must be higher than at any before:
    /// peers refuse sealed datagrams of a life that they know to be over.
    pub fn start(self, identity: Identity, start: u64, service: Arc<dyn Service>) -> Result<Net, NetError> {
        let credentials = Credentials::new(identity, Arc::clone(self.means.provider()))?;
        self.start_with(Arc::new(credentials), start, service)
    }

    /// The same with credentials that the caller changes as time goes on.
    pub fn start_with(
        self,
        credentials: Arc<Credentials>,
        start: u64,
        service: Arc<dyn Service>,
    ) -> Result<Net, NetError> {
        let transport = transport(self.segmentation_offload);
        let crypto = Arc::new(credentials.server_config(&self.means)?);
        let mut server = quinn::ServerConfig::new(crypto, Arc::new(retry_key(&self.seed)));
        server.time_source(self.means.dates()); // dates the tokens of retries
        server.transport_config(Arc::clone(&transport)).max_incoming(INCOMING_MAX);
        let client = |whom| Ok::<_, TlsError>(Arc::new(credentials.client_config(whom, &self.means)?));
        let mut client_config = quinn::ClientConfig::new(client(Whom::Named)?);
        let mut meet_config = quinn::ClientConfig::new(client(Whom::Any)?);
        for config in [&mut client_config, &mut meet_config] {
            config.transport_config(Arc::clone(&transport));
            config.initial_dst_cid_provider(Arc::clone(&self.initial_ids));
        }
        self.endpoint.set_server_config(Some(server));
        let inner = Inner {
            endpoint: self.endpoint,
            socket: self.socket,
            seals: Mutex::new(Seals::new(credentials.cluster(), &credentials.identity().key, &self.seed, start)),
            credentials,
            means: self.means,
            lives: self.lives,
            client_config,
            meet_config,
            service,
            pool: Mutex::new(Pool::new(self.connections_max)),
            handshakes: Handshakes::default(),
            strangers: Semaphore::new(STRANGERS_MAX),
            briefs: Briefs::new(first_call(&self.seed)),
            datagrams: Datagrams::new(),
            closed: AtomicBool::new(false),
        };
        let net = Net { inner: Arc::new(inner) };
        tokio::spawn(net.clone().run(self.sealed));
        Ok(net)
    }
}

/// Seals the tokens by which a sender shows that it received our retry. They die with the process.
fn retry_key(seed: &[u8; 32]) -> ring::hkdf::Prk {
    ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, b"taffeta retry tokens").extract(seed)
}

/// Number of the first sealed call.
fn first_call(seed: &[u8; 32]) -> u64 {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, seed);
    let tag = ring::hmac::sign(&key, b"taffeta sealed calls");
    u64::from_be_bytes(tag.as_ref()[..8].try_into().expect("8 of 32 bytes"))
}

fn transport(segmentation_offload: bool) -> Arc<TransportConfig> {
    let mut t = TransportConfig::default();
    t.max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("it fits")))
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
