//! A `/dev` with the devices that any program may use.

use super::view::{attach, clone_of, mount_tmpfs, read_only};
use crate::sys::{Attributes, Which};
use rustix::{
    fs::{CWD, Dev, FileType, Mode, mknodat},
    io::Errno,
    mount::{MountFlags, mount},
};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt, symlink},
    },
    path::Path,
};

/// The devices, all of them with permission bits 0666.
const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What programs expect to be links.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The machine's devices, and its `/dev/shm` if that is wanted.
pub(super) struct Taken {
    nodes: Vec<(&'static str, OwnedFd, Dev)>,
    shm: Option<OwnedFd>,
}

/// Opens the machine's devices. Those that it does not have are left out.
pub(super) fn take(shm: bool) -> io::Result<Taken> {
    let mut nodes = vec![];
    for name in NODES {
        let path = Path::new("/dev").join(name);
        match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
            Ok(about) => nodes.push((name, clone_of(&path)?, about.rdev())),
        }
    }
    let path = Path::new("/dev/shm");
    let shm = if shm && path.is_dir() { Some(clone_of(path)?) } else { None };
    if let Some(tree) = &shm {
        Attributes { no_devices: true, no_setuid: true, ..Attributes::default() }.set(Which::Tree(tree.as_fd()))?;
    }
    Ok(Taken { nodes, shm })
}

/// Mounts it. `shm_bytes` is the size of `/dev/shm`; without it, the machine's own is kept.
pub(super) fn make(Taken { nodes, shm }: Taken, shm_bytes: Option<u64>) -> io::Result<()> {
    let dev = Path::new("/dev");
    mount("taffeta", dev, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=0755,size=64k,nr_inodes=64")?;
    for (name, tree, number) in &nodes {
        make_node(&dev.join(name), tree, *number)?;
    }
    for (name, to) in LINKS {
        symlink(to, dev.join(name))?;
    }
    for name in ["pts", "shm"] {
        fs::create_dir(dev.join(name))?;
    }
    make_terminals(&dev.join("pts"))?;
    match (shm_bytes, shm) {
        (Some(bytes), _) => mount_tmpfs(&dev.join("shm"), bytes, 0o1777)?,
        (None, Some(tree)) => attach(&tree, &dev.join("shm"))?,
        (None, None) => {}
    }
    read_only(dev)
}

/// A device of its own, or where that is not permitted, the machine's: as in a user namespace.
fn make_node(at: &Path, machines: &OwnedFd, number: Dev) -> io::Result<()> {
    match mknodat(CWD, at, FileType::CharacterDevice, Mode::from_raw_mode(0o666), number) {
        Err(Errno::PERM) => {
            File::create(at)?;
            attach(machines, at)
        }
        made => Ok(made?),
    }
}

/// Terminals of its own. The group of terminals is 5 on all distributions; a user namespace may have no such group.
fn make_terminals(at: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let with_group = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    match mount("devpts", at, "devpts", flags, with_group) {
        Err(Errno::INVAL) => Ok(mount("devpts", at, "devpts", flags, c"newinstance,ptmxmode=0666,mode=0620")?),
        mounted => Ok(mounted?),
    }
}
