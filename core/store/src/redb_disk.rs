//! The log on redb: one transaction, one sync, for all that waits.

use crate::disk::{Disk, Loaded, Op};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use std::{io, path::Path};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Page cache: the live log is in memory anyway, redb's own pages are hardly read again.
const CACHE_BYTES: usize = 2 << 20;

/// A [`Disk`] on a redb database.
#[derive(Debug)]
pub struct RedbDisk {
    database: Database,
}

impl RedbDisk {
    /// Opens the file, or creates it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(other)?;
        Ok(Self { database })
    }

    /// The same over a simulated block device.
    pub fn on(backend: impl StorageBackend) -> io::Result<Self> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend).map_err(other)?;
        Ok(Self { database })
    }
}

impl Disk for RedbDisk {
    fn load(&mut self) -> io::Result<Loaded> {
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
        loaded.vote = field("vote")?;
        loaded.committed = field("committed")?;
        loaded.purged = field("purged")?;
        loaded.snapshot = field("snapshot-meta")?.zip(field("snapshot")?);
        Ok(loaded)
    }

    fn commit(&mut self, ops: &[Op], committed: Option<Vec<u8>>) -> io::Result<()> {
        let mut write = self.database.begin_write().map_err(other)?;
        write.set_durability(Durability::Immediate).map_err(other)?;
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
                }
            }
            if let Some(committed) = committed {
                meta.insert("committed", committed.as_slice()).map_err(other)?;
            }
        }
        write.commit().map_err(other)
    }
}

fn other(e: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(e)
}
