//! An upstream's reply as it is kept.

use crate::query::HEADER;
use std::{sync::Arc, time::Duration};

/// A reply without what concerned only the upstream and us: id, most flags, OPT. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The packet, where its TTLs are (two bytes each), and options with extended errors: in one piece, as a hit costs
    /// what it takes to fetch this from memory.
    bytes: Arc<[u8]>,
    packet_len: u16,
    question_end: u16,
    ttls: u16,
    pub(crate) keep: Keep,
}

/// How long an answer may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Not at all.
    Not,
    /// That there is none, for so long; never longer (a stale denial would hide what is new).
    Negative(Duration),
    /// The records, for so long, and in need for longer.
    Positive(Duration),
}

impl Answer {
    /// `question` is in lower case and takes the place of the packet's; `None` if it has another length, or if the
    /// packet is longer than a packet can be. `ttls_at` are within the packet.
    pub(crate) fn new(packet: &[u8], question: &[u8], ttls_at: &[usize], errors: &[u8], keep: Keep) -> Option<Self> {
        let question_end = HEADER + question.len();
        let mut bytes = Vec::with_capacity(packet.len() + 2 * ttls_at.len() + errors.len());
        bytes.extend_from_slice(packet);
        bytes.get_mut(HEADER..question_end)?.copy_from_slice(question);
        for at in ttls_at {
            bytes.extend_from_slice(&u16::try_from(*at).ok()?.to_be_bytes());
        }
        bytes.extend_from_slice(errors);
        Some(Self {
            bytes: bytes.into(),
            packet_len: packet.len().try_into().ok()?,
            question_end: question_end.try_into().ok()?,
            ttls: ttls_at.len().try_into().ok()?,
            keep,
        })
    }

    /// A packet of which id, flags and the case of the question are to be set.
    pub(crate) fn packet(&self) -> &[u8] {
        &self.bytes[..self.packet_len.into()]
    }

    /// Of the packet, header and question alone.
    pub(crate) fn head(&self) -> &[u8] {
        &self.bytes[..self.question_end.into()]
    }

    /// Name, type and class, in lower case.
    pub(crate) fn question(&self) -> &[u8] {
        &self.head()[HEADER..]
    }

    /// Where in the packet the TTLs are.
    pub(crate) fn ttls_at(&self) -> impl ExactSizeIterator<Item = usize> {
        let start = usize::from(self.packet_len);
        let places = &self.bytes[start..start + 2 * usize::from(self.ttls)];
        places.chunks_exact(2).map(|at| usize::from(u16::from_be_bytes([at[0], at[1]])))
    }

    /// Options with extended errors, as they came.
    pub(crate) fn errors(&self) -> &[u8] {
        &self.bytes[usize::from(self.packet_len) + 2 * usize::from(self.ttls)..]
    }

    /// Bytes that it takes beside itself.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }
}
