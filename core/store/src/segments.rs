//! The log as files of our own: segments of checksummed frames, to which each commit adds one, and snapshots beside them.
//!
//! `00000001.log`, `00000002.log`, ... are the segments. A commit is one frame: one write into room that was filled with
//! zeros before, so that the sync has no metadata to write, and one sync. A full segment ends with a frame that names the
//! next one, which is on disk by then and begins with what all before it come to; so an old segment is removed once none
//! of its entries is live. `snapshot-00000001` is a snapshot; the frame that makes it the newest one tells its checksum.
//!
//! At start everything is read and checked. What the power cut from the last, never acknowledged frame is dropped;
//! everything else that does not fit is damage, and refused. Left out: what entries and votes mean.

mod checksum;
mod frame;
mod load;
mod record;
mod snapshot;
mod state;

use crate::{
    disk::{Disk, Gauge, Loaded, Op, is_full},
    files::{Files, OpenFile},
};
use frame::Place;
use record::Record;
use state::State;
use std::{io, sync::Arc};
use taffeta_model::{Bug, NodeId, planted};

/// What can be done about a damaged log.
pub const WAY_BACK: &str = "move the data folder away, `taffeta remove` this machine on another one, and join again with a \
                            new token: it comes back as a new member and gets everything from the others; a cluster of one \
                            machine needs its backup";

/// Below this much room no write is begun: other files of the node need some, too, and a vote must still find room.
const ROOM_MIN: u64 = 1 << 20;

/// Sizes of the log's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// A segment of this many bytes is followed by another: whole ones are what can be removed. A longer frame gets a
    /// segment for itself.
    pub segment: u64,
    /// So many bytes are filled with zeros ahead at a time.
    pub ahead: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { segment: 8 << 20, ahead: 1 << 20 }
    }
}

/// A [`Disk`] on files of our own.
#[derive(Debug)]
pub struct SegmentDisk {
    files: Arc<dyn Files>,
    node: u64,
    sizes: Sizes,
    state: State,
    /// The newest segment; `None` before the log was read.
    tail: Option<Tail>,
    /// The oldest segment that is there.
    first: u64,
    /// Files that are needed no more.
    stale: Vec<String>,
    /// Serial number of the newest snapshot's file that is or was there.
    serial: u64,
    /// Nobody knows what is stored since something failed.
    failed: bool,
    /// What was told to be stored and is not; only while that bug is planted.
    owed: Vec<Op>,
}

/// The segment that is written to.
#[derive(Debug)]
struct Tail {
    segment: u64,
    file: Box<dyn OpenFile>,
    /// Where the next frame begins.
    end: u64,
    /// Length of the file.
    length: u64,
    /// Whether a torn frame lies behind the end.
    torn: bool,
    /// Where its own frames begin, behind the base.
    begin: u64,
}

fn segment_name(segment: u64) -> String {
    format!("{segment:08}.log")
}

impl SegmentDisk {
    /// Opens the log of a node, or creates it where there is no file of one.
    pub fn open(files: Arc<dyn Files>, node: NodeId, sizes: Sizes) -> io::Result<Self> {
        let disk = Self {
            files,
            node: node.0,
            sizes,
            state: State::default(),
            tail: None,
            first: 1,
            stale: vec![],
            serial: 0,
            failed: false,
            owed: vec![],
        };
        let names = disk.files.list()?;
        let is_ours = |name: &String| load::segment(name).is_some() || snapshot::serial(name).is_some();
        if !names.iter().any(is_ours) {
            disk.create_segment(1)?;
        }
        Ok(disk)
    }

    fn place(&self, segment: u64) -> Place {
        Place { node: self.node, segment }
    }

