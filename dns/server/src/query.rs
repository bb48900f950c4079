//! From bytes to one well-formed question, or the rejection that it deserves.

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
    /// A bare header says what is wrong.
    Reject(Vec<u8>),
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
}

/// What the client's OPT record says.
#[derive(Clone, Copy)]
pub(crate) struct ClientEdns {
    pub(crate) size: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
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
    if header[2] >> 3 & 0xf != 0 {
        return Parsed::Reject(bare(header, ResponseCode::NotImp));
    }
    let question_count = u16::from_be_bytes([header[4], header[5]]);
    // RFC 9619: more than one question is an error. None is one too, as there is nothing else to say.
    let query = if question_count == 1 { decode(packet, header) } else { None };
    query.map_or_else(|| Parsed::Reject(bare(header, ResponseCode::FormErr)), |q| Parsed::Query(Box::new(q)))
}

fn decode(packet: &[u8], header: &[u8; HEADER]) -> Option<Query> {
    let message = Message::from_vec(packet).ok()?;
    let decoded = message.queries.into_iter().next()?;
    let class = if decoded.query_class() == DNSClass::IN { Class::In } else { Class::Other };
    let question = Question {
        name: Name::from_labels(decoded.name().iter()).ok()?,
        record_type: u16::from(decoded.query_type()).into(),
        class,
    };
    let edns = message.edns.as_ref().map(|e| ClientEdns {
        size: e.max_payload(),
        version: e.version(),
        dnssec_ok: e.flags().dnssec_ok,
    });
    let question_bytes = packet.get(HEADER..question_end(packet)?)?.to_vec();
    let id = u16::from_be_bytes([header[0], header[1]]);
    Some(Query { id, flags: [header[2], header[3]], question_bytes, decoded, question, edns })
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

/// A reply of a header alone.
fn bare(header: &[u8; HEADER], code: ResponseCode) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    reply[..2].copy_from_slice(&header[..2]);
    // QR set; opcode and RD as they came.
    reply[2] = 0x80 | header[2] & 0x79;
    reply[3] = code.low();
    reply
}
