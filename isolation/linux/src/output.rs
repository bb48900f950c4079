//! Reading what a task has written, across its files, while the shim writes on and removes the oldest.

use crate::log_files::{STAMP_BYTES, Stamp, log_file, starts, times_file};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use taffeta_isolation_plan::{LogPiece, Piece, PieceStart, Stream};
use taffeta_model::UnixMillis;

/// Most notes of time that one piece brings: a piece with more is cut.
const STAMPS_MAX: usize = 4_096;

/// Bytes that are searched for line ends at once.
const BLOCK: usize = 64 << 10;

/// Most bytes that are searched for line ends: some ten milliseconds of a disk that has them in memory. Where more lines are
/// asked for than lie there, the piece begins at the first of these bytes.
const SEARCHED_MAX: u64 = 64 << 20;

/// Files may go while they are looked for. Each time the oldest part has gone, so there is an end to it.
const TRIES_MAX: usize = 10;

/// An output as it is on disk at one moment.
struct Output {
    folder: PathBuf,
    stream: Stream,
    /// Begin and length of each file, oldest first. They follow one another without a gap.
    parts: Vec<(u64, u64)>,
}

/// Reads a piece; of a run that is not there, nothing.
pub(crate) fn read(folder: &Path, stream: Stream, piece: Piece) -> io::Result<LogPiece> {
    let mut last = Err(io::ErrorKind::NotFound.into());
    for _ in 0..TRIES_MAX {
        last = Output::look(folder, stream).and_then(|output| output.read(piece));
        match &last {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Ok(_) | Err(_) => return last,
        }
        if !folder.exists() {
            return Ok(LogPiece { at_line: true, ..LogPiece::default() });
        }
    }
    last
}

impl Output {
    fn look(folder: &Path, stream: Stream) -> io::Result<Self> {
        let mut parts: Vec<(u64, u64)> = vec![];
        for start in starts(folder, stream)? {
            let length = fs::metadata(log_file(folder, stream, start))?.len();
            // A file of a removal that was cut short: what lies before a gap is not part of the output any more.
            if parts.last().is_some_and(|(begin, length)| begin + length != start) {
                parts.clear();
            }
            parts.push((start, length));
        }
        Ok(Self { folder: folder.to_path_buf(), stream, parts })
    }

    fn begin(&self) -> u64 {
        self.parts.first().map_or(0, |(start, _)| *start)
    }

    fn end(&self) -> u64 {
        self.parts.last().map_or(0, |(start, length)| start + length)
    }

    fn read(&self, piece: Piece) -> io::Result<LogPiece> {
        let (begin, end) = (self.begin(), self.end());
        let wanted = match piece.from {
            PieceStart::At(at) => at,
            PieceStart::BeforeEnd(back) => end.saturating_sub(back),
            PieceStart::LinesBeforeEnd(lines) => self.lines_before_end(lines)?,
            PieceStart::Since(since) => self.since(since)?,
        };
        let from = wanted.clamp(begin, end);
        let at_line = from == begin || self.bytes(from - 1, 1)? == b"\n";
        let mut bytes = self.bytes(from, piece.bytes_max)?;
        let mut next = from + bytes.len() as u64;
        let times = if piece.times { self.times(from, next)? } else { vec![] };
        if let Some((cut, _)) = times.get(STAMPS_MAX) {
            next = *cut;
            bytes.truncate(usize::try_from(cut - from).unwrap_or(bytes.len()));
        }
        let times = times.into_iter().take(STAMPS_MAX).collect();
        Ok(LogPiece { bytes, from, next, gone: begin.saturating_sub(wanted), at_line, times })
    }

