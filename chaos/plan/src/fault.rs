//! What can be broken.

use crate::{
    kind::{FaultKind, UnknownWord, find_word},
    millis,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// One way to break something. Each says what [`crate::Planned::lasts`] means for it; where it is silent, the fault
/// stays for `lasts`, or without one until the end of the run.
///
/// In files `"pause"` or `{"slow": {"factor": 4}}`: the name of its [`FaultKind`], with its fields if it has any.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The node's process dies as by `kill -9`; its tasks run on. Started again after `lasts`.
    KillAgent,
    /// The machine with all its tasks stops at once; what was written is on its disk. Started again after `lasts`.
    KillMachine,
    /// As [`Fault::KillMachine`], and writes that were not synced are lost or torn.
    PowerCut,
    /// The node stops cleanly, as on SIGTERM, and is started again after `lasts`.
    Stop,
    /// The machine dies and its disk is gone. After `lasts` a new machine, with a new identity, takes its place.
    Wipe,
    /// The node's process stands still, as on SIGSTOP; nothing is lost, and its tasks run on.
    Pause,
    /// The node's process gets only every `factor`-th moment of time.
    Slow {
        /// 2 to [`crate::SLOW_FACTOR_MAX`].
        factor: u32,
    },
    /// No byte can be written to the node's disk.
    DiskFull,
    /// Some nodes do not hear some others.
    Partition {
        /// Who does not hear whom.
        shape: PartitionShape,
    },
    /// Messages to and from the target get lost.
    Loss {
        /// How many of them, 0 to 1.
        fraction: f64,
    },
    /// Messages to and from the target are late, by something between `by` and `by + jitter`.
    Delay {
        /// In whole milliseconds, at most [`crate::DELAY_MAX`].
        #[serde(rename = "by_ms", with = "millis")]
        by: Duration,
        /// In whole milliseconds, at most [`crate::DELAY_MAX`]; none if left out of a file.
        #[serde(rename = "jitter_ms", with = "millis", default)]
        jitter: Duration,
    },
    /// Messages to and from the target arrive twice.
    Duplicate {
        /// How many of them, 0 to 1.
        fraction: f64,
    },
    /// Messages to and from the target are overtaken by later ones.
    Reorder {
        /// How many of them, 0 to 1.
        fraction: f64,
    },
    /// The wall clock jumps. After `lasts` it jumps back; without one it stays wrong for good.
    ClockOffset {
        /// Positive: into the future. At most [`crate::CLOCK_OFFSET_MS_MAX`] either way.
        by_ms: i64,
    },
    /// The wall clock runs fast or slow. After `lasts` it is right again; without one it goes on for good.
    ClockDrift {
        /// Parts per million, that is microseconds per second; positive: fast. At most [`crate::DRIFT_PPM_MAX`] either
        /// way.
        ppm: i64,
    },
    /// A task exits with an error. An instant: it has no `lasts`.
    TaskCrash,
    /// A task lives but does nothing; it answers no one. Without `lasts` until it is replaced.
    TaskHang,
    /// A task does not end on SIGTERM. Without `lasts` until it is replaced.
    TaskIgnoreTerm,
    /// A task works, but its health checks fail. Without `lasts` until it is replaced.
    TaskFailHealth,
    /// The node tells the ring again and again that another one is down, which is not so.
    Lie,
    /// As [`Fault::KillMachine`], and when the machine is started again it has another address. Without `lasts` it never
    /// is.
    Move,
    /// The nodes stop cleanly and are started again, one after the other: each is away for `lasts` (a second without
    /// one), and the next stops only when the one before is ready again.
    Rolling,
    /// The machine's disk is copied as it is at this moment, and the copy is put to use.
    Copy {
        /// In which way.
        used: CopyUse,
    },
    /// Of the target, which is the voters as a rule, so many machines stop at once, as by [`Fault::KillMachine`], that
    /// no majority is left. After half of `lasts` an operator recovers the cluster on the survivor that knows most; at
    /// the end those that had stopped are started again.
    QuorumLost,
    /// The machine is cut off from all others for so long that it needs a snapshot to follow again. Of
    /// [`Target::One`](crate::Target::One), it is one that follows the log.
    Lag,
    /// As [`Fault::Rolling`], and each node is of the newer version when it is started again. In a run that is to see
    /// it, all nodes are of the older one at first.
    Upgrade,
    /// The machine dies for good, and an operator removes it from the cluster. After `lasts` a new machine, with a new
    /// identity, takes its place.
    Remove,
    /// An operator replaces the certificate authority. An instant: it has no `lasts`.
    Rotate,
    /// What the node sends is slowed down to this rate. Real nodes only, as all that follow.
    Bandwidth {
        /// In thousands of bits per second: 1 to [`crate::KBIT_PER_S_MAX`].
        kbit_per_s: u32,
    },
    /// Beside the node run processes that do nothing but compute.
    Cpu {
        /// How many: 1 to [`crate::CPU_WORKERS_MAX`].
        workers: u32,
        /// Which part of a core each of them takes, in percent: 1 to 100; 100 if left out of a file.
        #[serde(default = "whole")]
        percent: u32,
    },
    /// Beside the node runs a process that holds so much memory.
    Memory {
        /// 1 to [`crate::MEMORY_MAX`].
        bytes: u64,
    },
    /// The node's DNS server leaves questions without the answer.
    Dns {
        /// How many of them, 0 to 1.
        fraction: f64,
        /// What is done with these; dropped if left out of a file.
        #[serde(default)]
        instead: DnsInstead,
    },
    /// The node is drained, as by `taffeta drain`; after `lasts` it is not any more.
    Drain,
    /// The node hands over the leadership, if it has it. An instant, whatever `lasts` says.
    Leader,
}

