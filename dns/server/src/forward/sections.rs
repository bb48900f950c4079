//! The records of a packet, found without understanding them.

use crate::query::{HEADER, question_end};

/// Where in a packet one record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) section: Section,
    pub(crate) record_type: u16,
    /// Where the record begins.
    pub(crate) start: usize,
    /// Where its TTL is; its class is before and the length of its data behind it.
    pub(crate) ttl_at: usize,
    /// Where the next one begins.
    pub(crate) end: usize,
}

/// The part of a packet a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

impl Place {
    pub(crate) fn ttl(&self, packet: &[u8]) -> u32 {
        let bytes: [u8; 4] = packet[self.ttl_at..self.ttl_at + 4].try_into().expect("4 bytes, within the packet");
        let ttl = u32::from_be_bytes(bytes);
        // RFC 2181 section 8.
        if ttl > i32::MAX as u32 { 0 } else { ttl }
    }

    pub(crate) fn data<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        &packet[self.ttl_at + 6..self.end]
    }
}

/// All records of a packet with one question, in order; `None` if they are not what its header says.
pub(crate) fn records(packet: &[u8]) -> Option<Vec<Place>> {
    let mut at = question_end(packet)?;
    let count = |i: usize| usize::from(u16::from_be_bytes([packet[i], packet[i + 1]]));
    let sections = [(Section::Answer, count(6)), (Section::Authority, count(8)), (Section::Additional, count(10))];
    // A record takes 11 bytes at least, so a header that lies makes no large table.
    if sections.iter().map(|s| s.1).sum::<usize>() > (packet.len() - HEADER) / 11 {
        return None;
    }
    let mut places = Vec::with_capacity(sections.iter().map(|s| s.1).sum());
    for (section, count) in sections {
        for _ in 0..count {
            let place = record(packet, at, section)?;
            at = place.end;
            places.push(place);
        }
    }
    Some(places)
}

fn record(packet: &[u8], start: usize, section: Section) -> Option<Place> {
    let fixed = name_end(packet, start)?;
    let bytes: &[u8; 10] = packet.get(fixed..)?.first_chunk()?;
    let end = fixed + 10 + usize::from(u16::from_be_bytes([bytes[8], bytes[9]]));
    let record_type = u16::from_be_bytes([bytes[0], bytes[1]]);
    (end <= packet.len()).then_some(Place { section, record_type, start, ttl_at: fixed + 4, end })
}

/// Where the name at `at` ends, which may point to an earlier place instead of saying its last labels again.
fn name_end(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let len = *packet.get(at)?;
        match len {
            0 => return Some(at + 1),
            1..=63 => at += 1 + usize::from(len),
            64..=191 => return None,
            192.. => {
                let target = usize::from(len & 0x3f) << 8 | usize::from(*packet.get(at + 1)?);
                return (HEADER..at).contains(&target).then_some(at + 2);
            }
        }
    }
}
