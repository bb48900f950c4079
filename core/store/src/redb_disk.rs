//! The log as earlier versions kept it, in a redb database: it is read once, by [`crate::migrate`].

use crate::disk::{Disk, Loaded, Op};
#[cfg(test)]
use redb::StorageBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Key of the mark that a damaged log keeps.
const DAMAGED: &str = "damaged";

/// Page cache: the live log is in memory anyway, redb's own pages are hardly read again.
const CACHE_BYTES: usize = 2 << 20;

/// A [`Disk`] on a redb database. Only tests still write one.
#[derive(Debug)]
pub(crate) struct RedbDisk {
    database: Database,
}

impl RedbDisk {
    /// Opens the file, or creates it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let database = unless_it_panics(|| Database::builder().set_cache_size(CACHE_BYTES).create(path))?;
        Ok(Self { database })
    }

    /// The same over a device of memory.
    #[cfg(test)]
    fn on(backend: impl StorageBackend) -> io::Result<Self> {
        let builder = || Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend);
        let database = unless_it_panics(builder)?;
        Ok(Self { database })
    }
}

impl RedbDisk {
    /// Reads every page against its checksum. redb itself does so only after an unclean stop, and then goes back to the
    /// commit before a damaged one: that would forget acknowledged entries, or a vote. So a damaged log is refused, now
    /// and, since the file looks sound after redb's repair, by a mark also later.
    fn verify(&mut self) -> io::Result<()> {
        if unless_it_panics(|| self.database.check_integrity())? {
            return Ok(());
        }
        let write = self.database.begin_write().map_err(other)?;
        write.open_table(META).map_err(other)?.insert(DAMAGED, &[][..]).map_err(other)?;
        write.commit().map_err(other)?;
        Err(damaged())
    }
}

impl Disk for RedbDisk {
    fn load(&mut self) -> io::Result<Loaded> {
        self.verify()?;
        let create = self.database.begin_write().map_err(other)?;
        create.open_table(LOG).map_err(other)?;
        create.open_table(META).map_err(other)?;
        create.commit().map_err(other)?;
        let read = self.database.begin_read().map_err(other)?;
        let (log, meta) = (read.open_table(LOG).map_err(other)?, read.open_table(META).map_err(other)?);
        let mut loaded = Loaded::default();
        for row in log.iter().map_err(other)? {
            let (index, entry) = row.map_err(other)?;
            loaded.log.insert(index.value(), entry.value().to_vec());
        }
        let field = |key: &str| -> io::Result<Option<Vec<u8>>> {
            Ok(meta.get(key).map_err(other)?.map(|value| value.value().to_vec()))
        };
        if field(DAMAGED)?.is_some() {
            return Err(damaged());
        }
        loaded.vote = field("vote")?;
        loaded.committed = field("committed")?;
        loaded.purged = field("purged")?;
        loaded.snapshot = field("snapshot-meta")?.zip(field("snapshot")?);
        Ok(loaded)
    }

    fn commit(&mut self, ops: &[Op], committed: Option<Vec<u8>>) -> io::Result<()> {
        let write = self.database.begin_write().map_err(other)?;
        {
            let mut log = write.open_table(LOG).map_err(other)?;
            let mut meta = write.open_table(META).map_err(other)?;
            for op in ops {
                match op {
                    Op::Append(entries) => {
                        for (index, entry) in entries {
                            log.insert(*index, entry.as_slice()).map_err(other)?;
                        }
                    }
                    Op::Vote(vote) => {
                        meta.insert("vote", vote.as_slice()).map_err(other)?;
                    }
                    Op::Truncate(from) => log.retain_in(*from.., |_, _| false).map_err(other)?,
                    Op::Purge(to, id) => {
                        log.retain_in(..=*to, |_, _| false).map_err(other)?;
                        meta.insert("purged", id.as_slice()).map_err(other)?;
                    }
                    Op::Snapshot(about, contents) => {
                        meta.insert("snapshot-meta", about.as_slice()).map_err(other)?;
                        meta.insert("snapshot", contents.as_slice()).map_err(other)?;
                    }
                    Op::Clear => {
                        log.retain(|_, _| false).map_err(other)?;
                        meta.retain(|_, _| false).map_err(other)?; // a marked log is never loaded, so no mark is lost
                    }
                }
            }
            if let Some(committed) = committed {
                meta.insert("committed", committed.as_slice()).map_err(other)?;
            }
        }
        write.commit().map_err(other)
    }
}

/// redb trusts the pages of a file that was closed cleanly, and can panic over a damaged one before it is verified.
fn unless_it_panics<T>(work: impl FnOnce() -> Result<T, DatabaseError>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(other),
        Err(_) => Err(damaged()),
    }
}

fn damaged() -> io::Error {
    let help = "the log is damaged: restore the data folder whole, or move it away and join again with a new token";
    io::Error::new(io::ErrorKind::InvalidData, help)
}

fn other(e: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(e)
}

#[cfg(test)]
mod tests;
