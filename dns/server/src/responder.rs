//! One packet in, at most one packet out.

use crate::{
    Exchange, ForwardConfig,
    encode::{Ede, Reply, ResponseCodeOrNoError, encode, limit},
    forward::{Forwarder, Relay},
    query::{Parsed, Query, parse},
};
use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use taffeta_dns_answer::{Answer, Snapshot, answer};

/// How a query came, which decides how long its reply may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
}

/// Answers packets from the newest snapshot, and relays what is not ours.
pub struct Responder {
    snapshot: Arc<ArcSwap<Snapshot>>,
    forwarder: Arc<Forwarder>,
    /// Random numbers come from here: the order of records is `seed + n` for the n-th reply.
    next_seed: AtomicU64,
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
        Self { snapshot, forwarder, next_seed: AtomicU64::new(seed) }
    }

    /// Replies to one packet; `None` where silence is right (not a query). Never panics, whatever the bytes.
    pub async fn respond(&self, packet: &[u8], client: IpAddr, transport: Transport) -> Option<Vec<u8>> {
        match self.begin(packet, client, transport) {
            Step::Done(reply) => reply,
            Step::Relay(relay) => relay.run().await,
        }
    }

    /// As [`Self::respond`], up to where it would have to wait: names of our own never wait for anybody's resolver.
    pub(crate) fn begin(&self, packet: &[u8], client: IpAddr, transport: Transport) -> Step {
        let query = match parse(packet) {
            Parsed::Drop => return Step::Done(None),
            Parsed::Reject(reply) => return Step::Done(Some(reply)),
            Parsed::Query(query) => query,
        };
        let limit = limit(&query, transport);
        let recursion_available = self.forwarder.serves(client);
        let done =
            |query: &Query, reply: Reply| Step::Done(encode(query, &Reply { recursion_available, ..reply }, limit));
        if query.edns.is_some_and(|e| e.version > 0) {
            return done(&query, failure(ResponseCode::BADVERS, None));
        }
        let seed = self.next_seed.fetch_add(1, Ordering::Relaxed);
        let answer = answer(&self.snapshot.load(), &query.question, seed);
        match reply_to(answer) {
            Some(reply) => done(&query, reply),
            None if !recursion_available => {
                let why = "names outside the fabric are not resolved for this client";
                done(&query, failure(ResponseCode::Refused, Some((Ede::Prohibited, why))))
            }
            None => match self.forwarder.admit() {
                Some(permit) => Step::Relay(Box::new(Relay::new(&self.forwarder, permit, *query, transport, limit))),
                None => {
                    let why = "too many relayed questions are in flight";
                    done(&query, failure(ResponseCode::ServFail, Some((Ede::Other, why))))
                }
            },
        }
    }

    /// Tells that a server listens here, so that an upstream of this address is left out: it would be ourselves.
    pub(crate) fn listens_on(&self, address: SocketAddr) {
        self.forwarder.listens_on(address);
    }
}

pub(crate) fn failure(code: ResponseCode, error: Option<(Ede, &'static str)>) -> Reply {
    Reply { code: ResponseCodeOrNoError(code), error, ..Reply::default() }
}

/// `None` for a name that is not ours.
fn reply_to(answer: Answer) -> Option<Reply> {
    let in_zone = |code, stale: bool| Reply {
        code: ResponseCodeOrNoError(code),
        authoritative: true,
        error: stale.then_some((Ede::StaleAnswer, "this node is cut off from most of the ring")),
        ..Reply::default()
    };
    Some(match answer {
        Answer::Data { records, additional, stale } => {
            Reply { answers: records, additional, ..in_zone(ResponseCode::NoError, stale) }
        }
        Answer::NoData { soa, stale } => Reply { authority: vec![soa], ..in_zone(ResponseCode::NoError, stale) },
        Answer::NxDomain { soa, stale } => Reply { authority: vec![soa], ..in_zone(ResponseCode::NXDomain, stale) },
        Answer::NotReady => {
            failure(ResponseCode::ServFail, Some((Ede::NotReady, "this node has no view of the ring yet")))
        }
        Answer::Refused => failure(ResponseCode::Refused, None),
        Answer::NotOurs => return None,
    })
}
