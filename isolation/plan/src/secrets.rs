//! The secrets of a run: values that no disk may hold.

use crate::{Permitted, TaskSpec};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};
use taffeta_model::{Secret, SecretName};

/// Name of the folder of secrets inside the folder of a run, whatever is behind it.
pub const SECRETS_FOLDER: &str = "secrets";

/// The values that a task is given. Never stored with its spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskSecrets {
    /// Files by name, readable for the task's user alone.
    pub files: BTreeMap<SecretName, Secret>,
    /// Variables by name.
    pub env: BTreeMap<String, Secret>,
}

impl TaskSecrets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.env.is_empty()
    }
}

/// Where a machine can keep files in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// On a tmpfs that is mounted for one task and seen by no other process.
    Private,
    /// In this folder, which lies on a tmpfs of the machine.
    Folder(PathBuf),
    /// Nowhere, and why.
    Nowhere {
        /// In words.
        why: String,
    },
}

/// Where the secrets of a run are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretsAt {
    /// On a tmpfs mounted over the folder of secrets, which only the task and its shim see, and which goes with them.
    Private,
    /// In this folder on a tmpfs; the folder of secrets is a link to it.
    Memory(PathBuf),
    /// In the folder of secrets itself, on a disk: only where the node was told to go on regardless.
    Disk,
}

impl Permitted {
    /// Begins the names of this node's folders in a [`Memory::Folder`]; the run id follows.
    pub fn memory_prefix(&self) -> String {
        format!("{}-", self.group_parent.replace('/', "-"))
    }
}

impl TaskSpec {
    /// Where its secrets go; `None` if it has none.
    pub fn secrets_at(&self, permitted: &Permitted) -> Option<SecretsAt> {
        let at = match &permitted.memory {
            Memory::Private => SecretsAt::Private,
            Memory::Folder(folder) => {
                SecretsAt::Memory(folder.join(format!("{}{}", permitted.memory_prefix(), self.run_id)))
            }
            Memory::Nowhere { .. } => SecretsAt::Disk,
        };
        (!self.secrets.is_empty()).then_some(at)
    }
}
