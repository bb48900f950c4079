//! What is in a task's working folder.

use crate::events::rfc3339;
use serde::{Deserialize, Serialize};
use taffeta_isolation_plan::FileEntry;

/// A folder of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FolderView {
    /// Its path below the working folder; empty for that itself.
    pub path: String,
    /// What is in it, by name; at most 10,000 entries.
    pub entries: Vec<FileView>,
    /// Whether there is more.
    pub more: bool,
}

/// One entry of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileView {
    /// Its name.
    pub name: String,
    /// `file`, `folder`, `link` or `other`.
    pub kind: String,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits in octal, as `0644`.
    pub mode: String,
    /// When it was changed last.
    pub modified: String,
}

impl From<FileEntry> for FileView {
    fn from(entry: FileEntry) -> Self {
        Self {
            name: entry.name,
            kind: entry.kind.word().into(),
            size: entry.size,
            mode: format!("{:04o}", entry.mode),
            modified: rfc3339(entry.modified),
        }
    }
}
