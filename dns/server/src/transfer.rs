//! The whole zone, message by message (AXFR, RFC 5936), for whom the operator permits it.

use crate::{
    encode::{record, skeleton, with_opt_of},
    query::Query,
};
use hickory_proto::{op::Message, rr, serialize::binary::BinEncodable};
use taffeta_dns_answer::{Record, Snapshot};

/// Longest message of a transfer. Names are compressed only within 16 KiB of a message's start (RFC 1035 section
/// 4.1.4), so a longer one would save nothing.
pub(crate) const MESSAGE_MAX: usize = 16 * 1024;
/// Room for header, question and OPT.
const FRAME: usize = 512;

/// A transfer that may begin. Holds the snapshot of this moment, so that a zone that changes meanwhile is whole all the
/// same; what is sent is laid out message by message.
pub(crate) struct Transfer {
    query: Query,
    snapshot: Snapshot,
}

impl Transfer {
    /// `None` if the question's name is no zone of ours, or there is nothing to tell of it yet.
    pub(crate) fn new(query: Query, snapshot: &Snapshot) -> Option<Self> {
        let is_ours = listing(snapshot, &query).is_some();
        is_ours.then(|| Self { query, snapshot: snapshot.clone() })
    }

    /// The messages, of at most [`MESSAGE_MAX`] bytes each.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Vec<u8>> + Send {
        let records = listing(&self.snapshot, &self.query).into_iter().flatten();
        Messages { query: &self.query, records, held: None, is_first: true }
    }
}

struct Messages<'a, I> {
    query: &'a Query,
    records: I,
    /// Taken from `records`, but for the next message.
    held: Option<(rr::Record, usize)>,
    is_first: bool,
}

impl<I: Iterator<Item = Record>> Iterator for Messages<'_, I> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut message = self.begin();
        let mut len = FRAME;
        while let Some((record, record_len)) = self.held.take().or_else(|| self.next_record()) {
            len += record_len;
            if len > MESSAGE_MAX && !message.answers.is_empty() {
                self.held = Some((record, record_len));
                break;
            }
            message.answers.push(record);
        }
        if message.answers.is_empty() {
            return None;
        }
        Some(with_opt_of(message.to_vec().ok()?, self.query))
    }
}

impl<I: Iterator<Item = Record>> Messages<'_, I> {
    /// The first message has the question, the others need not (RFC 5936 section 2.2.1).
    fn begin(&mut self) -> Message {
        let mut message = skeleton(self.query);
        message.metadata.authoritative = true;
        if !std::mem::take(&mut self.is_first) {
            message.queries.clear();
        }
        message
    }

    /// The next record that can be encoded, and its bytes without compression.
    fn next_record(&mut self) -> Option<(rr::Record, usize)> {
        self.records.by_ref().find_map(|r| {
            let record = record(&r)?;
            let len = record.to_bytes().ok()?.len();
            Some((record, len))
        })
    }
}

/// All records of the zone, the SOA first and last.
fn listing<'a>(snapshot: &'a Snapshot, query: &Query) -> Option<impl Iterator<Item = Record> + use<'a>> {
    let (asked, domain) = (&query.question.name, snapshot.domain());
    // The same name, whatever its case.
    let is_domain = asked.is_within(domain) && domain.is_within(asked);
    (is_domain && snapshot.is_ready()).then(|| snapshot.transfer(domain)).flatten()
}
