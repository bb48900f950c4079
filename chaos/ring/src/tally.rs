//! Counts what the figures are made of.

mod changes;
mod join;
mod reach;
mod verdicts;

pub(crate) use changes::{Changes, Phase};
use join::Join;
pub(crate) use verdicts::Verdicts;

use crate::network::Traffic;
use std::ops::Range;
use taffeta_model::Millis;

/// Counts what the figures are made of.
pub(crate) struct Tally {
    pub(crate) verdicts: Verdicts,
    pub(crate) changes: Changes,
    pub(crate) join: Join,
    /// Copies of changed sets that were sent in this time.
    copies: u64,
    copied: Range<Millis>,
    /// At the end of each second, from 0 on.
    sent: Vec<Traffic>,
}

impl Tally {
    /// `burst`: in which seconds copies are counted.
    pub(crate) fn new(verdicts: Verdicts, changes: Changes, burst: &Range<u64>) -> Self {
        let copied = Millis(burst.start * 1000)..Millis(burst.end * 1000);
        let (join, sent) = (Join::default(), vec![Traffic::default()]);
        Self { verdicts, changes, join, copies: 0, copied, sent }
    }

    /// So many changed sets are sent to a node.
    pub(crate) fn note_copies(&mut self, now: Millis, count: u64) {
        if self.copied.contains(&now) {
            self.copies += count;
        }
    }

    /// Copies of a change of the burst to each of so many nodes.
    pub(crate) fn copies_per_change(&self, nodes: f64) -> Option<f64> {
        let changes = self.changes.count(Phase::Burst);
        (changes > 0).then(|| self.copies as f64 / changes as f64 / nodes)
    }

    pub(crate) fn note_second(&mut self, sent: Traffic) {
        self.sent.push(sent);
    }

    /// Bytes and packets a second of all nodes together; `None` if no second is meant.
    pub(crate) fn rate(&self, seconds: &Range<u64>) -> Option<(f64, f64)> {
        let (from, to) = (self.sent[seconds.start as usize], self.sent[seconds.end as usize]);
        let long = (seconds.end - seconds.start) as f64;
        (!seconds.is_empty())
            .then(|| ((to.bytes - from.bytes) as f64 / long, (to.packets - from.packets) as f64 / long))
    }
}

#[cfg(test)]
mod tests;
