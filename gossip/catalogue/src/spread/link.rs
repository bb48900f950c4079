//! What is to be told to one neighbour.

use super::{HEADS_MAX, Way};
use crate::{Head, Message, Update, digest::Mark};
use std::{collections::BTreeMap, time::Duration};
use taffeta_model::{Millis, NodeId};

/// News that comes sooner after a push than this travels with the next one: a hundred changes a second then make fewer
/// messages, and a single one still leaves at once.
const BATCH: Duration = Duration::from_millis(10);

/// A push is closed once it takes so many bytes: large enough to compress well, small enough not to hold up others.
const PUSH_BYTES: usize = 60_000;

/// How long heads are collected for a lazy neighbour, which has no hurry: most come another way before.
const HAVE_EVERY: Duration = Duration::from_millis(100);

/// Whether news goes to a neighbour at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It does.
    Eager,
    /// Only its head does.
    Lazy,
}

struct Queued {
    head: Head,
    size: usize,
    update: Update,
}

/// One neighbour.
pub(super) struct Link {
    mode: Mode,
    /// What it pushed in a row that was known already.
    duplicates: u32,
    /// Updates for the next push: what is older than [`BATCH`] or takes more than [`PUSH_BYTES`] has been sent.
    queue: Vec<Queued>,
    pushed_at: Option<Millis>,
    /// Heads for the next [`Message::Have`]; one an owner, so at most [`taffeta_model::MEMBERS_MAX`].
    heads: BTreeMap<NodeId, Head>,
    heads_due: Option<Millis>,
    /// When to compare with it next; `None` if that is its turn.
    pub(super) compare_due: Option<Millis>,
    /// Whether anything has gone to it on a stream, and so over a connection.
    connected: bool,
}

impl Link {
    pub(super) fn new(compare_due: Option<Millis>) -> Self {
        Self {
            mode: Mode::Eager,
            duplicates: 0,
            queue: Vec::new(),
            pushed_at: None,
            heads: BTreeMap::new(),
            heads_due: None,
            compare_due,
            connected: false,
        }
    }

    /// How the message goes to this neighbour: on a stream, so that nothing is lost. But a summary, of which the next
    /// is as good, goes so only to open the connection; a datagram keeps it open for a third of the bytes.
    pub(super) fn way_of(&mut self, message: &Message) -> Way {
        let may_be_lost = matches!(message, Message::Summary { .. });
        let was_connected = std::mem::replace(&mut self.connected, true);
        if may_be_lost && was_connected { Way::Datagram } else { Way::Stream }
    }

    pub(super) fn is_eager(&self) -> bool {
        self.mode == Mode::Eager
    }

    pub(super) fn duplicates(&self) -> u32 {
        self.duplicates
    }

    pub(super) fn become_eager(&mut self) {
        self.mode = Mode::Eager;
        self.duplicates = 0;
    }

    pub(super) fn become_lazy(&mut self) {
        self.mode = Mode::Lazy;
        self.duplicates = 0;
    }

    /// Counts what one of its pushes was worth.
    pub(super) fn count(&mut self, news: u32, duplicates: u32) {
        self.duplicates = if news > 0 { 0 } else { self.duplicates.saturating_add(duplicates) };
    }

    /// There is news that the neighbour may not have.
    pub(super) fn tell(&mut self, now: Millis, head: Head, update: &Update, size: usize) {
        match self.mode {
            Mode::Eager => self.queue.push(Queued { head, size, update: update.clone() }),
            Mode::Lazy => self.queue_head(now, head),
        }
    }

    /// The neighbour has this set, or a newer one.
    pub(super) fn forget(&mut self, mark: Mark) {
        self.queue.retain(|queued| !mark.covers(&queued.head));
        if self.heads.get(&mark.owner).is_some_and(|head| mark.covers(head)) {
            self.heads.remove(&mark.owner);
        }
    }

    /// Sends only the heads of what was to be pushed.
    pub(super) fn queue_heads(&mut self, now: Millis) {
        for queued in std::mem::take(&mut self.queue) {
            self.queue_head(now, queued.head);
        }
    }

    fn queue_head(&mut self, now: Millis, head: Head) {
        self.heads.insert(head.owner, head);
        self.heads_due.get_or_insert(now + HAVE_EVERY);
    }

    /// What is to be sent now.
    pub(super) fn take_due(&mut self, now: Millis) -> Vec<Message> {
        let mut messages = Vec::new();
        let is_full = || self.queue.iter().map(|queued| queued.size).sum::<usize>() >= PUSH_BYTES;
        if self.push_due().is_some_and(|due| due <= now) || is_full() {
            self.pushed_at = Some(now);
            messages.extend(pushes(std::mem::take(&mut self.queue)));
        }
        if self.heads_due.is_some_and(|due| due <= now) {
            self.heads_due = None;
            let heads: Vec<Head> = std::mem::take(&mut self.heads).into_values().collect();
            messages.extend(heads.chunks(HEADS_MAX).map(|heads| Message::Have(heads.to_vec())));
        }
        messages
    }

    /// What is still to be pushed to a node that is no neighbour any more.
    pub(super) fn into_pushes(self) -> Vec<Message> {
        pushes(self.queue)
    }

    pub(super) fn next_timeout(&self) -> Option<Millis> {
        [self.push_due(), self.heads_due, self.compare_due].into_iter().flatten().min()
    }

    fn push_due(&self) -> Option<Millis> {
        (!self.queue.is_empty()).then(|| self.pushed_at.map_or(Millis(0), |at| at + BATCH))
    }
}

fn pushes(queue: Vec<Queued>) -> Vec<Message> {
    batches(queue.into_iter().map(|queued| (queued.size, queued.update))).into_iter().map(Message::Push).collect()
}

/// Updates with their sizes in groups of at most [`PUSH_BYTES`]; one that is larger stands alone.
pub(super) fn batches(updates: impl Iterator<Item = (usize, Update)>) -> Vec<Vec<Update>> {
    let mut groups: Vec<Vec<Update>> = Vec::new();
    let mut bytes = 0;
    for (size, update) in updates {
        bytes += size;
        match groups.last_mut().filter(|_| bytes <= PUSH_BYTES) {
            Some(group) => group.push(update),
            None => {
                bytes = size;
                groups.push(vec![update]);
            }
        }
    }
    groups
}
