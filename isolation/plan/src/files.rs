//! A look into the working folder of a run.

use serde::{Deserialize, Serialize};
use taffeta_model::UnixMillis;
use thiserror::Error;

/// Most entries of a folder that are listed: more are a program's matter, not a person's.
pub const ENTRIES_MAX: usize = 10_000;

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAsk {
    /// Below the working folder; empty for itself.
    pub path: String,
    /// Of a file: where to begin, in bytes.
    pub offset: u64,
    /// Of a file: most bytes to give.
    pub bytes_max: u32,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileTold {
    /// A folder.
    Folder {
        /// What is in it, by name; at most [`ENTRIES_MAX`].
        entries: Vec<FileEntry>,
        /// Whether there is more.
        more: bool,
    },
    /// A piece of a file.
    Piece(FilePiece),
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePiece {
    /// The bytes; none at the file's end.
    pub bytes: Vec<u8>,
    /// Size of the file at this moment.
    pub size: u64,
    /// Another value means that another file was put in its place.
    pub identity: u64,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name; bytes that are no text are replaced.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// When it was changed last.
    pub modified: UnixMillis,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// Anything else: a pipe, a socket, a device.
    Other,
}

impl FileKind {
    /// For people and scripts.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Other => "other",
        }
    }
}

/// Why nothing is shown.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum FileError {
    /// There is no such run, or it was forgotten.
    #[error("there is no run `{0}`")]
    Unknown(String),
    /// There is no such file or folder.
    #[error("there is no `{0}` in the task's folder")]
    NotFound(String),
    /// The path, or a link on it, leads out.
    #[error("`{0}` leads out of the task's folder")]
    Outside(String),
    /// It is neither a file nor a folder.
    #[error("`{0}` is a pipe, a socket or a device: only files and folders are shown")]
    NotAFile(String),
    /// The machine failed.
    #[error("`{0}` cannot be read: {1}")]
    Failed(String, String),
}
