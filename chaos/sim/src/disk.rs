//! A machine's disk: a block device that forgets what was not synced when the power goes, and a folder of small files.

use crate::{
    time::Run,
    trace::{Event, fnv},
    wire::Socket,
};
use rand::{RngExt, rngs::SmallRng};
use redb::StorageBackend;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use taffeta_node::Folder;

/// A disk writes whole sectors: a write that the power cut may have torn is whole up to one of their ends.
const SECTOR: usize = 512;

/// The disk of one machine. It outlives processes and power cuts.
#[derive(Debug)]
pub(crate) struct Disk {
    run: Arc<Run>,
    place: u64,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    /// The log's file as it would be read back now.
    current: Vec<u8>,
    /// As it would be after a power cut that spares no unsynced write.
    durable: Vec<u8>,
    /// What happened since the last sync, in order.
    unsynced: Vec<Change>,
    /// Small files. Each write of one is synced.
    files: BTreeMap<String, Vec<u8>>,
    full: bool,
    /// Counts lives of processes: what an earlier one still wants is refused.
    life: u64,
    /// The power goes at this write from now, and with it the process's socket.
    fuse: Option<(u32, Arc<Socket>)>,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Disk {
    pub(crate) fn new(run: Arc<Run>, place: u64) -> Arc<Self> {
        Arc::new(Self { run, place, contents: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new process takes the disk into use.
    pub(crate) fn open(self: &Arc<Self>) -> Session {
        let life = self.lock().life;
        Session { disk: Arc::clone(self), life }
    }

    /// The process is no more. What it wrote stays, be it synced or not: the kernel has it.
    pub(crate) fn close(&self) {
        self.lock().life += 1;
    }

    /// The power goes: of the unsynced writes some are there, some are not, and one may be there in part.
    pub(crate) fn cut_power(&self, rng: &mut SmallRng) -> u64 {
        let contents = &mut *self.lock();
        contents.life += 1;
        contents.fuse = None;
        let mut torn = 0;
        for change in std::mem::take(&mut contents.unsynced) {
            match change {
                // Metadata goes with the journal, in order: it is there if anything after it is.
                Change::Length(length) => contents.durable.resize(length, 0),
                Change::Bytes(at, bytes) => {
                    let sectors = bytes.len().div_ceil(SECTOR);
                    let kept = match rng.random_range(0..3) {
                        0 => 0,
                        1 => bytes.len(),
                        _ => (rng.random_range(0..=sectors) * SECTOR).min(bytes.len()),
                    };
                    torn += (bytes.len() - kept) as u64;
                    write_at(&mut contents.durable, at, &bytes[..kept]);
                }
            }
        }
        contents.current = contents.durable.clone();
        torn
    }

    /// Lets the power go in the middle of what is written next: at the write of this number from now.
    pub(crate) fn light_fuse(&self, writes: u32, socket: Arc<Socket>) {
        self.lock().fuse = Some((writes, socket));
    }

    /// Whether the fuse has burnt down.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.lock().fuse, Some((0, _)))
    }

    /// Whether a byte can be written.
    pub(crate) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Whether the machine has ever had anything on its disk.
    pub(crate) fn has_file(&self, name: &str) -> bool {
        self.lock().files.contains_key(name)
    }
}

fn write_at(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The disk as one process has it open.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    disk: Arc<Disk>,
    life: u64,
}

impl Session {
    fn open(&self) -> io::Result<MutexGuard<'_, Contents>> {
        let contents = self.disk.lock();
        if contents.life == self.life { Ok(contents) } else { Err(io::Error::other("the process is no more")) }
    }

    fn writable(&self) -> io::Result<MutexGuard<'_, Contents>> {
        let mut contents = self.open()?;
        if let Some((writes, socket)) = &mut contents.fuse {
            *writes = writes.saturating_sub(1);
            if *writes == 0 {
                socket.close(); // not a word after that
                contents.life += 1;
                return Err(io::Error::other("the power is gone"));
            }
        }
        if contents.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(contents) }
    }

    fn note(&self, event: Event, size: usize, detail: u64) {
        let run = &self.disk.run;
        run.note(run.now(), event, self.disk.place, size as u64, detail);
    }
}

/// The log's file, for redb.
#[derive(Debug)]
pub(crate) struct LogFile(pub(crate) Session);

impl StorageBackend for LogFile {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.open()?.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let contents = self.0.open()?;
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = contents.current.get(at..at + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut contents = self.0.writable()?;
        let length = usize::try_from(len).map_err(io::Error::other)?;
        contents.current.resize(length, 0);
        contents.unsynced.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut guard = self.0.open()?;
        let contents = &mut *guard;
        let mut bytes = 0;
        for change in std::mem::take(&mut contents.unsynced) {
            match change {
                Change::Length(length) => contents.durable.resize(length, 0),
                Change::Bytes(at, written) => {
                    bytes += written.len();
                    write_at(&mut contents.durable, at, &written);
                }
            }
        }
        drop(guard);
        self.0.note(Event::Sync, bytes, 0);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let mut contents = self.0.writable()?;
        write_at(&mut contents.current, at, data);
        contents.unsynced.push(Change::Bytes(at, data.to_vec()));
        drop(contents);
        self.0.note(Event::Write, data.len(), offset);
        Ok(())
    }
}

impl Folder for Session {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.open()?.files.get(name).cloned())
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.writable()?.files.insert(name.into(), contents.to_vec());
        self.note(Event::File, contents.len(), fnv(name.as_bytes()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.open()?.files.remove(name);
        self.note(Event::File, 0, fnv(name.as_bytes()));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