    /// Makes a segment that begins with what there is so far, durably; it is whole from its first moment on.
    fn create_segment(&self, segment: u64) -> io::Result<Tail> {
        let (name, partial) = (segment_name(segment), format!("{segment:08}.new"));
        let place = self.place(segment);
        let mut base = frame::begin();
        record::encode(&Record::Base(self.state.base()), &mut base).ok_or_else(too_long)?;
        let header = load::header(place);
        let base = frame::finish(base, place, header.len() as u64).ok_or_else(too_long)?;
        let written = (|| -> io::Result<Box<dyn OpenFile>> {
            let mut file = self.files.create(&partial)?;
            file.write_at(0, &header)?;
            file.write_at(header.len() as u64, &base)?;
            file.sync()?;
            self.files.rename(&partial, &name)?;
            self.files.sync_folder()?;
            Ok(file)
        })();
        let file = written.inspect_err(|_| drop(self.files.remove(&partial)))?;
        let end = (header.len() + base.len()) as u64;
        Ok(Tail { segment, file, end, length: end, torn: false, begin: end })
    }

    /// Goes on in a new segment.
    fn next_segment(&mut self, tail: &mut Tail) -> io::Result<()> {
        let next = self.create_segment(tail.segment + 1)?;
        let mut last = frame::begin();
        record::encode(&Record::Next(next.segment), &mut last).ok_or_else(too_long)?;
        let last = frame::finish(last, self.place(tail.segment), tail.end).ok_or_else(too_long)?;
        tail.write(&last, self.sizes.ahead)?;
        if let Err(error) = tail.file.set_len(tail.end) {
            tracing::debug!(%error, "room ahead in a full segment was not given back");
        }
        *tail = next;
        Ok(())
    }

    /// Does what was found to be due when the log was read. Reading alone changes nothing.
    fn tidy(&mut self, tail: &mut Tail) -> io::Result<()> {
        if tail.torn {
            tail.cut()?;
            tail.file.sync()?;
            tail.torn = false;
        }
        for name in std::mem::take(&mut self.stale) {
            // It is only in the way of the room that it takes, and found again at the next start.
            if let Err(error) = self.files.remove(&name) {
                tracing::warn!(name, %error, "a file of the log that is needed no more could not be removed");
            }
        }
        Ok(())
    }

    /// Gives up the segments whose entries are all gone.
    fn release(&mut self, tail: &Tail) {
        let oldest = self.state.oldest().unwrap_or(tail.segment).min(tail.segment);
        self.stale.extend((self.first..oldest).map(segment_name));
        self.first = oldest;
    }

    fn commit_to(&mut self, tail: &mut Tail, ops: &[Op], committed: Option<&[u8]>) -> io::Result<()> {
        self.tidy(tail)?;
        let mut body = frame::begin();
        let mut records = self.records(ops)?;
        records.extend(committed.filter(|id| self.state.committed.as_deref() != Some(id)).map(Record::Committed));
        for record in &records {
            record::encode(record, &mut body).ok_or_else(too_long)?;
        }
        if frame::is_empty(&body) {
            return Ok(());
        }
        if tail.end > tail.begin && tail.end + frame::size(&body) as u64 > self.sizes.segment {
            self.next_segment(tail)?;
        }
        let whole = frame::finish(body, self.place(tail.segment), tail.end).ok_or_else(too_long)?;
        tail.write(&whole, self.sizes.ahead)?;
        let before = self.state.snapshot;
        for record in &records {
            self.state.apply(record, tail.segment);
        }
        if let Some(before) = before.filter(|_| self.state.snapshot != before) {
            self.stale.push(snapshot::name(before.serial));
        }
        if ops.iter().any(|op| matches!(op, Op::Purge(..) | Op::Truncate(_) | Op::Clear)) {
            self.release(tail);
        }
        self.tidy(tail)
    }

