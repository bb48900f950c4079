//! What has to be done on a machine to run one task apart from the others: a task's needs in, a list of steps out.
//!
//! Pure: nothing is performed here. [`plan`] turns a [`TaskSpec`] into [`Step`]s and [`undo`] says what takes them back;
//! `taffeta-isolation-linux` performs both. [`Executor`] is the seam at which the agent meets either that or a
//! simulator. Left out on purpose: which task runs (`taffeta-agent`), health checks over the network, images.

mod command;
mod confine;
mod executor;
mod fetched;
mod files;
mod limits;
mod measures;
mod mount;
mod output;
mod permitted;
mod sandbox;
mod secrets;
mod spec;
mod steps;
mod usage;
mod view;

#[cfg(test)]
mod tests;

pub use command::{
    CommandError, CommandEvent, CommandInput, CommandOutput, CommandSpec, PIECE_BYTES_MAX, Running, Terminal,
    TerminalSize,
};
pub use confine::{
    Allowed, Capability, Condition, Confine, FileAccess, FileRight, FileRule, InForce, SyscallPolicy, Test,
};
pub use executor::{ActError, Executor, Found, FoundState, StartError, Started};
pub use fetched::{Fetched, Placed};
pub use files::{ENTRIES_MAX, FileAsk, FileEntry, FileError, FileKind, FilePiece, FileTold};
pub use limits::{IoWeight, Limits, Quota};
pub use measures::{Finding, Measures, PROFILE_DEFAULT, advice, rests_on};
pub use mount::{MountPoint, MountSource};
pub use output::{LogPiece, Piece, PieceStart, Stream};
pub use permitted::{Cgroups, Controller, Permitted};
pub use sandbox::{Identity, Namespace, Sandbox};
pub use secrets::{Memory, SECRETS_FOLDER, SecretsAt, TaskSecrets};
pub use spec::{InvalidSpec, PATH_DEFAULT, RUN_ID_BYTES_MAX, TaskSpec, check_name};
pub use steps::{RESOLV_FILE, SPEC_FILE, Step, Undo, WORK_FOLDER, group_path, plan, undo};
pub use usage::{Disks, Pressure, Pressures, Stall, Throttled, Usage};
pub use view::{Bind, ViewStep};
