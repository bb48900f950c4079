//! What sets one run apart, worked out in full before anything is done.

use crate::{InForce, Measures, Memory, PROFILE_DEFAULT, Permitted, TaskSpec, ViewStep, view::view};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, path::PathBuf};
use taffeta_model::Measure;

/// Ids that tasks have on the machine which are nobody inside of it: a range that neither distributions nor container
/// engines give out (systemd's `UIDS-GIDS`: "unused" from 0x7000_0000 on), without its last few.
const IDS_FIRST: u32 = 0x7000_0000;
const IDS: u32 = 0x0fff_fff0;

/// A namespace that a task does not share with the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Namespace {
    /// Process ids: it sees its own processes, which end with the first of them, a small one of ours.
    Pid,
    /// What is mounted where.
    Mount,
    /// System V objects and POSIX message queues.
    Ipc,
    /// The host name.
    Uts,
}

/// Who a task is on the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// Who it is inside.
    #[default]
    Machine,
    /// The agent's own user, who is not root: a user namespace lets it have the other namespaces.
    Agent,
    /// Nobody else's id, whoever it is inside.
    Unprivileged(u32),
}

/// What sets a run apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The measures in force.
    #[serde(default)]
    pub measures: BTreeSet<Measure>,
    /// The namespaces of its own.
    #[serde(default)]
    pub namespaces: BTreeSet<Namespace>,
    /// Who it is on the machine.
    #[serde(default)]
    pub identity: Identity,
    /// What makes the machine's files what the task sees, in order. Needs [`Namespace::Mount`].
    #[serde(default)]
    pub view: Vec<ViewStep>,
    /// The folders and files that are hidden from it, by the view or otherwise.
    #[serde(default)]
    pub hidden: Vec<PathBuf>,
}

impl Sandbox {
    /// What a machine that permits so much does for the task. What is missing there is left out.
    pub fn of(spec: &TaskSpec, permitted: &Permitted) -> Self {
        let measures = permitted.measures.in_force(&spec.isolation);
        let namespaces: BTreeSet<Namespace> = measures.iter().filter_map(|measure| namespace(*measure)).collect();
        let identity = if !permitted.root {
            if namespaces.is_empty() { Identity::Machine } else { Identity::Agent }
        } else if measures.contains(&Measure::UserNamespace) {
            Identity::Unprivileged(unprivileged(&spec.run_id))
        } else {
            Identity::Machine
        };
        let view = if namespaces.contains(&Namespace::Mount) { view(spec, permitted, &measures) } else { vec![] };
        let hidden = if measures.is_empty() { vec![] } else { hidden(permitted) };
        Self { measures, namespaces, identity, view, hidden }
    }

    /// What the machine makes of the task's isolation.
    pub fn in_force(&self) -> InForce {
        let missing = Measure::ALL.into_iter().filter(|measure| !self.measures.contains(measure)).collect();
        let hidden =
            self.hidden.iter().filter(|path| !self.view.iter().any(|step| step.hides(path))).cloned().collect();
        InForce { default: PROFILE_DEFAULT, missing, hidden }
    }

    /// Whether nothing is done: a process as any other.
    pub fn is_nothing(&self) -> bool {
        self.measures.is_empty()
    }

    /// Whether it has a namespace of its own of this kind.
    pub fn has(&self, namespace: Namespace) -> bool {
        self.namespaces.contains(&namespace)
    }
}

/// All that is the node's own: its data, what configures it, and where secrets of its tasks are kept in memory.
fn hidden(permitted: &Permitted) -> Vec<PathBuf> {
    let memory = match &permitted.memory {
        Memory::Folder(folder) => Some(folder),
        Memory::Private | Memory::Nowhere { .. } => None,
    };
    let Measures { hidden, masked, .. } = &permitted.measures;
    hidden.iter().chain(masked).chain(memory).cloned().collect()
}

fn namespace(measure: Measure) -> Option<Namespace> {
    match measure {
        Measure::PidNamespace => Some(Namespace::Pid),
        Measure::MountNamespace => Some(Namespace::Mount),
        Measure::IpcNamespace => Some(Namespace::Ipc),
        Measure::UtsNamespace => Some(Namespace::Uts),
        Measure::UserNamespace
        | Measure::ReadOnlyRoot
        | Measure::PrivateTmp
        | Measure::MaskedProc
        | Measure::PrivateDevices
        | Measure::NoNewPrivs
        | Measure::Capabilities
        | Measure::Seccomp
        | Measure::Landlock
        | Measure::CoreDumps
        | Measure::HiddenFolders => None,
    }
}

/// An id for the run: by FNV-1a (RFC 9923) of its name, so that the same run has the same, and two seldom share one. Two
/// that do still share neither files nor processes.
fn unprivileged(run_id: &str) -> u32 {
    let hash = run_id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    IDS_FIRST + hash % IDS
}
