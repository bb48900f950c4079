//! Files of memory for tests: they can be looked at, harmed, filled up and copied as a kill would leave them.

use super::{Files, OpenFile};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

/// Files by name.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// A folder of memory. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryFiles(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    names: BTreeMap<String, u64>,
    contents: BTreeMap<u64, Vec<u8>>,
    made: u64,
    /// Bytes that may still be written; `None`: any number.
    room: Option<u64>,
    /// Whether that is a quota, which the file system does not tell of.
    is_quota: bool,
    /// What the next sync fails with.
    failing: Option<io::ErrorKind>,
    syncs: usize,
    writes: usize,
    /// What a kill after each change would have left, while somebody wants to know.
    watched: Option<Vec<Image>>,
}

impl MemoryFiles {
    pub(crate) fn holding(image: &Image) -> Self {
        let files = Self::default();
        {
            let mut inside = files.inside();
            for (name, bytes) in image {
                let id = inside.add(name);
                inside.contents.insert(id, bytes.clone());
            }
        }
        files
    }

    pub(crate) fn image(&self) -> Image {
        self.inside().image()
    }

    pub(crate) fn set_room(&self, room: Option<u64>) {
        let mut inside = self.inside();
        (inside.room, inside.is_quota) = (room, false);
    }

    pub(crate) fn set_quota(&self, room: Option<u64>) {
        let mut inside = self.inside();
        (inside.room, inside.is_quota) = (room, true);
    }

    pub(crate) fn fail_next_sync(&self, kind: io::ErrorKind) {
        self.inside().failing = Some(kind);
    }

    /// Syncs and writes so far.
    pub(crate) fn worked(&self) -> (usize, usize) {
        let inside = self.inside();
        (inside.syncs, inside.writes)
    }

    /// Takes down from now on what a kill would leave.
    pub(crate) fn watch(&self) {
        self.inside().watched = Some(vec![]);
    }

    /// What was taken down, one after each change.
    pub(crate) fn watched(&self) -> Vec<Image> {
        self.inside().watched.take().unwrap_or_default()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }
}

impl Inside {
    fn image(&self) -> Image {
        self.names.iter().map(|(name, id)| (name.clone(), self.contents[id].clone())).collect()
    }

    fn changed(&mut self) {
        let image = self.watched.is_some().then(|| self.image());
        self.watched.as_mut().zip(image).into_iter().for_each(|(watched, image)| watched.push(image));
    }

    fn add(&mut self, name: &str) -> u64 {
        self.made += 1;
        self.names.insert(name.into(), self.made);
        self.contents.insert(self.made, vec![]);
        self.changed();
        self.made
    }
}

impl Files for MemoryFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.inside().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let inside = self.inside();
        let id = inside.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(inside.contents[id].clone())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn OpenFile>> {
        let id = self.inside().add(name);
        Ok(Box::new(Opened { files: self.clone(), id }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn OpenFile>> {
        let id = *self.inside().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Opened { files: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inside = self.inside();
        let id = inside.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inside.names.insert(to.into(), id);
        inside.changed();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inside = self.inside();
        inside.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        inside.changed();
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.inside().syncs += 1;
        Ok(())
    }

    fn room(&self) -> io::Result<u64> {
        let inside = self.inside();
        Ok(inside.room.filter(|_| !inside.is_quota).unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct Opened {
    files: MemoryFiles,
    id: u64,
}

impl OpenFile for Opened {
    /// On a full disk as much is written as there is room for.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let inside = &mut *self.files.inside();
        inside.writes += 1;
        let file = inside.contents.get_mut(&self.id).unwrap();
        let at = usize::try_from(at).unwrap();
        let new = (at + bytes.len()).saturating_sub(file.len()) as u64;
        let room = inside.room.unwrap_or(u64::MAX);
        let lacking = usize::try_from(new.saturating_sub(room)).unwrap();
        let written = &bytes[..bytes.len() - lacking.min(bytes.len())];
        if file.len() < at + written.len() {
            file.resize(at + written.len(), 0);
        }
        file[at..at + written.len()].copy_from_slice(written);
        inside.room = inside.room.map(|room| room.saturating_sub(new));
        inside.changed();
        let full = if inside.is_quota { io::ErrorKind::QuotaExceeded } else { io::ErrorKind::StorageFull };
        if lacking > 0 { Err(full.into()) } else { Ok(()) }
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let inside = &mut *self.files.inside();
        let file = inside.contents.get_mut(&self.id).unwrap();
        let length = usize::try_from(length).unwrap();
        inside.room = inside.room.map(|room| room + file.len().saturating_sub(length) as u64);
        file.resize(length, 0);
        inside.changed();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inside = self.files.inside();
        inside.syncs += 1;
        inside.failing.take().map_or(Ok(()), |kind| Err(kind.into()))
    }
}
