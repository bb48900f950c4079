//! What a process may use of its machine, by `getrlimit(2)`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rlimit {
    /// Bytes of address space.
    As,
    /// Bytes of a core dump.
    Core,
    /// Seconds of processor time.
    Cpu,
    /// Bytes of initialised and anonymous memory.
    Data,
    /// Bytes of a file that it writes.
    Fsize,
    /// Locks; without effect since Linux 2.4.25.
    Locks,
    /// Bytes of memory locked in RAM.
    Memlock,
    /// Bytes of POSIX message queues of its user.
    Msgqueue,
    /// 20 minus the best nice value.
    Nice,
    /// One more than the highest file descriptor.
    Nofile,
    /// Processes of its user on the machine; [`super::Job::pids_max`] counts those of the task.
    Nproc,
    /// Bytes resident; without effect since Linux 2.4.30.
    Rss,
    /// The highest real-time priority.
    Rtprio,
    /// Microseconds of processor time between two sleeps, at real-time priority.
    Rttime,
    /// Queued signals of its user.
    Sigpending,
    /// Bytes of the main thread's stack.
    Stack,
}

/// A limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RlimitBounds {
    /// What the kernel enforces.
    pub soft: Option<u64>,
    /// How far the process may raise that itself.
    pub hard: Option<u64>,
}

impl Rlimit {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
    ];

    /// The name in `getrlimit(2)`, in lower case and without `RLIMIT_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::As => "as",
            Self::Core => "core",
            Self::Cpu => "cpu",
            Self::Data => "data",
            Self::Fsize => "fsize",
            Self::Locks => "locks",
            Self::Memlock => "memlock",
            Self::Msgqueue => "msgqueue",
            Self::Nice => "nice",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Rss => "rss",
            Self::Rtprio => "rtprio",
            Self::Rttime => "rttime",
            Self::Sigpending => "sigpending",
            Self::Stack => "stack",
        }
    }

    /// The limit of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.name() == name)
    }
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl RlimitBounds {
    /// One number for both.
    pub fn both(limit: Option<u64>) -> Self {
        Self { soft: limit, hard: limit }
    }

    /// Refuses a soft limit above the hard one.
    pub(super) fn check(&self) -> Result<(), String> {
        let words = |limit: Option<u64>| limit.map_or_else(|| "unlimited".into(), |n| n.to_string());
        // As the kernel counts, the largest number is no limit.
        let size = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        if size(self.soft) > size(self.hard) {
            return Err(format!("the soft limit {} is above the hard one, {}", words(self.soft), words(self.hard)));
        }
        Ok(())
    }
}
