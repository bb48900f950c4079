//! What an upstream's reply means.

use super::{
    CacheConfig,
    answer::{Answer, Keep},
    sections::{Place, Section, records},
};
use crate::query::{HEADER, question_end};
use hickory_proto::op::ResponseCode;
use std::time::Duration;

const TYPE_SOA: u16 = 6;
const TYPE_OPT: u16 = 41;
const TYPE_ANY: u16 = 255;
/// The option of extended DNS errors (RFC 8914).
const EDE: u16 = 15;
/// Errors of an upstream that are passed on, in bytes; what is longer is left out.
const ERRORS_MAX: usize = 256;
/// Extended errors that say that a signature does not hold.
const BOGUS: std::ops::RangeInclusive<u16> = 6..=12;

/// What an upstream's reply means to the question.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// It settles it.
    Settled(Answer),
    /// It was too long for UDP.
    CutShort,
    /// The upstream did not understand the query; it may be the OPT.
    NotUnderstood(Answer),
    /// It verified signatures, and they do not hold: another's answer would be worse, not better.
    Bogus(Answer),
    /// The upstream cannot or will not say; another may.
    Refused(Answer),
}

/// Reads a reply; `None` if it is malformed. It must be one to this question (`is_reply`), which is in lower case.
pub(crate) fn read(packet: &[u8], question: &[u8], bounds: &CacheConfig) -> Option<Verdict> {
    let header: &[u8; HEADER] = packet.first_chunk()?;
    if header[2] & 2 != 0 {
        return Some(Verdict::CutShort);
    }
    let code = ResponseCode::from_low(header[3] & 0xf);
    // A server that could not read the query may leave the question out.
    let places = if header[4..6] == [0, 0] { Vec::new() } else { records(packet)? };
    let opt = places.iter().find(|p| p.record_type == TYPE_OPT);
    let errors = opt.map_or_else(Vec::new, |o| errors(o.data(packet)));
    let extended = opt.is_some_and(|o| packet[o.ttl_at] != 0);
    let says = |code| empty(code, question, &errors);
    Some(match code {
        _ if extended => Verdict::NotUnderstood(says(ResponseCode::ServFail)?),
        ResponseCode::NoError | ResponseCode::NXDomain => {
            Verdict::Settled(whole(packet, question, &places, &errors, bounds)?)
        }
        ResponseCode::FormErr | ResponseCode::NotImp => Verdict::NotUnderstood(says(code)?),
        ResponseCode::ServFail if is_bogus(&errors) => Verdict::Bogus(says(code)?),
        _ => Verdict::Refused(says(code)?), // any other code, of 16
    })
}

fn whole(packet: &[u8], question: &[u8], places: &[Place], errors: &[u8], bounds: &CacheConfig) -> Option<Answer> {
    if question_end(packet)? != HEADER + question.len() {
        return None;
    }
    // Behind an OPT that is not last are additional records, which may point beyond it: they can be spared.
    let records = places.split(|p| p.record_type == TYPE_OPT).next().unwrap_or_default();
    let mut packet = packet[..records.last().map_or(HEADER + question.len(), |r| r.end)].to_vec();
    let additional = records.iter().filter(|r| r.section == Section::Additional).count();
    packet[10..HEADER].copy_from_slice(&u16::try_from(additional).ok()?.to_be_bytes());
    let asked = u16::from_be_bytes(*question[..question.len() - 2].last_chunk()?);
    let keep = keep(&mut packet, records, asked, bounds);
    let ttls_at: Vec<_> = records.iter().map(|r| r.ttl_at).collect();
    Answer::new(&packet, question, &ttls_at, errors, keep)
}

/// A reply of header and question that says this.
fn empty(code: ResponseCode, question: &[u8], errors: &[u8]) -> Option<Answer> {
    let packet = [&[0, 0, 0x80, code.low(), 0, 1, 0, 0, 0, 0, 0, 0], question].concat();
    Answer::new(&packet, question, &[], errors, Keep::Not)
}

/// Decides, and brings the TTLs within their bounds: the least counts, for all are given and aged together.
fn keep(packet: &mut [u8], records: &[Place], asked: u16, bounds: &CacheConfig) -> Keep {
    let answers = || records.iter().filter(|r| r.section == Section::Answer);
    let denied = packet[3] & 0xf != 0;
    let positive = !denied && answers().any(|r| asked == TYPE_ANY || r.record_type == asked);
    let longest = if positive { bounds.ttl_max } else { bounds.negative_ttl_max };
    let longest = u32::try_from(longest.as_secs()).unwrap_or(i32::MAX as u32);
    let mut proof = false;
    let mut least = longest;
    for record in records {
        let mut ttl = record.ttl(packet).min(longest);
        if record.section == Section::Authority && record.record_type == TYPE_SOA && !positive {
            proof = true;
            ttl = ttl.min(minimum(record.data(packet)));
        }
        packet[record.ttl_at..record.ttl_at + 4].copy_from_slice(&ttl.to_be_bytes());
        least = least.min(ttl);
    }
    let life = Duration::from_secs(least.into());
    match (positive, proof) {
        (_, _) if least == 0 => Keep::Not,
        (true, _) => Keep::Positive(life),
        (false, true) => Keep::Negative(life),
        // Without a SOA nobody says for how long (RFC 2308 section 5).
        (false, false) => Keep::Not,
    }
}

/// The last field of a SOA.
fn minimum(data: &[u8]) -> u32 {
    data.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The extended errors among the options of an OPT record.
fn errors(mut options: &[u8]) -> Vec<u8> {
    let mut errors = Vec::new();
    while let Some(&[a, b, c, d]) = options.first_chunk() {
        let end = 4 + usize::from(u16::from_be_bytes([c, d]));
        let Some((option, rest)) = options.split_at_checked(end) else { break };
        if u16::from_be_bytes([a, b]) == EDE && end >= 6 && errors.len() + end <= ERRORS_MAX {
            errors.extend_from_slice(option);
        }
        options = rest;
    }
    errors
}

fn is_bogus(mut errors: &[u8]) -> bool {
    while let Some(&[_, _, c, d, high, low]) = errors.first_chunk() {
        if BOGUS.contains(&u16::from_be_bytes([high, low])) {
            return true;
        }
        errors = &errors[4 + usize::from(u16::from_be_bytes([c, d]))..];
    }
    false
}
