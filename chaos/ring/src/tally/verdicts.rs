//! What members believe of each other, held against what is so.

use super::reach::{HALF, MOST, Reach, percentiles};
use crate::report::Percentiles;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use taffeta_model::{Liveness, Millis};
use taffeta_swim::MemberChange;

/// What members believe of each other, held against what is so.
pub(crate) struct Verdicts {
    /// By victim: survivors that have it as down.
    kills: BTreeMap<u32, Reach>,
    /// Who stands still at some time, and when they go on.
    stalled: BTreeSet<u32>,
    wakes: Option<Millis>,
    /// Who has whom of these as down: observer and stalled.
    wrong: BTreeSet<(u32, u32)>,
    last_reversal: Option<Millis>,
    pub(crate) false_suspect: u64,
    pub(crate) false_down: u64,
    /// Verdicts of down on members that stand still or have just gone on.
    pub(crate) stalled_down: u64,
}

impl Verdicts {
    pub(crate) fn new(observers: usize, victims: &[u32], stalled: &[u32], wakes: Option<Millis>) -> Self {
        let survivors = observers - victims.len();
        Self {
            kills: victims.iter().map(|index| (*index, Reach::new(survivors))).collect(),
            stalled: stalled.iter().copied().collect(),
            wakes,
            wrong: BTreeSet::new(),
            last_reversal: None,
            false_suspect: 0,
            false_down: 0,
            stalled_down: 0,
        }
    }

    pub(crate) fn is_victim(&self, index: u32) -> bool {
        self.kills.contains_key(&index)
    }

    pub(crate) fn note_kill(&mut self, now: Millis, victim: u32) {
        self.kills.get_mut(&victim).expect("chosen before").begin(now);
    }

    /// `by` sees `of` so; `runs`: whether that one takes part at this moment.
    pub(crate) fn note(&mut self, now: Millis, by: u32, of: u32, change: &MemberChange, runs: bool) {
        let became = |liveness| change.after == Some(liveness) && change.before != Some(liveness);
        let ends = change.before == Some(Liveness::Down) && change.after != Some(Liveness::Down);
        if runs {
            self.false_suspect += u64::from(became(Liveness::Suspect));
            self.false_down += u64::from(became(Liveness::Down));
        }
        if self.is_victim(by) {
            return;
        }
        if self.stalled.contains(&of) {
            if became(Liveness::Down) {
                self.stalled_down += 1;
                self.wrong.insert((by, of));
            } else if ends && self.wrong.remove(&(by, of)) {
                self.last_reversal = Some(now);
            }
        }
        let Some(kill) = self.kills.get_mut(&of) else { return };
        if became(Liveness::Down) {
            kill.add(now);
        } else if ends {
            kill.take_back();
        }
    }

    /// From waking until the last verdict on those that stood still was taken back; `None` if there was none.
    pub(crate) fn reversed(&self) -> Option<Duration> {
        Some(self.last_reversal?.since(self.wakes?))
    }

    /// Verdicts on those that stood still which were not taken back.
    pub(crate) fn unreversed(&self) -> u64 {
        self.wrong.len() as u64
    }

    pub(crate) fn know50(&self) -> Option<Percentiles> {
        percentiles(self.kills.values(), HALF)
    }

    pub(crate) fn know99(&self) -> Option<Percentiles> {
        percentiles(self.kills.values(), MOST)
    }
}
