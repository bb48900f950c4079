//! What a task sees of the machine's files beyond its own folder.

use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

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

impl MountPoint {
    /// What of it is no absolute path in its shortest spelling.
    pub(crate) fn unfit(&self) -> Option<&Path> {
        let plain = |path: &Path| {
            let mut parts = path.components();
            parts.next() == Some(Component::RootDir) && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        let host = match &self.source {
            MountSource::Host(host) => Some(host.as_path()),
            MountSource::Tmpfs { .. } => None,
        };
        let root = self.at.parent().is_none().then_some(self.at.as_path());
        root.or_else(|| host.into_iter().chain([self.at.as_path()]).find(|path| !plain(path)))
    }
}
