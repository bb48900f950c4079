//! What a node says to others: calls, pushes and packets of the ring, over connections from the pool.

use crate::{
    DATAGRAM_BYTES_MAX, MESSAGE_BYTES_MAX,
    authority::Lives,
    brief::Briefs,
    certified::Certified,
    close::Close,
    counts::{self, Datagrams, Direction},
    credentials::Credentials,
    endpoint::{DIAL_TIMEOUT, Service},
    handshakes::Handshakes,
    key::{PublicKey, sha256},
    link::{Link, Terms, packets_heard},
    packed,
    peer::{CallError, Lane, Peer},
    pool::{Dialled, Pool, Way},
    refusal::{Grounds, Refusal, RefusedFor},
    sealed::{KeyRefused, Kind, Seals},
    shared_socket::SharedSocket,
    tls::{self, Chain, Means},
};
use bytes::Bytes;
use quinn::{Connection, Endpoint};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use taffeta_model::{NodeId, UnixMillis};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout, timeout_at},
};

/// Silence for at least this long, and four round trips, during a call makes its connection doubtful: a live peer's
/// acknowledgement is delayed by 25 ms at most (RFC 9000, section 18.2).
const SILENCE_MIN: Duration = Duration::from_millis(80);

/// A connection on which something was heard within this time is trusted to be alive when a message is pushed.
const TRUST: Duration = Duration::from_secs(3);

/// Packets of the ring that nothing acknowledged for this long go sealed, if they can: a connection whose packets were
/// lost for a while sends the next ones later and later (RFC 9002, section 6.2), when the network may work again.
const DOUBT: Duration = Duration::from_secs(1);

/// A node that refuses a certificate does it as soon as it has seen it.
const KNOCK_LIMIT: Duration = Duration::from_secs(1);

/// In a cluster of up to this many other nodes each keeps connections to all: a packet to a peer without one also dials.
/// In a larger one the ring's random probes would only dial connections that nobody uses again.
const WARM_MAX: usize = 16;

pub(crate) const REPLY_OK: u8 = 0;
pub(crate) const REPLY_REFUSED: u8 = 1;
/// Refused because the certificate has ended that the caller showed when it connected. Nothing was done.
pub(crate) const REPLY_ENDED: u8 = 2;
/// From version 2 on: done, and the reply is packed.
pub(crate) const REPLY_PACKED: u8 = 3;

