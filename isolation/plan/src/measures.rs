//! What a machine has of the measures that set a task apart from it and from its neighbours.

use crate::{Cgroups, Controller, Memory, Permitted};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};
use taffeta_model::{Isolation, Measure, Profile};

/// What is done where an app does not say. A machine that cannot do all of it says what it lacks.
pub const PROFILE_DEFAULT: Profile = Profile::Standard;

/// What can be had here, and what the machine's own files are that no task may see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Why a measure cannot be had, in words. All others can.
    pub lacking: BTreeMap<Measure, String>,
    /// What is missing of a measure that can be had in part, in words: a kernel may know landlock, and not all of it. No task
    /// is refused for that.
    pub partial: BTreeMap<Measure, String>,
    /// Folders of which a task sees only what is its own: the node's data.
    pub hidden: Vec<PathBuf>,
    /// Files that no task may read, wherever they lie: what configures the node, with tokens and keys in it.
    pub masked: Vec<PathBuf>,
    /// Folders and files that every task may read, wherever they lie, as far as nothing hidden is in them: the node's own
    /// programs.
    pub shown: Vec<PathBuf>,
}

impl Measures {
    /// What is in force for a task that wants this.
    pub fn in_force(&self, isolation: &Isolation) -> BTreeSet<Measure> {
        let wanted = isolation.measures(PROFILE_DEFAULT);
        let had = |measure: &Measure| wanted.contains(measure) && !self.lacking.contains_key(measure);
        wanted
            .iter()
            .copied()
            .filter(|measure| had(measure) && rests_on(*measure).is_none_or(|base| had(&base)))
            .collect()
    }

    /// What can be had in part only, in words.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        self.partial.iter().map(|(measure, what)| format!("{measure}: {what}"))
    }

    /// What a task wants that cannot be had, in words. What rests on another measure that is lacking is told with that.
    pub fn gaps(&self, isolation: &Isolation) -> Vec<String> {
        let wanted = isolation.measures(PROFILE_DEFAULT);
        let told = |measure: Measure| wanted.contains(&measure) && self.lacking.contains_key(&measure);
        let gap = |(measure, why): (&Measure, &String)| {
            let resting: Vec<&str> =
                wanted.iter().filter(|other| rests_on(**other) == Some(*measure)).map(|other| other.name()).collect();
            let with = if resting.is_empty() { String::new() } else { format!(" and so {}", resting.join(", ")) };
            format!("{measure}{with}: {why}")
        };
        let first = |measure: &Measure| told(*measure) && !rests_on(*measure).is_some_and(told);
        self.lacking.iter().filter(|(measure, _)| first(measure)).map(gap).collect()
    }
}

/// One thing that sets tasks apart or limits them, and whether a machine does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A measure by its name, or what a cgroup limits.
    pub what: String,
    /// Whether it is a part of the default profile.
    pub standard: bool,
    /// Whether it is in force.
    pub in_force: bool,
    /// Why it is not.
    pub why: Option<String>,
    /// What is missing of it although it is in force.
    pub missing: Option<String>,
    /// What to do about that.
    pub advice: Option<&'static str>,
}

impl Permitted {
    /// All of them, the limits first.
    pub fn findings(&self) -> Vec<Finding> {
        let limits =
            [(Controller::Cpu, "cpu-weight"), (Controller::Memory, "memory-limit"), (Controller::Pids, "pids-limit")];
        let limits = limits.map(|(controller, what)| {
            let why = match &self.cgroups {
                Cgroups::None { why } => Some(format!("no cgroup can be made: {why}")),
                Cgroups::V1(have) | Cgroups::Hybrid(have) | Cgroups::V2(have) => (!have.contains(&controller))
                    .then(|| format!("the cgroup controller `{controller}` cannot be used here")),
            };
            let advice = if self.root {
                "let the machine's cgroups be written to, with this controller"
            } else {
                CGROUPS_AS_USER
            };
            finding(what, true, why, advice)
        });
        let standard = PROFILE_DEFAULT.measures();
        let measures = Measure::ALL.into_iter().map(|measure| {
            let why = self.measures.lacking.get(&measure).cloned();
            let finding = finding(measure.name(), standard.contains(&measure), why, advice(measure, self.root));
            let missing = self.measures.partial.get(&measure).filter(|_| finding.in_force).cloned();
            Finding { advice: missing.as_ref().map_or(finding.advice, |_| Some(NEWER_KERNEL)), missing, ..finding }
        });
        let why = match &self.memory {
            Memory::Private | Memory::Folder(_) => None,
            Memory::Nowhere { why } => Some(why.clone()),
        };
        let secrets = finding("secrets-in-memory", true, why, "give it a tmpfs at /dev/shm that it can write to");
        limits.into_iter().chain(measures).chain([secrets]).collect()
    }
}

const NEWER_KERNEL: &str = "use a newer kernel; tasks run regardless";

const CGROUPS_AS_USER: &str =
    "run the node as root, or give its user a cgroup: `systemd-run --user --scope -p Delegate=yes`";

fn finding(what: &str, standard: bool, why: Option<String>, advice: &'static str) -> Finding {
    let (in_force, advice) = (why.is_none(), why.is_some().then_some(advice));
    Finding { what: what.into(), standard, in_force, advice, why, missing: None }
}

/// Without which other measure this one cannot be.
pub fn rests_on(measure: Measure) -> Option<Measure> {
    match measure {
        Measure::ReadOnlyRoot
        | Measure::PrivateTmp
        | Measure::MaskedProc
        | Measure::PrivateDevices
        | Measure::HiddenFolders => Some(Measure::MountNamespace),
        Measure::PidNamespace
        | Measure::MountNamespace
        | Measure::IpcNamespace
        | Measure::UtsNamespace
        | Measure::UserNamespace
        | Measure::NoNewPrivs
        | Measure::Capabilities
        | Measure::Seccomp
        | Measure::Landlock
        | Measure::CoreDumps => None,
    }
}

/// What an operator can do about a measure that is lacking.
pub fn advice(measure: Measure, root: bool) -> &'static str {
    match measure {
        Measure::PidNamespace
        | Measure::MountNamespace
        | Measure::IpcNamespace
        | Measure::UtsNamespace
        | Measure::ReadOnlyRoot
        | Measure::PrivateTmp
        | Measure::MaskedProc
        | Measure::PrivateDevices
        | Measure::HiddenFolders
            if !root =>
        {
            "run the node as root, or permit unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces)"
        }
        Measure::PidNamespace | Measure::MountNamespace | Measure::IpcNamespace | Measure::UtsNamespace => {
            "the node needs CAP_SYS_ADMIN and a kernel with namespaces; inside a container, start that one privileged"
        }
        Measure::ReadOnlyRoot => "use Linux 5.12 or newer",
        Measure::PrivateTmp | Measure::MaskedProc | Measure::PrivateDevices | Measure::HiddenFolders => {
            "the node needs CAP_SYS_ADMIN; inside a container, start that one privileged"
        }
        Measure::UserNamespace if !root => "run the node as root",
        Measure::UserNamespace => {
            "use a kernel with user namespaces, and for the data folder a file system whose ids can be mapped (ext4, \
             xfs, btrfs, tmpfs; Linux 6.3 or newer)"
        }
        Measure::NoNewPrivs | Measure::CoreDumps => "use Linux 3.5 or newer",
        Measure::Capabilities => "the node needs CAP_SETPCAP",
        Measure::Seccomp => "use a kernel with CONFIG_SECCOMP_FILTER",
        Measure::Landlock => "use Linux 5.13 or newer, with landlock in the list of the boot option `lsm=`",
    }
}
