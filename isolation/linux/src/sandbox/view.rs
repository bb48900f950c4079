//! Turning the machine's files into what a task sees, in a mount namespace of the caller's own.
//!
//! Nothing is ever made or changed on the machine's file systems: where a mount point is missing, the folder that should
//! have it is replaced by a copy made of mounts, one for each of its entries. In what is the task's own the mount point is
//! made, as a copy would take what the task writes beside it.

use super::{
    devices,
    points::{Points, Room},
};
use crate::sys::{Attributes, Which};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change, move_mount, open_tree,
    },
};
use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};
use taffeta_isolation_plan::{Bind, ViewStep};

/// Flags of all that is mounted for a task: what lies there was written by tasks.
pub(super) const TASKS_OWN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Performs the steps. `ids` is the user namespace whose ids own what is the task's own. The error says which step failed.
pub(super) fn perform(steps: &[ViewStep], ids: Option<BorrowedFd<'_>>) -> Result<(), String> {
    let failed = |step: &ViewStep, e: io::Error| format!("cannot {step}: {e}");
    // What the machine unmounts goes from here, too; what is mounted here is seen by nobody else.
    let apart = mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC);
    apart.map_err(|e| format!("cannot part the task's mounts from the machine's: {e}"))?;
    let mut taken = Vec::with_capacity(steps.len());
    for step in steps {
        taken.push(take(step, ids).map_err(|e| failed(step, e))?);
    }
    let mut points = Points::default();
    for (step, taken) in steps.iter().zip(taken) {
        perform_one(step, taken, &mut points).map_err(|e| failed(step, e))?;
    }
    if steps.iter().any(|step| matches!(step, ViewStep::Seal { .. })) {
        points.close().map_err(|e| format!("cannot make the mount points read-only: {e}"))?;
    }
    Ok(())
}

/// What a step needs of the machine, opened before anything is hidden.
enum Taken {
    Nothing,
    /// There is no such thing, and the step is left out.
    Absent,
    Tree(Tree),
    Devices(devices::Taken),
}

/// A file or folder that is mounted nowhere yet.
struct Tree {
    fd: OwnedFd,
    folder: bool,
    room: Room,
}

fn take(step: &ViewStep, ids: Option<BorrowedFd<'_>>) -> io::Result<Taken> {
    match step {
        ViewStep::Bind(bind) => match take_tree(bind, ids) {
            Err(e) if bind.optional && e.kind() == io::ErrorKind::NotFound => Ok(Taken::Absent),
            taken => taken.map(Taken::Tree),
        },
        ViewStep::Devices { shm_bytes } => devices::take(shm_bytes.is_none()).map(Taken::Devices),
        ViewStep::Seal { .. }
        | ViewStep::Tmpfs { .. }
        | ViewStep::Link { .. }
        | ViewStep::Close { .. }
        | ViewStep::Proc
        | ViewStep::Mask { .. }
        | ViewStep::ReadOnly { .. } => Ok(Taken::Nothing),
    }
}

fn take_tree(bind: &Bind, ids: Option<BorrowedFd<'_>>) -> io::Result<Tree> {
    let (folder, fd) = if bind.own || bind.optional {
        (fs::metadata(&bind.from)?.is_dir(), clone_of(&bind.from)?)
    } else {
        plain_clone_of(&bind.from)?
    };
    let attributes =
        Attributes { read_only: bind.read_only, no_devices: true, no_setuid: true, ids_of: ids.filter(|_| bind.own) };
    // A second one, by which its owners are who they are on the disk.
    let room = match bind {
        Bind { own: true, read_only: false, .. } if folder => Room::Own(clone_of(&bind.from)?),
        Bind { optional: true, read_only: true, .. } => Room::Copy,
        Bind { .. } => Room::None,
    };
    attributes.set(Which::Tree(fd.as_fd()))?;
    Ok(Tree { fd, folder, room })
}

