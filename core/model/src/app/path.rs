//! Paths that an app names on its machines.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::{fmt, path::Path, str::FromStr};
use thiserror::Error;

/// Longest path in bytes; the kernel takes four times as much, and nobody can read that.
const PATH_BYTES_MAX: usize = 1024;

/// Where a machine's own view of itself is: what is there, a task gets as its isolation says.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// An absolute path in its one spelling: no `.`, no `..`, no empty parts, no `/` at the end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AbsolutePath(SmolStr);

/// Why a path was refused. Nothing was changed; write another.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPath {
    /// Relative, or empty.
    #[error("`{0}` does not begin with `/`")]
    Relative(String),
    /// Written in another way than the shortest.
    #[error("`{0}` holds `.`, `..` or an empty part, or ends in `/`: write the path as `realpath` prints it")]
    Spelling(String),
    /// Longer than 1024 bytes, or with control characters.
    #[error("a path of at most {PATH_BYTES_MAX} bytes without control characters is expected")]
    Unreadable,
}

impl AbsolutePath {
    /// Checks and wraps a path.
    pub fn new(path: impl Into<String>) -> Result<Self, InvalidPath> {
        let path = path.into();
        if path.len() > PATH_BYTES_MAX || path.contains(char::is_control) {
            return Err(InvalidPath::Unreadable);
        }
        let Some(rest) = path.strip_prefix('/') else { return Err(InvalidPath::Relative(path)) };
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        if rest.is_empty() || rest.split('/').all(plain) {
            Ok(Self(path.into()))
        } else {
            Err(InvalidPath::Spelling(path))
        }
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this path, or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        Path::new(self.as_str()).starts_with(other.as_str())
    }

    /// Refuses what nothing can be mounted at inside of a task, in words.
    pub(crate) fn check_target(&self) -> Result<(), String> {
        if self.as_str() == "/" {
            return Err("`/` is the root of all: name a folder below it, as /data".into());
        }
        match SYSTEM.iter().find(|system| Path::new(self.as_str()).starts_with(system)) {
            Some(system) => Err(format!("`{self}`: nothing is mounted in {system}, which shows the machine itself")),
            None => Ok(()),
        }
    }
}

impl AsRef<Path> for AbsolutePath {
    fn as_ref(&self) -> &Path {
        Path::new(self.as_str())
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AbsolutePath {
    type Err = InvalidPath;

    fn from_str(path: &str) -> Result<Self, InvalidPath> {
        Self::new(path)
    }
}

impl TryFrom<String> for AbsolutePath {
    type Error = InvalidPath;

    fn try_from(path: String) -> Result<Self, InvalidPath> {
        Self::new(path)
    }
}

impl From<AbsolutePath> for String {
    fn from(path: AbsolutePath) -> Self {
        path.0.into()
    }
}
