//! Queries to upstreams.

use super::key::Key;
use crate::query::HEADER;
use taffeta_dns_answer::DATAGRAM_MAX;

/// A query with RD, a question in lower case, CD as the client had it, and an OPT of our own.
pub(crate) fn upstream_query(id: u16, key: &Key, plain: bool) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER + key.question().len() + 11);
    packet.extend_from_slice(&id.to_be_bytes());
    let checking_disabled = u8::from(key.checking_disabled()) << 4;
    packet.extend_from_slice(&[1, checking_disabled, 0, 1, 0, 0, 0, 0, 0, u8::from(!plain)]);
    packet.extend_from_slice(key.question());
    if !plain {
        let size = DATAGRAM_MAX.to_be_bytes();
        packet.extend_from_slice(&[0, 0, 41, size[0], size[1], 0, 0, u8::from(key.dnssec_ok()) << 7, 0, 0, 0]);
    }
    packet
}
