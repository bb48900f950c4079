//! What is simulated, and when what happens.

use std::{ops::Range, time::Duration};
use taffeta_model::{MEMBERS_MAX, Millis};
use thiserror::Error;

/// End of the warm-up.
const WARM: u64 = 5;
/// End of the idle time: each node has announced itself once, as it does every 10 s.
const IDLE_END: u64 = 15;
/// End of the single changes, one in each second.
const CHANGES_END: u64 = 23;
/// How long many changes are made.
const BURST: u64 = 10;
/// Time after the last change until it has spread.
const SPREAD: u64 = 3;
/// Kills are spread over so many seconds, so that they do not all meet the same turn of the probes.
const KILL_SPREAD: u64 = 2;
/// Time from the last kill until a verdict is known to all, in a ring of any size.
const KILL_SETTLE: u64 = 8;
/// Time after a standstill until its verdicts have come and are taken back.
const STALL_SETTLE: u64 = 5;
/// Time that a joiner has.
const JOIN: u64 = 8;
/// Longest standstill: more than any suspicion.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Longest run in seconds: figures do not change any more, and a large ring would run for days.
const SECONDS_MAX: u64 = 3_600;
/// Above this, nothing that answers in three packets works.
const LOSS_MAX: f64 = 0.5;
/// Ten times what the largest ring is made for.
const CHANGES_MAX: f64 = 1_000.0;

/// What is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct RingConfig {
    /// Members, the joiner included; 2 to [`MEMBERS_MAX`].
    pub nodes: usize,
    /// How many of them are killed, within two seconds, without a farewell; one must survive.
    pub kill: usize,
    /// Chance that a packet is lost; 0 to 0.5.
    pub loss: f64,
    /// A standstill of some.
    pub stall: Option<Stall>,
    /// Changed sets a second in the whole ring for ten seconds, at random nodes; 0 to 1,000. 0 leaves this out.
    pub changes_per_second: f64,
    /// Whether one of the nodes joins at the end rather than being there from the start; needs 3 nodes.
    pub join: bool,
    /// How long it runs in virtual time; at least [`RingConfig::seconds_min`].
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
    /// A ring in which nothing is broken or lost and nothing happens but single changes; for as long as that needs.
    pub fn quiet(nodes: usize, seed: u64) -> Self {
        let seconds = CHANGES_END + SPREAD;
        Self { nodes, kill: 0, loss: 0.0, stall: None, changes_per_second: 0.0, join: false, seconds, seed }
    }

    /// Checks ranges; [`crate::run`] does it first.
    pub fn check(&self) -> Result<(), InvalidRing> {
        ensure("nodes", self.nodes, (2..=MEMBERS_MAX).contains(&self.nodes), || format!("2 to {MEMBERS_MAX}"))?;
        ensure("join", self.join, !self.join || self.nodes > 2, || "false with 2 nodes".into())?;
        let most = self.nodes - 1 - usize::from(self.join);
        ensure("kill", self.kill, self.kill <= most, || format!("0 to {most}, so that one survives"))?;
        ensure("loss", self.loss, (0.0..=LOSS_MAX).contains(&self.loss), || format!("0 to {LOSS_MAX}"))?;
        let good = (0.0..=CHANGES_MAX).contains(&self.changes_per_second);
        ensure("changes_per_second", self.changes_per_second, good, || format!("0 to {CHANGES_MAX}"))?;
        if let Some(Stall { fraction, lasts }) = self.stall {
            let good = fraction > 0.0 && fraction <= 1.0;
            ensure("stall.fraction", fraction, good, || "above 0 and at most 1".into())?;
            let good = (Duration::from_millis(1)..=STALL_MAX).contains(&lasts);
            ensure("stall.lasts", format!("{lasts:?}"), good, || format!("1ms to {STALL_MAX:?}"))?;
        }
        let least = self.seconds_min();
        let good = (least..=SECONDS_MAX).contains(&self.seconds);
        ensure("seconds", self.seconds, good, || format!("{least} to {SECONDS_MAX} for what is to happen"))
    }

    /// Virtual seconds that all that is to happen takes.
    pub fn seconds_min(&self) -> u64 {
        self.timeline().end
    }

    pub(crate) fn timeline(&self) -> Timeline {
        let mut end = CHANGES_END + SPREAD;
        let burst = end..end + if self.changes_per_second > 0.0 { BURST } else { 0 };
        if !burst.is_empty() {
            end = burst.end + SPREAD;
        }
        let kills = end * 1000..(end + KILL_SPREAD) * 1000;
        if self.kill > 0 {
            end += KILL_SPREAD + KILL_SETTLE;
        }
        let begin = Millis(end * 1000);
        let stall = self.stall.map(|stall| (begin, begin + stall.lasts));
        if let Some(stall) = self.stall {
            end += stall.lasts.as_secs_f64().ceil() as u64 + STALL_SETTLE;
        }
        let join = self.join.then_some(Millis(end * 1000));
        if self.join {
            end += JOIN;
        }
        Timeline { idle: WARM..IDLE_END, changes: IDLE_END..CHANGES_END, burst, kills, stall, join, end }
    }
}

/// When what happens.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// In seconds; ends when the single changes begin.
    pub(crate) idle: Range<u64>,
    /// In seconds.
    pub(crate) changes: Range<u64>,
    /// In seconds; may be empty.
    pub(crate) burst: Range<u64>,
    /// In milliseconds.
    pub(crate) kills: Range<u64>,
    /// Beginning and end.
    pub(crate) stall: Option<(Millis, Millis)>,
    pub(crate) join: Option<Millis>,
    /// In seconds: all has happened and settled.
    end: u64,
}

fn ensure(
    field: &'static str,
    found: impl ToString,
    good: bool,
    expected: impl Fn() -> String,
) -> Result<(), InvalidRing> {
    if good { Ok(()) } else { Err(InvalidRing { field, found: found.to_string(), expected: expected() }) }
}
