//! How a task is kept apart from its machine and its neighbours, as far as its app says so.

use super::{Job, Rlimit};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// How much a task is kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A process of the machine like any other; only its groups limit it.
    None,
    /// What a service can live with that does not know of it.
    Standard,
    /// More than that: unprivileged on the machine whatever it is inside, and it reads programs and libraries alone.
    Strict,
}

/// One of the things that keep a task apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// It sees its own processes alone, and all of them end with it.
    PidNamespace,
    /// What is mounted for it is seen by nobody else.
    MountNamespace,
    /// It shares no System V objects and POSIX message queues with others.
    IpcNamespace,
    /// The host name that it sets is its own.
    UtsNamespace,
    /// What it is inside, root included, it is not on the machine.
    UserNamespace,
    /// The machine's files cannot be changed.
    ReadOnlyRoot,
    /// `/tmp`, `/var/tmp` and `/dev/shm` of its own.
    PrivateTmp,
    /// What `/proc` and `/sys` tell of the kernel, and let be changed of it, is hidden.
    MaskedProc,
    /// A `/dev` with the devices that any program may use.
    PrivateDevices,
    /// No program that it starts has more rights than itself.
    NoNewPrivs,
    /// It has none of root's rights.
    Capabilities,
    /// Only system calls that services need.
    Seccomp,
    /// It writes to its own files alone, whatever it can see, and reaches no process outside.
    Landlock,
    /// A crash leaves no image of its memory.
    CoreDumps,
    /// What daemons keep in `/run`, and what only administrators of the machine may know, cannot be read. The node's data and
    /// other tasks' folders cannot be in any profile but `none`.
    HiddenFolders,
}

/// What an app says of a job's isolation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// How much; `None`: as much as its machine does by default.
    pub profile: Option<Profile>,
    /// What is left out of it.
    pub without: BTreeSet<Measure>,
}

impl Profile {
    /// All of them, the loosest first.
    pub const ALL: [Self; 3] = [Self::None, Self::Standard, Self::Strict];

    /// As it is written in an app file.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Standard => "standard",
            Self::Strict => "strict",
        }
    }

    /// The profile of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// What it consists of.
    pub fn measures(self) -> BTreeSet<Measure> {
        let within = |measure: &Measure| match self {
            Self::None => false,
            Self::Standard => *measure != Measure::UserNamespace,
            Self::Strict => true,
        };
        Measure::ALL.into_iter().filter(within).collect()
    }
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::PidNamespace,
        Self::MountNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::UserNamespace,
        Self::ReadOnlyRoot,
        Self::PrivateTmp,
        Self::MaskedProc,
        Self::PrivateDevices,
        Self::NoNewPrivs,
        Self::Capabilities,
        Self::Seccomp,
        Self::Landlock,
        Self::CoreDumps,
        Self::HiddenFolders,
    ];

    /// As it is written in an app file.
    pub fn name(self) -> &'static str {
        match self {
            Self::PidNamespace => "pid-namespace",
            Self::MountNamespace => "mount-namespace",
            Self::IpcNamespace => "ipc-namespace",
            Self::UtsNamespace => "uts-namespace",
            Self::UserNamespace => "user-namespace",
            Self::ReadOnlyRoot => "read-only-root",
            Self::PrivateTmp => "private-tmp",
            Self::MaskedProc => "masked-proc",
            Self::PrivateDevices => "private-devices",
            Self::NoNewPrivs => "no-new-privs",
            Self::Capabilities => "capabilities",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::CoreDumps => "core-dumps",
            Self::HiddenFolders => "hidden-folders",
        }
    }

    /// The measure of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.name() == name)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Isolation {
    /// Whether nothing was said of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is wanted on a machine that does `default` when nothing is said.
    pub fn measures(&self, default: Profile) -> BTreeSet<Measure> {
        &self.profile.unwrap_or(default).measures() - &self.without
    }
}

impl fmt::Display for Isolation {
    /// `standard`, `strict without seccomp`, `default`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.profile.map_or("default", Profile::name))?;
        for (i, measure) in self.without.iter().enumerate() {
            write!(f, "{} {measure}", if i == 0 { " without" } else { "," })?;
        }
        Ok(())
    }
}

impl Job {
    /// The error says which field of the job it is about.
    pub(super) fn check_isolation(&self) -> Result<(), (&'static str, String)> {
        let Isolation { profile, without } = &self.isolation;
        if *profile == Some(Profile::None) && !without.is_empty() {
            return Err(("isolation", "the profile `none` isolates nothing: leave `without` out".into()));
        }
        if let Some(user) = &self.user {
            user.check().map_err(|message| ("user", message))?;
        }
        for (of, bounds) in &self.rlimits {
            bounds.check().map_err(|message| ("rlimits", format!("{of}: {message}")))?;
        }
        let dumps = self.rlimits.get(&Rlimit::Core).is_some_and(|bounds| bounds.hard != Some(0));
        if dumps && *profile != Some(Profile::None) && !without.contains(&Measure::CoreDumps) {
            let message = "core: core dumps are off; add `core-dumps` to `without` of `isolation` to have them";
            return Err(("rlimits", message.into()));
        }
        Ok(())
    }
}
