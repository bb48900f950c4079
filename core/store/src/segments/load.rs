//! Reads a log: all of it, and nothing is changed. What does not fit is damage, with the name of the file.

use super::checksum::checksum;
use super::{
    frame::{self, HEADER as FRAME_HEADER, Next, Place},
    record::{self, Record},
    segment_name, snapshot,
    state::{Base, State},
};
use crate::{disk::Loaded, files::Files};
use std::{collections::BTreeMap, io};

/// Begins every segment; the last character is the version of the format.
const MARK: &[u8; 8] = b"TFTrlog1";

/// A log as it was read.
pub(super) struct Found {
    pub(super) loaded: Loaded,
    pub(super) state: State,
    /// The oldest segment that counts, and the newest, to which is written.
    pub(super) first: u64,
    pub(super) segment: u64,
    /// Where the newest one's own frames begin, where its last whole one ends, and how long its file is.
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) length: u64,
    /// Whether something torn lies behind the last whole frame.
    pub(super) torn: bool,
    /// Files that count no more.
    pub(super) stale: Vec<String>,
    /// The highest serial number of a snapshot's file.
    pub(super) serial: u64,
}

/// What a segment's file begins with, before its first frame.
pub(super) fn header(place: Place) -> [u8; 2 * FRAME_HEADER] {
    let mut header = [0; 2 * FRAME_HEADER];
    header[..8].copy_from_slice(MARK);
    header[8..16].copy_from_slice(&place.node.to_le_bytes());
    header[16..24].copy_from_slice(&place.segment.to_le_bytes());
    let sum = checksum(&header[..24]);
    header[24..28].copy_from_slice(&sum.to_le_bytes());
    header[28..].copy_from_slice(&(!sum).to_le_bytes());
    header
}

/// The number in a segment's name.
pub(super) fn segment(name: &str) -> Option<u64> {
    let segment = name.strip_suffix(".log")?.parse::<u32>().ok()?.into();
    (segment_name(segment) == name).then_some(segment)
}

fn damaged(name: &str, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the file `raft/{name}` is damaged: {why}"))
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the file `raft/{name}` is missing"))
}

/// Reads everything. An error of the kind `InvalidData` names the file that is damaged or missing.
pub(super) fn load(files: &dyn Files, node: u64) -> io::Result<Found> {
    let names = files.list()?;
    let mut segments: Vec<u64> = names.iter().filter_map(|name| segment(name)).collect();
    segments.sort_unstable();
    let newest = segments.last().copied().ok_or_else(|| missing(&segment_name(1)))?;
    // Old ones are removed oldest first, but a power cut may bring one back.
    let run = (0..=newest).rev().take_while(|segment| segments.binary_search(segment).is_ok());
    let first = run.last().unwrap_or(newest);
    let mut reader = Reader { node, first, state: State::default(), log: BTreeMap::new() };
    let mut last: Option<(u64, Read)> = None;
    let mut unused = None;
    for segment in first..=newest {
        let name = segment_name(segment);
        let bytes = files.read(&name)?;
        match &last {
            // It was made, and the power went before the one before it said so, perhaps more than once.
            Some((_, Read { goes_on: false, .. })) if segment == newest && is_unused(node, segment, &bytes) => {
                unused = Some(name);
            }
            Some((before, Read { goes_on: false, .. })) => {
                return Err(damaged(&segment_name(*before), "it ends before the next one begins"));
            }
            Some((_, Read { goes_on: true, .. })) | None => {
                last = Some((segment, reader.segment(segment, &bytes).map_err(|why| damaged(&name, &why))?));
            }
        }
    }
    let Some((segment, read)) = last else { return Err(missing(&segment_name(newest))) };
    if read.goes_on {
        return Err(missing(&segment_name(segment + 1)));
    }
    if reader.state.live.values().any(|segment| *segment < first) {
        return Err(missing(&segment_name(first - 1)));
    }
    let Reader { state, log, .. } = reader;
    let snapshot = read_snapshot(files, node, &state)?;
    let counts = |name: &String| {
        let is_snapshot = state.snapshot.is_some_and(|s| snapshot::name(s.serial) == *name);
        let is_segment = self::segment(name).is_some_and(|s| (first..=segment).contains(&s));
        is_snapshot || is_segment || name == crate::files::LOCK
    };
    let serial = names.iter().filter_map(|name| snapshot::serial(name)).max().unwrap_or_default();
    let is_stale = |name: &String| !counts(name) && (is_ours(name) || unused.as_ref() == Some(name));
    let stale = names.iter().filter(|name| is_stale(name)).cloned().collect();
    let loaded = Loaded {
        vote: state.vote.clone(),
        committed: state.committed.clone(),
        purged: state.purged.clone(),
        log,
        snapshot,
    };
    let Read { begin, end, length, torn, .. } = read;
    Ok(Found { loaded, state, first, segment, begin, end, length, torn, stale, serial })
}

