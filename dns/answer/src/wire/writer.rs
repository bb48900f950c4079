//! A reply, written from its beginning into a buffer of the caller's, within a limit.

use super::query::{Asked, BARE_OPT, HEADER, TYPE_OPT};

/// Largest UDP payload that crosses the Internet without fragments (DNS flag day 2020).
pub const DATAGRAM_MAX: u16 = 1232;

/// Type codes of what is written.
pub(crate) mod code {
    pub(crate) const A: u16 = 1;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
}

/// Pointers have 14 bits (RFC 1035 section 4.1.4).
const POINTER_MAX: usize = 0x3fff;
/// Extended error: option code, length, info code (RFC 8914).
const ERROR_HEAD: usize = 6;
const OPTION_ERROR: u8 = 15;

/// An extended error that goes with a reply whose query had an OPT record.
#[derive(Clone, Copy)]
pub(crate) struct ExtendedError {
    pub(crate) code: u16,
    pub(crate) text: &'static str,
}

/// What the header of a reply says, besides what it copies.
#[derive(Clone, Copy, Default)]
pub(crate) struct Head {
    pub(crate) rcode: u8,
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
    pub(crate) recursion_available: bool,
    /// Records in the answer, the authority and the additional section; the OPT is not counted.
    pub(crate) counts: [u16; 3],
}

/// Appends within a limit, of which the OPT record's part is kept free.
pub(crate) struct Writer<'a> {
    asked: &'a Asked<'a>,
    out: &'a mut [u8],
    at: usize,
    /// Where records must end.
    end: usize,
    error: Option<ExtendedError>,
}

impl<'a> Writer<'a> {
    /// Begins with the question as it came. `None` if not even that fits.
    #[inline]
    pub(crate) fn new(
        asked: &'a Asked<'a>,
        limit: usize,
        error: Option<ExtendedError>,
        out: &'a mut [u8],
    ) -> Option<Self> {
        let error = error.filter(|_| asked.edns.is_some());
        let opt = asked.edns.map_or(0, |_| BARE_OPT + error.map_or(0, |e| ERROR_HEAD + e.text.len()));
        let head = asked.head();
        let end = limit.min(out.len()).checked_sub(opt)?;
        out.get_mut(..end)?.get_mut(..head.len())?.copy_from_slice(head);
        Some(Self { asked, out, at: head.len(), end, error })
    }

    /// Where the next byte goes.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> usize {
        self.end - self.at
    }

    /// Takes back all after a place.
    pub(crate) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// Adds to a number of two bytes that was written at a place.
    pub(crate) fn add_to_number(&mut self, at: usize, more: u8) {
        let number = u16::from_be_bytes([self.out[at], self.out[at + 1]]).saturating_add(more.into());
        self.out[at..at + 2].copy_from_slice(&number.to_be_bytes());
    }

    #[inline]
    pub(crate) fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Option<()> {
        *self.out.get_mut(self.at..self.end)?.first_chunk_mut()? = bytes;
        self.at += N;
        Some(())
    }

    #[inline]
    pub(crate) fn put_slice(&mut self, bytes: &[u8]) -> Option<()> {
        self.out.get_mut(self.at..self.end)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }

    /// The name that is written at an offset.
    #[inline]
    pub(crate) fn put_pointer(&mut self, to: usize) -> Option<()> {
        if to > POINTER_MAX {
            return None;
        }
        self.put((0xc000 | to as u16).to_be_bytes())
    }

    /// A record's owner, which is a pointer, and all up to its length.
    #[inline]
    pub(crate) fn put_fixed(&mut self, owner: usize, record_type: u16, ttl: u32) -> Option<()> {
        if owner > POINTER_MAX {
            return None;
        }
        let [o, p] = (0xc000 | owner as u16).to_be_bytes();
        let [t, u] = record_type.to_be_bytes();
        let [a, b, c, d] = ttl.to_be_bytes();
        self.put([o, p, t, u, 0, 1, a, b, c, d])
    }

    /// Fills the header in and appends the OPT record; gives the length of all.
    #[inline]
    pub(crate) fn finish(mut self, head: Head) -> usize {
        let asked = self.asked;
        if let Some(edns) = asked.edns {
            self.end = self.out.len();
            self.put_opt(edns.dnssec_ok);
        }
        let [_, _, flags, more_flags, ..] = *asked.header();
        let [answers, authority, additional] = head.counts;
        let additional = additional + u16::from(asked.edns.is_some());
        let header: &mut [u8; HEADER] = self.out.first_chunk_mut().expect("the question is longer");
        header[2] = 0x80 | flags & 1 | u8::from(head.authoritative) << 2 | u8::from(head.truncated) << 1;
        header[3] = more_flags & 0x10 | u8::from(head.recursion_available) << 7 | head.rcode;
        header[6..8].copy_from_slice(&answers.to_be_bytes());
        header[8..10].copy_from_slice(&authority.to_be_bytes());
        header[10..12].copy_from_slice(&additional.to_be_bytes());
        self.at
    }

    /// Its room was kept free.
    fn put_opt(&mut self, dnssec_ok: bool) {
        let [high, low] = DATAGRAM_MAX.to_be_bytes();
        let flags = u8::from(dnssec_ok) << 7;
        let len = self.error.map_or(0, |e| ERROR_HEAD + e.text.len());
        self.put([0, 0, TYPE_OPT, high, low, 0, 0, flags, 0, 0, len as u8]);
        if let Some(error) = self.error {
            let [high, low] = error.code.to_be_bytes();
            self.put([0, OPTION_ERROR, 0, (error.text.len() + 2) as u8, high, low]);
            self.put_slice(error.text.as_bytes());
        }
    }
}
