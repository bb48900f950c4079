//! Counts what the figures are made of.

use crate::{network::Traffic, report::Percentiles};
use std::{collections::BTreeMap, time::Duration};
use taffeta_model::{Liveness, Millis};
use taffeta_swim::MemberChange;

/// How far one piece of news has come.
#[derive(Debug)]
pub(crate) struct Spread {
    begun: Option<Millis>,
    knowing: usize,
    /// Knowing that make 50 and 99 %.
    wanted: [usize; 2],
    reached: [Option<Duration>; 2],
}

impl Spread {
    fn new(observers: usize) -> Self {
        let part = |percent: usize| (observers * percent).div_ceil(100);
        Self { begun: None, knowing: 0, wanted: [part(50), part(99)], reached: [None; 2] }
    }

    fn begin(&mut self, now: Millis) {
        self.begun = Some(now);
        self.look(now);
    }

    fn add(&mut self, now: Millis) {
        self.knowing += 1;
        self.look(now);
    }

    fn take_back(&mut self) {
        self.knowing -= 1;
    }

    fn look(&mut self, now: Millis) {
        let Some(begun) = self.begun else { return };
        for (reached, wanted) in self.reached.iter_mut().zip(self.wanted) {
            if reached.is_none() && self.knowing >= wanted {
                *reached = Some(now.since(begun));
            }
        }
    }
}

/// Counts what the figures are made of.
pub(crate) struct Tally {
    /// By victim: survivors that have it as down.
    kills: BTreeMap<u32, Spread>,
    /// By owner: nodes that hold its changed set.
    changes: BTreeMap<u32, Spread>,
    pub(crate) false_suspect: u64,
    pub(crate) false_down: u64,
    /// At the end of each second, from 0 on.
    sent: Vec<Traffic>,
}

impl Tally {
    pub(crate) fn new(nodes: usize, victims: &[u32], owners: &[u32]) -> Self {
        let each = |of: &[u32], observers| of.iter().map(|index| (*index, Spread::new(observers))).collect();
        Self {
            kills: each(victims, nodes - victims.len()),
            changes: each(owners, nodes),
            false_suspect: 0,
            false_down: 0,
            sent: vec![Traffic::default()],
        }
    }

    pub(crate) fn is_victim(&self, index: u32) -> bool {
        self.kills.contains_key(&index)
    }

    /// `by` sees `of` so; `runs`: whether that one takes part at this moment.
    pub(crate) fn note_change(&mut self, now: Millis, by: u32, of: u32, change: &MemberChange, runs: bool) {
        let became = |liveness| change.after == Some(liveness) && change.before != Some(liveness);
        if runs {
            self.false_suspect += u64::from(became(Liveness::Suspect));
            self.false_down += u64::from(became(Liveness::Down));
        }
        if self.is_victim(by) {
            return;
        }
        let Some(kill) = self.kills.get_mut(&of) else { return };
        if became(Liveness::Down) {
            kill.add(now);
        } else if change.before == Some(Liveness::Down) && change.after != Some(Liveness::Down) {
            kill.take_back();
        }
    }

    pub(crate) fn note_kill(&mut self, now: Millis, victim: u32) {
        self.kills.get_mut(&victim).expect("chosen before").begin(now);
    }

    pub(crate) fn note_publish(&mut self, now: Millis, owner: u32) {
        self.changes.get_mut(&owner).expect("chosen before").begin(now);
        self.note_news(now, owner);
    }

    /// A node got the changed set of `owner`.
    pub(crate) fn note_news(&mut self, now: Millis, owner: u32) {
        self.changes.get_mut(&owner).expect("only these change").add(now);
    }

    pub(crate) fn note_second(&mut self, sent: Traffic) {
        self.sent.push(sent);
    }

    /// Bytes and packets a second of all nodes together.
    pub(crate) fn rate(&self, seconds: std::ops::Range<u64>) -> (f64, f64) {
        let (from, to) = (self.sent[seconds.start as usize], self.sent[seconds.end as usize]);
        let long = (seconds.end - seconds.start) as f64;
        ((to.bytes - from.bytes) as f64 / long, (to.packets - from.packets) as f64 / long)
    }

    pub(crate) fn know50(&self) -> Option<Percentiles> {
        percentiles(&self.kills, 0)
    }

    pub(crate) fn know99(&self) -> Option<Percentiles> {
        percentiles(&self.kills, 1)
    }

    pub(crate) fn change99(&self) -> Option<Percentiles> {
        percentiles(&self.changes, 1)
    }
}

fn percentiles(spreads: &BTreeMap<u32, Spread>, part: usize) -> Option<Percentiles> {
    let times: Option<Vec<Duration>> = spreads.values().map(|spread| spread.reached[part]).collect();
    Percentiles::of(times?)
}

#[cfg(test)]
mod tests;
