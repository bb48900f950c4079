//! The relay for names that are not ours: ask the machine's resolvers, hand back what they say.
//!
//! The query is written anew (own id, own OPT without the client's hop-by-hop options) and the reply relayed as bytes,
//! so that every record type survives. No cache: the upstream has one.

use crate::{
    Exchange, Upstreams,
    encode::{Ede, Reply, UDP_MAX, encode, truncated},
    exchange::is_reply,
    query::{HEADER, Query},
    responder::{Transport, failure},
};
use hickory_proto::op::ResponseCode;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

/// How names that are not ours are resolved.
#[derive(Clone, Debug)]
pub struct ForwardConfig {
    /// Whom to ask.
    pub upstreams: Upstreams,
    /// Addresses of this machine. Clients from them and from loopback are served; others are refused, as an open
    /// resolver is a weapon.
    pub own_addresses: Vec<IpAddr>,
    /// How long one upstream may take; 1 s.
    pub attempt_timeout: Duration,
    /// How often each upstream is asked; 2.
    pub attempts: u32,
    /// How long all of it may take; 3 s, below the 5 s after which the C library's resolver asks again.
    pub budget: Duration,
    /// Questions relayed at once; 256, each a socket. More are SERVFAIL at once. This also ends a forwarding loop.
    pub in_flight_max: usize,
    /// How long a list read from resolv.conf holds; 30 s, so that a change of network needs no restart.
    pub reread_after: Duration,
}

impl ForwardConfig {
    /// The defaults, with these upstreams.
    pub fn new(upstreams: Upstreams, own_addresses: Vec<IpAddr>) -> Self {
        Self {
            upstreams,
            own_addresses,
            attempt_timeout: Duration::from_secs(1),
            attempts: 2,
            budget: Duration::from_secs(3),
            in_flight_max: 256,
            reread_after: Duration::from_secs(30),
        }
    }
}

pub(crate) struct Forwarder {
    config: ForwardConfig,
    exchange: Arc<dyn Exchange>,
    in_flight: Arc<Semaphore>,
    /// Where our own servers listen. One entry for each server.
    listening: Mutex<Vec<SocketAddr>>,
    known: Mutex<Option<(Instant, Arc<[SocketAddr]>)>>,
    /// The upstream that answered last is asked first, so that a dead one costs its time-out once, not always.
    preferred: AtomicUsize,
    seed: u64,
    asked: AtomicU64,
}

impl Forwarder {
    pub(crate) fn new(config: ForwardConfig, exchange: Arc<dyn Exchange>, seed: u64) -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(config.in_flight_max)),
            config,
            exchange,
            listening: Mutex::default(),
            known: Mutex::default(),
            preferred: AtomicUsize::new(0),
            seed,
            asked: AtomicU64::new(0),
        }
    }

    /// Whether names that are not ours are resolved for this client.
    pub(crate) fn serves(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let local = client.is_loopback() || self.config.own_addresses.iter().any(|a| a.to_canonical() == client);
        local && !matches!(self.config.upstreams, Upstreams::Nobody)
    }

    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.in_flight.clone().try_acquire_owned().ok()
    }

    pub(crate) fn listens_on(&self, address: SocketAddr) {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).push(address);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether an upstream is one of our own servers: asking it would go round for ever.
    fn is_own(&self, upstream: SocketAddr) -> bool {
        let ip = upstream.ip().to_canonical();
        let here = || ip.is_loopback() || ip.is_unspecified() || self.config.own_addresses.contains(&ip);
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |l: &SocketAddr| l.ip().to_canonical() == ip || l.ip().is_unspecified() && here();
        listening.iter().any(|l| l.port() == upstream.port() && same(l))
    }

    async fn upstreams(&self) -> Arc<[SocketAddr]> {
        let now = Instant::now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read_at, list)) = known
            && now.duration_since(read_at) < self.config.reread_after
        {
            return list;
        }
        let mut list = self.config.upstreams.read().await;
        list.retain(|u| !self.is_own(*u));
        let list: Arc<[SocketAddr]> = list.into();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, list.clone()));
        list
    }

    /// An id that whoever cannot see our queries cannot guess: a hash of the secret seed and a counter.
    fn next_id(&self) -> u16 {
        let mut hasher = DefaultHasher::new();
        (self.seed, self.asked.fetch_add(1, Ordering::Relaxed)).hash(&mut hasher);
        (hasher.finish() >> 48) as u16
    }
}

/// One question on its way to the upstreams. Holds its place among those in flight until it is dropped.
pub(crate) struct Relay {
    forwarder: Arc<Forwarder>,
    _permit: OwnedSemaphorePermit,
    query: Query,
    transport: Transport,
    limit: u16,
}

