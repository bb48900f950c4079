//! The size of a folder, enforced by the file system: project quotas of ext4 and XFS.
//!
//! A project is a number that a folder gives to all that is made in it; the file system counts by it and refuses what would
//! be too much (EDQUOT). It has to be mounted with `prjquota`; where it is not, the caller is told why, and measures.
#![allow(unsafe_code, reason = "no crate of ours knows quotactl and the project of a folder; each block is justified")]

use rustix::fs::{Mode, OFlags, open};
use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::Path,
};
use thiserror::Error;

/// Our projects: 24 bits of them, where nobody else's are by custom (those of `/etc/projid` are small).
const PROJECTS: u32 = 0x5400_0000;
const PROJECTS_MASK: u32 = 0x00ff_ffff;
/// Numbers that are tried for a new project until one is free.
const TRIES: u32 = 64;
/// Limits are given in units of this many bytes.
const BLOCK: u64 = 1024;

const FS_IOC_FSGETXATTR: libc::c_ulong = 0x801c_581f;
const FS_IOC_FSSETXATTR: libc::c_ulong = 0x401c_5820;
const FS_XFLAG_PROJINHERIT: u32 = 0x200;
const Q_GETQUOTA: libc::c_int = 0x80_0007;
const Q_SETQUOTA: libc::c_int = 0x80_0008;
const QIF_BLIMITS: u32 = 1;
const PRJQUOTA: libc::c_int = 2;

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FsXattr {
    xflags: u32,
    extsize: u32,
    nextents: u32,
    projid: u32,
    cowextsize: u32,
    pad: [u8; 8],
}

/// `struct if_dqblk` of linux/quota.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Dqblk {
    bhardlimit: u64,
    bsoftlimit: u64,
    curspace: u64,
    ihardlimit: u64,
    isoftlimit: u64,
    curinodes: u64,
    btime: u64,
    itime: u64,
    valid: u32,
}

/// Why the file system does not bound a folder.
#[derive(Debug, Error)]
pub enum NoQuota {
    /// It cannot, in words. Nothing was changed.
    #[error("{0}")]
    Impossible(&'static str),
    /// It failed; the folder may be without a bound.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// A folder that the file system bounds.
#[derive(Debug)]
pub struct ProjectQuota {
    folder: OwnedFd,
    project: u32,
}

impl ProjectQuota {
    /// Bounds a folder and all that comes into it to so many bytes. It has to be empty, or to have a bound already, which
    /// is changed.
    pub fn set(path: &Path, bytes: u64) -> Result<Self, NoQuota> {
        let quota = match Self::of(path)? {
            Some(quota) => quota,
            None if fs::read_dir(path)?.next().is_some() => {
                return Err(NoQuota::Impossible("it held files before its file system had quotas"));
            }
            None => Self::choose(path)?,
        };
        quota.limit(bytes.div_ceil(BLOCK))?;
        quota.join()?;
        Ok(quota)
    }

    /// The bound that a folder has, if it has one of ours.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let folder = opened(path)?;
        let project = attributes(&folder).map_or(0, |attributes| attributes.projid);
        let ours = project & !PROJECTS_MASK == PROJECTS;
        Ok(ours.then_some(Self { folder, project }))
    }

    /// Bytes that are in it.
    pub fn used(&self) -> io::Result<u64> {
        Ok(self.look()?.curspace)
    }

    /// Bytes that may be in it; 0 without a bound.
    pub fn bound(&self) -> io::Result<u64> {
        Ok(self.look()?.bhardlimit.saturating_mul(BLOCK))
    }

    /// Takes the bound away: the number is free again once the folder is gone.
    pub fn lift(&self) -> io::Result<()> {
        self.limit(0)
    }

    /// A number that nobody uses, the same for the same path as long as it is free.
    fn choose(path: &Path) -> Result<Self, NoQuota> {
        let folder = opened(path)?;
        let begin = taffeta_model::fnv1a(path.as_os_str().as_bytes()) as u32;
        let mut quota = Self { folder, project: 0 };
        for at in 0..TRIES {
            quota.project = PROJECTS | (begin.wrapping_add(at) & PROJECTS_MASK);
            match quota.look() {
                Ok(found) if found.curspace == 0 && found.bhardlimit == 0 => return Ok(quota),
                Ok(_) => {}
                Err(e) => return Err(because(e)),
            }
        }
        Err(NoQuota::Impossible("no free project number was found"))
    }

    fn look(&self) -> io::Result<Dqblk> {
        let mut found = Dqblk::default();
        match self.quotactl(Q_GETQUOTA, &mut found) {
            // XFS knows a project only once something is in it.
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(Dqblk::default()),
            done => done.map(|()| found),
        }
    }

    fn limit(&self, blocks: u64) -> io::Result<()> {
        let mut wanted = Dqblk { bhardlimit: blocks, bsoftlimit: blocks, valid: QIF_BLIMITS, ..Dqblk::default() };
        self.quotactl(Q_SETQUOTA, &mut wanted)
    }

    fn quotactl(&self, command: libc::c_int, block: &mut Dqblk) -> io::Result<()> {
        let command = (command << 8) | PRJQUOTA;
        // SAFETY: the descriptor is open for the whole call, and `block` is a whole `if_dqblk` that nobody else has, which
        // the kernel reads or writes and no more than that.
        let done = unsafe {
            libc::syscall(
                libc::SYS_quotactl_fd,
                self.folder.as_raw_fd(),
                command,
                self.project,
                std::ptr::from_mut(block),
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Gives the folder its number, which all that is made in it inherits.
    fn join(&self) -> io::Result<()> {
        let mut attributes = attributes(&self.folder)?;
        if attributes.projid == self.project && attributes.xflags & FS_XFLAG_PROJINHERIT != 0 {
            return Ok(());
        }
        attributes.projid = self.project;
        attributes.xflags |= FS_XFLAG_PROJINHERIT;
        // SAFETY: the descriptor is open for the whole call, and `attributes` is a whole `fsxattr`, which is only read.
        let done = unsafe { libc::ioctl(self.folder.as_raw_fd(), FS_IOC_FSSETXATTR as _, &raw const attributes) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn opened(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

fn attributes(folder: &OwnedFd) -> io::Result<FsXattr> {
    let mut attributes = FsXattr::default();
    // SAFETY: the descriptor is open for the whole call, and `attributes` is a whole `fsxattr` that nobody else has, which
    // the kernel fills.
    let done = unsafe { libc::ioctl(folder.as_raw_fd(), FS_IOC_FSGETXATTR as _, &raw mut attributes) };
    if done == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

/// What a refusal of the kernel means.
fn because(error: io::Error) -> NoQuota {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => NoQuota::Impossible("only root may set quotas"),
        Some(libc::ENOSYS) => NoQuota::Impossible("this kernel is older than 5.14, or has no quotas"),
        Some(libc::ESRCH | libc::EOPNOTSUPP | libc::ENOTTY | libc::EINVAL | libc::ENODEV | libc::ENOTBLK) => {
            NoQuota::Impossible("its file system is not mounted with prjquota")
        }
        _ => NoQuota::Failed(error),
    }
}
