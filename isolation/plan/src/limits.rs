//! From what a task asks for to the numbers the kernel wants.

use crate::TaskSpec;
use taffeta_model::CpuSet;

/// Period of a quota: short enough that a throttled service stalls for less than a tenth of a second.
const PERIOD_US: u64 = 100_000;

/// The kernel refuses a quota below a millisecond.
const QUOTA_US_MIN: u64 = 1_000;

/// What the kernel accepts as `cpu.shares`.
const SHARES: (u64, u64) = (2, 262_144);

/// What everybody's share of the disks is, on the scale of v2 and of the scheduler BFQ.
const IO_WEIGHT_DEFAULT: u32 = 100;

/// A hard upper limit on processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Microseconds of processor time in each period.
    pub quota_us: u64,
    /// Length of a period in microseconds.
    pub period_us: u64,
}

/// The limits of one task's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `cpu.shares` of v1: 1024 for one core, 2 to 262144.
    pub cpu_shares: u64,
    /// `cpu.weight` of v2: the same share on its scale of 1 to 10000.
    pub cpu_weight: u64,
    /// Only if it was asked for: a quota makes well-behaved services slow, too.
    pub cpu_quota: Option<Quota>,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids_max: u32,
    /// The only processors; `None`: all.
    pub cpuset: Option<CpuSet>,
    /// Share of the disks; `None`: everybody's.
    pub io_weight: Option<IoWeight>,
}

/// A share of the disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoWeight {
    /// `io.weight` of v2, which the model `io.cost` heeds: 1 to 10000.
    pub cost: u32,
    /// `io.bfq.weight` of v2 and `blkio.bfq.weight` of v1, which the scheduler BFQ heeds: 1 to 1000.
    pub bfq: u32,
    /// `blkio.weight` of v1, which the scheduler CFQ heeded until Linux 5.0: 10 to 1000, of which 500 is everybody's.
    pub cfq: u32,
}

impl IoWeight {
    /// The same share on each scale; 100 is everybody's. As systemd converts them (`cgroup-util.h`).
    pub fn new(weight: u32) -> Self {
        let cost = weight.clamp(1, 10_000);
        // BFQ has the same default and a tenth of the range above it.
        let above = cost.saturating_sub(IO_WEIGHT_DEFAULT);
        let bfq = cost.min(IO_WEIGHT_DEFAULT) + above * 900 / 9_900;
        Self { cost, bfq, cfq: (cost * 5).clamp(10, 1_000) }
    }
}

impl Limits {
    /// The limits that a task asks for.
    pub fn of(spec: &TaskSpec) -> Self {
        let cpu_shares = (spec.cpus_milli.saturating_mul(1024) / 1000).clamp(SHARES.0, SHARES.1);
        let quota_us = (spec.cpus_milli.saturating_mul(PERIOD_US) / 1000).max(QUOTA_US_MIN);
        Self {
            cpu_shares,
            // The linear conversion of Kubernetes (KEP-2254): 1 share of 2 is weight 1, the largest is 10000.
            cpu_weight: 1 + (cpu_shares - SHARES.0) * 9_999 / (SHARES.1 - SHARES.0),
            cpu_quota: spec.cpu_quota.then_some(Quota { quota_us, period_us: PERIOD_US }),
            memory_bytes: spec.memory_bytes,
            pids_max: spec.pids_max,
            cpuset: spec.cpuset.clone(),
            io_weight: spec.io_weight.map(IoWeight::new),
        }
    }
}
