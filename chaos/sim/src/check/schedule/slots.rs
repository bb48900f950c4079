//! What became of each slot of a cron job.

use crate::{check::Broken, moments::Moment};
use std::collections::BTreeSet;
use taffeta_model::{Past, Recurrence, Runs, Trigger, UnixMillis};

/// Slots that are looked at after one decision: a clock that has jumped by a day makes more.
const SLOTS_MAX: usize = 2_000;

/// The slots of one job and schedule.
pub(super) struct Ledger {
    since: UnixMillis,
    handled: UnixMillis,
    started: BTreeSet<UnixMillis>,
    /// The slot of the run that is under way.
    current: Option<UnixMillis>,
}

impl Ledger {
    /// From here on.
    pub(super) fn new(runs: &Runs) -> Self {
        let current = current(runs);
        Self { since: runs.since, handled: runs.handled, started: ran(runs).chain(current).collect(), current }
    }

    /// Whether the schedule is the same as before.
    pub(super) fn is_of(&self, runs: &Runs) -> bool {
        self.since == runs.since
    }

    /// From what was known to what is known now.
    pub(super) fn follow(&mut self, runs: &Runs, cron: &Recurrence, noted: &mut Vec<Moment>) -> Result<(), Broken> {
        let current = current(runs);
        let mut known = BTreeSet::new();
        if let Some(slot) = ran(runs).chain(current).find(|slot| !known.insert(*slot)) {
            return Err(format!("the slot {} was started twice", slot.0));
        }
        if let Some(slot) = current.filter(|slot| self.current != Some(*slot)) {
            if !self.started.insert(slot) {
                return Err(format!("the slot {} was started once more", slot.0));
            }
            noted.push(Moment::SlotStarted);
        }
        self.current = current;
        self.started.extend(known);
        if runs.handled < self.handled {
            return Err(format!("the slot {} is open again, although it was decided about", self.handled.0));
        }
        if runs.handled > self.handled {
            self.account_for(runs, cron, noted)?;
            self.handled = runs.handled;
        }
        Ok(())
    }

    /// Every slot that is decided about was started, waits for the run before it, or is told as missed.
    fn account_for(&self, runs: &Runs, cron: &Recurrence, noted: &mut Vec<Moment>) -> Result<(), Broken> {
        let Ok(calendar) = cron.schedule.calendar(runs.since) else { return Ok(()) };
        for slot in calendar.slots(self.handled, runs.handled, SLOTS_MAX) {
            if self.started.contains(&slot) || runs.queue.contains(&slot) {
                continue;
            }
            let tells =
                |past: &Past| matches!(past, Past::Missed { first, last, .. } if *first <= slot && slot <= *last);
            if !runs.history.iter().any(tells) {
                return Err(format!("the slot {} was neither started nor told as missed", slot.0));
            }
            noted.push(Moment::SlotMissed);
        }
        Ok(())
    }
}

fn slot_of(trigger: Trigger) -> Option<UnixMillis> {
    match trigger {
        Trigger::Slot(slot) => Some(slot),
        Trigger::Deploy | Trigger::After | Trigger::ByHand { .. } => None,
    }
}

fn current(runs: &Runs) -> Option<UnixMillis> {
    runs.current.as_ref().and_then(|run| slot_of(run.trigger))
}

/// The slots of the runs that were.
fn ran(runs: &Runs) -> impl Iterator<Item = UnixMillis> {
    runs.history.iter().filter_map(|past| match past {
        Past::Ran { trigger, .. } => slot_of(*trigger),
        Past::Missed { .. } => None,
    })
}

#[cfg(test)]
mod tests;
