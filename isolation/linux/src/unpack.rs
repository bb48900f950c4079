//! Unpacking an archive that strangers have made: nothing of it lies, leads or counts outside of its folder.
//!
//! Each path is walked from the folder's own descriptor without following a link, so that no order of entries leads out.
//! Links come last, when nothing is written through them any more, and each is looked at by the kernel then. What the
//! archive may take is bounded beforehand: bytes, entries, and the names that are held in memory. Left out: owners, times,
//! devices, extended attributes, sparse files, zip.

use crate::beneath::find_beneath;
use flate2::bufread::MultiGzDecoder;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, linkat, mkdirat, openat, statat, symlinkat},
    io::Errno,
};
use ruzstd::decoding::StreamingDecoder;
use std::{
    ffi::OsString,
    fs::{File, Permissions},
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStringExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
};
use tar::{Entry, EntryType, PaxExtensions};

/// Most files, folders and links of one archive: a tree of the Linux kernel has fewer.
const ENTRIES_MAX: usize = 100_000;
/// Longest path or list of attributes of one entry in bytes: twice the kernel's PATH_MAX.
const NAME_BYTES_MAX: u64 = 8192;
/// Deepest folder.
const DEPTH_MAX: usize = 64;
/// What the archive itself may take beside its files: headers and padding of so many entries, with long names.
const OVERHEAD_MAX: u64 = 256 << 20;

/// Unpacks an archive into a folder, which is made unless it is there; what is in it stays, and is never replaced. What
/// was unpacked until an error stays, too.
pub(crate) fn unpack(archive: &Path, folder: &Path, bytes_max: u64) -> io::Result<()> {
    match mkdirat(CWD, folder, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    let root =
        openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let reader = Bounded { inner: decompressed(archive)?, left: bytes_max.saturating_add(OVERHEAD_MAX) };
    let mut tree = Tree { root, bytes_left: bytes_max, entries_left: ENTRIES_MAX, links: vec![] };
    let mut archive = tar::Archive::new(reader);
    let mut named = Named::default();
    // Raw: what stands for a long name would otherwise be read into memory whatever its size.
    for entry in archive.entries()?.raw(true) {
        tree.take(entry?, &mut named)?;
    }
    tree.make_links()
}

fn decompressed(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(64 << 10, File::open(path)?);
    let begin = file.fill_buf()?;
    if begin.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(MultiGzDecoder::new(file)))
    } else if begin.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Ok(Box::new(StreamingDecoder::new(file).map_err(io::Error::other)?))
    } else if begin.starts_with(b"PK") {
        Err(refused("it is a zip archive; tar, tar.gz and tar.zst can be unpacked"))
    } else {
        Ok(Box::new(file))
    }
}

/// Fails where more comes than was expected: what is cut off silently would look whole.
struct Bounded {
    inner: Box<dyn Read>,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| refused("it grows beyond all bounds"))?;
        Ok(read)
    }
}

/// What entries of their own say of the one that follows.
#[derive(Default)]
struct Named {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

struct Tree {
    root: OwnedFd,
    bytes_left: u64,
    entries_left: usize,
    /// Symbolic links: where they lie, and what they say.
    links: Vec<(Vec<OsString>, OsString)>,
}

impl Tree {
    fn take(&mut self, mut entry: Entry<'_, impl Read>, named: &mut Named) -> io::Result<()> {
        match entry.header().entry_type() {
            EntryType::GNULongName => {
                named.path = Some(text_of(&mut entry)?);
                return Ok(());
            }
            EntryType::GNULongLink => {
                named.link = Some(text_of(&mut entry)?);
                return Ok(());
            }
            EntryType::XHeader => return read_attributes(&mut entry, named),
            EntryType::XGlobalHeader => return Ok(()), // a comment, as of `git archive`
            _ => {}                                    // a foreign enum: what else there is follows
        }
        let Named { path, link } = std::mem::take(named);
        let path = path.unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let link = link.or_else(|| entry.header().link_name_bytes().map(|link| link.into_owned()));
        self.entries_left =
            self.entries_left.checked_sub(1).ok_or_else(|| refused("it has more than 100000 entries"))?;
        let parts = parts_of(&path)?;
        let failed = |e: io::Error| io::Error::new(e.kind(), format!("`{}`: {e}", shown(&path)));
        match (entry.header().entry_type(), parts.split_last()) {
            (EntryType::Directory, _) => self.folder(&parts).map(drop).map_err(failed),
            (_, None) => Err(refused(&format!("`{}` names no file", shown(&path)))),
            (EntryType::Regular | EntryType::Continuous, Some((name, parents))) => {
                self.file(&mut entry, parents, name).map_err(failed)
            }
            (EntryType::Symlink, Some((_, parents))) => {
                let target = OsString::from_vec(link.unwrap_or_default());
                check_link(parents.len(), &target).map_err(failed)?;
                self.links.push((parts, target));
                Ok(())
            }
            (EntryType::Link, Some((name, parents))) => {
                self.hard_link(&link.unwrap_or_default(), parents, name).map_err(failed)
            }
            (_, Some(_)) => Err(refused(&format!("`{}` is a device, a pipe or the like", shown(&path)))),
        }
    }

