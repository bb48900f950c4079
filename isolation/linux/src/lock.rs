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

/// Pauses between two tries: most holders are gone in a fraction of a millisecond, and for the others there is no hurry.
const PAUSE_FIRST: Duration = Duration::from_micros(250);
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// Two seconds of them.
const TRIES: u32 = 206;

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
    /// moment, whoever looks after the run holds the lock for a moment, too, and a shim that has told the end is about to go.
    pub(crate) fn take(folder: &Path) -> io::Result<Option<Self>> {
        let mut pause = PAUSE_FIRST;
        for _ in 0..TRIES {
            if let Some(lock) = Self::try_take(folder)? {
                return Ok(Some(lock));
            }
            sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Ok(None)
    }
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}
