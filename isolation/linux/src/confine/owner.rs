//! Whose a task's files are, if it runs as a user of its own.

use super::Ids;
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use taffeta_isolation_plan::{SECRETS_FOLDER, TaskSpec};

/// How deep folders lie in one another that are handed over: shipped files and unpacked archives; bounds the walk.
const DEPTH_MAX: usize = 64;

/// Gives the user what lies in the task's working folder, its secrets, and its volumes as such: what is inside a volume is
/// the affair of the tasks that had it before. To be called before the task runs, by whoever made all that.
pub(crate) fn give(spec: &TaskSpec, ids: &Ids) -> io::Result<()> {
    give_tree(&spec.work(), ids, 0)?;
    match fs::canonicalize(spec.folder.join(SECRETS_FOLDER)) {
        Ok(secrets) => give_tree(&secrets, ids, 0)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {} // it has none
        Err(e) => return Err(e),
    }
    give_volumes(spec, ids)
}

/// Gives the user the task's volumes as such, those that are another's.
pub(crate) fn give_volumes(spec: &TaskSpec, ids: &Ids) -> io::Result<()> {
    for volume in spec.links.values() {
        match fs::symlink_metadata(volume) {
            Ok(about) if about.uid() != ids.uid => give_one(volume, ids)?,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {} // the task finds a link that leads nowhere
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Follows no links: what a link leads to need not be the task's.
fn give_tree(path: &Path, ids: &Ids, depth: usize) -> io::Result<()> {
    give_one(path, ids)?;
    if depth < DEPTH_MAX && fs::symlink_metadata(path)?.is_dir() {
        let entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        entries.iter().try_for_each(|entry| give_tree(entry, ids, depth + 1))?;
    }
    Ok(())
}

fn give_one(path: &Path, ids: &Ids) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
    let done = chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
    done.map_err(|e| {
        io::Error::new(io::Error::from(e).kind(), format!("cannot give `{}` to user {}: {e}", path.display(), ids.uid))
    })
}
