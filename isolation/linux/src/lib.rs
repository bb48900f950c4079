//! Runs tasks on Linux, each under a shim that outlives the agent, in cgroups where the machine permits them.
//!
//! [`LinuxExecutor`] performs and undoes the steps of `taffeta-isolation-plan`; [`shim_main`] is the other half, run by the
//! same binary in a process of its own. On disk a run is one folder: `spec.json` (intent), `launch.json`, `lock` (held by
//! the shim for life), `state.json` (who runs), `exit.json` (how it ended), `ctl.sock`, the files of two outputs and the
//! task's working folder. `sandbox` sets a task apart in namespaces, with a view of the files of its own; `confine` is what its
//! process gives up: rights, system calls, files by landlock. Left out on purpose: what runs and when (`taffeta-agent`), numbers
//! and names (`plan`), images.

mod beneath;
mod check;
mod confine;
mod control;
mod ending;
mod enter;
mod exec;
mod executor;
mod files;
mod group;
pub mod harm;
mod hierarchy;
mod lease;
mod leftover;
mod limits;
mod load_group;
mod lock;
mod log_files;
mod machine;
mod output;
mod population;
mod port;
mod processors;
mod quota;
mod record;
mod remove;
mod sandbox;
mod secrets;
mod settle;
mod shim;
mod survey;
mod sys;
mod terminal;
mod unpack;
mod usage;

#[cfg(test)]
mod tests;

pub use executor::{LinuxConfig, LinuxExecutor, OpenError};
pub use load_group::{LoadBounds, LoadGroup, can_freeze, own_room};
pub use port::free_port;
pub use quota::{NoQuota, ProjectQuota};
pub use remove::remove_all;
pub use shim::shim_main;
pub use survey::survey;
