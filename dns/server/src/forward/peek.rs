//! The common query, read without a copy.

use super::{
    key::Key,
    reply::{Asked, Asker},
};
use crate::{
    encode::limit_of,
    query::{HEADER, question_end},
    responder::Transport,
};

/// What [`peek`] found: the key to the cache, and what the reply depends on.
pub(crate) struct Peeked<'a> {
    pub(crate) key: Key,
    pub(crate) asker: Asker<'a>,
}

/// Reads a query by UDP of one question and at most a plain OPT (version 0, no options); `None` for anything else,
/// which is for the full parser to judge.
pub(crate) fn peek(packet: &[u8]) -> Option<Peeked<'_>> {
    let header: &[u8; HEADER] = packet.first_chunk()?;
    // A query, and neither an answer, nor cut short, nor of another opcode.
    if header[2] & 0xfa != 0 || header[4..10] != [0, 1, 0, 0, 0, 0] || header[10] != 0 {
        return None;
    }
    let end = question_end(packet)?;
    let size_and_do = match (header[11], &packet[end..]) {
        (0, []) => None,
        (1, &[0, 0, 41, high, low, 0, 0, flags, _, 0, 0]) => Some((u16::from_be_bytes([high, low]), flags & 0x80 != 0)),
        _ => return None, // a packet has many shapes
    };
    let dnssec_ok = size_and_do.map(|(_, dnssec_ok)| dnssec_ok);
    let question = &packet[HEADER..end];
    let key = Key::new(question, dnssec_ok.unwrap_or(false), header[3] & 0x10 != 0)?;
    let limit = limit_of(size_and_do.map(|(size, _)| size), Transport::Udp).into();
    let asked = Asked { id: [header[0], header[1]], flags: [header[2], header[3]], question };
    let asker = Asker { asked, dnssec_ok, limit };
    Some(Peeked { key, asker })
}
