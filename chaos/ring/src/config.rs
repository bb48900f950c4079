//! What is simulated, and when what happens.

use std::{ops::Range, time::Duration};
use taffeta_model::{MEMBERS_MAX, Millis};
use thiserror::Error;

/// End of the warm-up: connections of the first seconds have reached their idle time-out.
const WARM: u64 = 5;
/// End of the idle time: each node has announced itself once, as it does every 10 s.
const IDLE_END: u64 = 15;
/// End of the changes, one in each second.
const CHANGES_END: u64 = 20;
/// The first kill: the last change has spread.
const KILL_AT: u64 = 21;
/// Kills are spread over so many seconds, so that they do not all meet the same turn of the probes.
const KILL_SPREAD: u64 = 2;
/// Time from the last kill until a verdict is known to all, in a ring of any size.
const KILL_SETTLE: u64 = 7;
/// Time after a standstill until its verdicts would have come.
const STALL_SETTLE: u64 = 5;
/// Longest standstill: more than any suspicion.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Longest run in seconds: figures do not change any more, and a large ring would run for days.
const SECONDS_MAX: u64 = 3_600;
/// Above this, nothing that answers in three packets works.
const LOSS_MAX: f64 = 0.5;

/// What is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct RingConfig {
    /// Members; 2 to [`MEMBERS_MAX`]. Memory grows with the square: see the crate's documentation.
    pub nodes: usize,
    /// How many of them are killed, in seconds 21 to 23, without a farewell; one must survive.
    pub kill: usize,
    /// Chance that a packet is lost; 0 to 0.5.
    pub loss: f64,
    /// A standstill of some.
    pub stall: Option<Stall>,
    /// How long it runs in virtual time; at least 20 s, 30 s if members are killed, and 5 s beyond a standstill.
    pub seconds: u64,
    /// Makes everything: ids, choices, delays. Equal seeds give equal runs.
    pub seed: u64,
}

/// Some members neither read nor act for a while; their packets wait. Members that are killed are not among them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stall {
    /// Which part of the ring; above 0, at most 1. One member at least.
    pub fraction: f64,
    /// For how long; 1 ms to 60 s.
    pub lasts: Duration,
}

/// A config that cannot be run; correct the named field. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} is {found}; expected {expected}")]
pub struct InvalidRing {
    /// Which field of [`RingConfig`].
    pub field: &'static str,
    /// What it was.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

impl RingConfig {
    /// Checks ranges; [`crate::run`] does it first.
    pub fn check(&self) -> Result<(), InvalidRing> {
        ensure("nodes", self.nodes, (2..=MEMBERS_MAX).contains(&self.nodes), || format!("2 to {MEMBERS_MAX}"))?;
        ensure("kill", self.kill, self.kill < self.nodes, || format!("0 to {}, so that one survives", self.nodes - 1))?;
        ensure("loss", self.loss, (0.0..=LOSS_MAX).contains(&self.loss), || format!("0 to {LOSS_MAX}"))?;
        if let Some(Stall { fraction, lasts }) = self.stall {
            let good = fraction > 0.0 && fraction <= 1.0;
            ensure("stall.fraction", fraction, good, || "above 0 and at most 1".into())?;
            let good = (Duration::from_millis(1)..=STALL_MAX).contains(&lasts);
            ensure("stall.lasts", format!("{lasts:?}"), good, || format!("1ms to {STALL_MAX:?}"))?;
        }
        let least = self.seconds_min();
        let good = (least..=SECONDS_MAX).contains(&self.seconds);
        ensure("seconds", self.seconds, good, || format!("{least} to {SECONDS_MAX} for these faults"))
    }

    fn seconds_min(&self) -> u64 {
        let settled = self.stall_at();
        match self.stall {
            Some(stall) => settled + stall.lasts.as_secs_f64().ceil() as u64 + STALL_SETTLE,
            None if self.kill == 0 => CHANGES_END,
            None => settled,
        }
    }

    fn stall_at(&self) -> u64 {
        if self.kill == 0 { KILL_AT } else { KILL_AT + KILL_SPREAD + KILL_SETTLE }
    }

    pub(crate) fn timeline(&self) -> Timeline {
        let at = |seconds: u64| Millis(seconds * 1000);
        Timeline {
            idle: WARM..IDLE_END,
            changes: IDLE_END..CHANGES_END,
            kills: at(KILL_AT).0..at(KILL_AT + KILL_SPREAD).0,
            stall: self.stall.map(|stall| (at(self.stall_at()), at(self.stall_at()) + stall.lasts)),
        }
    }
}

/// When what happens.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// In seconds; ends when the changes begin.
    pub(crate) idle: Range<u64>,
    /// In seconds.
    pub(crate) changes: Range<u64>,
    /// In milliseconds.
    pub(crate) kills: Range<u64>,
    /// Beginning and end.
    pub(crate) stall: Option<(Millis, Millis)>,
}

fn ensure(
    field: &'static str,
    found: impl ToString,
    good: bool,
    expected: impl Fn() -> String,
) -> Result<(), InvalidRing> {
    if good { Ok(()) } else { Err(InvalidRing { field, found: found.to_string(), expected: expected() }) }
}
