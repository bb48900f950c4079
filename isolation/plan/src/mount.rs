//! What a task sees of the machine's files beyond its own folder.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One more thing that is mounted where only the task sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Where the task finds it: absolute, without `..`.
    pub at: PathBuf,
    /// What is there.
    pub source: MountSource,
    /// Whether the task may only read it.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or folder of the machine, by its absolute path; it must exist.
    Host(PathBuf),
    /// Memory that is empty at the start and gone at the end, of at most so many bytes.
    Tmpfs {
        /// Its size.
        bytes: u64,
    },
}
