//! What was downloaded for a task: files whose contents are known by their digests, on this machine's disk.

use std::path::PathBuf;

/// A downloaded file, and how it comes into the working folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// For people, as `x.tar.gz`.
    pub title: String,
    /// Where it is.
    pub from: PathBuf,
    /// What comes of it.
    pub placed: Placed,
}

/// What comes of a downloaded file in the working folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// A copy.
    Copy {
        /// Its name.
        name: String,
        /// Whether it may be executed.
        executable: bool,
    },
    /// The contents of the archive that it is: tar, plain or compressed by gzip or zstd.
    Unpack {
        /// The folder for the contents; `None`: the working folder itself.
        name: Option<String>,
        /// Most bytes of all its files together.
        bytes_max: u64,
    },
}

impl Fetched {
    /// The name that it takes in the working folder.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.placed {
            Placed::Copy { name, .. } => Some(name),
            Placed::Unpack { name, .. } => name.as_deref(),
        }
    }
}
