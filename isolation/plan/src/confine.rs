//! What a task's process may still do: rights, system calls, files, limits; by profile and measure.
//!
//! Data alone, computed before anything runs. `taffeta-isolation-linux` prepares it inside the task's namespaces and applies
//! it as the last thing before the program. Left out on purpose: what the task sees (namespaces, mounts).

mod capability;
mod files;
mod syscalls;

#[cfg(test)]
mod tests;

pub use capability::Capability;
pub use files::{FileAccess, FileRight, FileRule};
pub use syscalls::{Allowed, Condition, SyscallPolicy, Test};

use crate::TaskSpec;
use files::View;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};
use taffeta_model::{Measure, Profile, Rlimit, RlimitBounds, RunAs};

/// What a process may still do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confine {
    /// Whether no program that it starts may have more rights than itself.
    pub no_new_privs: bool,
    /// What it keeps of root's rights; `None`: all that it has.
    pub capabilities: Option<BTreeSet<Capability>>,
    /// The system calls that it may make; `None`: all.
    pub seccomp: Option<SyscallPolicy>,
    /// The files that it may reach; `None`: as their permissions say.
    pub landlock: Option<FileAccess>,
    /// What it may use of the machine, where that differs from what any process may.
    pub rlimits: BTreeMap<Rlimit, RlimitBounds>,
    /// Who it runs as; `None`: as its parent does.
    pub user: Option<RunAs>,
    /// Whether a crash leaves no image of its memory.
    pub no_core_dumps: bool,
}

/// What a machine makes of a task's isolation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// What it does when nothing is said.
    pub default: Profile,
    /// What it cannot do.
    pub missing: BTreeSet<Measure>,
    /// Folders and files of which a task must reach nothing but its own, absolute and without links, and which its view of
    /// the files does not hide already: the node's data.
    pub hidden: Vec<PathBuf>,
}

impl Confine {
    /// What a task's profile, and what is loosened of it, come to on a machine.
    pub fn of(spec: &TaskSpec, machine: &InForce) -> Self {
        let strict = spec.isolation.profile.unwrap_or(machine.default) == Profile::Strict;
        let wanted = spec.isolation.measures(machine.default);
        let done = &wanted - &machine.missing;
        let has = |measure| done.contains(&measure);
        let isolated = !wanted.is_empty();
        let kept = kept(spec, wanted.contains(&Measure::Capabilities));
        let view = View { wanted: &wanted, done: &done, strict, hidden: &machine.hidden };
        Self {
            no_new_privs: has(Measure::NoNewPrivs),
            seccomp: has(Measure::Seccomp).then(|| SyscallPolicy::new(strict, &kept)),
            landlock: has(Measure::Landlock).then(|| FileAccess::new(spec, &view)),
            capabilities: isolated.then_some(kept),
            rlimits: spec.rlimits.clone(),
            user: spec.user.clone(),
            no_core_dumps: has(Measure::CoreDumps),
        }
    }

    /// The same for a program that is run beside the task, as a health check is. It has to be able to signal the task, which
    /// to landlock is not of its own making; so where both see no process but the task's, it may.
    pub fn beside(spec: &TaskSpec, machine: &InForce) -> Self {
        let mut confine = Self::of(spec, machine);
        let wanted = spec.isolation.measures(machine.default);
        let alone = wanted.contains(&Measure::PidNamespace) && !machine.missing.contains(&Measure::PidNamespace);
        if let Some(files) = &mut confine.landlock {
            files.scope_signals = !alone;
        }
        confine
    }
}

/// The capabilities that a task keeps: none, unless its app loosens that, or it was given a port that it could not listen on.
fn kept(spec: &TaskSpec, dropped: bool) -> BTreeSet<Capability> {
    let low_port = spec.low_port.then_some(Capability::NetBindService);
    let loosened = Capability::LOOSENED.into_iter().filter(|_| !dropped);
    loosened.chain(low_port).collect()
}
