//! Takes over a log that an earlier version kept in a redb database.

use crate::{
    disk::{Disk, Op},
    files::Files,
    redb_disk::RedbDisk,
    segments::{SegmentDisk, Sizes},
};
use std::{fs, fs::File, io, path::Path, sync::Arc};
use taffeta_model::NodeId;

/// Writes the log of a database anew into `files`, and removes the database when that is durable. While the database is
/// there it alone counts, and what an earlier attempt left of the new log is removed; so it may be tried again after a
/// crash at any moment. Does nothing if there is no database.
///
/// An error has changed nothing that counts: the database is as it was.
pub fn migrate(database: &Path, files: &Arc<dyn Files>, node: NodeId, sizes: Sizes) -> io::Result<()> {
    if !database.try_exists()? {
        return Ok(());
    }
    let loaded = RedbDisk::open(database)?.load()?;
    for name in files.list()?.iter().filter(|name| *name != crate::files::LOCK) {
        files.remove(name)?;
    }
    files.sync_folder()?;
    let mut disk = SegmentDisk::open(Arc::clone(files), node, sizes)?;
    disk.load()?;
    let mut ops = vec![];
    ops.extend(loaded.snapshot.map(|(about, contents)| Op::Snapshot(about, contents)));
    // The index matters only where something is to be dropped, and nothing is.
    ops.extend(loaded.purged.map(|id| Op::Purge(0, id)));
    ops.push(Op::Append(loaded.log.into_iter().collect()));
    ops.extend(loaded.vote.map(Op::Vote));
    disk.commit(&ops, loaded.committed)?;
    fs::remove_file(database)?;
    // Were it to come back after a power cut, it would take the place of what is written from now on.
    File::open(database.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests;