/// The fabric's endpoint. Cheap to clone; all clones are one endpoint.
#[derive(Clone)]
pub struct Net {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) endpoint: Endpoint,
    pub(crate) socket: Arc<SharedSocket>,
    pub(crate) seals: Mutex<Seals>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) means: Means,
    pub(crate) lives: Lives,
    pub(crate) client_config: quinn::ClientConfig,
    /// For addresses of which it is not known which node is there.
    pub(crate) meet_config: quinn::ClientConfig,
    pub(crate) service: Arc<dyn Service>,
    pub(crate) pool: Mutex<Pool>,
    pub(crate) handshakes: Handshakes,
    pub(crate) strangers: Semaphore,
    pub(crate) briefs: Briefs,
    pub(crate) datagrams: Datagrams,
    /// QUIC's endpoint knows by itself when it is closed; the sealed datagrams need to be told.
    pub(crate) closed: AtomicBool,
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

    /// Calls a node and waits for its reply, at most `limit`. A call that is refused because the connection is older than
    /// this node's present certificate is made once more, on a new one.
    pub async fn call(&self, node: NodeId, lane: Lane, request: &[u8], limit: Duration) -> Result<Vec<u8>, CallError> {
        if lane.is_streamed() || lane.is_talk() {
            return Err(CallError::Refused(format!("the lane {lane:?} gives no single answer")));
        }
        let deadline = Instant::now() + limit;
        let link = timeout_at(deadline, self.link(node)).await.map_err(|_| CallError::Timeout)??;
        match self.call_on(node, &link, lane, request, deadline).await? {
            Reply::Given(reply) => return Ok(reply),
            Reply::Refused(why) => return Err(CallError::Refused(why)),
            Reply::Ended(why) if !self.shows_older(&link) => return Err(CallError::Refused(why)),
            Reply::Ended(_) => {}
        }
        let link = timeout_at(deadline, self.link_anew(node)).await.map_err(|_| CallError::Timeout)??;
        match self.call_on(node, &link, lane, request, deadline).await? {
            Reply::Given(reply) => Ok(reply),
            Reply::Refused(why) | Reply::Ended(why) => Err(CallError::Refused(why)),
        }
    }

    async fn call_on(
        &self,
        node: NodeId,
        link: &Link,
        lane: Lane,
        request: &[u8],
        deadline: Instant,
    ) -> Result<Reply, CallError> {
        self.check_lane(link, lane)?;
        self.watched(node, link, deadline, exchange_once(&link.connection, lane, request)).await
    }

    /// The date by a node's own clock.
    pub async fn date_of(&self, node: NodeId, limit: Duration) -> Result<UnixMillis, CallError> {
        let reply = self.call(node, Lane::Ping, b"", limit).await?;
        let millis = reply.as_slice().try_into().map_err(|_| CallError::Broken("no date in the reply".into()))?;
        Ok(UnixMillis(u64::from_be_bytes(millis)))
    }

    /// How the peer of a connection stands now: by its certificate's end, and by whether it was removed.
    pub(crate) fn standing(&self, peer: Option<Certified>) -> Peer {
        let Some(Certified { node, ends }) = peer else { return Peer::Stranger };
        if self.inner.credentials.is_removed(node) {
            return Peer::Removed(node);
        }
        let date = self.inner.means.date();
        if date <= ends {
            Peer::Node(node)
        } else if date <= ends + self.inner.lives.grace && self.seals().knows(node) {
            Peer::Expired(node)
        } else {
            Peer::Lapsed(node)
        }
    }

    /// Nothing is asked on a lane of whom nothing would be answered on it.
    pub(crate) fn check_lane(&self, link: &Link, lane: Lane) -> Result<(), CallError> {
        let peer = self.standing(link.terms.map(|terms| terms.peer));
        if lane.allows(peer) { Ok(()) } else { Err(CallError::Refused(peer.refusal().into())) }
    }

    /// Believes nodes that were removed from the cluster no more, whatever their certificates say: their connections are
    /// closed, and they are told why; their keys and addresses are forgotten. Replaces those given before.
    pub fn set_removed(&self, nodes: BTreeSet<NodeId>) {
        let mut links = vec![];
        for node in self.inner.credentials.remove(nodes) {
            self.seals().forget(node);
            links.extend(self.pool().take_out(node));
        }
        // Nothing is served on them any more; the service, which is asked why, may be in the middle of something.
        let net = self.clone();
        tokio::spawn(async move { links.iter().for_each(|link| net.refuse(&link.connection, RefusedFor::Removal)) });
    }

    /// Connects to whichever node of this cluster is at the address, and says which one that is. The address is that
    /// node's from now on.
    pub async fn meet(&self, address: SocketAddr) -> Result<NodeId, CallError> {
        let unreachable = |why: String| CallError::Unreachable(address.to_string(), why);
        let own_ends = self.inner.credentials.ends();
        let connection = self.greet(address).await?;
        match self.terms(&connection, own_ends) {
            Some(terms) if terms.peer.node != self.inner.credentials.id() => {
                self.set_address(terms.peer.node, address);
                self.adopt(terms, connection);
                Ok(terms.peer.node)
            }
            Some(_) | None => {
                Close::Bye.connection(&connection);
                Err(unreachable("no other node of this cluster is there".into()))
            }
        }
    }

    /// Which node of this cluster is at the address, this node itself included. `None` if none answers.
    pub async fn who_is_at(&self, address: SocketAddr) -> Option<NodeId> {
        let own_ends = self.inner.credentials.ends();
        let connection = self.greet(address).await.ok()?;
        let terms = self.terms(&connection, own_ends);
        Close::Bye.connection(&connection);
        Some(terms?.peer.node)
    }

    /// Connects to an address of which it is not known which node is there.
    async fn greet(&self, address: SocketAddr) -> Result<Connection, CallError> {
        let unreachable = |why: String| CallError::Unreachable(address.to_string(), why);
        // The name is not known; that the chain leads to the cluster's CA is what is checked.
        let connecting =
            self.inner.endpoint.connect_with(self.inner.meet_config.clone(), address, "meet.taffeta.internal");
        let connecting = connecting.map_err(|e| unreachable(e.to_string()))?;
        let connected = timeout(DIAL_TIMEOUT, connecting).await.map_err(|_| unreachable("no answer in time".into()))?;
        connected.map_err(|e| unreachable(e.to_string()))
    }

    /// Asks a node for a sign of life on the connection to it, if one is alive, and waits for it at most `limit`.
    /// `None` if there is no connection: none is dialled.
    pub async fn probe_live(&self, node: NodeId, limit: Duration) -> Option<bool> {
        let link = self.pool().take_live(node)?;
        let work = exchange(&link.connection, Lane::Ping, b"");
        Some(self.watched(node, &link, Instant::now() + limit, work).await.is_ok())
    }

    /// Sends a message that wants no answer. Reliable as long as the connection lives; on one that has been silent for
    /// seconds, it waits until the peer's end has the message.
    pub async fn push(&self, node: NodeId, lane: Lane, message: &[u8], limit: Duration) -> Result<(), CallError> {
        let deadline = Instant::now() + limit;
        let link = timeout_at(deadline, self.link(node)).await.map_err(|_| CallError::Timeout)??;
        self.check_lane(&link, lane)?;
        let trusted = link.silence() < TRUST;
        let work = async {
            let mut stream = link.connection.open_uni().await.map_err(broken)?;
            stream.write_all(&on_lane(lane, message)).await.map_err(broken)?;
            stream.finish().map_err(broken)?;
            if !trusted && stream.stopped().await.map_err(broken)?.is_some() {
                return Err(CallError::Broken("the peer did not read the message".into()));
            }
            Ok(())
        };
        self.watched(node, &link, deadline, work).await
    }

    /// Waits for work on a connection. A live peer acknowledges packets even while it works on the answer. Total silence
    /// means that the process at the other end is no more, and perhaps another one is there already: the next call dials.
    pub(crate) async fn watched<T>(
        &self,
        node: NodeId,
        link: &Link,
        deadline: Instant,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let _open = link.begin();
        let (began, heard) = (Instant::now(), packets_heard(&link.connection));
        if let Ok(result) = timeout_at(deadline, work).await {
            return result;
        }
        let patience = SILENCE_MIN.max(link.connection.rtt() * 4);
        if began.elapsed() >= patience && packets_heard(&link.connection) == heard {
            self.pool().set_aside(node, link.id());
        }
        Err(CallError::Timeout)
    }

    /// Closes the connections to a node that is taken for dead. Calls under way on them fail at once, the next one dials.
    pub fn drop_connection(&self, node: NodeId) {
        self.pool().close(node, Close::Down);
    }

    /// Tells a node's key, as the cluster's directory of members has it: packets of the ring can be sealed for it and
    /// are taken from it. At most [`taffeta_model::MEMBERS_MAX`] keys are held.
    pub fn set_peer_key(&self, node: NodeId, key: PublicKey) -> Result<(), KeyRefused> {
        self.seals().set_key(node, key)
    }

    /// Forgets all about a node: its key, its address and its connections, which are closed.
    pub fn forget_peer(&self, node: NodeId) {
        self.seals().forget(node);
        self.pool().forget(node, Close::Forgotten);
    }

    /// The node learnt that its start counter had been set back: sealed datagrams name this higher one from now on.
    pub fn raise_start(&self, start: u64) {
        self.seals().raise_start(start);
    }

    /// Sends a packet of the ring: on the connection if one is alive, else sealed if the node's key is known, else a
    /// connection is dialled and the packet waits for it. Lost packets are the ring's business.
    pub fn send_datagram(&self, node: NodeId, packet: Bytes) {
        if packet.len() > DATAGRAM_BYTES_MAX {
            tracing::warn!(%node, bytes = packet.len(), "a packet of the ring is too large and was not sent");
            return;
        }
        let (live, address, few) = {
            let pool = self.pool();
            (pool.take_live(node), pool.address(node), pool.addresses() < WARM_MAX)
        };
        if let Some(link) = &live {
            self.redial_in_time(node, link);
        }
        if let Some(link) = &live
            && link.unanswered() < DOUBT
        {
            return self.send_on(link, packet);
        }
        let sealed = address.and_then(|address| Some((address, self.seals().seal(node, Kind::Packet, &packet)?)));
        match (sealed, live) {
            (Some((address, datagram)), _) => {
                self.send_sealed(counts::Way::Sealed, address, &datagram, packet.len());
                if few {
                    self.dial_for(node, None);
                }
            }
            (None, Some(link)) => self.send_on(&link, packet), // doubtful, but the only way
            (None, None) => self.dial_for(node, Some(packet)),
        }
    }

    /// Dials in the background, unless somebody does already or there is a connection. The packet goes on it.
    fn dial_for(&self, node: NodeId, packet: Option<Bytes>) {
        let mut pool = self.pool();
        let way = pool.way(node);
        if let (Some(packet), Way::Wait(_) | Way::Dial(..)) = (&packet, &way) {
            pool.queue(node, packet.clone());
        }
        drop(pool);
        match way {
            Way::Dial(address, report) => self.spawn_dial(node, address, report),
            Way::Open(link) => packet.into_iter().for_each(|packet| self.send_on(&link, packet)),
            Way::Wait(_) | Way::Unknown => {}
        }
    }

    /// Says whether it was sent.
    pub(crate) fn send_sealed(
        &self,
        way: counts::Way,
        address: SocketAddr,
        datagram: &[u8],
        packet_bytes: usize,
    ) -> bool {
        let date = self.inner.means.date();
        let lapsed = date > self.inner.credentials.ends() + self.inner.lives.grace;
        if lapsed || self.inner.closed.load(Ordering::Relaxed) {
            return false; // nobody sees a certificate on such a datagram: the sender itself keeps to what is granted
        }
        let sent = self.inner.socket.send(address, datagram);
        match &sent {
            Ok(()) => self.inner.datagrams.count(way, Direction::Out, packet_bytes),
            Err(error) => {
                counts::lost(Direction::Out);
                tracing::debug!(%address, %error, "sealed datagram not sent");
            }
        }
        sent.is_ok()
    }

    fn send_on(&self, link: &Link, packet: Bytes) {
        let bytes = packet.len();
        match link.connection.send_datagram(packet) {
            Ok(()) => {
                link.mark_sent();
                self.inner.datagrams.count(counts::Way::Quic, Direction::Out, bytes);
            }
            Err(error) => tracing::debug!(%error, "datagram not sent"),
        }
    }

    /// The version of the protocol that is spoken with a node, if there is a connection to it.
    pub fn version(&self, node: NodeId) -> Option<u32> {
        self.pool().take_live(node).map(|link| link.version)
    }

    /// Round-trip time to a node: on the live connection, else as it was on the last one to the node's address.
    pub fn round_trip(&self, node: NodeId) -> Option<Duration> {
        self.pool().round_trip(node)
    }

    /// Ends all connections, giving what was sent last a moment to leave.
    pub async fn close(&self) {
        self.close_now();
        let _ = timeout(Duration::from_millis(500), self.inner.endpoint.wait_idle()).await;
    }

    /// Ends all connections at once, and with them the loop that accepts new ones.
    pub fn close_now(&self) {
        self.inner.closed.store(true, Ordering::Relaxed);
        self.inner.endpoint.close(Close::Bye.code(), Close::Bye.reason());
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.inner.pool.lock().expect("no panic while the pool is held")
    }

    pub(crate) fn seals(&self) -> MutexGuard<'_, Seals> {
        self.inner.seals.lock().expect("no panic while the seals are held")
    }

    pub(crate) async fn link(&self, node: NodeId) -> Result<Link, CallError> {
        let way = self.pool().way(node);
        match way {
            Way::Open(link) if !self.is_over(&link) => {
                self.redial_in_time(node, &link);
                Ok(link)
            }
            Way::Open(link) => Ok(self.link_anew(node).await.unwrap_or(link)),
            Way::Unknown | Way::Wait(_) | Way::Dial(..) => self.wait_for(node, way).await,
        }
    }

    /// A connection that is made now, whether or not there is one.
    pub(crate) async fn link_anew(&self, node: NodeId) -> Result<Link, CallError> {
        let way = self.pool().way_anew(node);
        self.wait_for(node, way).await
    }

    async fn wait_for(&self, node: NodeId, way: Way) -> Result<Link, CallError> {
        let mut waiting = match way {
            Way::Open(link) => return Ok(link),
            Way::Unknown => return Err(CallError::UnknownNode(node)),
            Way::Wait(receiver) => receiver,
            Way::Dial(address, report) => {
                let receiver = report.subscribe();
                self.spawn_dial(node, address, report);
                receiver
            }
        };
        let ended = waiting.wait_for(Option::is_some).await;
        let ended = ended.map_err(|_| CallError::Broken("the dial was given up".into()))?;
        ended.clone().expect("waited until it was there")
    }

    /// In a task of its own: a caller may give up, others wait for the same dial.
    pub(crate) fn spawn_dial(&self, node: NodeId, address: SocketAddr, report: watch::Sender<Dialled>) {
        tokio::spawn(self.clone().dial(node, address, report));
    }

    async fn dial(self, node: NodeId, address: SocketAddr, report: watch::Sender<Dialled>) {
        let own_ends = self.inner.credentials.ends();
        let result = self.try_dial(node, address).await.and_then(|connection| {
            // The node may have been forgotten or have moved meanwhile.
            if self.address(node) != Some(address) {
                Close::Forgotten.connection(&connection);
                return Err(CallError::UnknownNode(node));
            }
            let terms = self.terms(&connection, own_ends);
            let terms = terms.ok_or_else(|| broken("the node's certificate cannot be read"))?;
            Ok(self.adopt(terms, connection))
        });
        self.pool().end_dial(node);
        report.send_replace(Some(result));
    }

    async fn try_dial(&self, node: NodeId, address: SocketAddr) -> Result<Connection, CallError> {
        let unreachable = |why: String| CallError::Unreachable(address.to_string(), why);
        let name = tls::server_name(self.inner.credentials.cluster(), node);
        let config = self.inner.client_config.clone();
        let connecting = self.inner.endpoint.connect_with(config, address, &name);
        let connecting = connecting.map_err(|e| unreachable(e.to_string()))?;
        let connected = timeout(DIAL_TIMEOUT, connecting).await.map_err(|_| unreachable("no answer in time".into()))?;
        connected.map_err(|e| unreachable(e.to_string()))
    }

    /// What the certificates of a connection say that this node has dialled, and TLS has verified.
    fn terms(&self, connection: &Connection, own_ends: UnixMillis) -> Option<Terms> {
        let peer = Certified::read(Chain::of(connection)?.own(), self.inner.credentials.cluster()).ok()?;
        Some(Terms { peer, own_ends })
    }

    /// Takes a connection to a node into use and serves what comes in on it.
    pub(crate) fn adopt(&self, terms: Terms, connection: Connection) -> Link {
        let (link, queued) = self.pool().adopt(terms, connection);
        for packet in queued {
            self.send_on(&link, packet);
        }
        tokio::spawn(self.clone().serve(link.clone()));
        link
    }

    /// A connection ended: was this node told that its certificate is refused for good?
    pub(crate) fn heed(&self, by: NodeId, connection: &Connection, end: &quinn::ConnectionError) {
        let Some((why, Grounds { mark, signature, holders })) = Close::refusal(end) else { return };
        let credentials = &self.inner.credentials;
        // Of the present certificate: what was said of one before it is over.
        let statement = why.statement(credentials.cluster(), &sha256(&credentials.identity().certificate));
        let statement = [&mark[..], &statement].concat();
        let signed = |chain: Chain| credentials.is_signed(&chain, self.inner.means.date(), &statement, &signature);
        let proven = !signature.is_empty() && Chain::of(connection).is_some_and(signed);
        self.inner.service.refused(Refusal { by, why, proven, mark, holders });
    }

    /// Lets a node say whether it believes this one: dials it at an address, and waits a moment for its refusal.
    pub async fn knock(&self, node: NodeId, address: SocketAddr) {
        let Ok(connection) = self.try_dial(node, address).await else { return };
        if let Ok(end) = timeout(KNOCK_LIMIT, connection.closed()).await {
            self.heed(node, &connection, &end);
        }
        Close::Bye.connection(&connection);
    }
}

