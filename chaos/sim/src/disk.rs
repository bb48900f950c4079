//! A machine's disk: files that forget what was not synced when the power goes, and a folder of small ones.

mod power;

use crate::{
    time::Run,
    trace::{Event, fnv},
    wire::Socket,
};
use power::{Contents, SECTOR};
use rand::rngs::SmallRng;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use taffeta_node::Folder;
use taffeta_store::{Files, OpenFile};

/// What a write says in the middle of which the power goes.
pub(crate) const POWER_GONE: &str = "the power is gone";

/// The disk of one machine. It outlives processes and power cuts.
#[derive(Debug)]
pub(crate) struct Disk {
    run: Arc<Run>,
    place: u64,
    contents: Mutex<Contents>,
}

impl Disk {
    pub(crate) fn new(run: Arc<Run>, place: u64) -> Arc<Self> {
        Arc::new(Self { run, place, contents: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with what would be read from this one now.
    pub(crate) fn copy(&self, place: u64) -> Arc<Self> {
        let copied = self.lock().copied();
        Arc::new(Self { run: Arc::clone(&self.run), place, contents: Mutex::new(copied) })
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

    /// The power goes: of the unsynced writes some are there, some are not, and one may be there in part. Gives the bytes
    /// lost.
    pub(crate) fn cut_power(&self, rng: &mut SmallRng) -> u64 {
        let contents = &mut *self.lock();
        contents.life += 1;
        contents.fuse = None;
        contents.cut_power(rng)
    }

    /// Lets the power go in the middle of what is written next: at the step of this number from now. Each write, sync,
    /// renaming and removal is one.
    pub(crate) fn light_fuse(&self, steps: u32, socket: Arc<Socket>) {
        self.lock().fuse = Some((steps, socket));
    }

    /// Whether the fuse has burnt down.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.lock().fuse, Some((0, _)))
    }

    /// Whether a byte can be written.
    pub(crate) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Takes over a small file that the wiping of another disk should not have left.
    pub(crate) fn take_over(&self, former: &Self, name: &str) {
        let kept = former.lock().small.get(name).cloned();
        self.lock().small.extend(kept.map(|contents| (name.to_owned(), contents)));
    }

    /// Whether the machine has ever had anything on its disk.
    pub(crate) fn has_file(&self, name: &str) -> bool {
        self.lock().small.contains_key(name)
    }
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

    /// The power may go at this step: what it is about is under way then.
    fn step(&self) -> io::Result<(MutexGuard<'_, Contents>, bool)> {
        let mut contents = self.open()?;
        let mut burnt = false;
        if let Some((steps, socket)) = &mut contents.fuse {
            *steps = steps.saturating_sub(1);
            burnt = *steps == 0;
            if burnt {
                socket.close(); // not a word after that
                contents.life += 1;
            }
        }
        Ok((contents, burnt))
    }

    fn change(&self, change: impl FnOnce(&mut Contents) -> io::Result<()>) -> io::Result<()> {
        let (mut contents, burnt) = self.step()?;
        change(&mut contents)?;
        if burnt { Err(io::Error::other(POWER_GONE)) } else { Ok(()) }
    }

    /// A step that is durable when it returns, and has not begun when the power goes.
    fn sync(&self, sync: impl FnOnce(&mut Contents) -> usize) -> io::Result<()> {
        let (mut contents, burnt) = self.step()?;
        if burnt {
            return Err(io::Error::other(POWER_GONE));
        }
        let bytes = sync(&mut contents);
        drop(contents);
        self.note(Event::Sync, bytes, 0);
        Ok(())
    }

    fn note(&self, event: Event, size: usize, detail: u64) {
        let run = &self.disk.run;
        run.note(run.now(), event, self.disk.place, size as u64, detail);
    }
}

/// The log's files.
#[derive(Debug)]
pub(crate) struct LogFiles(pub(crate) Session);

impl Files for LogFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.open()?.names().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let contents = self.0.open()?;
        contents.file(name).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn OpenFile>> {
        let mut id = 0;
        self.0.change(|contents| {
            if contents.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            id = contents.create(name);
            Ok(())
        })?;
        Ok(Box::new(LogFile { session: self.0.clone(), id }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn OpenFile>> {
        let id = self.0.open()?.id(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(LogFile { session: self.0.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.change(|contents| contents.rename(from, to).ok_or_else(|| io::ErrorKind::NotFound.into()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.change(|contents| contents.remove(name).ok_or_else(|| io::ErrorKind::NotFound.into()))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.0.sync(|contents| {
            contents.sync_names();
            0
        })
    }

    fn room(&self) -> io::Result<u64> {
        Ok(if self.0.open()?.full { 0 } else { u64::MAX })
    }
}

#[derive(Debug)]
struct LogFile {
    session: Session,
    id: u64,
}

impl OpenFile for LogFile {
    /// A full disk takes a part first, as one does that has a little room left.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let place = usize::try_from(at).map_err(io::Error::other)?;
        self.session.change(|contents| {
            let taken = if contents.full { bytes.len() / 2 / SECTOR * SECTOR } else { bytes.len() };
            contents.write(self.id, place, &bytes[..taken]);
            if contents.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })?;
        self.session.note(Event::Write, bytes.len(), at);
        Ok(())
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.session.change(|contents| {
            contents.set_len(self.id, length);
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.session.sync(|contents| contents.sync(self.id))
    }
}

impl Folder for Session {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.open()?.small.get(name).cloned())
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let (mut disk, burnt) = self.step()?;
        if burnt {
            return Err(io::Error::other(POWER_GONE));
        }
        if disk.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.small.insert(name.into(), contents.to_vec());
        drop(disk);
        self.note(Event::File, contents.len(), fnv(name.as_bytes()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.open()?.small.remove(name);
        self.note(Event::File, 0, fnv(name.as_bytes()));
        Ok(())
    }

    /// Of a copy that runs elsewhere; one that is put back into its machine is an image of the whole disk.
    fn place(&self) -> io::Result<Option<String>> {
        Ok(Some(format!("disk={}", self.disk.place)))
    }
}

#[cfg(test)]
mod tests;
