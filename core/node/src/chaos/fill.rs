//! A file that takes the room of a file system which is the data folder's own.

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Room that is left: too little for the log, which keeps clear of the last MiB, and enough for the journal.
const LEFT: u64 = 512 << 10;

/// Pieces of halving size until nothing is left, of the largest file system.
const ROUNDS_MAX: usize = 64;

/// Where the file would be; `None` if others live on the same file system.
pub(crate) fn place(journal: &Path) -> Option<PathBuf> {
    let data = journal.parent()?;
    let device = |path: &Path| fs::metadata(path).map(|about| about.dev());
    let own = device(data).ok()? != device(data.parent()?).ok()?;
    own.then(|| journal.join("filler"))
}

/// Takes the room. Safe to repeat.
pub(crate) fn fill(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    let mut most = u64::MAX;
    for _ in 0..ROUNDS_MAX {
        let about = fstatvfs(&file)?;
        // Root may also use what is set aside for it.
        let blocks = if rustix::process::geteuid().is_root() { about.f_bfree } else { about.f_bavail };
        let room = blocks.saturating_mul(about.f_frsize).saturating_sub(LEFT).min(most);
        if room < about.f_frsize {
            break;
        }
        match fallocate(&file, FallocateFlags::empty(), file.metadata()?.len(), room) {
            Ok(()) => {}
            // A part is set aside for the file system itself: so much cannot be had, and perhaps half of it.
            Err(rustix::io::Errno::NOSPC) => most = room / 2,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Gives it back.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}
