//! Mount points: finding them in a half-made view, and making them where the machine has none.

use super::view::{attach, clone_of, read_only};
use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, mkdirat, openat2},
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{fchdir, pivot_root},
};
use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::{Component, Path, PathBuf},
};

/// Most entries of a folder that is rebuilt out of mounts: a system's `/` and `/etc` have fewer, and each costs a mount.
const ENTRIES_MAX: usize = 4_096;

/// Most links on the way to a mount point, as in the kernel.
const LINKS_MAX: usize = 40;

/// How there comes to be a mount point in something that is mounted.
#[derive(Debug)]
pub(super) enum Room {
    /// It is made: a tmpfs that is the task's alone, and lives as long as the view.
    Free,
    /// It is made: a folder of the task's own on a disk, opened here as its owners have it.
    Own(OwnedFd),
    /// The folder that should have it is rebuilt.
    Copy,
    /// It has to be there: others write there, whose files a copy would not show, or nobody may.
    None,
}

/// What has been mounted, and in which of it folders may be made.
#[derive(Debug, Default)]
pub(super) struct Points {
    /// By path without links.
    mounts: BTreeMap<PathBuf, Room>,
    /// The folders that were rebuilt.
    rebuilt: Vec<PathBuf>,
}

/// A path as far as it exists, without links, and the rest of it.
struct Found {
    folder: PathBuf,
    missing: Vec<OsString>,
}

impl Points {
    /// The path without links, which is a folder or a file as wanted, and was made if it did not exist.
    pub(super) fn ensure(&mut self, at: &Path, folder: bool) -> io::Result<PathBuf> {
        let found = self.reach(at, folder)?;
        let mut path = found.folder;
        let Some((name, above)) = found.missing.split_last() else { return Ok(path) };
        for name in above {
            path.push(name);
            DirBuilder::new().mode(0o755).create(&path)?;
        }
        path.push(name);
        if folder {
            DirBuilder::new().mode(0o755).create(&path)?;
        } else {
            OpenOptions::new().create_new(true).write(true).mode(0o444).open(&path)?;
        }
        Ok(path)
    }

    /// Makes a link there.
    pub(super) fn link(&mut self, at: &Path, to: &Path) -> io::Result<()> {
        let (Some(above), Some(name)) = (at.parent(), at.file_name()) else { return Err(Errno::INVAL.into()) };
        let above = self.ensure(above, true)?;
        symlink(to, above.join(name))
    }

    /// Something has been mounted there.
    pub(super) fn mounted(&mut self, at: PathBuf, room: Room) {
        self.mounts.retain(|path, _| !path.starts_with(&at)); // it is hidden now
        self.mounts.insert(at, room);
    }

    /// No more mount points are made.
    pub(super) fn close(self) -> io::Result<()> {
        self.rebuilt.iter().try_for_each(|folder| read_only(folder))
    }

    /// Finds the path; where some of it is missing, what exists of it lies on a tmpfs of ours afterwards, or it was made.
    fn reach(&mut self, at: &Path, folder: bool) -> io::Result<Found> {
        let found = find(at)?;
        if found.missing.is_empty() {
            return Ok(found);
        }
        let on = self
            .mounts
            .iter()
            .filter(|(path, _)| found.folder.starts_with(path))
            .max_by_key(|(path, _)| path.as_os_str().len());
        match on {
            Some((_, Room::Free)) => return Ok(found),
            Some((above, Room::Own(disk))) => {
                let inside = found.folder.strip_prefix(above).unwrap_or(&found.folder);
                make_own(disk, inside, &found.missing, folder)?;
                let path = found.missing.iter().fold(found.folder, |path, name| path.join(name));
                return Ok(Found { folder: path, missing: vec![] });
            }
            Some((above, Room::None)) => {
                return Err(io::Error::other(format!(
                    "it is missing in what is mounted at {}, where nothing is made for a task: make it there, or mount it \
                     elsewhere",
                    above.display()
                )));
            }
            Some((_, Room::Copy)) | None => {}
        }
        for entry in rebuild(&found.folder)? {
            self.mounts.entry(entry).or_insert(Room::Copy); // it is the machine's, as before
        }
        self.mounts.insert(found.folder.clone(), Room::Free);
        self.rebuilt.push(found.folder.clone());
        Ok(found)
    }
}

