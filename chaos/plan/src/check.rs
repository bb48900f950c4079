//! What a plan may ask for.

use crate::{
    fault::{Fault, PartitionShape},
    plan::{FaultPlan, Planned},
    target::Target,
};
use std::time::Duration;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// Faults in one plan: more than a day with one every ten seconds, and about a megabyte as a file.
pub const FAULTS_MAX: usize = 10_000;
/// Latest beginning of a fault: a soak run of a week.
pub const AT_MAX: Duration = Duration::from_hours(7 * 24);
/// Longest stay of a fault: a whole run.
pub const LASTS_MAX: Duration = AT_MAX;
/// Largest delay, and largest jitter, of a message: beyond every timeout of the fabric, so more is just loss; and the
/// messages on their way have to be held.
pub const DELAY_MAX: Duration = Duration::from_secs(60);
/// Largest slowdown: a process that gets a millisecond each second does nothing in time any more.
pub const SLOW_FACTOR_MAX: u32 = 1000;
/// Largest jump of a clock, in milliseconds: a year, beyond every timer and lease.
pub const CLOCK_OFFSET_MS_MAX: i64 = 366 * 24 * 3600 * 1000;
/// Largest drift of a clock, in parts per million: half or one and a half times the true speed, so never backwards.
pub const DRIFT_PPM_MAX: i64 = 500_000;

/// Largest rate that is one: beyond it a node on today's networks would not notice. In thousands of bits per second.
pub const KBIT_PER_S_MAX: u32 = 10_000_000;
/// Most computing processes: more than the cores of most machines, and few enough to be ended in a moment.
pub const CPU_WORKERS_MAX: u32 = 256;
/// Most memory that is taken, in bytes: 1 TiB.
pub const MEMORY_MAX: u64 = 1 << 40;

/// A fault that nobody can bring about. Nothing was done; correct the named field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} is {found}; expected {expected}")]
pub struct InvalidFault {
    /// Name of the field as in a file.
    pub field: &'static str,
    /// As given.
    pub found: String,
    /// What would be right.
    pub expected: &'static str,
}

impl Fault {
    /// Checks the ranges of its fields.
    pub fn check(&self) -> Result<(), InvalidFault> {
        check_fault(self).map_err(|Wrong { field, found, expected }| InvalidFault { field, found, expected })
    }
}

/// Why a plan cannot be performed. Nothing was done; correct the named field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPlan {
    /// More than [`FAULTS_MAX`].
    #[error("the plan has {count} faults; at most {FAULTS_MAX} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A value that makes no sense where it stands.
    #[error("faults[{index}].{field} is {found}; expected {expected}")]
    Field {
        /// Which fault, from 0.
        index: usize,
        /// Name of the field as in a file.
        field: &'static str,
        /// As given.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
}

/// A wrong value, before it is known which fault it is in.
struct Wrong {
    field: &'static str,
    found: String,
    expected: &'static str,
}

fn ensure(right: bool, field: &'static str, found: impl ToString, expected: &'static str) -> Result<(), Wrong> {
    if right { Ok(()) } else { Err(Wrong { field, found: found.to_string(), expected }) }
}

impl FaultPlan {
    /// Checks everything that can be known before the run: order, ranges, names, and that target and fault suit each
    /// other. A plan that passes is the same after it was written to a file and read again.
    pub fn check(&self) -> Result<(), InvalidPlan> {
        if self.faults.len() > FAULTS_MAX {
            return Err(InvalidPlan::TooMany { count: self.faults.len() });
        }
        let mut before = Duration::ZERO;
        for (index, planned) in self.faults.iter().enumerate() {
            check_order(before, planned.at).and_then(|()| check_planned(planned)).map_err(|wrong| {
                InvalidPlan::Field { index, field: wrong.field, found: wrong.found, expected: wrong.expected }
            })?;
            before = planned.at;
        }
        Ok(())
    }

    /// The same for a plan that the simulator is to perform, which does not know all faults.
    pub fn check_simulated(&self) -> Result<(), InvalidPlan> {
        self.check()?;
        let unknown = self.faults.iter().enumerate().find(|(_, planned)| !planned.fault.kind().is_simulated());
        unknown.map_or(Ok(()), |(index, planned)| {
            let expected = "a fault that the simulator knows; this one is for real nodes: `taffeta chaos run`";
            Err(InvalidPlan::Field { index, field: "fault", found: planned.fault.kind().to_string(), expected })
        })
    }
}

fn check_order(before: Duration, at: Duration) -> Result<(), Wrong> {
    ensure(before <= at, "at_ms", at.as_millis(), "no less than that of the fault above it")
}