/// Whether a segment is whole and holds nothing of its own.
fn is_unused(node: u64, segment: u64, bytes: &[u8]) -> bool {
    let mut alone = Reader { node, first: segment, state: State::default(), log: BTreeMap::new() };
    alone.segment(segment, bytes).is_ok_and(|read| read.begin == read.end && !read.torn)
}

/// Whether a file is one that this log makes. Others are left alone.
fn is_ours(name: &str) -> bool {
    let is_partial = name.strip_suffix(".new").is_some_and(|stem| stem.parse::<u64>().is_ok());
    is_partial || name == snapshot::PARTIAL || segment(name).is_some() || snapshot::serial(name).is_some()
}

fn read_snapshot(files: &dyn Files, node: u64, state: &State) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let Some(expected) = state.snapshot else { return Ok(None) };
    let name = snapshot::name(expected.serial);
    match files.read(&name) {
        Ok(bytes) => snapshot::read(&bytes, node, expected).map(Some).map_err(|why| damaged(&name, why)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(missing(&name)),
        Err(e) => Err(e),
    }
}

struct Reader {
    node: u64,
    first: u64,
    state: State,
    log: BTreeMap<u64, Vec<u8>>,
}

/// How a segment ends.
struct Read {
    /// With a word of the next one.
    goes_on: bool,
    torn: bool,
    begin: u64,
    end: u64,
    length: u64,
}

impl Reader {
    fn segment(&mut self, segment: u64, bytes: &[u8]) -> Result<Read, String> {
        let place = Place { node: self.node, segment };
        let expected = header(place);
        if bytes.get(..expected.len()) != Some(&expected) {
            return Err(self.wrong_header(bytes, place));
        }
        let Next::Frame(body, begin) = frame::next(bytes, expected.len(), place) else {
            return Err("its first frame does not check".into());
        };
        match record::decode(&body).as_deref() {
            Some([Record::Base(base)]) => self.begin(base, segment)?,
            Some(_) | None => return Err("it does not begin with what was before it".into()),
        }
        let mut read = Read { goes_on: false, torn: false, begin: begin as u64, end: 0, length: bytes.len() as u64 };
        let mut at = begin;
        loop {
            match frame::next(bytes, at, place) {
                Next::Frame(..) if read.goes_on => return Err("something follows its end".into()),
                Next::Frame(body, end) => {
                    read.goes_on = self.frame(&body, segment)?;
                    at = end;
                }
                Next::Torn if read.goes_on => return Err("something follows its end".into()),
                Next::Damaged(why) => return Err(format!("{why}, at byte {at}")),
                Next::End | Next::Torn => {
                    read.torn = !frame::is_zero(&bytes[at..]);
                    read.end = at as u64;
                    return Ok(read);
                }
            }
        }
    }

    fn wrong_header(&self, bytes: &[u8], place: Place) -> String {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let found = number(8).zip(number(16)).map(|(node, segment)| Place { node, segment });
        match found.filter(|found| bytes.get(..32) == Some(&header(*found))) {
            Some(found) if found.node != place.node => "it belongs to another node".into(),
            Some(found) => format!("it is `{}` under another name", segment_name(found.segment)),
            None => "its header does not check".into(),
        }
    }

    fn begin(&mut self, base: &Base, segment: u64) -> Result<(), String> {
        if segment == self.first {
            let state = State::from_base(base, segment.saturating_sub(1));
            self.state = state.ok_or("its first frame makes no sense")?;
        } else if self.state.base() != *base {
            return Err("it does not go on where the one before it ends".into());
        }
        Ok(())
    }

    /// Applies a frame; gives whether it is the segment's last one.
    fn frame(&mut self, body: &[u8], segment: u64) -> Result<bool, String> {
        let records = record::decode(body).ok_or("a frame makes no sense")?;
        for record in &records {
            self.state.apply(record, segment);
            match record {
                Record::Entry(index, entry) => drop(self.log.insert(*index, entry.to_vec())),
                Record::Truncate(from) => drop(self.log.split_off(from)),
                Record::Purge(upto, _) => {
                    self.log = upto.checked_add(1).map(|first| self.log.split_off(&first)).unwrap_or_default();
                }
                Record::Clear => self.log.clear(),
                Record::Vote(_) | Record::Committed(_) | Record::Snapshot(_) => {}
                Record::Base(_) => return Err("a second beginning".into()),
                Record::Next(next) if *next == segment + 1 => return Ok(true),
                Record::Next(_) => return Err("it names another segment than the next".into()),
            }
        }
        Ok(false)
    }
}
