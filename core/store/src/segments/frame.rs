//! A frame: what one commit wrote, in one piece with one checksum, and how a torn one is told from a damaged one.
//!
//! 16 bytes of header (length of the body, checksum of the body, a mark, checksum of the header together with the node,
//! segment and offset that it belongs to), then the body, filled up to a multiple of 16. The body is masked with a
//! sequence that looks random: so no sector of a frame is all zeros by itself. Room ahead of the last frame is zeros. Thus
//! a sector that a power cut kept from being written is known by its zeros, and a frame that does not check although all
//! of its sectors were written has been damaged later.

use super::checksum::{Checksum, checksum};

/// A header never lies across the edge of a sector, since frames begin at multiples of it.
pub(super) const HEADER: usize = 16;
/// A disk writes a sector whole or not at all.
const SECTOR: usize = 512;
const MARK: u32 = 0x6d72_6654;

/// The file that a frame lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: u64,
    pub(super) segment: u64,
}

/// An empty frame, to which the body is added.
pub(super) fn begin() -> Vec<u8> {
    vec![0; HEADER]
}

/// Whether nothing was added.
pub(super) fn is_empty(frame: &[u8]) -> bool {
    frame.len() == HEADER
}

/// Bytes that a frame will take once it is finished.
pub(super) fn size(frame: &[u8]) -> usize {
    frame.len().next_multiple_of(HEADER)
}

/// Fills in the header for this place, and masks the body. `None` if the body is longer than 4 GiB.
pub(super) fn finish(mut frame: Vec<u8>, place: Place, offset: u64) -> Option<Vec<u8>> {
    let length = u32::try_from(frame.len() - HEADER).ok()?;
    frame.resize(size(&frame), 0);
    let (header, body) = frame.split_at_mut(HEADER);
    mask(body, place, offset);
    header.copy_from_slice(&Header { length, body: checksum(body) }.encode(place, offset));
    Some(frame)
}

#[derive(Clone, Copy)]
struct Header {
    length: u32,
    body: u32,
}

impl Header {
    fn encode(self, place: Place, offset: u64) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        for (to, part) in header.chunks_exact_mut(4).zip([self.length, self.body, MARK, self.check(place, offset)]) {
            to.copy_from_slice(&part.to_le_bytes());
        }
        header
    }

    fn check(self, place: Place, offset: u64) -> u32 {
        let mut sum = Checksum::new();
        for part in [place.node, place.segment, offset] {
            sum = sum.add(&part.to_le_bytes());
        }
        sum.add(&self.length.to_le_bytes()).add(&self.body.to_le_bytes()).sum()
    }

    fn decode(bytes: &[u8], place: Place, offset: usize) -> Option<Self> {
        let part = |n: usize| Some(u32::from_le_bytes(bytes.get(n * 4..n * 4 + 4)?.try_into().ok()?));
        let header = Self { length: part(0)?, body: part(1)? };
        (part(2)? == MARK && part(3)? == header.check(place, offset as u64)).then_some(header)
    }

    fn padded(self) -> usize {
        (self.length as usize).next_multiple_of(HEADER)
    }
}

/// Takes the mask away where it is, and puts it on where it is not.
fn mask(body: &mut [u8], place: Place, offset: u64) {
    let mut seed = place.node ^ place.segment.rotate_left(40) ^ offset.rotate_left(20);
    for eight in body.chunks_exact_mut(8) {
        // splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let masked = u64::from_le_bytes(eight.try_into().unwrap_or_default()) ^ mixed ^ (mixed >> 31);
        eight.copy_from_slice(&masked.to_le_bytes());
    }
}

/// What lies at an offset of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole frame: its body, and where it ends.
    Frame(Vec<u8>, usize),
    /// Nothing: zeros, or the end of the file.
    End,
    /// A write that was under way when the power went, and was never acknowledged.
    Torn,
    /// What was written once and has changed since; why, in words.
    Damaged(&'static str),
}

/// Looks at what lies at `at`.
pub(super) fn next(bytes: &[u8], at: usize, place: Place) -> Next {
    let rest = bytes.get(at..).unwrap_or_default();
    if is_zero(rest) {
        return Next::End;
    }
    let Some(head) = rest.get(..HEADER) else { return Next::Damaged("a piece of a frame is left at its end") };
    if is_zero(head) {
        return without_header(bytes, at, place);
    }
    let Some(header) = Header::decode(head, place, at) else { return Next::Damaged("a frame's header does not check") };
    let end = at.saturating_add(HEADER).saturating_add(header.padded());
    match bytes.get(at + HEADER..end) {
        Some(body) if checksum(body) == header.body => {
            let mut body = body.to_vec();
            mask(&mut body, place, at as u64);
            body.truncate(header.length as usize);
            Next::Frame(body, end)
        }
        Some(_) if !is_zero(bytes.get(end..).unwrap_or_default()) => Next::Damaged("a frame does not check"),
        Some(_) if !misses_a_sector(bytes, at, end) => Next::Damaged("the last frame does not check"),
        // What a write did not get on disk ends with a sector; another tool cuts where it likes.
        None if !bytes.len().is_multiple_of(SECTOR) => Next::Damaged("it was cut off"),
        Some(_) | None => Next::Torn,
    }
}

/// The header is missing, and so its whole sector must be. A later frame tells that this one was synced once.
fn without_header(bytes: &[u8], at: usize, place: Place) -> Next {
    let edge = (at + 1).next_multiple_of(SECTOR);
    if !bytes.get(at..edge).is_some_and(is_zero) {
        return Next::Damaged("a frame's header is missing");
    }
    let later = (edge..bytes.len()).step_by(HEADER).any(|at| Header::decode(&bytes[at..], place, at).is_some());
    if later { Next::Damaged("a frame is missing before others") } else { Next::Torn }
}

/// Whether a sector of a frame, after the one with its header, was never written.
fn misses_a_sector(bytes: &[u8], at: usize, end: usize) -> bool {
    let first = (at + 1).next_multiple_of(SECTOR);
    (first..end).step_by(SECTOR).any(|from| is_zero(&bytes[from..end.min(from + SECTOR)]))
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (eights, rest) = bytes.as_chunks::<8>();
    eights.iter().all(|eight| u64::from_le_bytes(*eight) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;
