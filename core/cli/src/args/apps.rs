//! Flags of the verbs about apps and their tasks.

use super::{ApiFlags, AppOrJob, JobPath, OutputFlag};
use crate::units;
use clap::Args;
use std::{path::PathBuf, time::Duration};
use taffeta_model::{AppName, TaskId};

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// The app file (TOML); `-` reads it from stdin
    pub(crate) file: PathBuf,
    /// Wait until every service is healthy and every batch job has finished
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The app file (TOML); `-` reads it from stdin
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Only the tasks of this app
    pub(crate) app: Option<AppName>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// APP/SERVICE.INDEX, as shop/web.2
    pub(crate) task: TaskId,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// The service or batch job, as shop/web
    #[arg(value_name = "APP/SERVICE")]
    pub(crate) job: JobPath,
    /// The number of instances
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(taffeta_model::COUNT_MAX)))]
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// The app
    pub(crate) app: AppName,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// A service as shop/web, or a whole app as shop
    #[arg(value_name = "APP[/SERVICE]")]
    pub(crate) what: AppOrJob,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The app
    pub(crate) app: AppName,
    /// The version; without it the newest that was not given up
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<u64>,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The batch or cron job, as shop/report
    #[arg(value_name = "APP/JOB")]
    pub(crate) job: JobPath,
    /// Arguments that are appended to the job's own
    #[arg(last = true, value_name = "ARG")]
    pub(crate) args: Vec<String>,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// The batch or cron job, as shop/report
    #[arg(value_name = "APP/JOB")]
    pub(crate) job: JobPath,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}
