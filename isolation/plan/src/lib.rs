//! What has to be done on a machine to run one task apart from the others: a task's needs in, a list of steps out.
//!
//! Pure: nothing is performed here. [`plan`] turns a [`TaskSpec`] into [`Step`]s and [`undo`] says what takes them back;
//! `taffeta-isolation-linux` performs both. [`Executor`] is the seam at which the agent meets either that or a
//! simulator. Left out on purpose: which task runs (`taffeta-agent`), health checks over the network, images.

mod command;
mod executor;
mod files;
mod limits;
mod mount;
mod output;
mod permitted;
mod secrets;
mod spec;
mod steps;

#[cfg(test)]
mod tests;

pub use command::{
    CommandError, CommandEvent, CommandInput, CommandOutput, CommandSpec, PIECE_BYTES_MAX, Running, Terminal,
    TerminalSize,
};
pub use executor::{ActError, Executor, Found, FoundState, StartError, Started, Usage};
pub use files::{ENTRIES_MAX, FileAsk, FileEntry, FileError, FileKind, FilePiece, FileTold};
pub use limits::{Limits, Quota};
pub use mount::{MountPoint, MountSource};
pub use output::{LogPiece, Piece, PieceStart, Stream};
pub use permitted::{Cgroups, Controller, Permitted};
pub use secrets::{Memory, SECRETS_FOLDER, SecretsAt, TaskSecrets};
pub use spec::{InvalidSpec, PATH_DEFAULT, RUN_ID_BYTES_MAX, TaskSpec, check_name};
pub use steps::{SPEC_FILE, Step, Undo, WORK_FOLDER, group_path, plan, undo};
