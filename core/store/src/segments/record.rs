//! What a frame's body says: a list of records.

use super::state::{Base, SnapshotRef};

/// One change, as it is stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Entry(u64, &'a [u8]),
    Vote(&'a [u8]),
    Truncate(u64),
    Purge(u64, &'a [u8]),
    Committed(&'a [u8]),
    Snapshot(SnapshotRef),
    /// What the segments before this one come to. The first record of each segment.
    Base(Base),
    /// The log goes on in this segment. The last record of each but the newest.
    Next(u64),
    /// Everything before is dropped, the vote included.
    Clear,
}

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const TRUNCATE: u8 = 3;
const PURGE: u8 = 4;
const COMMITTED: u8 = 5;
const SNAPSHOT: u8 = 6;
const BASE: u8 = 7;
const NEXT: u8 = 8;
const CLEAR: u8 = 9;

/// Adds a record to a body. `None` if a part of it is longer than 4 GiB.
pub(super) fn encode(record: &Record<'_>, to: &mut Vec<u8>) -> Option<()> {
    match record {
        Record::Entry(index, entry) => {
            to.push(ENTRY);
            number(*index, to);
            bytes(entry, to)?;
        }
        Record::Vote(vote) => {
            to.push(VOTE);
            bytes(vote, to)?;
        }
        Record::Truncate(from) => {
            to.push(TRUNCATE);
            number(*from, to);
        }
        Record::Purge(upto, id) => {
            to.push(PURGE);
            number(*upto, to);
            bytes(id, to)?;
        }
        Record::Committed(id) => {
            to.push(COMMITTED);
            bytes(id, to)?;
        }
        Record::Snapshot(snapshot) => {
            to.push(SNAPSHOT);
            reference(snapshot, to);
        }
        Record::Base(base) => {
            to.push(BASE);
            for part in [&base.vote, &base.committed, &base.purged] {
                to.push(u8::from(part.is_some()));
                bytes(part.as_deref().unwrap_or_default(), to)?;
            }
            to.push(u8::from(base.snapshot.is_some()));
            reference(&base.snapshot.unwrap_or_default(), to);
            number(base.live.len() as u64, to);
            for (first, last) in &base.live {
                number(*first, to);
                number(*last, to);
            }
        }
        Record::Next(segment) => {
            to.push(NEXT);
            number(*segment, to);
        }
        Record::Clear => to.push(CLEAR),
    }
    Some(())
}

fn number(value: u64, to: &mut Vec<u8>) {
    to.extend_from_slice(&value.to_le_bytes());
}

fn bytes(value: &[u8], to: &mut Vec<u8>) -> Option<()> {
    to.extend_from_slice(&u32::try_from(value.len()).ok()?.to_le_bytes());
    to.extend_from_slice(value);
    Some(())
}

fn reference(snapshot: &SnapshotRef, to: &mut Vec<u8>) {
    number(snapshot.serial, to);
    number(snapshot.length, to);
    number(snapshot.checksum.into(), to);
}

/// Reads a body; `None` if it is none.
pub(super) fn decode(body: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut left = Left(body);
    let mut records = vec![];
    while !left.0.is_empty() {
        records.push(left.record()?);
    }
    Some(records)
}

struct Left<'a>(&'a [u8]);

impl<'a> Left<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(length)?;
        self.0 = left;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(length as usize)
    }

    fn optional(&mut self) -> Option<Option<Vec<u8>>> {
        let is_there = self.flag()?;
        let bytes = self.bytes()?;
        Some(is_there.then(|| bytes.to_vec()))
    }

    fn reference(&mut self) -> Option<SnapshotRef> {
        let (serial, length, checksum) = (self.number()?, self.number()?, self.number()?);
        Some(SnapshotRef { serial, length, checksum: u32::try_from(checksum).ok()? })
    }

    fn base(&mut self) -> Option<Base> {
        let (vote, committed, purged) = (self.optional()?, self.optional()?, self.optional()?);
        let is_there = self.flag()?;
        let snapshot = self.reference()?;
        let ranges = self.number()?;
        let live = (0..ranges).map(|_| Some((self.number()?, self.number()?))).collect::<Option<_>>()?;
        Some(Base { vote, committed, purged, snapshot: is_there.then_some(snapshot), live })
    }

    fn record(&mut self) -> Option<Record<'a>> {
        Some(match self.byte()? {
            ENTRY => Record::Entry(self.number()?, self.bytes()?),
            VOTE => Record::Vote(self.bytes()?),
            TRUNCATE => Record::Truncate(self.number()?),
            PURGE => Record::Purge(self.number()?, self.bytes()?),
            COMMITTED => Record::Committed(self.bytes()?),
            SNAPSHOT => Record::Snapshot(self.reference()?),
            BASE => Record::Base(self.base()?),
            NEXT => Record::Next(self.number()?),
            CLEAR => Record::Clear,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