    /// Bytes from a position on, as many as there are of these.
    fn bytes(&self, from: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![];
        for (start, length) in &self.parts {
            let at = from + bytes.len() as u64;
            let left = (most - bytes.len()) as u64;
            if at < *start || at >= start + length || left == 0 {
                continue;
            }
            let file = File::open(log_file(&self.folder, self.stream, *start))?;
            let mut part = vec![0; usize::try_from(left.min(start + length - at)).unwrap_or(BLOCK)];
            file.read_exact_at(&mut part, at - start)?;
            bytes.append(&mut part);
        }
        Ok(bytes)
    }

    /// Where the last so many lines begin.
    fn lines_before_end(&self, lines: u32) -> io::Result<u64> {
        let (begin, end) = (self.begin(), self.end());
        if lines == 0 {
            return Ok(end);
        }
        // The end of the last line, if it has one, begins no line.
        let mut left = u64::from(lines) + 1;
        if end > begin && self.bytes(end - 1, 1)? != b"\n" {
            left -= 1;
        }
        let (mut to, begin) = (end, begin.max(end.saturating_sub(SEARCHED_MAX)));
        while to > begin {
            let from = to.saturating_sub(BLOCK as u64).max(begin);
            let block = self.bytes(from, usize::try_from(to - from).unwrap_or(BLOCK))?;
            for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                left -= 1;
                if left == 0 {
                    return Ok(from + at as u64 + 1);
                }
            }
            to = from;
        }
        Ok(begin)
    }

    /// Where begins what was written then or later.
    fn since(&self, since: UnixMillis) -> io::Result<u64> {
        for (start, _) in self.parts.iter().rev() {
            let notes = self.notes(*start)?;
            // A clock that was set back leaves notes out of order: one of the places that fit is found.
            let newer = notes.first(|stamp| stamp.at >= since)?;
            if newer > 0 {
                return Ok(notes.stamp(newer)?.map_or_else(|| self.end_of(*start), |stamp| stamp.offset));
            }
        }
        Ok(self.begin())
    }

    fn end_of(&self, part: u64) -> u64 {
        self.parts.iter().find(|(start, _)| *start == part).map_or(part, |(start, length)| start + length)
    }

    /// When the bytes were written that lie between these positions.
    fn times(&self, from: u64, to: u64) -> io::Result<Vec<(u64, UnixMillis)>> {
        let mut times = vec![];
        for (start, length) in &self.parts {
            if *start >= to || start + length <= from {
                continue;
            }
            let notes = self.notes(*start)?;
            let mut at = notes.first(|stamp| stamp.offset > from)?.saturating_sub(1);
            // One more than a piece can bring says where it is cut.
            while times.len() <= STAMPS_MAX
                && let Some(stamp) = notes.stamp(at)?.filter(|stamp| stamp.offset < to)
            {
                times.push((stamp.offset, stamp.at));
                at += 1;
            }
        }
        Ok(times)
    }

    /// The notes of one file; none of what an older release has written.
    fn notes(&self, start: u64) -> io::Result<Notes> {
        match File::open(times_file(&self.folder, self.stream, start)) {
            Ok(file) => Ok(Notes { count: file.metadata()?.len() / STAMP_BYTES as u64, file: Some(file) }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Notes { count: 0, file: None }),
            Err(e) => Err(e),
        }
    }
}

/// The notes of one file, which is as large as an output of many small pieces makes it: read one by one.
struct Notes {
    file: Option<File>,
    count: u64,
}

impl Notes {
    /// One of them; `None` after the last.
    fn stamp(&self, at: u64) -> io::Result<Option<Stamp>> {
        let Some(file) = self.file.as_ref().filter(|_| at < self.count) else { return Ok(None) };
        let mut bytes = [0; STAMP_BYTES];
        file.read_exact_at(&mut bytes, at * STAMP_BYTES as u64)?;
        Ok(Some(Stamp::decode(bytes)))
    }

    /// The first for which it is so; it is so for all after it.
    fn first(&self, is: impl Fn(&Stamp) -> bool) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.stamp(middle)? {
                Some(stamp) if !is(&stamp) => low = middle + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }
}
