//! Looking into the working folder of a run, which its task fills with whatever it likes.
//!
//! The kernel resolves the path beneath the folder (`openat2`), so that no link leads out of it, at whatever moment it is
//! put there. What is found is looked at before it is opened: opening a pipe would wake its writer, a device might act.

use crate::{beneath::find_beneath, record::read_record};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat},
    io::Errno,
};
use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::FileExt},
    },
    path::{Component, Path, PathBuf},
};
use taffeta_isolation_plan::{
    ENTRIES_MAX, FileAsk, FileEntry, FileError, FileKind, FilePiece, FileTold, SPEC_FILE, TaskSpec, WORK_FOLDER,
};
use taffeta_model::UnixMillis;

/// Most bytes of one piece.
const PIECE_BYTES_MAX: u32 = 1 << 20;

/// Looks at what is there.
pub(crate) fn look(run: &Path, run_id: &str, ask: &FileAsk) -> Result<FileTold, FileError> {
    let spec: Option<TaskSpec> = read_record(&run.join(SPEC_FILE)).ok().flatten();
    let spec = spec.ok_or_else(|| FileError::Unknown(run_id.to_owned()))?;
    let found = find(run, &spec, &ask.path)?;
    let failed = |e: Errno| FileError::Failed(ask.path.clone(), io::Error::from(e).to_string());
    let about = fstat(&found).map_err(failed)?;
    match FileType::from_raw_mode(about.st_mode) {
        FileType::Directory => list(&found).map_err(failed),
        FileType::RegularFile => read(&found, &about, ask)
            .map(FileTold::Piece)
            .map_err(|e| FileError::Failed(ask.path.clone(), e.to_string())),
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Err(FileError::NotAFile(ask.path.clone())),
    }
}

/// The file or folder, not opened for anything yet.
fn find(run: &Path, spec: &TaskSpec, path: &str) -> Result<OwnedFd, FileError> {
    let outside = || FileError::Outside(path.to_owned());
    let asked = Path::new(path);
    if asked.components().any(|part| matches!(part, Component::RootDir | Component::Prefix(_))) {
        return Err(outside());
    }
    let (root, below) = root_of(run, spec, asked);
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = |e: Errno| FileError::Failed(path.to_owned(), io::Error::from(e).to_string());
    let root = openat(CWD, &root, folder, Mode::empty()).map_err(failed)?;
    match find_beneath(&root, &below) {
        Ok(found) => Ok(found),
        Err(Errno::XDEV | Errno::LOOP) => Err(outside()),
        Err(Errno::NOENT | Errno::NOTDIR) => Err(FileError::NotFound(path.to_owned())),
        Err(e) => Err(failed(e)),
    }
}

/// Where a path begins: in the working folder, or in a volume whose link there is its first part.
fn root_of(run: &Path, spec: &TaskSpec, path: &Path) -> (PathBuf, PathBuf) {
    let mut parts = path.components();
    let mut rest = parts.as_path();
    while let Some(part) = parts.next() {
        match part {
            Component::CurDir => rest = parts.as_path(),
            Component::Normal(first) => {
                if let Some(volume) = first.to_str().and_then(|name| spec.links.get(name)) {
                    return (volume.clone(), Path::new(".").join(parts.as_path()));
                }
                break;
            }
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => break,
        }
    }
    (run.join(WORK_FOLDER), Path::new(".").join(rest))
}

/// Opens it again, now to be read: whatever was put in its place meanwhile is not met.
fn reopen(found: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    openat(CWD, itself, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY | flags, Mode::empty())
}

fn read(found: &OwnedFd, about: &Stat, ask: &FileAsk) -> io::Result<FilePiece> {
    let file = File::from(reopen(found, OFlags::empty())?);
    let mut bytes = vec![0; ask.bytes_max.min(PIECE_BYTES_MAX) as usize];
    // Nothing lies so far that the kernel cannot count to it.
    let offset = ask.offset.min(i64::MAX as u64 - u64::from(PIECE_BYTES_MAX));
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(length);
    Ok(FilePiece { bytes, size: u64::try_from(about.st_size).unwrap_or_default(), identity: about.st_ino })
}

fn list(found: &OwnedFd) -> Result<FileTold, Errno> {
    let folder = reopen(found, OFlags::DIRECTORY)?;
    let (mut entries, mut more) = (vec![], false);
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        if entries.len() == ENTRIES_MAX {
            more = true;
            break;
        }
        // One that has gone meanwhile is not there.
        if let Ok(about) = statat(folder.as_fd(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()).to_string_lossy().into_owned();
            entries.push(describe(name, &about));
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(FileTold::Folder { entries, more })
}

fn describe(name: String, about: &Stat) -> FileEntry {
    let kind = match FileType::from_raw_mode(about.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Folder,
        FileType::Symlink => FileKind::Link,
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => {
            FileKind::Other
        }
    };
    let millis = i128::from(about.st_mtime) * 1_000 + i128::from(about.st_mtime_nsec) / 1_000_000;
    FileEntry {
        name,
        kind,
        size: u64::try_from(about.st_size).unwrap_or_default(),
        mode: about.st_mode & 0o7777,
        modified: UnixMillis(u64::try_from(millis).unwrap_or_default()),
    }
}
