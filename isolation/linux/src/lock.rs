//! The lock of a run: held by its shim for life, so that holding it proves that no shim lives.

use crate::record::LOCK_FILE;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    thread::sleep,
    time::Duration,
};

/// The lock, released when dropped or when the process dies.
#[derive(Debug)]
pub(crate) struct RunLock(#[allow(dead_code, reason = "held, never read")] File);

impl RunLock {
    /// Takes the lock; `None` if another process holds it. The folder must exist.
    pub(crate) fn try_take(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(LOCK_FILE);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Whoever had it may have removed the folder since the file was opened, and the next start of the run may have
            // made another one: the lock of a file that is not there keeps nobody out.
            Ok(()) => Ok((identity(&file.metadata()?) == identity(&fs::metadata(&path)?)).then_some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes the lock, trying for two seconds: a process between fork and exec holds copies of its parent's files for a
    /// moment, and whoever looks after the run holds the lock for a moment, too.
    pub(crate) fn take(folder: &Path) -> io::Result<Option<Self>> {
        for _ in 0..200 {
            if let Some(lock) = Self::try_take(folder)? {
                return Ok(Some(lock));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(None)
    }
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}
