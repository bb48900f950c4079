//! Socket paths of any length: the kernel's address holds 107 bytes, a data folder's path may be longer.

use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Bytes of a path that fit beside the final zero into a `sockaddr_un`.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A spelling of a socket's path that fits into an address: the path itself, or one through the opened folder. Holds
/// the folder open, so keep it for as long as the spelling is used.
pub(crate) struct ShortPath {
    path: PathBuf,
    _folder: Option<OwnedFd>,
}

impl ShortPath {
    /// Opens the folder of a path that is too long. The path itself need not exist, its folder must.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            return Ok(Self { path: path.into(), _folder: None });
        }
        let nameless = || io::Error::new(io::ErrorKind::InvalidInput, "the path of a socket must end with its name");
        let name = path.file_name().ok_or_else(nameless)?;
        let folder = path.parent().ok_or_else(nameless)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(folder, flags, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }

    /// The spelling.
    pub(crate) fn as_path(&self) -> &Path {
        &self.path
    }
}