/// Makes a mount point in a folder of the task's own. What lies there was written by tasks: no link is followed, and nothing
/// is made but below `disk`, for whoever owns the folder that gets it.
fn make_own(disk: &OwnedFd, inside: &Path, missing: &[OsString], folder: bool) -> io::Result<()> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
    let search = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut above = openat2(disk, inside, search, Mode::empty(), beneath)?;
    for (at, name) in missing.iter().enumerate() {
        let name = name.as_os_str();
        if folder || at + 1 < missing.len() {
            mkdirat(&above, name, Mode::from_raw_mode(0o755))?;
        } else {
            let make = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            openat2(&above, name, make, Mode::from_raw_mode(0o644), beneath)?;
        }
        let owner = fstat(&above)?;
        let (uid, gid) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
        // Without root there is one owner of all.
        let _ = chownat(&above, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        if at + 1 < missing.len() {
            above = openat2(&above, name, search, Mode::empty(), beneath)?;
        }
    }
    Ok(())
}

/// Follows the path and its links one by one.
fn find(at: &Path) -> io::Result<Found> {
    let name = |component: Component<'_>| component.as_os_str().to_owned();
    let mut rest: VecDeque<OsString> = at.components().map(name).collect();
    let (mut folder, mut links) = (PathBuf::from("/"), 0);
    while let Some(next) = rest.pop_front() {
        if next == "/" || next == "." {
            continue;
        }
        if next == ".." {
            folder.pop();
            continue;
        }
        let path = folder.join(&next);
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_symlink() => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                let target = fs::read_link(&path)?;
                if target.is_absolute() {
                    folder = PathBuf::from("/");
                }
                target.components().rev().for_each(|component| rest.push_front(name(component)));
            }
            Ok(_) => folder = path,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let missing: Vec<OsString> = std::iter::once(next).chain(rest).collect();
                return if missing.iter().any(|name| name == "..") { Err(e) } else { Ok(Found { folder, missing }) };
            }
            Err(e) => return Err(e),
        }
    }
    Ok(Found { folder, missing: vec![] })
}

/// Replaces a folder by a tmpfs that has all its entries, so that there is room for one more. Gives those that are mounts.
fn rebuild(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let about = fs::metadata(folder)?;
    if !about.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    let root = folder == Path::new("/");
    let old = File::open(folder)?;
    let entries = entries(folder)?;
    let options = c"mode=0755,size=1m,nr_inodes=8k";
    // A new root cannot be seen by its path before it is stepped into, so it is made over a folder that every machine has.
    let draft = if root { Path::new("/proc") } else { folder };
    let mut taken = Vec::with_capacity(entries.len());
    for entry in entries {
        let kind = entry.file_type()?;
        let kept = if kind.is_symlink() {
            Kept::Link(fs::read_link(entry.path())?)
        } else {
            Kept::Tree(clone_of(&entry.path())?, kind.is_dir())
        };
        taken.push((entry.file_name(), kept));
    }
    mount("taffeta", draft, "tmpfs", MountFlags::NODEV, options)?;
    let mut mounts = vec![];
    for (name, kept) in taken {
        let path = draft.join(&name);
        if matches!(kept, Kept::Tree(..)) {
            mounts.push(folder.join(&name));
        }
        match kept {
            Kept::Link(to) => symlink(to, path)?,
            Kept::Tree(tree, true) => {
                fs::create_dir(&path)?;
                attach(&tree, &path)?;
            }
            Kept::Tree(tree, false) => {
                File::create(&path)?;
                attach(&tree, &path)?;
            }
        }
    }
    fs::set_permissions(draft, Permissions::from_mode(about.permissions().mode() & 0o7777))?;
    if root {
        enter_root(draft, &old)?;
    }
    Ok(mounts)
}

/// An entry of a folder that is rebuilt.
enum Kept {
    Link(PathBuf),
    Tree(OwnedFd, bool),
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let entries = fs::read_dir(folder)?.take(ENTRIES_MAX + 1).collect::<io::Result<Vec<_>>>()?;
    if entries.len() > ENTRIES_MAX {
        let why = format!("{} has too many entries to make a mount point in it", folder.display());
        return Err(io::Error::other(why));
    }
    Ok(entries)
}

/// Makes the new root the root of this mount namespace, and lets go of the old one (pivot_root(2), "pivot_root(., .)").
fn enter_root(new: &Path, old: &File) -> io::Result<()> {
    fchdir(File::open(new)?)?;
    pivot_root(".", ".")?;
    fchdir(old)?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}