/// In one piece, so that a short message is one packet.
fn on_lane(lane: Lane, message: &[u8]) -> Vec<u8> {
    [&[lane.byte()], message].concat()
}

/// A reply as it came.
pub(crate) enum Reply {
    Given(Vec<u8>),
    Refused(String),
    /// The certificate has ended that was shown on the connection.
    Ended(String),
}

pub(crate) async fn exchange(connection: &Connection, lane: Lane, request: &[u8]) -> Result<Vec<u8>, CallError> {
    match exchange_once(connection, lane, request).await? {
        Reply::Given(reply) => Ok(reply),
        Reply::Refused(why) | Reply::Ended(why) => Err(CallError::Refused(why)),
    }
}

async fn exchange_once(connection: &Connection, lane: Lane, request: &[u8]) -> Result<Reply, CallError> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(broken)?;
    send.write_all(&on_lane(lane, request)).await.map_err(broken)?;
    send.finish().map_err(broken)?;
    let mut reply = receive.read_to_end(MESSAGE_BYTES_MAX).await.map_err(broken)?;
    if reply.is_empty() {
        return Err(CallError::Broken("an empty reply".into()));
    }
    let body = reply.split_off(1);
    match reply[0] {
        REPLY_OK => Ok(Reply::Given(body)),
        REPLY_PACKED => packed::unpack(&body)
            .map(Reply::Given)
            .ok_or_else(|| CallError::Broken("a reply that does not unpack".into())),
        REPLY_REFUSED => Ok(Reply::Refused(String::from_utf8_lossy(&body).into_owned())),
        REPLY_ENDED => Ok(Reply::Ended(String::from_utf8_lossy(&body).into_owned())),
        other => Err(CallError::Broken(format!("a reply of unknown kind {other}"))),
    }
}

pub(crate) fn broken(e: impl std::fmt::Display) -> CallError {
    CallError::Broken(e.to_string())
}
