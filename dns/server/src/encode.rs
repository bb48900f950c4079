//! From an answer to bytes that fit.

pub(crate) use crate::opt::Ede;
use crate::{
    opt::{append_opt, opt},
    query::Query,
    responder::Transport,
};
use hickory_proto::{
    ProtoError,
    op::{Message, OpCode, ResponseCode},
    rr::{
        self, DNSClass, RData,
        rdata::{
            self,
            svcb::{Alpn, SvcParamKey, SvcParamValue},
        },
    },
    serialize::binary::{BinEncodable, BinEncoder},
};
use taffeta_dns_answer::{DATAGRAM_MAX, DATAGRAM_MIN, Data, Name, Record, SOA_TIMERS, ServiceBinding};

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
    /// The records are of class CH: they are about the server, not about the Internet.
    pub(crate) chaos: bool,
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
    limit_of(query.edns.map(|e| e.size), transport)
}

/// The same of the size that the client's OPT says, if there is one.
pub(crate) fn limit_of(size: Option<u16>, transport: Transport) -> u16 {
    match transport {
        Transport::Udp => size.unwrap_or(DATAGRAM_MIN).clamp(DATAGRAM_MIN, DATAGRAM_MAX),
        Transport::Tcp | Transport::Tls | Transport::Https | Transport::Quic => u16::MAX,
    }
}

/// Encodes a reply. What does not fit: additional records go RRset by RRset without a word (RFC 2181 section 9); if
/// the answer itself does not fit, a reply with TC and no records tells the client to come by TCP.
pub(crate) fn encode(query: &Query, reply: &Reply, limit: u16) -> Option<Vec<u8>> {
    let opt = reply_opt(query, reply);
    let records = best_fit(query, reply, limit.saturating_sub(u16::try_from(opt.len()).ok()?))?;
    match records {
        Some(packet) => Some(with_opt(packet, query, &opt, limit)),
        None => truncated(query, reply),
    }
}

/// Header, question and OPT with TC (RFC 6891 section 7 keeps the OPT).
pub(crate) fn truncated(query: &Query, reply: &Reply) -> Option<Vec<u8>> {
    let mut message = message(query, reply, std::iter::empty());
    message.answers.clear();
    message.authorities.clear();
    message.metadata.truncation = true;
    Some(with_opt(message.to_vec().ok()?, query, &reply_opt(query, reply), u16::MAX))
}

/// Empty for a client that sent none.
fn reply_opt(query: &Query, reply: &Reply) -> Vec<u8> {
    query.edns.map(|client| opt(reply.code.0, client.dnssec_ok, &query.options, reply.error)).unwrap_or_default()
}

fn with_opt(mut packet: Vec<u8>, query: &Query, opt: &[u8], limit: u16) -> Vec<u8> {
    if !opt.is_empty() {
        append_opt(&mut packet, opt, query.options.pad, usize::from(limit));
    }
    packet
}

/// All answers and as many sets of additional records as fit, without OPT; `Some(None)` if the answers do not.
fn best_fit(query: &Query, reply: &Reply, limit: u16) -> Option<Option<Vec<u8>>> {
    let additional = rrsets(&reply.additional);
    let with = |sets: usize| {
        let records = additional[..sets].iter().flat_map(|set| set.iter());
        emit(&message(query, reply, records), limit)
    };
    if let Some(whole) = with(additional.len())? {
        return Some(Some(whole));
    }
    let Some(mut best) = with(0)? else { return Some(None) };
    let (mut fits, mut too_many) = (0, additional.len());
    while too_many - fits > 1 {
        let middle = fits.midpoint(too_many);
        match with(middle)? {
            Some(packet) => (fits, best) = (middle, packet),
            None => too_many = middle,
        }
    }
    Some(Some(best))
}

/// Records in runs of one owner and type.
fn rrsets(records: &[Record]) -> Vec<&[Record]> {
    records.chunk_by(|a, b| a.name == b.name && a.data.record_type() == b.data.record_type()).collect()
}

/// Header and question of a reply.
pub(crate) fn skeleton(query: &Query) -> Message {
    let mut message = Message::response(query.id, OpCode::Query);
    message.metadata.recursion_desired = query.recursion_desired();
    message.metadata.checking_disabled = query.checking_disabled();
    message.queries.push(query.decoded.clone());
    message
}

/// A packet of a reply without errors, with the OPT that its query deserves.
pub(crate) fn with_opt_of(packet: Vec<u8>, query: &Query) -> Vec<u8> {
    with_opt(packet, query, &reply_opt(query, &Reply::default()), u16::MAX)
}

fn message<'a>(query: &Query, reply: &'a Reply, additional: impl Iterator<Item = &'a Record>) -> Message {
    let mut message = skeleton(query);
    message.metadata.authoritative = reply.authoritative;
    message.metadata.recursion_available = reply.recursion_available;
    // The OPT, which is written apart, has the upper bits.
    message.metadata.response_code = ResponseCode::from_low(reply.code.0.low());
    message.answers = reply.answers.iter().filter_map(record).collect();
    if reply.chaos {
        message.answers.iter_mut().for_each(|r| r.dns_class = DNSClass::CH);
    }
    message.authorities = reply.authority.iter().filter_map(record).collect();
    message.additionals = additional.filter_map(record).collect();
    message
}

/// The packet, or `Some(None)` if something did not fit, or `None` if it cannot be encoded at all.
fn emit(message: &Message, limit: u16) -> Option<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(usize::from(DATAGRAM_MIN));
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

pub(crate) fn record(record: &Record) -> Option<rr::Record> {
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
        Data::Https(binding) => RData::HTTPS(rdata::HTTPS(svcb(binding)?)),
        Data::Svcb(binding) => RData::SVCB(svcb(binding)?),
        Data::Ptr(target) => RData::PTR(rdata::PTR(name(target)?)),
        Data::Ns(target) => RData::NS(rdata::NS(name(target)?)),
        Data::Soa { mname, rname, serial, minimum } => {
            let [refresh, retry, expire] = SOA_TIMERS.map(u32::cast_signed);
            RData::SOA(rdata::SOA::new(name(mname)?, name(rname)?, *serial, refresh, retry, expire, *minimum))
        }
    })
}

/// The keys in ascending order, as RFC 9460 section 2.2 wants them.
fn svcb(binding: &ServiceBinding) -> Result<rdata::SVCB, ProtoError> {
    let alpn = binding.alpn.iter().map(|id| (*id).to_owned()).collect();
    let mut params = vec![(SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(alpn)))];
    if binding.no_default_alpn {
        params.push((SvcParamKey::NoDefaultAlpn, SvcParamValue::NoDefaultAlpn));
    }
    params.push((SvcParamKey::Port, SvcParamValue::Port(binding.port)));
    Ok(rdata::SVCB::new(binding.priority, name(&binding.target)?, params))
}
