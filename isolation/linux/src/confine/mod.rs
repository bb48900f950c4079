//! What a process gives up for ever, as the last thing before it becomes the task's program.
//!
//! [`Calls::compile`] and [`Confinement::prepare`] do what needs memory and files: a list of system calls becomes a program
//! of the kernel's, names become numbers, paths open files. [`Confinement::apply`] makes system calls alone, so that it may
//! run between fork and exec. What is to be given up is data of `taffeta-isolation-plan`.

mod accounts;
mod always;
mod landlock;
mod numbers;
mod owner;
mod privileges;
mod seccomp;

#[cfg(test)]
mod tests;

pub(crate) use accounts::{Ids, resolve};
pub(crate) use owner::{give, give_volumes};

use privileges::Privileges;
use rustix::{io::Errno, thread::set_no_new_privs};
use seccomp::Filter;
use std::{
    collections::BTreeMap,
    fmt, io,
    os::fd::{AsFd, OwnedFd},
};
use taffeta_isolation_plan::Confine;
use taffeta_model::Measure;

/// The system calls that are left to a process. Means the same everywhere, so that it can be made while others still make
/// the namespaces that the rest depends on.
pub(crate) struct Calls(Option<Filter>);

impl Calls {
    /// Compiles the list.
    pub(crate) fn compile(wanted: &Confine) -> io::Result<Self> {
        wanted.seccomp.as_ref().map(seccomp::compile).transpose().map(Self)
    }
}

/// What a process is about to give up.
pub(crate) struct Confinement {
    privileges: Privileges,
    no_new_privs: bool,
    ruleset: Option<OwnedFd>,
    filter: Option<Filter>,
}

/// A step that the kernel refused. What came before it is in force, so nothing but an end is left to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// What could not be done, in words that follow "cannot".
    pub(crate) step: &'static str,
    /// The kernel's reason.
    pub(crate) errno: Errno,
}

impl Confinement {
    /// Makes ready. To be called where the task's paths mean what they will mean to it, as itself will be: in its namespaces,
    /// before any right is given up. Also tells, in words, what will not be in force of what the machine can do: what it
    /// cannot do to any task is told by [`remarks`].
    ///
    /// `ids` is who the wanted user is, looked up where the machine's own files are seen: a task must not say who it becomes.
    ///
    /// An error is about what was asked for, and the task must not start: a user that it may not become, a limit that is too
    /// high.
    pub(crate) fn prepare(
        wanted: &Confine,
        ids: Option<&Ids>,
        Calls(filter): Calls,
    ) -> io::Result<(Self, Vec<String>)> {
        let mut gaps = vec![];
        let privileges = Privileges::prepare(wanted, ids, &mut gaps)?;
        let ruleset = match &wanted.landlock {
            Some(access) => landlock::prepare(access, &mut gaps)?,
            None => None,
        };
        let mut no_new_privs = wanted.no_new_privs;
        if !no_new_privs && (ruleset.is_some() || filter.is_some()) && !privileges.may_administer() {
            no_new_privs = true;
            gaps.push(
                "no-new-privs: in force although it was loosened, as without root the kernel permits seccomp and landlock \
                 only with it"
                    .into(),
            );
        }
        Ok((Self { privileges, no_new_privs, ruleset, filter }, gaps))
    }

    /// Gives it all up, in this process. Makes system calls only.
    pub(crate) fn apply(&self) -> Result<(), Stuck> {
        self.privileges.apply_rlimits()?;
        if self.no_new_privs {
            self.privileges.apply()?;
            set_no_new_privs(true).map_err(Stuck::at("give up new privileges"))?;
            self.apply_walls()
        } else {
            // Without that promise the kernel wants root's rights for the walls; they permit what follows.
            self.apply_walls()?;
            self.privileges.apply()
        }
    }

    /// The filter comes last: it need not permit what leads to it.
    fn apply_walls(&self) -> Result<(), Stuck> {
        if let Some(ruleset) = &self.ruleset {
            landlock::restrict(ruleset.as_fd()).map_err(Stuck::at("restrict files with landlock"))?;
        }
        if let Some(filter) = &self.filter {
            filter.install().map_err(Stuck::at("filter system calls with seccomp"))?;
        }
        Ok(())
    }
}

impl Stuck {
    fn at(step: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { step, errno }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.step, io::Error::from(self.errno))
    }
}

impl From<Stuck> for Errno {
    fn from(stuck: Stuck) -> Self {
        stuck.errno
    }
}

impl From<Stuck> for io::Error {
    fn from(stuck: Stuck) -> Self {
        stuck.errno.into() // what passes between fork and exec is a number
    }
}

/// What this machine can do of the measures that a process takes against itself, each tried or asked for.
pub(crate) fn probe() -> Vec<(Measure, Result<(), String>)> {
    vec![
        (Measure::NoNewPrivs, privileges::probe_no_new_privs()),
        (Measure::Capabilities, privileges::probe_capabilities()),
        (Measure::Seccomp, seccomp::probe()),
        (Measure::Landlock, landlock::probe()),
        (Measure::CoreDumps, Ok(())), // a limit, which any process may lower
    ]
}

/// What this machine can do in part only, in words: a kernel may know landlock, and not all of it.
pub(crate) fn remarks() -> BTreeMap<Measure, String> {
    let missing = landlock::missing().join("; ");
    Some((Measure::Landlock, missing)).filter(|(_, missing)| !missing.is_empty()).into_iter().collect()
}