fn whole() -> u32 {
    100
}

/// What a question to a DNS server gets instead of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsInstead {
    /// Nothing.
    #[default]
    Drop,
    /// `SERVFAIL`.
    Servfail,
}

/// What is done with a copied disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyUse {
    /// A second machine is started from it, beside the first. It is switched off after `lasts`.
    Beside,
    /// After half of `lasts` the machine dies and is started from it: it has forgotten what it did since. If it is not
    /// ready at the end, a new machine, with a new identity, takes its place.
    Instead,
}

/// Who does not hear whom. Of a target of several nodes, these still hear each other, except in [`Self::Swizzle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionShape {
    /// The target and the rest do not hear each other.
    Split,
    /// The target hears nobody, but is heard.
    OneWayIn,
    /// The target is not heard, but hears.
    OneWayOut,
    /// The rest is two halves that hear each other only through the target.
    Bridge,
    /// The target's links go down one by one over the first half of `lasts` and come back in another order over the
    /// second; FoundationDB's best finder of bugs by its authors' account ("swizzle-clogging", its `testing.rst`).
    Swizzle,
}

impl Fault {
    /// Which kind of fault this is.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::KillAgent => FaultKind::KillAgent,
            Self::KillMachine => FaultKind::KillMachine,
            Self::PowerCut => FaultKind::PowerCut,
            Self::Stop => FaultKind::Stop,
            Self::Wipe => FaultKind::Wipe,
            Self::Pause => FaultKind::Pause,
            Self::Slow { .. } => FaultKind::Slow,
            Self::DiskFull => FaultKind::DiskFull,
            Self::Partition { .. } => FaultKind::Partition,
            Self::Loss { .. } => FaultKind::Loss,
            Self::Delay { .. } => FaultKind::Delay,
            Self::Duplicate { .. } => FaultKind::Duplicate,
            Self::Reorder { .. } => FaultKind::Reorder,
            Self::ClockOffset { .. } => FaultKind::ClockOffset,
            Self::ClockDrift { .. } => FaultKind::ClockDrift,
            Self::TaskCrash => FaultKind::TaskCrash,
            Self::TaskHang => FaultKind::TaskHang,
            Self::TaskIgnoreTerm => FaultKind::TaskIgnoreTerm,
            Self::TaskFailHealth => FaultKind::TaskFailHealth,
            Self::Lie => FaultKind::Lie,
            Self::Move => FaultKind::Move,
            Self::Rolling => FaultKind::Rolling,
            Self::Copy { .. } => FaultKind::Copy,
            Self::QuorumLost => FaultKind::QuorumLost,
            Self::Lag => FaultKind::Lag,
            Self::Upgrade => FaultKind::Upgrade,
            Self::Remove => FaultKind::Remove,
            Self::Rotate => FaultKind::Rotate,
            Self::Bandwidth { .. } => FaultKind::Bandwidth,
            Self::Cpu { .. } => FaultKind::Cpu,
            Self::Memory { .. } => FaultKind::Memory,
            Self::Dns { .. } => FaultKind::Dns,
            Self::Drain => FaultKind::Drain,
            Self::Leader => FaultKind::Leader,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Slow { factor } => write!(f, "{kind} by {factor}"),
            Self::Partition { shape } => write!(f, "{kind} {shape}"),
            Self::Loss { fraction } | Self::Duplicate { fraction } | Self::Reorder { fraction } => {
                write!(f, "{kind} {} %", (fraction * 1e4).round() / 1e2)
            }
            Self::Delay { by, jitter } => {
                write!(f, "{kind} {} to {} ms", by.as_millis(), by.saturating_add(*jitter).as_millis())
            }
            Self::Copy { used } => write!(f, "{kind} {used}"),
            Self::ClockOffset { by_ms } => write!(f, "{kind} {by_ms:+} ms"),
            Self::ClockDrift { ppm } => write!(f, "{kind} {ppm:+} ppm"),
            Self::Bandwidth { kbit_per_s } => write!(f, "{kind} {kbit_per_s} kbit/s"),
            Self::Cpu { workers, percent } => write!(f, "{kind} {workers} x {percent} %"),
            Self::Memory { bytes } => write!(f, "{kind} {bytes} bytes"),
            Self::Dns { fraction, instead } => write!(f, "{kind} {} % {instead}", (fraction * 1e4).round() / 1e2),
            Self::KillAgent
            | Self::KillMachine
            | Self::PowerCut
            | Self::Stop
            | Self::Wipe
            | Self::Pause
            | Self::DiskFull
            | Self::TaskCrash
            | Self::TaskHang
            | Self::TaskIgnoreTerm
            | Self::TaskFailHealth
            | Self::Lie
            | Self::Move
            | Self::Rolling
            | Self::QuorumLost
            | Self::Lag
            | Self::Upgrade
            | Self::Remove
            | Self::Rotate
            | Self::Drain
            | Self::Leader => write!(f, "{kind}"),
        }
    }
}

impl PartitionShape {
    /// All shapes.
    pub const ALL: [Self; 5] = [Self::Split, Self::OneWayIn, Self::OneWayOut, Self::Bridge, Self::Swizzle];

    /// As it is written: `split`, `one-way-in`, `one-way-out`, `bridge`, `swizzle`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::OneWayIn => "one-way-in",
            Self::OneWayOut => "one-way-out",
            Self::Bridge => "bridge",
            Self::Swizzle => "swizzle",
        }
    }
}

impl fmt::Display for PartitionShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl DnsInstead {
    /// As it is written: `drop`, `servfail`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Servfail => "servfail",
        }
    }
}

impl fmt::Display for DnsInstead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl CopyUse {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Beside, Self::Instead];

    /// As it is written: `beside`, `instead`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Beside => "beside",
            Self::Instead => "instead",
        }
    }
}

impl fmt::Display for CopyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PartitionShape {
    type Err = UnknownWord;
    fn from_str(s: &str) -> Result<Self, UnknownWord> {
        find_word("partition shape", s, &Self::ALL, |shape| shape.as_str())
    }
}
