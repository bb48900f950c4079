//! The words by which experiments call faults.

use super::fields::{Field, nearest};
use crate::text::Wrong;
use taffeta_chaos_plan::Fault;

/// A word for `func`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Func {
    Kill,
    Stop,
    Pause,
    Partition,
    Loss,
    Delay,
    Duplicate,
    Reorder,
    Bandwidth,
    Clock,
    DiskFull,
    Cpu,
    Memory,
    Dns,
    Drain,
    Leader,
}

impl Func {
    const ALL: [Self; 16] = [
        Self::Kill,
        Self::Stop,
        Self::Pause,
        Self::Partition,
        Self::Loss,
        Self::Delay,
        Self::Duplicate,
        Self::Reorder,
        Self::Bandwidth,
        Self::Clock,
        Self::DiskFull,
        Self::Cpu,
        Self::Memory,
        Self::Dns,
        Self::Drain,
        Self::Leader,
    ];

    pub(super) fn read(field: &Field<'_>) -> Result<Self, Wrong> {
        let word = field.text()?;
        Self::ALL.into_iter().find(|func| func.as_str() == word).ok_or_else(|| {
            field.wrong(format!("unknown fault `{word}`")).help(nearest(word, &Self::ALL.map(Self::as_str)))
        })
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Bandwidth => "bandwidth",
            Self::Clock => "clock",
            Self::DiskFull => "disk-full",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Dns => "dns",
            Self::Drain => "drain",
            Self::Leader => "leader",
        }
    }

    /// Its arguments beside those that all have.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kill => &["what", "task", "one-by-one"],
            Self::Stop => &["one-by-one"],
            Self::Pause => &["task", "one-by-one"],
            Self::Partition => &["shape", "peers"],
            Self::Loss | Self::Duplicate | Self::Reorder => &["fraction", "peers"],
            Self::Delay => &["by", "jitter", "peers"],
            Self::Bandwidth => &["kbit-per-s", "peers"],
            Self::Clock => &["by", "ppm"],
            Self::Cpu => &["workers", "percent"],
            Self::Memory => &["bytes"],
            Self::Dns => &["fraction", "instead"],
            Self::DiskFull | Self::Drain | Self::Leader => &[],
        }
    }

    /// What it means; `None` for what is only simulated.
    pub(super) fn of(fault: &Fault) -> Option<Self> {
        match fault {
            Fault::KillMachine | Fault::KillAgent | Fault::PowerCut | Fault::TaskCrash => Some(Self::Kill),
            Fault::Stop => Some(Self::Stop),
            Fault::Pause | Fault::TaskHang => Some(Self::Pause),
            Fault::Partition { .. } => Some(Self::Partition),
            Fault::Loss { .. } => Some(Self::Loss),
            Fault::Delay { .. } => Some(Self::Delay),
            Fault::Duplicate { .. } => Some(Self::Duplicate),
            Fault::Reorder { .. } => Some(Self::Reorder),
            Fault::Bandwidth { .. } => Some(Self::Bandwidth),
            Fault::ClockOffset { .. } | Fault::ClockDrift { .. } => Some(Self::Clock),
            Fault::DiskFull => Some(Self::DiskFull),
            Fault::Cpu { .. } => Some(Self::Cpu),
            Fault::Memory { .. } => Some(Self::Memory),
            Fault::Dns { .. } => Some(Self::Dns),
            Fault::Drain => Some(Self::Drain),
            Fault::Leader => Some(Self::Leader),
            Fault::Wipe
            | Fault::Slow { .. }
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
            | Fault::Rotate => None,
        }
    }
}
