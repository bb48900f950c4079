//! What has to be done on a machine to run one task apart from the others: a task's needs in, a list of steps out.
//!
//! Pure: nothing is performed here. [`plan`] turns a [`TaskSpec`] into [`Step`]s and [`undo`] says what takes them back;
//! `taffeta-isolation-linux` performs both. [`Executor`] is the seam at which the agent meets either that or a
//! simulator. Left out on purpose: which task runs (`taffeta-agent`), health checks over the network, images.

mod executor;
mod limits;
mod mount;
mod permitted;
mod secrets;
mod spec;
mod steps;
mod usage;

#[cfg(test)]
mod tests;

pub use executor::{ActError, Executor, Found, FoundState, Piece, PieceStart, StartError, Started, Stream};
pub use limits::{IoWeight, Limits, Quota};
pub use mount::{MountPoint, MountSource};
pub use permitted::{Cgroups, Controller, Permitted};
pub use secrets::{Memory, SECRETS_FOLDER, SecretsAt, TaskSecrets};
pub use spec::{InvalidSpec, PATH_DEFAULT, RUN_ID_BYTES_MAX, TaskSpec, check_name};
pub use steps::{SPEC_FILE, Step, Undo, WORK_FOLDER, group_path, plan, undo};
pub use usage::{Disks, Pressure, Pressures, Stall, Throttled, Usage};