fn check_planned(planned: &Planned) -> Result<(), Wrong> {
    let Planned { at, lasts, target, fault } = planned;
    ensure_duration("at_ms", *at, AT_MAX, "whole milliseconds, at most those of a week")?;
    if let Some(lasts) = lasts {
        ensure_duration("lasts_ms", *lasts, LASTS_MAX, "whole milliseconds, at most those of a week")?;
        ensure(!lasts.is_zero(), "lasts_ms", 0, "more than 0, or no such field")?;
    }
    target.check().map_err(|e| Wrong { field: "target", found: format!("`{target}`"), expected: e.expected })?;
    check_fault(fault)?;
    check_lasts(fault, *lasts)?;
    match unsuited(fault, target) {
        None => Ok(()),
        Some(expected) => Err(Wrong { field: "target", found: target.to_string(), expected }),
    }
}

fn ensure_duration(field: &'static str, given: Duration, max: Duration, expected: &'static str) -> Result<(), Wrong> {
    let whole = given.subsec_nanos().is_multiple_of(1_000_000); // files hold no more
    ensure(whole && given <= max, field, given.as_secs_f64() * 1e3, expected)
}

fn check_fault(fault: &Fault) -> Result<(), Wrong> {
    match fault {
        Fault::Loss { fraction }
        | Fault::Duplicate { fraction }
        | Fault::Reorder { fraction }
        | Fault::Dns { fraction, .. } => ensure((0.0..=1.0).contains(fraction), "fraction", fraction, "0 to 1"),
        Fault::Slow { factor } => ensure((2..=SLOW_FACTOR_MAX).contains(factor), "factor", factor, "2 to 1000"),
        Fault::Delay { by, jitter } => {
            ensure_duration("by_ms", *by, DELAY_MAX, "whole milliseconds, at most 60000")?;
            ensure_duration("jitter_ms", *jitter, DELAY_MAX, "whole milliseconds, at most 60000")
        }
        Fault::ClockOffset { by_ms } => {
            let right = by_ms.unsigned_abs() <= CLOCK_OFFSET_MS_MAX.unsigned_abs();
            ensure(right, "by_ms", by_ms, "at most a year (31622400000) either way")
        }
        Fault::ClockDrift { ppm } => {
            let right = ppm.unsigned_abs() <= DRIFT_PPM_MAX.unsigned_abs();
            ensure(right, "ppm", ppm, "-500000 to 500000")
        }
        Fault::Bandwidth { kbit_per_s } => {
            ensure((1..=KBIT_PER_S_MAX).contains(kbit_per_s), "kbit_per_s", kbit_per_s, "1 to 10000000")
        }
        Fault::Cpu { workers, percent } => {
            ensure((1..=CPU_WORKERS_MAX).contains(workers), "workers", workers, "1 to 256")?;
            ensure((1..=100).contains(percent), "percent", percent, "1 to 100")
        }
        Fault::Memory { bytes } => ensure((1..=MEMORY_MAX).contains(bytes), "bytes", bytes, "1 to 1099511627776"),
        Fault::KillAgent
        | Fault::KillMachine
        | Fault::PowerCut
        | Fault::Stop
        | Fault::Wipe
        | Fault::Pause
        | Fault::DiskFull
        | Fault::Partition { .. }
        | Fault::TaskCrash
        | Fault::TaskHang
        | Fault::TaskIgnoreTerm
        | Fault::TaskFailHealth
        | Fault::Lie
        | Fault::Move
        | Fault::Rolling
        | Fault::Copy { .. }
        | Fault::QuorumLost
        | Fault::Lag
        | Fault::Upgrade
        | Fault::Remove
        | Fault::Rotate
        | Fault::Drain
        | Fault::Leader => Ok(()),
    }
}

/// An instant is over at once; what has a middle has to know its end.
fn check_lasts(fault: &Fault, lasts: Option<Duration>) -> Result<(), Wrong> {
    let instant = matches!(fault, Fault::TaskCrash | Fault::Rotate);
    let found = lasts.unwrap_or_default().as_millis();
    ensure(!instant || lasts.is_none(), "lasts_ms", found, "no such field, as this fault is an instant")?;
    let swizzle = *fault == Fault::Partition { shape: PartitionShape::Swizzle };
    let halved = swizzle || matches!(fault, Fault::QuorumLost | Fault::Copy { .. });
    ensure(!halved || lasts.is_some(), "lasts_ms", "missing", "how long it takes, as something happens half way")
}

/// What the target should be instead, if the fault cannot sensibly strike it.
pub(crate) fn unsuited(fault: &Fault, target: &Target) -> Option<&'static str> {
    let by_role = matches!(target, Target::Leader | Target::Voters);
    if fault.kind().strikes_tasks() && by_role {
        return Some("nodes or a service, as a role among the voters says nothing about tasks");
    }
    // A swizzle cuts each link of the target, the others only those to the rest.
    let needs_rest = matches!(fault, Fault::Partition { shape } if *shape != PartitionShape::Swizzle);
    if needs_rest && *target == Target::All {
        return Some("a part of the nodes, as all of them leave no rest to be parted from");
    }
    None
}
