//! What a disk holds, with and without the power: what was synced, and what may be lost.

use crate::wire::Socket;
use rand::{RngExt, rngs::SmallRng};
use std::{collections::BTreeMap, sync::Arc};

/// A disk writes whole sectors: a write that the power cut may have torn is whole up to one of their ends.
pub(super) const SECTOR: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The log's files by name, as they are listed now, and as after a power cut that spares nothing unsynced.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// What happened to names since the folder was synced, in order.
    unsynced: Vec<Naming>,
    files: BTreeMap<u64, File>,
    made: u64,
    /// Small files of the node. Each write of one is synced.
    pub(super) small: BTreeMap<String, Vec<u8>>,
    pub(super) full: bool,
    /// Counts lives of processes: what an earlier one still wants is refused.
    pub(super) life: u64,
    /// The power goes at this step from now, and with it the process's socket.
    pub(super) fuse: Option<(u32, Arc<Socket>)>,
}

#[derive(Debug, Default)]
struct File {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// What happened since the last sync, in order.
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

#[derive(Debug)]
enum Naming {
    Given(String, u64),
    Moved { from: String, to: String, id: u64 },
    Taken(String),
}

impl Contents {
    /// What would be read now, all of it durable.
    pub(super) fn copied(&self) -> Self {
        let file =
            |file: &File| File { current: file.current.clone(), durable: file.current.clone(), unsynced: vec![] };
        Self {
            names: self.names.clone(),
            durable_names: self.names.clone(),
            files: self.files.iter().map(|(id, it)| (*id, file(it))).collect(),
            made: self.made,
            small: self.small.clone(),
            ..Self::default()
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    pub(super) fn id(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub(super) fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(&self.id(name)?).map(|file| file.current.as_slice())
    }

    pub(super) fn create(&mut self, name: &str) -> u64 {
        self.made += 1;
        self.files.insert(self.made, File::default());
        self.name(Naming::Given(name.into(), self.made));
        self.made
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Option<()> {
        let id = self.id(from)?;
        self.name(Naming::Moved { from: from.into(), to: to.into(), id });
        Some(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<()> {
        self.id(name)?;
        self.name(Naming::Taken(name.into()));
        Some(())
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.unsynced.push(naming);
    }

    pub(super) fn sync_names(&mut self) {
        self.unsynced.clear();
        self.durable_names = self.names.clone();
        let (files, names) = (&mut self.files, &self.names);
        files.retain(|id, _| names.values().any(|named| named == id));
    }

    pub(super) fn write(&mut self, id: u64, at: usize, bytes: &[u8]) {
        let Some(file) = self.files.get_mut(&id) else { return };
        write_at(&mut file.current, at, bytes);
        file.unsynced.push(Change::Bytes(at, bytes.to_vec()));
    }

    pub(super) fn set_len(&mut self, id: u64, length: usize) {
        let Some(file) = self.files.get_mut(&id) else { return };
        file.current.resize(length, 0);
        file.unsynced.push(Change::Length(length));
    }

    /// Gives the bytes that are durable now and were not before.
    pub(super) fn sync(&mut self, id: u64) -> usize {
        let Some(file) = self.files.get_mut(&id) else { return 0 };
        let mut synced = 0;
        for change in std::mem::take(&mut file.unsynced) {
            match change {
                Change::Length(length) => file.durable.resize(length, 0),
                Change::Bytes(at, bytes) => {
                    synced += bytes.len();
                    write_at(&mut file.durable, at, &bytes);
                }
            }
        }
        synced
    }

    /// The journal keeps a beginning of what happened to the names; of each unsynced write some sectors are there.
    pub(super) fn cut_power(&mut self, rng: &mut SmallRng) -> u64 {
        let kept = rng.random_range(0..=self.unsynced.len());
        for naming in self.unsynced.drain(..).take(kept) {
            naming.apply(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
        let names = &self.names;
        self.files.retain(|id, _| names.values().any(|named| named == id));
        self.files.values_mut().map(|file| file.cut_power(rng)).sum()
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Given(name, id) => drop(names.insert(name.clone(), *id)),
            Self::Moved { from, to, id } => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
            Self::Taken(name) => drop(names.remove(name)),
        }
    }
}

impl File {
    fn cut_power(&mut self, rng: &mut SmallRng) -> u64 {
        let mut lost = 0;
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                // Metadata goes with the journal, in order: it is there if anything after it is.
                Change::Length(length) => self.durable.resize(length, 0),
                Change::Bytes(at, bytes) => {
                    let fate = rng.random_range(0..4);
                    let edge = rng.random_range(0..=bytes.len().div_ceil(SECTOR));
                    for (from, sector) in sectors(at, &bytes).enumerate() {
                        let kept = match fate {
                            0 => false,
                            1 => true,
                            2 => from < edge,
                            _ => rng.random_bool(0.5),
                        };
                        if kept {
                            write_at(&mut self.durable, sector.0, sector.1);
                        } else {
                            lost += sector.1.len() as u64;
                        }
                    }
                }
            }
        }
        self.current = self.durable.clone();
        lost
    }
}

/// The parts of a write by the sectors of the disk that they lie in.
fn sectors(at: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let first = (at + 1).next_multiple_of(SECTOR) - at;
    let (head, rest) = bytes.split_at(first.min(bytes.len()));
    let rest = rest.chunks(SECTOR).enumerate().map(move |(n, part)| (at + first + n * SECTOR, part));
    std::iter::once((at, head)).filter(|(_, head)| !head.is_empty()).chain(rest)
}

fn write_at(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
