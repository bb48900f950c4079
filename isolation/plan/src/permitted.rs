//! What a machine permits its agent to isolate.

use crate::{Measures, Memory};
use std::{collections::BTreeSet, fmt};
use taffeta_model::Isolation;

/// A cgroup controller that this version uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Weight and quota.
    Cpu,
    /// Accounting of processor time; v1 only, no limit depends on it.
    CpuAcct,
    /// Memory limit and the counter of out-of-memory kills.
    Memory,
    /// Number of processes.
    Pids,
    /// Stops a group so that nothing in it can escape a kill; v1 only, v2 kills a group in one go.
    Freezer,
    /// Weight at the disks, and what is read and written; called `blkio` on v1.
    Io,
    /// On which processors a group runs.
    CpuSet,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Cpu, Self::CpuAcct, Self::Memory, Self::Pids, Self::Freezer, Self::Io, Self::CpuSet];

    /// Those of v2; the others are parts of these, or of every group.
    pub const UNIFIED: [Self; 5] = [Self::Cpu, Self::Memory, Self::Pids, Self::Io, Self::CpuSet];

    /// The kernel's name on v2, and on v1 but for [`Self::v1_name`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuAcct => "cpuacct",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Freezer => "freezer",
            Self::Io => "io",
            Self::CpuSet => "cpuset",
        }
    }

    /// The kernel's name on v1.
    pub fn v1_name(self) -> &'static str {
        match self {
            Self::Io => "blkio",
            Self::Cpu | Self::CpuAcct | Self::Memory | Self::Pids | Self::Freezer | Self::CpuSet => self.name(),
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which cgroups the agent may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// None.
    None {
        /// In words, as `/sys/fs/cgroup/memory: permission denied`.
        why: String,
    },
    /// One hierarchy for each controller.
    V1(BTreeSet<Controller>),
    /// As v1, and beside it a unified hierarchy, in which tasks are kept track of: it kills a group in one go and tells
    /// when one becomes empty. No limit is set there.
    Hybrid(BTreeSet<Controller>),
    /// The unified hierarchy.
    V2(BTreeSet<Controller>),
}

impl Cgroups {
    /// The controllers that can be used; `None` where no group can be made.
    pub fn controllers(&self) -> Option<&BTreeSet<Controller>> {
        match self {
            Self::None { .. } => None,
            Self::V1(have) | Self::Hybrid(have) | Self::V2(have) => Some(have),
        }
    }
}

/// What this machine permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted {
    /// Whether the agent is root.
    pub root: bool,
    /// The cgroups.
    pub cgroups: Cgroups,
    /// The cgroup below which this node's tasks get theirs, as `taffeta/n1`.
    pub group_parent: String,
    /// Where files can be kept in memory, as secrets must.
    pub memory: Memory,
    /// What sets tasks apart beside the cgroups.
    pub measures: Measures,
}

impl Permitted {
    /// What cannot be isolated here for a task that asks for nothing in particular, in words; empty if all is in force.
    pub fn not_isolated(&self) -> Vec<String> {
        let mut gaps = self.not_limited();
        gaps.extend(self.measures.gaps(&Isolation::default()));
        gaps
    }

    /// What cannot be limited here, in words.
    pub(crate) fn not_limited(&self) -> Vec<String> {
        match &self.cgroups {
            Cgroups::None { why } => {
                let who = if self.root { "" } else { ", and the agent is not root" };
                let missing = ["cpu: no weight", "memory: no limit", "pids: no limit"];
                missing.iter().map(|what| format!("{what} (no cgroup can be made: {why}{who})")).collect()
            }
            Cgroups::V1(have) | Cgroups::Hybrid(have) | Cgroups::V2(have) => [
                (Controller::Cpu, "cpu: no weight"),
                (Controller::Memory, "memory: no limit"),
                (Controller::Pids, "pids: no limit"),
            ]
            .iter()
            .filter(|(controller, _)| !have.contains(controller))
            .map(|(controller, what)| format!("{what} (the cgroup controller `{controller}` cannot be used here)"))
            .collect(),
        }
    }
}
