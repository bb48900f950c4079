//! One packet in, at most one packet out.

use crate::{
    DnsConfig, Exchange, Failing, ForwardConfig,
    config::NSID_MAX,
    cookie::Cookies,
    encode::{Reply, ResponseCodeOrNoError, encode, limit},
    forward::{ForwardCounts, Forwarder, Relay, peek},
    opt::{ClientEdns, Ede, ReplyOptions, Sent},
    query::{HEADER, Parsed, Query, bare, parse},
    transfer::Transfer,
};
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, RecordType as WireType},
};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};
use taffeta_dns_answer::{
    Answer, Data, NOT_READY_TEXT, Name, Question, Record, RecordType, STALE_TEXT, Snapshot, answer,
};
use tokio::time::Instant;

/// How a query came, which decides how long its reply may be and which options it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS (RFC 7858).
    Tls,
    /// A request of HTTP (RFC 8484).
    Https,
    /// A stream of QUIC (RFC 9250).
    Quic,
}

impl Transport {
    /// Whether nobody on the way can read it.
    pub fn is_encrypted(self) -> bool {
        match self {
            Self::Udp | Self::Tcp => false,
            Self::Tls | Self::Https | Self::Quic => true,
        }
    }

    /// Whether the server decides how long the stream may idle (RFC 7828); HTTP and QUIC have their own ways.
    fn has_keepalive(self) -> bool {
        match self {
            Self::Tcp | Self::Tls => true,
            Self::Udp | Self::Https | Self::Quic => false,
        }
    }

    /// Whether replies of many messages can be sent on it.
    fn carries_transfers(self) -> bool {
        match self {
            Self::Tcp | Self::Tls | Self::Quic => true,
            Self::Udp | Self::Https => false,
        }
    }
}

/// Answers packets from the newest snapshot, and relays what is not ours.
pub struct Responder {
    snapshot: Arc<ArcSwap<Snapshot>>,
    forwarder: Arc<Forwarder>,
    config: DnsConfig,
    cookies: Option<Cookies>,
    nsid: Option<Arc<[u8]>>,
    /// What fails on purpose; shared with [`Self::completing`].
    failing: Arc<ArcSwapOption<Failing>>,
    /// Whether it answers for names that lack the domain.
    completes: bool,
    /// What clients are told of how long their streams may idle, in units of 100 ms.
    stream_idle: AtomicU16,
    /// Random numbers come from here: the order of records is `seed + n` for the n-th reply.
    pub(crate) next_seed: AtomicU64,
}

/// A reply that is known at once, or one that needs an upstream.
pub(crate) enum Step {
    Done(Option<Vec<u8>>),
    Relay(Box<Relay>),
}

