//! What a task sees of its machine's files beyond its own folder.

use crate::{AbsolutePath, Job};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most host paths and memory file systems of one job: each is a mount that every start makes.
pub const MOUNTS_MAX: usize = 32;

/// Smallest memory file system: one page.
const TMPFS_BYTES_MIN: u64 = 4096;

/// A file or folder of the machine, where its operator has allowed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMount {
    /// Where it is on the machine.
    pub host: AbsolutePath,
    /// Where the task finds it.
    pub at: AbsolutePath,
    /// Whether the task may only read it.
    pub read_only: bool,
}

/// Files in memory, counted to the task's memory; empty at each start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Where the task finds it.
    pub at: AbsolutePath,
    /// Most bytes; at least a page, and no more than the task's memory.
    pub bytes: u64,
}

impl Job {
    pub(super) fn check_mounts(&self) -> Result<(), (&'static str, String)> {
        let count = self.mounts.len() + self.tmpfs.len();
        if count > MOUNTS_MAX {
            return Err(("mounts", format!("{count} with `tmpfs`; at most {MOUNTS_MAX} are mounted for one task")));
        }
        let volume = self.volume.as_ref().and_then(|volume| volume.at.as_ref()).map(|at| ("volume", at));
        let mounts = self.mounts.iter().map(|mount| ("mounts", &mount.at));
        let memory = self.tmpfs.iter().map(|tmpfs| ("tmpfs", &tmpfs.at));
        let mut seen = BTreeSet::new();
        for (field, at) in volume.into_iter().chain(mounts).chain(memory) {
            at.check_target().map_err(|message| (field, message))?;
            if !seen.insert(at) {
                return Err((field, format!("two things are mounted at `{at}`")));
            }
        }
        if let Some(mount) = self.mounts.iter().find(|mount| mount.host.as_str() == "/") {
            return Err(("mounts", format!("`{}` is the whole machine: name a folder of it", mount.host)));
        }
        for Tmpfs { at, bytes } in &self.tmpfs {
            if *bytes < TMPFS_BYTES_MIN {
                return Err(("tmpfs", format!("{bytes} bytes at `{at}`; at least {TMPFS_BYTES_MIN} are needed")));
            }
            if *bytes > self.resources.memory {
                let memory = self.resources.memory;
                return Err((
                    "tmpfs",
                    format!("{bytes} bytes at `{at}` count to the task's memory, which is {memory}"),
                ));
            }
        }
        Ok(())
    }
}
