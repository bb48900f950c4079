//! What a run uses, as the kernel counts it.

use std::time::Duration;

/// What a run uses, and what it had to wait for. What is `None` is not counted on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all its processes since it began, those that have ended included where the kernel counts them.
    pub cpu: Duration,
    /// Bytes of memory, without what the kernel would give back at once.
    pub memory: u64,
    /// Most bytes of memory at any time, with what the kernel would have given back.
    pub memory_peak: Option<u64>,
    /// Bytes of memory that it may have.
    pub memory_max: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// How many it may have.
    pub pids_max: Option<u64>,
    /// Forks that were refused since it began, as it had as many processes and threads as it may.
    pub forks_refused: Option<u64>,
    /// Processes of it that the kernel has killed for want of memory.
    pub oom_kills: Option<u64>,
    /// What its quota of processor time held up; `None` as well where it has none.
    pub throttled: Option<Throttled>,
    /// What it has read and written.
    pub disks: Option<Disks>,
    /// How long it waited for what it lacked.
    pub pressures: Option<Pressures>,
}

/// What a quota of processor time held up, since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Periods in which it ran.
    pub periods: u64,
    /// Those of them in which it had to stop.
    pub throttled: u64,
    /// For how long, on all processors together.
    pub time: Duration,
}

/// Bytes that went to and came from disks since the run began, past the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disks {
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
}

/// Pressure by what was lacking: `Documentation/accounting/psi.rst` of Linux.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressures {
    /// Processors.
    pub cpu: Pressure,
    /// Memory.
    pub memory: Pressure,
    /// Disks.
    pub io: Pressure,
}

/// How long processes of the run waited for one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// One at least, while others may have run.
    pub some: Stall,
    /// All of them at once; older kernels do not count it for processors.
    pub full: Stall,
}

/// Time spent waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Share of the last ten seconds in hundredths of a percent.
    pub avg10: u32,
    /// Since the run began.
    pub total: Duration,
}