impl Responder {
    /// Answers from `snapshot`, whoever swaps it. `exchange` reaches upstream resolvers: [`crate::Sockets`], or a
    /// simulated network. `seed` should be secret: ids of relayed queries come from it.
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        forward: ForwardConfig,
        exchange: Arc<dyn Exchange>,
        seed: u64,
    ) -> Self {
        let forwarder = Arc::new(Forwarder::new(forward, exchange, seed));
        Self {
            snapshot,
            forwarder,
            config: DnsConfig::default(),
            cookies: None,
            nsid: None,
            failing: Arc::default(),
            completes: false,
            stream_idle: AtomicU16::new(0),
            next_seed: AtomicU64::new(seed),
        }
    }

    /// The same with cookies, a name and permissions.
    pub fn configured(self, config: DnsConfig) -> Self {
        let nsid = config.nsid.as_ref().map(|n| n.as_bytes().iter().copied().take(NSID_MAX).collect());
        Self { cookies: config.cookies.clone().map(Cookies::new), nsid, config, ..self }
    }

    /// The same answers for clients whose resolvers add the domain only after a name was not found as it is: what exists
    /// below the domain is answered for without it, too, as `web.shop`. The cache is the same one.
    pub fn completing(&self) -> Self {
        Self {
            snapshot: Arc::clone(&self.snapshot),
            forwarder: Arc::clone(&self.forwarder),
            config: self.config.clone(),
            cookies: self.config.cookies.clone().map(Cookies::new),
            nsid: self.nsid.clone(),
            failing: Arc::clone(&self.failing),
            completes: true,
            stream_idle: AtomicU16::new(0),
            next_seed: AtomicU64::new(self.draw()),
        }
    }

    /// Replies to one packet; `None` where silence is right (not a query). Never panics, whatever the bytes. A zone
    /// transfer, whose reply is many packets, is refused here.
    pub async fn respond(&self, packet: &[u8], client: IpAddr, transport: Transport) -> Option<Vec<u8>> {
        match self.begin(packet, client, transport) {
            Step::Done(reply) => reply,
            Step::Relay(relay) => relay.run().await,
        }
    }

    /// As [`Self::respond`], up to where it would have to wait: names of our own never wait for anybody's resolver.
    pub(crate) fn begin(&self, packet: &[u8], client: IpAddr, transport: Transport) -> Step {
        if let Some(failing) = self.failing().filter(|failing| failing.strikes(self.draw())) {
            return Step::Done(self.fail_one(&failing, packet));
        }
        self.begin_at(&self.snapshot.load(), packet, client, transport)
    }

    /// As [`Self::begin`], from a snapshot of the caller's.
    pub(crate) fn begin_at(&self, snapshot: &Snapshot, packet: &[u8], client: IpAddr, transport: Transport) -> Step {
        let mut query = match parse(packet) {
            Parsed::Drop => return Step::Done(None),
            Parsed::Reject(reply) => return Step::Done(Some(reply)),
            Parsed::CookieOnly(header, edns) => return Step::Done(self.cookie_only(&header, &edns, client)),
            Parsed::Query(query) => query,
        };
        let limit = limit(&query, transport);
        let recursion_available = self.forwarder.serves(client);
        let done =
            |query: &Query, reply: Reply| Step::Done(encode(query, &Reply { recursion_available, ..reply }, limit));
        if let Some(edns) = &query.edns {
            if edns.version > 0 {
                return done(&query, failure(ResponseCode::BADVERS, None));
            }
            query.options = self.options(edns, client, transport);
            if self.is_malformed(edns, transport) {
                return done(&query, failure(ResponseCode::FormErr, None));
            }
        }
        if let Some(reply) = self.identity(&query) {
            return done(&query, reply);
        }
        let seed = self.next_seed.fetch_add(1, Ordering::Relaxed);
        let answered = |question: &Question| answer(snapshot, question, Some(client), seed);
        let whole = match answered(&query.question) {
            Answer::NotOurs => match self.completed(snapshot, &query) {
                Some(name) => {
                    let answer = answered(&Question { name: name.clone(), ..query.question.clone() });
                    renamed(answer, &name, &query.question.name)
                }
                None => Answer::NotOurs,
            },
            ours => ours,
        };
        match reply_to(whole) {
            Some(reply) => done(&query, reply),
            None if !recursion_available => {
                let why = "names outside the fabric are not resolved for this client";
                done(&query, failure(ResponseCode::Refused, Some((Ede::Prohibited, why))))
            }
            None => self.forwarder.begin(Instant::now(), *query, transport, limit),
        }
    }

    /// Writes the reply to a datagram if the question is an ordinary one about a name that the snapshot does not answer
    /// for, the client is served, and a fresh answer is in the cache; says how long the reply is. Otherwise `None`, and
    /// [`Self::respond`] knows more. Neither waits nor allocates, and needs no runtime; any number of threads may call
    /// it.
    pub fn try_cached(
        &self,
        snapshot: &Snapshot,
        now: Instant,
        packet: &[u8],
        client: IpAddr,
        out: &mut [u8],
    ) -> Option<usize> {
        let peeked = peek(packet).filter(|p| self.forwarder.serves(client) && !snapshot.answers_for(p.key.name()))?;
        if self.completes && snapshot.completed(peeked.key.name()).is_some() {
            return None; // the upstream may have been asked before there was such a service
        }
        self.forwarder.write_fresh(now, &peeked.key, &peeked.asker, out)
    }

    /// Lets questions fail on purpose from now on, or none any more.
    pub fn fail(&self, failing: Option<Failing>) {
        self.failing.store(failing.map(Arc::new));
    }

    /// What fails on purpose at this moment.
    pub(crate) fn failing(&self) -> Option<Failing> {
        let failing = self.failing.load();
        failing.as_deref().filter(|failing| failing.until > Instant::now()).copied()
    }

    /// What a question gets that is struck; `None` for silence.
    pub(crate) fn fail_one(&self, failing: &Failing, packet: &[u8]) -> Option<Vec<u8>> {
        let Parsed::Query(query) = parse(packet) else { return None };
        let reply = failure(ResponseCode::ServFail, Some((Ede::Other, "made to fail by an experiment")));
        failing.servfail.then(|| encode(&query, &reply, limit(&query, Transport::Udp))).flatten()
    }

    /// What was done for names that are not ours.
    pub fn forward_counts(&self) -> ForwardCounts {
        self.forwarder.counts()
    }

    /// The messages of a zone transfer, if the packet asks for one and this client may have it. `None` for all other
    /// packets: [`Self::begin`] answers them.
    pub(crate) fn transfer(&self, packet: &[u8], client: IpAddr, transport: Transport) -> Option<Transfer> {
        if !transport.carries_transfers() || !self.config.transfer.iter().any(|n| n.contains(client)) {
            return None;
        }
        let Parsed::Query(mut query) = parse(packet) else { return None };
        // Changes are not kept: IXFR gets the whole zone, which RFC 1995 section 4 allows.
        let asked = matches!(query.question.record_type, RecordType::Axfr | RecordType::Ixfr);
        let in_class = query.decoded.query_class() == DNSClass::IN;
        if !asked || !in_class || query.edns.is_some_and(|e| e.version > 0 || self.is_malformed(&e, transport)) {
            return None;
        }
        if let Some(edns) = &query.edns {
            query.options = self.options(edns, client, transport);
        }
        Transfer::new(*query, &self.snapshot.load())
    }

    /// Whether the client has proved that it receives what is sent to its address: a rate limit need not touch it.
    pub(crate) fn has_valid_cookie(&self, edns: &ClientEdns, client: IpAddr) -> bool {
        self.cookies.as_ref().zip(edns.cookie()).is_some_and(|(own, sent)| own.is_valid(sent, client))
    }

    /// What a client with a cookie, but no valid one, is told when a rate limit asks for one: BADCOOKIE with a good one
    /// (RFC 7873 section 5.2.3), which is not longer than its query by more than our part. `None` for a client that
    /// knows no cookies.
    pub(crate) fn demand_cookie(&self, packet: &[u8], client: IpAddr) -> Option<Vec<u8>> {
        let Parsed::Query(mut query) = parse(packet) else { return None };
        let cookie = self.cookies.as_ref()?.renewed(query.edns?.cookie()?, client);
        query.options.cookie = Some(cookie);
        encode(&query, &failure(ResponseCode::BADCOOKIE, None), limit(&query, Transport::Udp))
    }

    /// Whether the packet's cookie proves that the client is where it says.
    pub(crate) fn is_proven(&self, packet: &[u8], client: IpAddr) -> bool {
        let Parsed::Query(query) = parse(packet) else { return false };
        query.edns.is_some_and(|edns| self.has_valid_cookie(&edns, client))
    }

    /// The newest snapshot.
    pub(crate) fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Whether names that are not ours are resolved for this client.
    pub(crate) fn resolves_for(&self, client: IpAddr) -> bool {
        self.forwarder.serves(client)
    }

    /// A number that nobody can foresee who does not know the seed.
    pub(crate) fn draw(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.next_seed.fetch_add(1, Ordering::Relaxed).hash(&mut hasher);
        hasher.finish()
    }

    /// Tells that a server listens here, so that an upstream of this address is left out: it would be ourselves.
    pub(crate) fn listens_on(&self, address: SocketAddr) {
        self.forwarder.listens_on(address);
    }

    /// Tells how long the server lets a stream idle.
    pub(crate) fn lets_idle(&self, idle: Duration) {
        self.stream_idle.store(u16::try_from(idle.as_millis() / 100).unwrap_or(u16::MAX), Ordering::Relaxed);
    }

    /// The name that is meant if the domain is added, where it is added and something has that name.
    fn completed(&self, snapshot: &Snapshot, query: &Query) -> Option<Name> {
        let (name, _) = query.question_bytes.split_last_chunk::<4>()?; // type and class
        self.completes.then(|| snapshot.completed(name)).flatten()
    }

    fn options(&self, edns: &ClientEdns, client: IpAddr, transport: Transport) -> ReplyOptions {
        let cookie = self.cookies.as_ref().zip(edns.cookie()).map(|(own, sent)| own.renewed(sent, client));
        let keepalive =
            (transport.has_keepalive() && edns.keepalive.is_some()).then(|| self.stream_idle.load(Ordering::Relaxed));
        let nsid = self.nsid.clone().filter(|_| edns.asks_nsid);
        ReplyOptions { cookie, nsid, keepalive, pad: transport.is_encrypted() && edns.pads }
    }

    /// Options that are of no use to this transport, or to a server without cookies, are ignored whatever they hold.
    fn is_malformed(&self, edns: &ClientEdns, transport: Transport) -> bool {
        let cookie = self.cookies.is_some() && edns.cookie == Some(Sent::Malformed);
        cookie || transport.has_keepalive() && edns.keepalive == Some(Sent::Malformed)
    }

    fn cookie_only(&self, header: &[u8; HEADER], edns: &ClientEdns, client: IpAddr) -> Option<Vec<u8>> {
        let mut options = ReplyOptions::default();
        let code = match (&self.cookies, edns.cookie()) {
            _ if edns.version > 0 => ResponseCode::BADVERS,
            (Some(own), Some(sent)) => {
                options.cookie = Some(own.renewed(sent, client));
                let refreshed = !sent.has_server_part() || own.is_valid(sent, client);
                if refreshed { ResponseCode::NoError } else { ResponseCode::BADCOOKIE }
            }
            (None, _) | (Some(_), None) => ResponseCode::FormErr,
        };
        Some(bare(header, code, Some(edns), &options))
    }

    /// Who we are, for those that ask by a name of class CH (RFC 4892). Our version is nobody's affair.
    fn identity(&self, query: &Query) -> Option<Reply> {
        let asked = query.decoded.query_class() == DNSClass::CH && query.decoded.query_type() == WireType::TXT;
        let name = query.decoded.name().to_ascii().to_ascii_lowercase();
        if !asked || !matches!(name.as_str(), "id.server." | "hostname.bind.") {
            return None;
        }
        let text = String::from_utf8_lossy(self.nsid.as_ref()?).into_owned();
        let record = Record { name: query.question.name.clone(), ttl: 0, data: Data::Txt(vec![text]) };
        Some(Reply { answers: vec![record], chaos: true, authoritative: true, ..Reply::default() })
    }
}

