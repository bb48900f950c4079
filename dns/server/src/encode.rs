//! From an answer to bytes that fit.

use crate::{query::Query, responder::Transport};
use hickory_proto::{
    ProtoError,
    op::{Edns, Message, OpCode, ResponseCode},
    rr::{
        self, RData,
        rdata::{self, opt::EdnsOption},
    },
    serialize::binary::{BinEncodable, BinEncoder},
};
use taffeta_dns_answer::{Data, Name, Record};

/// Largest UDP payload that crosses the Internet without fragments (DNS flag day 2020).
pub(crate) const UDP_MAX: u16 = 1232;
/// What a client takes that says nothing (RFC 1035 section 4.2.1).
const UDP_MIN: u16 = 512;

/// Timers of the SOA. Nobody transfers the zone, so they only have to be sensible (RFC 1912 section 2.2), in seconds.
const REFRESH: i32 = 60;
const RETRY: i32 = 10;
const EXPIRE: i32 = 3600;

/// Extended DNS errors (RFC 8914) that we send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ede {
    Other = 0,
    StaleAnswer = 3,
    NotReady = 14,
    Prohibited = 18,
    NoReachableAuthority = 22,
}

/// What goes into a reply besides what the query decides.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) code: ResponseCodeOrNoError,
    pub(crate) authoritative: bool,
    pub(crate) recursion_available: bool,
    pub(crate) answers: Vec<Record>,
    pub(crate) authority: Vec<Record>,
    pub(crate) additional: Vec<Record>,
    pub(crate) error: Option<(Ede, &'static str)>,
}

/// A response code whose default is NOERROR.
pub(crate) struct ResponseCodeOrNoError(pub(crate) ResponseCode);

impl Default for ResponseCodeOrNoError {
    fn default() -> Self {
        Self(ResponseCode::NoError)
    }
}

/// Bytes that the client takes in one reply.
pub(crate) fn limit(query: &Query, transport: Transport) -> u16 {
    match transport {
        Transport::Udp => query.edns.map_or(UDP_MIN, |e| e.size).clamp(UDP_MIN, UDP_MAX),
        Transport::Tcp => u16::MAX,
    }
}

/// Encodes a reply. What does not fit: additional records go RRset by RRset without a word (RFC 2181 section 9); if
/// the answer itself does not fit, a reply with TC and no records tells the client to come by TCP.
pub(crate) fn encode(query: &Query, reply: &Reply, limit: u16) -> Option<Vec<u8>> {
    let additional = rrsets(&reply.additional);
    let with = |sets: usize| {
        let records = additional[..sets].iter().flat_map(|set| set.iter());
        emit(&message(query, reply, records), limit)
    };
    if let Some(whole) = with(additional.len())? {
        return Some(whole);
    }
    let Some(mut best) = with(0)? else { return truncated(query, reply) };
    let (mut fits, mut too_many) = (0, additional.len());
    while too_many - fits > 1 {
        let middle = fits.midpoint(too_many);
        match with(middle)? {
            Some(packet) => (fits, best) = (middle, packet),
            None => too_many = middle,
        }
    }
    Some(best)
}

/// Header, question and OPT with TC (RFC 6891 section 7 keeps the OPT).
pub(crate) fn truncated(query: &Query, reply: &Reply) -> Option<Vec<u8>> {
    let mut message = message(query, reply, std::iter::empty());
    message.answers.clear();
    message.authorities.clear();
    message.metadata.truncation = true;
    message.to_vec().ok()
}

/// Records in runs of one owner and type.
fn rrsets(records: &[Record]) -> Vec<&[Record]> {
    records.chunk_by(|a, b| a.name == b.name && a.data.record_type() == b.data.record_type()).collect()
}

fn message<'a>(query: &Query, reply: &'a Reply, additional: impl Iterator<Item = &'a Record>) -> Message {
    let mut message = Message::response(query.id, OpCode::Query);
    message.metadata.authoritative = reply.authoritative;
    message.metadata.recursion_desired = query.recursion_desired();
    message.metadata.recursion_available = reply.recursion_available;
    message.metadata.checking_disabled = query.checking_disabled();
    message.metadata.response_code = reply.code.0;
    message.queries.push(query.decoded.clone());
    message.answers = reply.answers.iter().filter_map(record).collect();
    message.authorities = reply.authority.iter().filter_map(record).collect();
    message.additionals = additional.filter_map(record).collect();
    message.edns = query.edns.map(|client| {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX).set_dnssec_ok(client.dnssec_ok);
        if let Some((code, text)) = reply.error {
            let code = (code as u16).to_be_bytes();
            edns.options_mut().insert(EdnsOption::Unknown(15, [&code, text.as_bytes()].concat()));
        }
        edns
    });
    message
}

/// The packet, or `Some(None)` if something did not fit, or `None` if it cannot be encoded at all.
fn emit(message: &Message, limit: u16) -> Option<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(usize::from(UDP_MIN));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    match message.emit(&mut encoder) {
        // The encoder sets TC when it leaves a record out, and never otherwise.
        Ok(()) => Some((bytes.get(2)? & 2 == 0).then_some(bytes)),
        Err(error) => {
            tracing::warn!(%error, "a DNS reply could not be encoded");
            None
        }
    }
}

fn record(record: &Record) -> Option<rr::Record> {
    let data = data(&record.data).ok()?;
    Some(rr::Record::from_rdata(name(&record.name).ok()?, record.ttl, data))
}

fn name(name: &Name) -> Result<rr::Name, ProtoError> {
    rr::Name::from_labels(name.labels())
}

fn data(data: &Data) -> Result<RData, ProtoError> {
    Ok(match data {
        Data::A(a) => RData::A((*a).into()),
        Data::Aaaa(a) => RData::AAAA((*a).into()),
        Data::Srv { priority, weight, port, target } => {
            RData::SRV(rdata::SRV::new(*priority, *weight, *port, name(target)?))
        }
        Data::Txt(texts) => RData::TXT(rdata::TXT::new(texts.clone())),
        Data::Ptr(target) => RData::PTR(rdata::PTR(name(target)?)),
        Data::Ns(target) => RData::NS(rdata::NS(name(target)?)),
        Data::Soa { mname, rname, serial, minimum } => {
            RData::SOA(rdata::SOA::new(name(mname)?, name(rname)?, *serial, REFRESH, RETRY, EXPIRE, *minimum))
        }
    })
}