    /// The records of a commit. A snapshot is on disk then, under a name that nothing refers to yet.
    fn records<'a>(&mut self, ops: &'a [Op]) -> io::Result<Vec<Record<'a>>> {
        let mut records = vec![];
        let mut snapshot = None;
        for op in ops {
            match op {
                Op::Append(entries) => {
                    records.extend(entries.iter().map(|(index, entry)| Record::Entry(*index, entry)));
                }
                Op::Vote(vote) => records.push(Record::Vote(vote)),
                Op::Truncate(from) => records.push(Record::Truncate(*from)),
                Op::Purge(upto, id) => records.push(Record::Purge(*upto, id)),
                Op::Snapshot(about, contents) => snapshot = Some((about.as_slice(), contents.as_slice())),
                Op::Clear => {
                    records.push(Record::Clear);
                    snapshot = None;
                }
            }
        }
        if let Some(parts) = snapshot {
            // The same number until the log knows it: a second try takes the place of the first.
            let serial = self.serial + 1;
            let written = snapshot::write(&*self.files, self.node, serial, parts);
            let written = written.inspect_err(|_| drop(self.files.remove(snapshot::PARTIAL)))?;
            records.push(Record::Snapshot(written));
        }
        Ok(records)
    }
}

impl Tail {
    /// Writes a frame at the end. Without room for it, everything is as before.
    fn write(&mut self, frame: &[u8], ahead: u64) -> io::Result<()> {
        let end = self.end + frame.len() as u64;
        let result = self.extend(end, ahead).and_then(|()| {
            self.file.write_at(self.end, frame)?;
            self.file.sync()
        });
        match result {
            Ok(()) => {
                self.end = end;
                Ok(())
            }
            Err(error) if is_full(&error) => {
                self.cut()?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Fills room with zeros, so that there is some up to `end`.
    fn extend(&mut self, end: u64, ahead: u64) -> io::Result<()> {
        if end > self.length {
            let length = end.next_multiple_of(ahead.max(1));
            let zeros = vec![0; usize::try_from(length - self.length).map_err(io::Error::other)?];
            self.file.write_at(self.length, &zeros)?;
            self.length = length;
        }
        Ok(())
    }

    /// Cuts the file back to its last good frame.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.length = self.end;
        Ok(())
    }
}

impl Disk for SegmentDisk {
    fn load(&mut self) -> io::Result<Loaded> {
        let found = load::load(&*self.files, self.node)?;
        let file = self.files.open(&segment_name(found.segment))?;
        let load::Found { segment, end, length, torn, begin, .. } = found;
        self.tail = Some(Tail { segment, file, end, length, torn, begin });
        self.state = found.state;
        self.first = found.first;
        self.stale = found.stale;
        self.serial = found.serial;
        Ok(found.loaded)
    }

    fn commit(&mut self, ops: &[Op], committed: Option<Vec<u8>>) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write to the log has failed"));
        }
        if planted(Bug::AcknowledgeBeforeSync) {
            if ops.iter().all(|op| matches!(op, Op::Append(_))) {
                self.owed.extend_from_slice(ops);
                return Ok(());
            }
            let all: Vec<Op> = self.owed.drain(..).chain(ops.iter().cloned()).collect();
            return self.commit_all(&all, committed);
        }
        self.commit_all(ops, committed)
    }

    fn gauge(&self) -> Arc<dyn Gauge> {
        Arc::new(FilesGauge(Arc::clone(&self.files)))
    }
}

impl SegmentDisk {
    fn commit_all(&mut self, ops: &[Op], committed: Option<Vec<u8>>) -> io::Result<()> {
        let Some(mut tail) = self.tail.take() else { return Err(io::Error::other("the log was not read yet")) };
        let result = self.commit_to(&mut tail, ops, committed.as_deref());
        self.tail = Some(tail);
        self.serial = self.state.snapshot.map_or(self.serial, |snapshot| snapshot.serial.max(self.serial));
        self.failed = result.as_ref().is_err_and(|error| !is_full(error));
        result
    }
}

struct FilesGauge(Arc<dyn Files>);

impl Gauge for FilesGauge {
    fn is_full(&self) -> bool {
        self.0.room().is_ok_and(|room| room < ROOM_MIN)
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a commit to the log is longer than 4 GiB")
}

#[cfg(test)]
mod tests;