pub(crate) fn failure(code: ResponseCode, error: Option<(Ede, &'static str)>) -> Reply {
    Reply { code: ResponseCodeOrNoError(code), error, ..Reply::default() }
}

/// The answer about one name under another one.
fn renamed(answer: Answer, of: &Name, to: &Name) -> Answer {
    let Answer::Data { records, additional, stale } = answer else { return answer };
    let rename = |record: Record| if record.name == *of { Record { name: to.clone(), ..record } } else { record };
    Answer::Data { records: records.into_iter().map(rename).collect(), additional, stale }
}

/// `None` for a name that is not ours.
fn reply_to(answer: Answer) -> Option<Reply> {
    let in_zone = |code, stale: bool| Reply {
        code: ResponseCodeOrNoError(code),
        authoritative: true,
        error: stale.then_some((Ede::StaleAnswer, STALE_TEXT)),
        ..Reply::default()
    };
    Some(match answer {
        Answer::Data { records, additional, stale } => {
            Reply { answers: records, additional, ..in_zone(ResponseCode::NoError, stale) }
        }
        Answer::NoData { soa, stale } => Reply { authority: vec![soa], ..in_zone(ResponseCode::NoError, stale) },
        Answer::NxDomain { soa, stale } => Reply { authority: vec![soa], ..in_zone(ResponseCode::NXDomain, stale) },
        Answer::NotReady => failure(ResponseCode::ServFail, Some((Ede::NotReady, NOT_READY_TEXT))),
        Answer::Refused => failure(ResponseCode::Refused, None),
        Answer::NotOurs => return None,
    })
}
