//! From an answer that is kept to the bytes for one client.

use super::answer::Answer;
use crate::{
    opt::{Ede, append_opt, opt},
    query::{HEADER, Query},
};
use hickory_proto::op::ResponseCode;
use taffeta_dns_answer::DATAGRAM_MAX;

/// TTL of what is given beyond its time (RFC 8767 section 4), in seconds.
const STALE_TTL: u32 = 30;
/// Bytes of an OPT record without options.
const OPT: usize = 11;

/// What of a common query by UDP the bytes of its reply depend on.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) asked: Asked<'a>,
    /// Whether it sent an OPT record, and then whether with DO.
    pub(crate) dnssec_ok: Option<bool>,
    /// Bytes that it takes.
    pub(crate) limit: usize,
}

/// What of a query its reply repeats.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) id: [u8; 2],
    /// The flag bytes as they came: RD and CD are copied.
    pub(crate) flags: [u8; 2],
    /// Name, type and class in the client's case.
    pub(crate) question: &'a [u8],
}

/// How old an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// So many seconds, and within its time.
    Fresh(u32),
    /// Beyond its time.
    Stale,
}

/// What there is room for.
struct Fit<'a> {
    body: &'a [u8],
    whole: bool,
    errors: &'a [u8],
}

impl Answer {
    /// Writes a reply to a common query and says how long it is; `None` if `out` is too short for it.
    pub(crate) fn write(&self, asker: &Asker<'_>, seconds: u32, out: &mut [u8]) -> Option<usize> {
        let opt_len = asker.dnssec_ok.map_or(0, |_| OPT);
        let fit = self.fit(opt_len, self.errors(), asker.limit);
        let body = fit.body.len();
        let packet = out.get_mut(..body + opt_len + fit.errors.len())?;
        packet[..body].copy_from_slice(fit.body);
        self.fill(&asker.asked, fit.whole, Age::Fresh(seconds), packet);
        if let Some(dnssec_ok) = asker.dnssec_ok {
            write_opt(dnssec_ok, fit.errors, &mut packet[body..]);
            // A packet of 64 KiB holds fewer records than a count can say.
            let additional = u16::from_be_bytes([packet[10], packet[11]]) + 1;
            packet[10..HEADER].copy_from_slice(&additional.to_be_bytes());
        }
        Some(packet.len())
    }

    /// The reply to any query, with all options that it is to have.
    pub(crate) fn to_vec(&self, query: &Query, limit: usize, age: Age) -> Vec<u8> {
        let record = query.edns.map(|e| opt(ResponseCode::NoError, e.dnssec_ok, &query.options, None));
        let mut record = record.unwrap_or_default();
        let stale = stale_error();
        let errors = if age == Age::Stale { &stale } else { self.errors() };
        let fit = self.fit(record.len(), errors, limit);
        let mut packet = fit.body.to_vec();
        let asked = Asked { id: query.id.to_be_bytes(), flags: query.flags, question: &query.question_bytes };
        self.fill(&asked, fit.whole, age, &mut packet);
        if !record.is_empty() {
            record.extend_from_slice(fit.errors);
            append_opt(&mut packet, &record, query.options.pad, limit);
        }
        packet
    }

    /// First the errors go without a word, then all records, and TC will say so. Without an OPT there are no errors.
    fn fit<'a>(&'a self, opt_len: usize, errors: &'a [u8], limit: usize) -> Fit<'a> {
        let room = limit.saturating_sub(opt_len);
        let whole = self.packet().len() <= room;
        let body = if whole { self.packet() } else { self.head() };
        let errors = if opt_len > 0 && body.len() + errors.len() <= room { errors } else { &[] };
        Fit { body, whole, errors }
    }

    /// Header, case and times, but for what an OPT changes.
    fn fill(&self, asked: &Asked<'_>, whole: bool, age: Age, packet: &mut [u8]) {
        packet[..2].copy_from_slice(&asked.id);
        // Not our authority, and we verified nothing: neither AA nor AD. RA, as recursion is what we just did.
        packet[2] = 0x80 | asked.flags[0] & 1 | u8::from(!whole) << 1;
        packet[3] = 0x80 | asked.flags[1] & 0x10 | packet[3] & 0xf;
        packet[4..6].copy_from_slice(&[0, 1]);
        // The case as the client had it, which may be how it knows forgeries (draft-vixie-dnsext-dns0x20).
        if let Some(echo) = packet.get_mut(HEADER..HEADER + asked.question.len()) {
            echo.copy_from_slice(asked.question);
        }
        if whole {
            self.fill_ttls(age, packet);
        } else {
            packet[6..HEADER].fill(0);
        }
    }

    fn fill_ttls(&self, age: Age, packet: &mut [u8]) {
        for at in self.ttls_at() {
            let kept = u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
            let ttl = match age {
                Age::Fresh(seconds) => kept.saturating_sub(seconds),
                Age::Stale => STALE_TTL,
            };
            packet[at..at + 4].copy_from_slice(&ttl.to_be_bytes());
        }
    }
}

fn write_opt(dnssec_ok: bool, options: &[u8], out: &mut [u8]) {
    let (size, len) = (DATAGRAM_MAX.to_be_bytes(), (options.len() as u16).to_be_bytes());
    let do_bit = u8::from(dnssec_ok) << 7;
    out[..OPT].copy_from_slice(&[0, 0, 41, size[0], size[1], 0, 0, do_bit, 0, len[0], len[1]]);
    out[OPT..].copy_from_slice(options);
}

const STALE_TEXT: &[u8; 31] = b"no upstream resolver answers it";
const STALE_ERROR: usize = 6 + STALE_TEXT.len();

/// The option that says that an answer is stale (RFC 8914 section 4.4).
fn stale_error() -> [u8; STALE_ERROR] {
    let mut option = [0; STALE_ERROR];
    option[..6].copy_from_slice(&[0, 15, 0, STALE_TEXT.len() as u8 + 2, 0, Ede::StaleAnswer as u8]);
    option[6..].copy_from_slice(STALE_TEXT);
    option
}
