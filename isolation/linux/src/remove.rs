//! Removing a folder with all that a task has put into it, however deep and however forbidden that is.
//!
//! No recursion and at most three open files: a folder in a folder is emptied by moving what is not empty in it up, beside
//! itself, until nothing is left. No link is followed and no mount is entered: a folder in which something is mounted stays,
//! and is told. Left out: ending whoever might go on writing, which comes first.

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, SeekFrom, chmod, fchmod, openat,
        openat2, renameat, renameat_with, seek, unlinkat,
    },
    io::Errno,
};
use std::{
    ffi::CStr,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// Looks at the whole folder: each but the last removes or moves something, and a chain of folders takes one for each. More
/// than any disk has folders in a chain; somebody who goes on making files is not followed for ever.
const LOOKS_MAX: u32 = 50_000_000;

/// Begins the names under which folders are moved up.
const MOVED: &str = ".gone-";

/// Names that are read at once. None is longer than 255 bytes.
const NAMES_BYTES: usize = 16 << 10;

/// Removes a folder and all below it; a link or a file alone. What goes meanwhile is no error; that nothing was there is one.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = match opened(|more| openat(CWD, path, flags | more, Mode::empty())) {
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(unlinkat(CWD, path, AtFlags::empty())?),
        opened => opened?,
    };
    Emptying { top: top.as_fd(), moved: 0 }.run()?;
    Ok(unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

/// A folder that is being emptied.
struct Emptying<'a> {
    top: BorrowedFd<'a>,
    /// How many folders were moved up, or were in the way of one.
    moved: u64,
}

impl Emptying<'_> {
    fn run(&mut self) -> Result<(), Errno> {
        for _ in 0..LOOKS_MAX {
            if !self.look()? {
                return Ok(());
            }
        }
        Err(Errno::NOTEMPTY)
    }

    /// Goes through the folder once; whether anything was in it.
    fn look(&mut self) -> Result<bool, Errno> {
        let top = self.top;
        each(top, |name, kind| {
            if !removed(top, name, kind)? {
                self.empty(name)?;
            }
            Ok(())
        })
    }

    /// Empties a folder of this one, and removes it. It stays if something is put into it meanwhile.
    fn empty(&mut self, name: &CStr) -> Result<(), Errno> {
        let child = match open_inner(self.top, name) {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened?,
        };
        each(child.as_fd(), |inner, kind| {
            if !removed(child.as_fd(), inner, kind)? {
                self.move_up(child.as_fd(), inner)?;
            }
            Ok(())
        })?;
        match unlinkat(self.top, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            done => done,
        }
    }

    /// Moves a folder of `from` into this one, under a name that nobody has.
    fn move_up(&mut self, from: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        let mut denied = false;
        loop {
            let free = format!("{MOVED}{}", self.moved);
            self.moved += 1;
            match renamed(from, name, self.top, &free) {
                // The task has made one of this name. It has not made more than there are files.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                // Whoever is not root has to be allowed to write to what gets another folder above.
                Err(Errno::ACCESS) if !denied => {
                    denied = true;
                    open_inner(from, name)?;
                }
                Err(Errno::NOENT) => return Ok(()),
                done => return done,
            }
        }
    }
}

/// Without replacing anything, where the file system knows how; elsewhere an empty folder at most.
fn renamed(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, free: &str) -> Result<(), Errno> {
    match renameat_with(from, name, to, free, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => renameat(from, name, to, free),
        done => done,
    }
}

/// Does something for each entry, from the first on; whether there was any.
fn each(folder: BorrowedFd<'_>, mut act: impl FnMut(&CStr, FileType) -> Result<(), Errno>) -> Result<bool, Errno> {
    seek(folder, SeekFrom::Start(0))?;
    let mut buffer = [MaybeUninit::uninit(); NAMES_BYTES];
    let (mut entries, mut any) = (RawDir::new(folder, &mut buffer), false);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        any = true;
        act(entry.file_name(), entry.file_type())?;
    }
    Ok(any)
}

/// Removes a file, a link or an empty folder; false if it is a folder that is not empty.
fn removed(at: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<bool, Errno> {
    if kind != FileType::Directory {
        match unlinkat(at, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            Err(Errno::ISDIR) => {} // a file system that does not tell what an entry is
            Err(e) => return Err(e),
        }
    }
    match unlinkat(at, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Opens a folder of a folder; none in which something else is mounted.
fn open_inner(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    opened(|more| openat2(at, name, flags | more, Mode::empty(), ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS))
}

/// Opens a folder to be read and written to, whatever the task has forbidden itself: it is the owner's to allow.
fn opened(open: impl Fn(OFlags) -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    let folder = match open(OFlags::RDONLY) {
        Err(Errno::ACCESS) => {
            let found = open(OFlags::PATH)?;
            // What was opened, whatever was put in its place meanwhile.
            chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), Mode::RWXU)?;
            drop(found); // one open file less
            open(OFlags::RDONLY)?
        }
        opened => opened?,
    };
    // One that may be read may still not be written to. Whose it is not hears of it from what follows.
    let _ = fchmod(&folder, Mode::RWXU);
    Ok(folder)
}

#[cfg(test)]
mod tests;
