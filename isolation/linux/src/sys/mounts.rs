//! mount_setattr(2), since Linux 5.12.

use rustix::io::Errno;
use std::{
    ffi::CString,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// What is changed of mounts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attributes<'a> {
    /// Nothing can be written to their files.
    pub(crate) read_only: bool,
    /// Device files do not work, and programs give nobody more rights.
    pub(crate) no_devices: bool,
    pub(crate) no_setuid: bool,
    /// Owners are mapped as in this user namespace. Only for mounts that are not attached yet.
    pub(crate) ids_of: Option<BorrowedFd<'a>>,
}

/// Which mounts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    /// The one that an open_tree(2) has given, with what is mounted below.
    Tree(BorrowedFd<'a>),
    /// The one at this path.
    At(&'a Path),
    /// The one at this path, with what is mounted below.
    Below(&'a Path),
}

impl Attributes<'_> {
    /// Changes the mounts, all or none.
    pub(crate) fn set(self, which: Which<'_>) -> Result<(), Errno> {
        let flag = |wanted: bool, flag: u64| if wanted { flag } else { 0 };
        let attributes = libc::mount_attr {
            attr_set: flag(self.read_only, libc::MOUNT_ATTR_RDONLY)
                | flag(self.no_devices, libc::MOUNT_ATTR_NODEV)
                | flag(self.no_setuid, libc::MOUNT_ATTR_NOSUID)
                | flag(self.ids_of.is_some(), libc::MOUNT_ATTR_IDMAP),
            attr_clr: 0,
            propagation: 0,
            userns_fd: self.ids_of.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
        };
        let (folder, path, flags) = match which {
            Which::Tree(tree) => (tree.as_raw_fd(), Path::new(""), libc::AT_EMPTY_PATH | libc::AT_RECURSIVE),
            Which::At(path) => (libc::AT_FDCWD, path, 0),
            Which::Below(path) => (libc::AT_FDCWD, path, libc::AT_RECURSIVE),
        };
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
        // SAFETY: the path is a C string and the structure whole, of the size that is told; both outlive the call, which
        // only reads them.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                folder,
                path.as_ptr(),
                flags,
                &raw const attributes,
                size_of::<libc::mount_attr>(),
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
        }
    }
}