fn perform_one(step: &ViewStep, taken: Taken, points: &mut Points) -> io::Result<()> {
    match (step, taken) {
        (ViewStep::Seal { devices }, _) => {
            let sealed = Attributes { read_only: true, no_devices: !devices, ..Attributes::default() };
            Ok(sealed.set(Which::Below(Path::new("/")))?)
        }
        (ViewStep::Tmpfs { at, optional: true, .. }, _) if !at.is_dir() => Ok(()),
        (ViewStep::Tmpfs { at, bytes, mode, .. }, _) => {
            let at = points.ensure(at, true)?;
            mount_tmpfs(&at, *bytes, *mode)?;
            points.mounted(at, Room::Free);
            Ok(())
        }
        (ViewStep::Bind(bind), Taken::Tree(tree)) => {
            let at = points.ensure(&bind.at, tree.folder)?;
            attach(&tree.fd, &at)?;
            points.mounted(at, tree.room);
            Ok(())
        }
        (ViewStep::Devices { shm_bytes }, Taken::Devices(taken)) => {
            devices::make(taken, *shm_bytes)?;
            points.mounted("/dev".into(), Room::Copy);
            points.mounted("/dev/shm".into(), if shm_bytes.is_some() { Room::Free } else { Room::None });
            Ok(())
        }
        (ViewStep::Bind(_) | ViewStep::Devices { .. }, _) => Ok(()),
        (ViewStep::Link { at, to }, _) => points.link(at, to),
        (ViewStep::Close { at }, _) => {
            let at = points.ensure(at, true)?;
            read_only(&at)?;
            points.mounted(at, Room::Copy);
            Ok(())
        }
        (ViewStep::Proc, _) => {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            Ok(mount("proc", "/proc", "proc", flags, None)?)
        }
        (ViewStep::Mask { at }, _) => mask(at),
        (ViewStep::ReadOnly { at }, _) => match clone_of(at) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(tree) => {
                Attributes { read_only: true, ..Attributes::default() }.set(Which::Tree(tree.as_fd()))?;
                attach(&tree, at)
            }
        },
    }
}

/// Covers a file with one that is empty, a folder with one that is.
fn mask(at: &Path) -> io::Result<()> {
    match fs::canonicalize(at) {
        // What nobody but root can reach needs no mask where nobody is.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
        Err(e) => Err(e),
        Ok(at) if at.is_dir() => {
            let flags = TASKS_OWN | MountFlags::RDONLY | MountFlags::NOEXEC;
            Ok(mount("taffeta", &at, "tmpfs", flags, c"mode=0555,size=4k,nr_inodes=2")?)
        }
        Ok(at) => attach(&clone_of(Path::new("/dev/null"))?, &at),
    }
}

/// What is at a path, with what is mounted below, mounted nowhere.
pub(super) fn clone_of(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

/// The same of what an operator has allowed: the path was without links when it was looked at, and whoever may write on the
/// way has made none since.
fn plain_clone_of(path: &Path) -> io::Result<(bool, OwnedFd)> {
    let plain = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), plain)?;
    let folder = FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Directory;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok((folder, open_tree(found, "", flags | OpenTreeFlags::AT_EMPTY_PATH)?))
}

/// Mounts it there; `at` leads through no link.
pub(super) fn attach(tree: &OwnedFd, at: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// An empty tmpfs. A file in it costs a page of kernel memory at most, so that its size bounds their number, too.
pub(super) fn mount_tmpfs(at: &Path, bytes: u64, mode: u32) -> io::Result<()> {
    let options = format!("mode={mode:o},size={bytes},nr_inodes={}", (bytes >> 12).max(64));
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    Ok(mount("taffeta", at, "tmpfs", TASKS_OWN, options.as_c_str())?)
}

pub(super) fn read_only(at: &Path) -> io::Result<()> {
    Ok(Attributes { read_only: true, ..Attributes::default() }.set(Which::At(at))?)
}
