//! Files by their digests, in one folder: `sha256-DIGEST`, each whole and on disk under its name, or not there.

use ring::digest::{Context, SHA256};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};
use taffeta_model::Sha256;
use thiserror::Error;

/// Begins the name of a file that is whole.
const PREFIX: &str = "sha256-";
/// Holds what has not come whole yet.
const UNFINISHED: &str = "tmp";

/// Of what is free besides on its disk, the kept files take at most one part of so many: the log, outputs and volumes grow there.
const FREE_PARTS: u64 = 10;

/// The folder. Blocking.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    next: AtomicU64,
}

/// Why what came was not kept.
#[derive(Debug, Error)]
pub(super) enum Rejected {
    #[error("its digest is {0}")]
    Other(Sha256),
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// A file that comes in. Gone when it is dropped, unless it was kept.
pub(super) struct Incoming<'a> {
    store: &'a Store,
    path: PathBuf,
    file: File,
    hash: Context,
}

impl Store {
    /// What an earlier process has left unfinished is removed.
    pub(super) fn new(root: PathBuf) -> Self {
        let _ = fs::remove_dir_all(root.join(UNFINISHED)); // what stays takes room, and is tried again at the next start
        Self { root, next: AtomicU64::new(0) }
    }

    /// Where a file is, if it is there.
    pub(super) fn path(&self, digest: Sha256) -> PathBuf {
        self.root.join(format!("{PREFIX}{digest}"))
    }

    /// Whether it is there; if so, it has been used now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the order in which files were used last; a simulated machine has none"
    )]
    pub(super) fn find(&self, digest: Sha256) -> io::Result<bool> {
        match File::open(self.path(digest)) {
            Ok(file) => file.set_modified(SystemTime::now()).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes what was used least lately, until no more than so many bytes are left, nor more than a tenth of what is free
    /// besides; what is `held` stays.
    pub(super) fn evict(&self, bytes_max: u64, held: impl Fn(&Sha256) -> bool) -> io::Result<()> {
        let about = rustix::fs::statvfs(&self.root)?;
        let bytes_max = room(bytes_max, about.f_bavail.saturating_mul(about.f_frsize));
        let mut files = vec![];
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let digest = entry.file_name().to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<Sha256>().ok());
            let Some(digest) = digest else { continue };
            let about = entry.metadata()?;
            files.push((about.modified()?, about.len(), digest));
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, of, digest) in files {
            if bytes <= bytes_max {
                break;
            }
            if !held(&digest) {
                fs::remove_file(self.path(digest))?;
                bytes = bytes.saturating_sub(of);
            }
        }
        Ok(())
    }
}

/// How many bytes may be kept on a disk with so many free ones.
fn room(bytes_max: u64, free: u64) -> u64 {
    bytes_max.min(free / FREE_PARTS)
}

impl<'a> Incoming<'a> {
    pub(super) fn begin(store: &'a Store) -> io::Result<Self> {
        let folder = store.root.join(UNFINISHED);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let path = folder.join(store.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        Ok(Self { store, path, file, hash: Context::new(&SHA256) })
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.hash.update(piece);
        self.file.write_all(piece)
    }

    /// Gives it its name, if it is what was asked for. On disk before it can be found.
    pub(super) fn keep(&mut self, wanted: Sha256) -> Result<(), Rejected> {
        let found = self.hash.clone().finish();
        let found = Sha256(found.as_ref().try_into().expect("a SHA-256 has 32 bytes"));
        if found != wanted {
            return Err(Rejected::Other(found));
        }
        self.file.set_permissions(fs::Permissions::from_mode(0o400))?;
        self.file.sync_all()?;
        fs::rename(&self.path, self.store.path(wanted))?;
        Ok(File::open(&self.store.root)?.sync_all()?)
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // kept ones are not there any more
    }
}

#[cfg(test)]
mod tests {
    use super::room;

    #[test]
    fn a_disk_that_fills_up_keeps_less() {
        assert_eq!(room(10 << 30, 1 << 40), 10 << 30);
        assert_eq!(room(10 << 30, 20 << 30), 2 << 30);
        assert_eq!(room(10 << 30, 0), 0);
    }
}
