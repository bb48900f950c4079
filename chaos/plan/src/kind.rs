//! The names of the faults.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use thiserror::Error;

#[cfg(test)]
mod tests;

/// A [`crate::Fault`] without its details. In text and files the variant's name in small letters with hyphens:
/// `kill-agent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[allow(missing_docs, reason = "each is said at the variant of `Fault` with the same name")]
pub enum FaultKind {
    KillAgent,
    KillMachine,
    PowerCut,
    Stop,
    Wipe,
    Pause,
    Slow,
    DiskFull,
    Partition,
    Loss,
    Delay,
    Duplicate,
    Reorder,
    ClockOffset,
    ClockDrift,
    TaskCrash,
    TaskHang,
    TaskIgnoreTerm,
    TaskFailHealth,
    Lie,
    Move,
    Rolling,
    Copy,
    QuorumLost,
    Lag,
    Upgrade,
    Remove,
    Rotate,
    Bandwidth,
    Cpu,
    Memory,
    Dns,
    Drain,
    Leader,
}

/// A word that is none of the known ones. Write one of those that the message names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown {what} `{word}`; expected {}", .expected.join(", "))]
pub struct UnknownWord {
    /// What the word should have been.
    pub what: &'static str,
    /// As given.
    pub word: String,
    /// The known words that resemble it, or all if none does.
    pub expected: Vec<&'static str>,
}

impl FaultKind {
    /// Those that the simulator knows, in the order of their declaration. New ones go to the end:
    /// [`crate::Swarm::draw`] then gives the others the same faults as before.
    pub const SIMULATED: [Self; 28] = [
        Self::KillAgent,
        Self::KillMachine,
        Self::PowerCut,
        Self::Stop,
        Self::Wipe,
        Self::Pause,
        Self::Slow,
        Self::DiskFull,
        Self::Partition,
        Self::Loss,
        Self::Delay,
        Self::Duplicate,
        Self::Reorder,
        Self::ClockOffset,
        Self::ClockDrift,
        Self::TaskCrash,
        Self::TaskHang,
        Self::TaskIgnoreTerm,
        Self::TaskFailHealth,
        Self::Lie,
        Self::Move,
        Self::Rolling,
        Self::Copy,
        Self::QuorumLost,
        Self::Lag,
        Self::Upgrade,
        Self::Remove,
        Self::Rotate,
    ];

    /// Those of real nodes alone: what they strain does not exist in the simulator.
    pub const REAL_ONLY: [Self; 6] = [Self::Bandwidth, Self::Cpu, Self::Memory, Self::Dns, Self::Drain, Self::Leader];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KillAgent => "kill-agent",
            Self::KillMachine => "kill-machine",
            Self::PowerCut => "power-cut",
            Self::Stop => "stop",
            Self::Wipe => "wipe",
            Self::Pause => "pause",
            Self::Slow => "slow",
            Self::DiskFull => "disk-full",
            Self::Partition => "partition",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::ClockOffset => "clock-offset",
            Self::ClockDrift => "clock-drift",
            Self::TaskCrash => "task-crash",
            Self::TaskHang => "task-hang",
            Self::TaskIgnoreTerm => "task-ignore-term",
            Self::TaskFailHealth => "task-fail-health",
            Self::Lie => "lie",
            Self::Move => "move",
            Self::Rolling => "rolling",
            Self::Copy => "copy",
            Self::QuorumLost => "quorum-lost",
            Self::Lag => "lag",
            Self::Upgrade => "upgrade",
            Self::Remove => "remove",
            Self::Rotate => "rotate",
            Self::Bandwidth => "bandwidth",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Dns => "dns",
            Self::Drain => "drain",
            Self::Leader => "leader",
        }
    }

    /// All kinds, in the order of their declaration.
    pub fn all() -> Vec<Self> {
        [Self::SIMULATED.as_slice(), &Self::REAL_ONLY].concat()
    }

    /// Whether the simulator knows it.
    pub fn is_simulated(self) -> bool {
        !Self::REAL_ONLY.contains(&self)
    }

    /// Whether it strikes tasks; all others strike nodes, their links or their clocks.
    pub fn strikes_tasks(self) -> bool {
        matches!(self, Self::TaskCrash | Self::TaskHang | Self::TaskIgnoreTerm | Self::TaskFailHealth)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FaultKind {
    type Err = UnknownWord;
    fn from_str(s: &str) -> Result<Self, UnknownWord> {
        find_word("kind of fault", s, &Self::all(), |kind| kind.as_str())
    }
}

impl TryFrom<String> for FaultKind {
    type Error = UnknownWord;
    fn try_from(s: String) -> Result<Self, UnknownWord> {
        s.parse()
    }
}

impl From<FaultKind> for String {
    fn from(kind: FaultKind) -> Self {
        kind.as_str().into()
    }
}

/// The one of `all` that is called `word`.
pub(crate) fn find_word<T: Copy>(
    what: &'static str,
    word: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, UnknownWord> {
    if let Some(found) = all.iter().copied().find(|one| name(*one) == word) {
        return Ok(found);
    }
    let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
    let near: Vec<_> = names.iter().copied().filter(|name| resembles(word, name)).collect();
    let expected = if near.is_empty() { names } else { near };
    Err(UnknownWord { what, word: word.into(), expected })
}

/// Some part of `word` and some part of `name` begin with the same three letters: `kill` and `Kill_Node` find both
/// kills.
fn resembles(word: &str, name: &str) -> bool {
    let beginning = |part: &str| part.chars().take(3).collect::<String>().to_lowercase();
    let mut parts = word.split(|c: char| !c.is_alphanumeric()).map(beginning).filter(|part| part.chars().count() == 3);
    parts.any(|part| name.split('-').any(|other| beginning(other) == part))
}
