//! What a task has written, and which part of it is wanted.

use taffeta_model::UnixMillis;

/// One of a task's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub from: PieceStart,
    /// Most bytes of it.
    pub bytes_max: usize,
    /// Whether it is to be told when the bytes were written.
    pub times: bool,
}

/// Where a piece of an output begins. Positions count the bytes that were kept since the start of the run; they stay as they
/// are when the oldest part goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceStart {
    /// At this byte, or at the oldest that is there if it has gone, or at the end if there are not so many.
    At(u64),
    /// So many bytes before the end.
    BeforeEnd(u64),
    /// So many lines before the end; the last one counts also if it is not ended.
    LinesBeforeEnd(u32),
    /// With what was written then or later. At the oldest if it is not known when anything was written.
    Since(UnixMillis),
}

/// A piece as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPiece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Position of the first of them.
    pub from: u64,
    /// Where the next piece begins.
    pub next: u64,
    /// Bytes before `from` that were asked for, and have gone.
    pub gone: u64,
    /// Whether a line begins at `from`.
    pub at_line: bool,
    /// When the bytes were written, if that was asked for: from each of these positions on, in their order. The first is not
    /// behind `from`, unless it is not known when that was written.
    pub times: Vec<(u64, UnixMillis)>,
}
