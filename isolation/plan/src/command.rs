//! A command that a person runs beside a task.

use crate::Stream;
use async_trait::async_trait;
use std::io;
use taffeta_model::Exit;
use thiserror::Error;

/// Most bytes of a piece of input or output: what each hop on the way to the person holds of it, a few times.
pub const PIECE_BYTES_MAX: usize = 32 << 10;

/// What is run, and how it speaks to its person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// Program and arguments. A program without a slash is searched in the task's `PATH`.
    pub run: Vec<String>,
    /// The terminal that it gets; `None`: pipes.
    pub terminal: Option<Terminal>,
    /// Whether it has an input; without one it reads an end at once.
    pub input: bool,
}

/// A terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Its kind, as in `TERM`.
    pub kind: String,
    /// Its size at the beginning.
    pub size: TerminalSize,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A command that was started.
pub struct Running {
    /// What goes to it.
    pub input: Box<dyn CommandInput>,
    /// What comes from it. Dropping this ends the command.
    pub output: Box<dyn CommandOutput>,
}

/// What goes to a command.
#[async_trait]
pub trait CommandInput: Send {
    /// Writes bytes; returns when the command, or the kernel for it, has them. An error means that it reads no more.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Ends its input.
    async fn end(&mut self);
    /// Gives its terminal another size. Nothing happens if it has none.
    fn resize(&mut self, size: TerminalSize);
}

/// What comes from a command.
#[async_trait]
pub trait CommandOutput: Send {
    /// What comes next. Not to be called again after its end. Safe to cancel.
    async fn next(&mut self) -> CommandEvent;
}

/// What comes from a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEvent {
    /// It wrote this, of at most [`PIECE_BYTES_MAX`] bytes. All that a command with a terminal writes is its stdout.
    Output(Stream, Vec<u8>),
    /// It ended so, and all that it wrote has been given.
    Ended(Exit),
}

/// Why a command was not started. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// There is no such run.
    #[error("there is no run `{0}`")]
    Unknown(String),
    /// It has ended.
    #[error("run `{0}` has ended")]
    Ended(String),
    /// The program is not there.
    #[error("{0}")]
    NotFound(String),
    /// The program cannot be executed.
    #[error("{0}")]
    NotExecutable(String),
    /// So many commands run beside this task, or on this machine, that there is room for no other.
    #[error("{0}")]
    TooMany(String),
    /// The machine failed; it may be tried again.
    #[error("{0}")]
    Failed(String),
}
