//! How changed sets spread.

use super::reach::{HALF, MOST, Reach, percentiles};
use crate::report::Percentiles;
use std::collections::BTreeMap;
use taffeta_model::Millis;

/// When a change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// With nothing else about.
    Single,
    /// Among many.
    Burst,
}

struct Change {
    seq: u64,
    phase: Phase,
    reach: Reach,
}

/// The changed sets of one owner.
struct Owner {
    changes: Vec<Change>,
    /// The newest that each node holds.
    held: Vec<u32>,
}

/// How changed sets spread: each is held by a node as soon as that holds it or a later one of the same owner.
pub(crate) struct Changes {
    /// All nodes, and those that take part from the start.
    nodes: usize,
    observers: usize,
    owners: BTreeMap<u32, Owner>,
}

impl Changes {
    pub(crate) fn new(nodes: usize, observers: usize) -> Self {
        Self { nodes, observers, owners: BTreeMap::new() }
    }

    /// `owner` published its set `seq`; all have the one before its first.
    pub(crate) fn note_publish(&mut self, now: Millis, owner: u32, seq: u64, phase: Phase) {
        let before = seq as u32 - 1;
        let nodes = self.nodes;
        let entry =
            self.owners.entry(owner).or_insert_with(|| Owner { changes: Vec::new(), held: vec![before; nodes] });
        let mut reach = Reach::new(self.observers);
        reach.begin(now);
        entry.changes.push(Change { seq, phase, reach });
        self.note_held(now, owner, owner, seq);
    }

    /// A node came to hold set `seq` of the owner.
    pub(crate) fn note_held(&mut self, now: Millis, by: u32, owner: u32, seq: u64) {
        let Some(entry) = self.owners.get_mut(&owner) else { return };
        let before = std::mem::replace(&mut entry.held[by as usize], seq as u32);
        let news = entry.changes.iter_mut().filter(|change| change.seq > before.into() && change.seq <= seq);
        news.for_each(|change| change.reach.add(now));
    }

    /// Until 99 % held one.
    pub(crate) fn held99(&self, phase: Phase) -> Option<Percentiles> {
        percentiles(self.of(phase), MOST)
    }

    /// Until half held one.
    pub(crate) fn held50(&self, phase: Phase) -> Option<Percentiles> {
        percentiles(self.of(phase), HALF)
    }

    /// How many there were.
    pub(crate) fn count(&self, phase: Phase) -> usize {
        self.of(phase).count()
    }

    fn of(&self, phase: Phase) -> impl Iterator<Item = &Reach> {
        let all = self.owners.values().flat_map(|owner| &owner.changes);
        all.filter(move |change| change.phase == phase).map(|change| &change.reach)
    }
}
