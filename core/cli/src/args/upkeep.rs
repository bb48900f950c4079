//! Flags of the verbs about volumes and maintenance windows.

use super::{ApiFlags, OutputFlag, ReadArgs};
use crate::units;
use clap::{Args, Subcommand};
use std::time::Duration;
use taffeta_model::{TaskId, VolumeName};

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeVerb {
    /// List the volumes: whose they are, where, and whether a task uses them
    List(ReadArgs),
    /// Let a task that waits for its data begin with an empty volume, on any machine; what it had is lost
    Reset(VolumeResetArgs),
    /// Drop what a task has left that is there no more; the data is lost
    Remove(VolumeRemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VolumeResetArgs {
    /// The task, as shop/db.1
    #[arg(value_name = "APP/SERVICE.INDEX")]
    pub(crate) task: TaskId,
    /// Do it; without this it is only told what would be lost
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct VolumeRemoveArgs {
    /// The task, as shop/db.1
    #[arg(value_name = "APP/SERVICE.INDEX")]
    pub(crate) task: TaskId,
    /// Only the volume of this name, as of one that had another before [default: all of the task]
    #[arg(long, value_name = "VOLUME")]
    pub(crate) name: Option<VolumeName>,
    /// Do it; without this it is only told what would be lost
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct MaintenanceArgs {
    /// The machine's name or id; without one, all windows are listed
    pub(crate) node: Option<String>,
    /// When the window opens: five cron fields, or an ISO 8601 repetition
    #[arg(long, value_name = "SCHEDULE", requires = "node", requires = "length")]
    pub(crate) schedule: Option<String>,
    /// How long it is open, as 2h: a minute to a week (168h)
    #[arg(id = "length", long = "for", value_name = "DURATION", requires = "schedule", value_parser = units::duration)]
    pub(crate) length: Option<Duration>,
    /// The time zone that the schedule follows [default: UTC]
    #[arg(long, value_name = "ZONE", requires = "schedule")]
    pub(crate) zone: Option<String>,
    /// End all windows of the machine
    #[arg(long, requires = "node", conflicts_with = "schedule")]
    pub(crate) off: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}
