//! Sets that were heard of and have not come.

use crate::Head;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{MEMBERS_MAX, Millis, NodeId};

/// An answer that takes longer is asked of the next source; each time the wait is twice as long, as a large answer over
/// a slow link takes its time.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Nodes that may be asked for a set: enough that one of them lives.
const SOURCES_MAX: usize = 4;

/// How often a set is asked for; then comparing finds it again, if it is there at all.
const TRIES_MAX: usize = 4;

struct Entry {
    head: Head,
    /// At most [`SOURCES_MAX`].
    sources: Vec<NodeId>,
    tries: usize,
    due: Millis,
}

/// One entry an owner, at most [`MEMBERS_MAX`].
#[derive(Default)]
pub(super) struct Missing {
    entries: BTreeMap<NodeId, Entry>,
    /// The same in order of time.
    queue: BTreeSet<(Millis, NodeId)>,
}

impl Missing {
    /// `source` has this set, or says so. It is asked for when `due`, or earlier if that was decided before; not again
    /// while an answer is waited for, however many deltas come that need it.
    pub(super) fn note(&mut self, due: Millis, head: Head, source: NodeId) {
        if self.entries.len() >= MEMBERS_MAX && !self.entries.contains_key(&head.owner) {
            return;
        }
        let fresh = || Entry { head, sources: Vec::new(), tries: 0, due };
        let entry = self.entries.entry(head.owner).or_insert_with(fresh);
        self.queue.remove(&(entry.due, head.owner));
        if entry.tries == 0 {
            entry.due = entry.due.min(due);
        }
        self.queue.insert((entry.due, head.owner));
        if head.is_newer_than(&entry.head) {
            entry.head = head;
            entry.sources.retain(|known| *known != source);
            entry.sources.insert(0, source); // it is the one that surely has it
            entry.sources.truncate(SOURCES_MAX);
        } else if !entry.sources.contains(&source) && entry.sources.len() < SOURCES_MAX {
            entry.sources.push(source);
        }
    }

    /// This set is held now.
    pub(super) fn settle(&mut self, held: &Head) {
        if self.entries.get(&held.owner).is_some_and(|entry| !entry.head.is_newer_than(held)) {
            self.remove(held.owner);
        }
    }

    /// Whose sets are to be asked for now, by who is to be asked.
    pub(super) fn take_due(&mut self, now: Millis) -> BTreeMap<NodeId, Vec<NodeId>> {
        let mut wants: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        while let Some((due, owner)) = self.queue.first().copied().filter(|(due, _)| *due <= now) {
            self.queue.remove(&(due, owner));
            let entry = self.entries.get_mut(&owner).expect("both hold the same owners");
            if entry.tries >= TRIES_MAX {
                self.entries.remove(&owner);
                continue;
            }
            let source = entry.sources[entry.tries % entry.sources.len()];
            entry.due = now + RETRY_AFTER * (1 << entry.tries);
            entry.tries += 1;
            self.queue.insert((entry.due, owner));
            wants.entry(source).or_default().push(owner);
        }
        wants
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.queue.first().map(|(due, _)| *due)
    }

    fn remove(&mut self, owner: NodeId) {
        if let Some(entry) = self.entries.remove(&owner) {
            self.queue.remove(&(entry.due, owner));
        }
    }
}