impl Relay {
    pub(crate) fn new(
        forwarder: &Arc<Forwarder>,
        permit: OwnedSemaphorePermit,
        query: Query,
        transport: Transport,
        limit: u16,
    ) -> Self {
        Self { forwarder: forwarder.clone(), _permit: permit, query, transport, limit }
    }

    pub(crate) async fn run(self) -> Option<Vec<u8>> {
        let deadline = Instant::now() + self.forwarder.config.budget;
        let upstreams = self.forwarder.upstreams().await;
        if upstreams.is_empty() {
            return self.fail("this machine has no upstream resolver");
        }
        // What the last upstream that refused said: better than an error of our own, as it may say why.
        let mut refusal = None;
        let reply = timeout_at(deadline, self.ask_all(&upstreams, &mut refusal)).await.ok().flatten();
        match reply.or(refusal) {
            Some(reply) => self.hand_back(reply),
            None => self.fail("no upstream resolver answered in time"),
        }
    }

    async fn ask_all(&self, upstreams: &[SocketAddr], refusal: &mut Option<Vec<u8>>) -> Option<Vec<u8>> {
        let first = self.forwarder.preferred.load(Ordering::Relaxed);
        for _ in 0..self.forwarder.config.attempts {
            let mut silent = false;
            for step in 0..upstreams.len() {
                let at = (first + step) % upstreams.len();
                match self.ask(upstreams[at]).await {
                    Some(reply) if is_final(&reply) => {
                        self.forwarder.preferred.store(at, Ordering::Relaxed);
                        return Some(reply);
                    }
                    Some(reply) => *refusal = Some(reply),
                    None => silent = true,
                }
            }
            if !silent {
                break;
            }
        }
        None
    }

    /// By UDP; and again by TCP if the reply is cut short and the client could take more, which by UDP it could not.
    async fn ask(&self, upstream: SocketAddr) -> Option<Vec<u8>> {
        let query = self.upstream_query();
        let exchange = &self.forwarder.exchange;
        let limit = self.forwarder.config.attempt_timeout;
        let reply = timeout(limit, exchange.udp(upstream, &query)).await.ok()?.ok();
        let reply = reply.filter(|r| is_reply(&query, r))?;
        let cut_short = reply[2] & 2 != 0;
        if !cut_short || self.transport == Transport::Udp {
            return Some(reply);
        }
        let whole = timeout(limit, exchange.tcp(upstream, &query)).await.ok()?.ok()?;
        is_reply(&query, &whole).then_some(whole)
    }

    /// Header with RD, AD and CD of the client's, its question, and an OPT of our own if it sent one.
    fn upstream_query(&self) -> Vec<u8> {
        let [high, low] = self.query.flags;
        let mut packet = Vec::with_capacity(HEADER + self.query.question_bytes.len() + 11);
        packet.extend_from_slice(&self.forwarder.next_id().to_be_bytes());
        packet.extend_from_slice(&[high & 1, low & 0x30, 0, 1, 0, 0, 0, 0, 0, u8::from(self.query.edns.is_some())]);
        packet.extend_from_slice(&self.query.question_bytes);
        if let Some(edns) = self.query.edns {
            let size = self.limit.min(UDP_MAX).to_be_bytes();
            packet.extend_from_slice(&[0, 0, 41, size[0], size[1], 0, 0, u8::from(edns.dnssec_ok) << 7, 0, 0, 0]);
        }
        packet
    }

    fn hand_back(&self, mut reply: Vec<u8>) -> Option<Vec<u8>> {
        let too_long = reply.len() > usize::from(self.limit);
        let question = &self.query.question_bytes;
        reply[..2].copy_from_slice(&self.query.id.to_be_bytes());
        // Not our authority; recursion is what we just did; RD as the client had it.
        reply[2] = reply[2] & !0x05 | self.query.flags[0] & 1;
        reply[3] |= 0x80;
        if reply[4..6] == [0, 1]
            && let Some(echo) = reply.get_mut(HEADER..HEADER + question.len())
        {
            // Some upstreams fold the case; the client may check it (draft-vixie-dnsext-dns0x20).
            echo.copy_from_slice(question);
        }
        if too_long {
            truncated(&self.query, &self.reply(ResponseCode::from_low(reply[3] & 0xf), None))
        } else {
            Some(reply)
        }
    }

    fn fail(&self, why: &'static str) -> Option<Vec<u8>> {
        let reply = self.reply(ResponseCode::ServFail, Some((Ede::NoReachableAuthority, why)));
        encode(&self.query, &reply, self.limit)
    }

    fn reply(&self, code: ResponseCode, error: Option<(Ede, &'static str)>) -> Reply {
        Reply { recursion_available: true, ..failure(code, error) }
    }
}

/// Whether a reply settles the question: an upstream that failed or refuses may be alone with that.
fn is_final(reply: &[u8]) -> bool {
    let code = reply[3] & 0xf;
    code == ResponseCode::NoError.low() || code == ResponseCode::NXDomain.low()
}