    /// Opens a folder, and makes what is missing of the way to it.
    fn folder(&self, parts: &[OsString]) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = self.root.try_clone()?;
        for part in parts {
            match mkdirat(&at, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            at = openat(&at, part, flags, Mode::empty())?;
        }
        Ok(at)
    }

    fn file(&mut self, entry: &mut Entry<'_, impl Read>, parents: &[OsString], name: &OsString) -> io::Result<()> {
        let size = entry.header().size()?;
        self.bytes_left =
            self.bytes_left.checked_sub(size).ok_or_else(|| refused("its files are too large together"))?;
        let folder = self.folder(parents)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&folder, name, flags, Mode::from_raw_mode(0o600))?);
        let copied = io::copy(entry, &mut file)?;
        if copied != size {
            return Err(refused("the archive is cut off"));
        }
        file.flush()?;
        // Whoever may read it may, and nothing else: no set-user-id, no writing for others.
        file.set_permissions(Permissions::from_mode(entry.header().mode()? & 0o755 | 0o600))
    }

    fn hard_link(&self, to: &[u8], parents: &[OsString], name: &OsString) -> io::Result<()> {
        let there = parts_of(to)?;
        let Some((there, there_parents)) = there.split_last() else { return Err(refused("a link to no file")) };
        let from = self.folder(there_parents)?;
        let kind = FileType::from_raw_mode(statat(&from, there, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
        if kind != FileType::RegularFile {
            return Err(refused("a link to what is no file"));
        }
        Ok(linkat(&from, there, self.folder(parents)?, name, AtFlags::empty())?)
    }

    fn make_links(self) -> io::Result<()> {
        let whole = |parts: &[OsString]| parts.iter().collect::<PathBuf>();
        for (parts, target) in &self.links {
            let Some((name, parents)) = parts.split_last() else { continue };
            let made = self.folder(parents).and_then(|folder| Ok(symlinkat(target, folder, name)?));
            made.map_err(|e| io::Error::new(e.kind(), format!("`{}`: {e}", whole(parts).display())))?;
        }
        // Several links that each look harmless may lead out together: now that all are there, the kernel says.
        for (parts, _) in &self.links {
            let path = whole(parts);
            match find_beneath(&self.root, &path) {
                // One that leads nowhere does no harm.
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => {}
                Err(Errno::XDEV) => return Err(refused(&format!("`{}` leads outside", path.display()))),
                Err(Errno::NOSYS) => return Err(refused("this kernel cannot check its links (openat2)")),
                Err(e) => return Err(refused(&format!("`{}` cannot be checked: {e}", path.display()))),
            }
        }
        Ok(())
    }
}

/// The parts of a path below the folder.
fn parts_of(path: &[u8]) -> io::Result<Vec<OsString>> {
    if path.starts_with(b"/") || path.contains(&0) {
        return Err(refused(&format!("`{}` is not inside of it", shown(path))));
    }
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&b"..".as_slice()) {
        return Err(refused(&format!("`{}` leads outside", shown(path))));
    }
    if parts.len() > DEPTH_MAX {
        return Err(refused(&format!("`{}` is too deep", shown(path))));
    }
    Ok(parts.into_iter().map(|part| OsString::from_vec(part.to_vec())).collect())
}

/// Refuses a link that leads out by what it says, seen from a folder so deep.
fn check_link(depth: usize, target: &OsString) -> io::Result<()> {
    let target = target.as_encoded_bytes();
    if target.is_empty() || target.starts_with(b"/") || target.contains(&0) {
        return Err(refused("a link that leads outside"));
    }
    let mut depth = depth;
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => depth = depth.checked_sub(1).ok_or_else(|| refused("a link that leads outside"))?,
            _ => depth += 1,
        }
    }
    Ok(())
}

/// The attributes that matter: names. What changes how the file itself is to be read is refused.
fn read_attributes(entry: &mut Entry<'_, impl Read>, named: &mut Named) -> io::Result<()> {
    let bytes = bytes_of(entry)?;
    for extension in PaxExtensions::new(&bytes) {
        let extension = extension?;
        match extension.key_bytes() {
            b"path" => named.path = Some(extension.value_bytes().to_vec()),
            b"linkpath" => named.link = Some(extension.value_bytes().to_vec()),
            b"size" => return Err(refused("a file of 8 GiB or more")),
            key if key.starts_with(b"GNU.sparse") => return Err(refused("a sparse file")),
            _ => {}
        }
    }
    Ok(())
}

/// A name that ends in a zero byte.
fn text_of(entry: &mut Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = bytes_of(entry)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn bytes_of(entry: &mut Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    let size = entry.header().size()?;
    if size > NAME_BYTES_MAX {
        return Err(refused(&format!("a name of {size} bytes")));
    }
    let mut bytes = vec![];
    entry.take(NAME_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).flat_map(char::escape_debug).collect()
}

fn refused(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

#[cfg(test)]
mod tests;
