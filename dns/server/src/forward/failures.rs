//! Questions that no upstream answered of late (RFC 9520): not asked again at once.

use super::{answer::Answer, key::Key};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// A flood of names that fail must not grow it; older ones are then merely asked again.
const MAX: usize = 1024;
/// The first pause, and the longest; each failure in a row doubles it (RFC 9520 section 3.2 wants 1 s to 5 min).
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);

/// Why a question has no answer.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// There is nobody to ask.
    NoUpstream,
    /// Everybody there is asks us in turn.
    Looping,
    /// Nobody answered in time.
    Silent,
    /// Nobody could be reached.
    Unreachable,
    /// This is the last that one of them said.
    Refused(Answer),
}

/// The last questions that failed.
#[derive(Default)]
pub(crate) struct Failures {
    known: BTreeMap<Box<[u8]>, Known>,
    /// The keys of `known`, the oldest first.
    order: VecDeque<Box<[u8]>>,
}

struct Known {
    in_a_row: u32,
    until: Instant,
    failure: Failure,
}

/// What is known of a question that failed.
pub(crate) struct Remembered {
    /// Not to be asked again yet.
    pub(crate) resting: bool,
    pub(crate) failure: Failure,
}

impl Failures {
    pub(crate) fn find(&self, now: Instant, key: &Key) -> Option<Remembered> {
        let known = self.known.get(key.as_bytes()).filter(|k| k.in_a_row > 0)?;
        Some(Remembered { resting: now < known.until, failure: known.failure.clone() })
    }

    pub(crate) fn note(&mut self, now: Instant, key: &Key, failure: Failure) {
        let in_a_row = self.known.get(key.as_bytes()).map_or(0, |k| k.in_a_row).saturating_add(1);
        let until = now + FIRST.saturating_mul(1 << (in_a_row - 1).min(8)).min(LONGEST);
        if self.known.insert(key.as_bytes().into(), Known { in_a_row, until, failure }).is_none() {
            self.order.push_back(key.as_bytes().into());
        }
        while self.order.len() > MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.known.remove(&oldest);
        }
    }

    /// It was answered.
    pub(crate) fn clear(&mut self, key: &Key) {
        if let Some(known) = self.known.get_mut(key.as_bytes()) {
            known.in_a_row = 0;
        }
    }
}
