//! What all frames so far come to, without the entries themselves.

use super::record::Record;
use std::collections::BTreeMap;

/// The file of the newest snapshot, as the log names it: an older copy of the file does not pass for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SnapshotRef {
    pub(super) serial: u64,
    pub(super) length: u64,
    pub(super) checksum: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) vote: Option<Vec<u8>>,
    pub(super) committed: Option<Vec<u8>>,
    pub(super) purged: Option<Vec<u8>>,
    pub(super) snapshot: Option<SnapshotRef>,
    /// The segment in which each live entry lies. The log is live in memory too, so this is the lesser part.
    pub(super) live: BTreeMap<u64, u64>,
}

/// A [`State`] as the next segment begins with it: nothing in earlier ones has to be read for it, but live entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) vote: Option<Vec<u8>>,
    pub(super) committed: Option<Vec<u8>>,
    pub(super) purged: Option<Vec<u8>>,
    pub(super) snapshot: Option<SnapshotRef>,
    /// First and last index of each run of live entries.
    pub(super) live: Vec<(u64, u64)>,
}

impl State {
    /// What a segment begins with whose predecessors are not there. `None` if that cannot be.
    pub(super) fn from_base(base: &Base, before: u64) -> Option<Self> {
        let mut live = BTreeMap::new();
        for (first, last) in &base.live {
            // Each entry took more than a byte, so a wrong range cannot fill the memory: it did pass a checksum.
            last.checked_sub(*first)?;
            live.extend((*first..=*last).map(|index| (index, before)));
        }
        let Base { vote, committed, purged, snapshot, .. } = base.clone();
        Some(Self { vote, committed, purged, snapshot, live })
    }

    pub(super) fn base(&self) -> Base {
        let mut live: Vec<(u64, u64)> = vec![];
        for index in self.live.keys() {
            match live.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(*index) => *last = *index,
                Some(_) | None => live.push((*index, *index)),
            }
        }
        let Self { vote, committed, purged, snapshot, .. } = self.clone();
        Base { vote, committed, purged, snapshot, live }
    }

    pub(super) fn apply(&mut self, record: &Record<'_>, segment: u64) {
        match record {
            Record::Entry(index, _) => drop(self.live.insert(*index, segment)),
            Record::Vote(vote) => self.vote = Some(vote.to_vec()),
            Record::Truncate(from) => drop(self.live.split_off(from)),
            Record::Purge(upto, id) => {
                self.live = upto.checked_add(1).map(|first| self.live.split_off(&first)).unwrap_or_default();
                self.purged = Some(id.to_vec());
            }
            Record::Committed(id) => self.committed = Some(id.to_vec()),
            Record::Snapshot(snapshot) => self.snapshot = Some(*snapshot),
            Record::Clear => *self = Self::default(),
            Record::Base(_) | Record::Next(_) => {}
        }
    }

    /// The oldest segment with a live entry.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.live.values().min().copied()
    }
}
