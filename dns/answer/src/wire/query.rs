//! The common query, read by hand: one question without compression, and at most a plain OPT after it.

/// Bytes of a DNS header.
pub(crate) const HEADER: usize = 12;
/// Bytes of an OPT record without options.
pub(crate) const BARE_OPT: usize = 11;
/// Type and class after the name.
const AFTER_NAME: usize = 4;
/// Most labels that names of the fabric's own have below the domain.
const LABELS_MAX: usize = 5;

const CLASS_IN: [u8; 2] = [0, 1];
pub(crate) const TYPE_OPT: u8 = 41;

/// A query that the fast path knows.
pub(crate) struct Asked<'a> {
    packet: &'a [u8],
    /// Where the question ends.
    pub(crate) question_end: usize,
    pub(crate) name: LowerName,
    /// The code of the type.
    pub(crate) record_type: u16,
    pub(crate) edns: Option<PlainEdns>,
}

/// What an OPT record without options says.
#[derive(Clone, Copy)]
pub(crate) struct PlainEdns {
    pub(crate) size: u16,
    pub(crate) dnssec_ok: bool,
}

/// A name in lower case, as length-prefixed labels without the root's zero byte.
pub(crate) struct LowerName {
    bytes: [u8; 256],
    len: usize,
}

/// The labels of a name in front of a zone.
pub(crate) struct Below<'a> {
    texts: [&'a str; LABELS_MAX],
    /// More than there is room for if there are too many, or not all are UTF-8.
    count: usize,
    /// Bytes in front of the zone.
    pub(crate) len: usize,
}

impl<'a> Asked<'a> {
    /// Reads a packet; `None` for all that is not common, wrong or right.
    #[inline]
    pub(crate) fn read(packet: &'a [u8]) -> Option<Self> {
        let header = packet.first_chunk::<HEADER>()?;
        // Of the flags only RD, AD and CD; one question, no answers, no authority, at most one more record.
        let usual = header[2] & !0x01 == 0 && header[3] & !0x30 == 0 && header[4..11] == [0, 1, 0, 0, 0, 0, 0];
        if !usual || header[11] > 1 {
            return None;
        }
        let name_end = name_end(packet)?;
        let after = packet.get(name_end..)?.first_chunk::<AFTER_NAME>()?;
        let question_end = name_end + AFTER_NAME;
        let edns = match (header[11], &packet[question_end..]) {
            (0, []) => None,
            (1, opt) => Some(plain_edns(opt)?),
            _ => return None,
        };
        if after[2..] != CLASS_IN {
            return None;
        }
        let name = LowerName::new(&packet[HEADER..name_end - 1]);
        let record_type = u16::from_be_bytes([after[0], after[1]]);
        Some(Self { packet, question_end, name, record_type, edns })
    }

    /// The header as it came.
    pub(crate) fn header(&self) -> &[u8; HEADER] {
        self.packet.first_chunk().expect("it was read")
    }

    /// Header and question as they came.
    pub(crate) fn head(&self) -> &[u8] {
        &self.packet[..self.question_end]
    }
}

impl LowerName {
    #[inline]
    fn new(wire: &[u8]) -> Self {
        let mut bytes = [0; 256];
        // Length bytes are at most 63, and so are no letters.
        for (lower, byte) in bytes.iter_mut().zip(wire) {
            *lower = byte.to_ascii_lowercase();
        }
        Self { bytes, len: wire.len() }
    }

    pub(crate) fn wire(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Its labels in front of a zone that is given in lower case; `None` if it is not in it.
    #[inline]
    pub(crate) fn within(&self, zone: &[u8]) -> Option<Below<'_>> {
        let len = self.len.checked_sub(zone.len())?;
        if self.bytes[len..self.len] != *zone {
            return None;
        }
        // Length bytes are ASCII: the whole is UTF-8 if the labels are.
        let text = std::str::from_utf8(&self.bytes[..len]).ok();
        let (mut texts, mut count, mut at) = ([""; LABELS_MAX], 0, 0);
        while at < len {
            let begin = at + 1;
            at = begin + usize::from(self.bytes[at]);
            if let (Some(label), Some(text)) = (texts.get_mut(count), text) {
                *label = text.get(begin..at)?;
            }
            count += 1;
        }
        // A label may look like the beginning of the zone in its middle.
        let count = if text.is_some() { count } else { usize::MAX };
        (at == len).then_some(Below { texts, count, len })
    }
}

impl<'a> Below<'a> {
    /// The labels, the leftmost first; `None` if no name of the fabric's own can have them.
    pub(crate) fn labels(&self) -> Option<&[&'a str]> {
        self.texts.get(..self.count)
    }
}

/// Where the name of the question ends, after the root's zero byte; `None` if it is compressed, cut or too long.
#[inline]
fn name_end(packet: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match *packet.get(at)? {
            0 => break,
            len @ 1..=63 => at += 1 + usize::from(len),
            64.. => return None,
        }
    }
    (at - HEADER < 255).then_some(at + 1)
}

/// An OPT record of version 0 without options or unknown flags, and nothing after it.
fn plain_edns(opt: &[u8]) -> Option<PlainEdns> {
    let [0, 0, TYPE_OPT, high, low, 0, 0, flags, 0, 0, 0] = *opt else { return None };
    let dnssec_ok = flags & 0x80 != 0;
    (flags & 0x7f == 0).then_some(PlainEdns { size: u16::from_be_bytes([high, low]), dnssec_ok })
}
