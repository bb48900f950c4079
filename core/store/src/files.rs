//! The seam below the log: the files of one folder, flat, as a POSIX file system keeps them.

use std::{
    fmt::Debug,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The files of one folder. What was written is durable after [`OpenFile::sync`]; that a file was made, renamed or removed
/// is durable after [`Files::sync_folder`]. Before, a power cut may lose each or keep it, and tear a write at sectors.
pub trait Files: Send + Sync + Debug + 'static {
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// The whole contents.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Makes an empty file in place of any that was there.
    fn create(&self, name: &str) -> io::Result<Box<dyn OpenFile>>;
    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Box<dyn OpenFile>>;
    /// Gives a file another name, in place of any that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes durable which files there are.
    fn sync_folder(&self) -> io::Result<()>;
    /// Bytes that may still be written, as far as the file system tells.
    fn room(&self) -> io::Result<u64>;
}

/// A file that is open for writing.
pub trait OpenFile: Send + Debug {
    /// Writes all bytes at this place. After an error some may be there.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to this length, or extends it by zeros that take no room yet.
    fn set_len(&mut self, length: u64) -> io::Result<()>;
    /// Makes durable what was written, the length included.
    fn sync(&mut self) -> io::Result<()>;
}

/// Name of the file by which one process holds the folder.
pub(crate) const LOCK: &str = "lock";

/// [`Files`] of the machine, held by one process at a time.
#[derive(Debug)]
pub struct FolderFiles {
    path: PathBuf,
    _lock: File,
}

impl FolderFiles {
    /// Makes the folder if there is none, readable by its owner alone (the log holds the environment of every app), and
    /// locks it. It is an error of the kind `WouldBlock` if a log there is open already; one of this very process is closed
    /// when its writer has ended, a moment after the store.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Self { path: path.into(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(e) => return Err(e.into()),
        }
        let message = format!("another process has the log in {} open", path.display());
        Err(io::Error::new(io::ErrorKind::WouldBlock, message))
    }
}

impl Files for FolderFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn OpenFile>> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        Ok(Box::new(Opened(options.open(self.path.join(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(Opened(OpenOptions::new().write(true).open(self.path.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn room(&self) -> io::Result<u64> {
        let about = rustix::fs::statvfs(&self.path)?;
        // Root may also use what is set aside for it.
        let blocks = if rustix::process::geteuid().is_root() { about.f_bfree } else { about.f_bavail };
        Ok(blocks.saturating_mul(about.f_frsize))
    }
}

#[derive(Debug)]
struct Opened(File);

impl OpenFile for Opened {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
pub(crate) mod memory;
