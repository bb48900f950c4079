//! From bytes to one well-formed question, or the rejection that it deserves.

use crate::opt::{ClientEdns, ReplyOptions, append_opt, opt};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::DNSClass,
};
use taffeta_dns_answer::{Class, Name, Question};

/// Bytes of a DNS header.
pub(crate) const HEADER: usize = 12;

/// What the packet turned out to be.
pub(crate) enum Parsed {
    /// Not a query at all: no reply, so that two servers cannot answer each other for ever.
    Drop,
    /// A header, with an OPT if the query had one, says what is wrong.
    Reject(Vec<u8>),
    /// No question, but a cookie: the client wants to have ours (RFC 7873 section 5.4).
    CookieOnly([u8; HEADER], ClientEdns),
    /// A question.
    Query(Box<Query>),
}

/// One question with all that its reply needs.
pub(crate) struct Query {
    pub(crate) id: u16,
    /// The flag bytes as they came; RD, CD and AD are read from them.
    pub(crate) flags: [u8; 2],
    /// Name, type and class as they came, in their own case.
    pub(crate) question_bytes: Vec<u8>,
    pub(crate) decoded: hickory_proto::op::Query,
    pub(crate) question: Question,
    pub(crate) edns: Option<ClientEdns>,
    /// What our OPT will say, if the query has one.
    pub(crate) options: ReplyOptions,
}

impl Query {
    pub(crate) fn recursion_desired(&self) -> bool {
        self.flags[0] & 1 != 0
    }

    pub(crate) fn checking_disabled(&self) -> bool {
        self.flags[1] & 0x10 != 0
    }
}

pub(crate) fn parse(packet: &[u8]) -> Parsed {
    let Some(header) = packet.first_chunk::<HEADER>() else { return Parsed::Drop };
    if header[2] & 0x80 != 0 {
        return Parsed::Drop;
    }
    let message = Message::from_vec(packet).ok();
    let edns = message.as_ref().and_then(|m| m.edns.as_ref()).map(ClientEdns::read);
    if header[2] >> 3 & 0xf != 0 {
        return Parsed::Reject(bare(header, ResponseCode::NotImp, edns.as_ref(), &ReplyOptions::default()));
    }
    let question_count = u16::from_be_bytes([header[4], header[5]]);
    if let (0, Some(edns)) = (question_count, edns.filter(|e| e.cookie.is_some())) {
        return Parsed::CookieOnly(*header, edns);
    }
    // RFC 9619: more than one question is an error. None is one too, as there is nothing else to say.
    let query = if question_count == 1 { message.and_then(|m| decode(packet, header, m, edns)) } else { None };
    let malformed = || bare(header, ResponseCode::FormErr, edns.as_ref(), &ReplyOptions::default());
    query.map_or_else(|| Parsed::Reject(malformed()), |q| Parsed::Query(Box::new(q)))
}

fn decode(packet: &[u8], header: &[u8; HEADER], message: Message, edns: Option<ClientEdns>) -> Option<Query> {
    let decoded = message.queries.into_iter().next()?;
    let class = if decoded.query_class() == DNSClass::IN { Class::In } else { Class::Other };
    let question = Question {
        name: Name::from_labels(decoded.name().iter()).ok()?,
        record_type: u16::from(decoded.query_type()).into(),
        class,
    };
    let question_bytes = packet.get(HEADER..question_end(packet)?)?.to_vec();
    let id = u16::from_be_bytes([header[0], header[1]]);
    let options = ReplyOptions::default();
    Some(Query { id, flags: [header[2], header[3]], question_bytes, decoded, question, edns, options })
}

/// Where the first question ends. Its name comes first in the packet and has nothing to point back to, so a
/// compressed one is malformed.
pub(crate) fn question_end(packet: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        let len = *packet.get(at)?;
        match len {
            0 => break,
            1..=63 => at += 1 + usize::from(len),
            64.. => return None,
        }
    }
    let end = at + 5;
    (end <= packet.len()).then_some(end)
}

/// Whether a packet may ask for a zone transfer, told without reading all of it.
pub(crate) fn asks_transfer(packet: &[u8]) -> bool {
    let record_type = question_end(packet).and_then(|end| packet.get(end - 4..end - 2));
    matches!(record_type, Some([0, 251 | 252]))
}

/// Whether a query has the option of TCP for keeping connections (RFC 7828), which QUIC forbids.
pub(crate) fn has_keepalive(packet: &[u8]) -> bool {
    let message = Message::from_vec(packet).ok();
    message.and_then(|m| m.edns).is_some_and(|e| ClientEdns::read(&e).keepalive.is_some())
}

/// A reply without a question.
pub(crate) fn bare(
    header: &[u8; HEADER],
    code: ResponseCode,
    edns: Option<&ClientEdns>,
    options: &ReplyOptions,
) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    reply[..2].copy_from_slice(&header[..2]);
    // QR set; opcode, RD and CD as they came.
    reply[2] = 0x80 | header[2] & 0x79;
    reply[3] = header[3] & 0x10 | code.low();
    if let Some(edns) = edns {
        let record = opt(code, edns.dnssec_ok, options, None);
        append_opt(&mut reply, &record, options.pad, usize::from(u16::MAX));
    }
    reply
}
