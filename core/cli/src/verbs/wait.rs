//! Waiting until an app is what was deployed.

use super::{Client, files::AppFile};
use crate::{
    failure::{Failure, Outcome},
    progress::Progress,
};
use std::time::Duration;
use taffeta_model::AppName;
use taffeta_node::api::{ApiError, DeployRequest, TaskView};
use tokio::time::{Instant, sleep};

/// Pause between two looks: short beside a health check's second.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Most tasks that are named in one line.
const NAMED_MAX: usize = 5;

/// What a look found.
enum Found {
    /// All is as deployed.
    Healthy,
    /// Not yet: what is missing, in words.
    Missing(String),
    /// It will not be.
    Hopeless(Failure),
}

/// Returns when every service instance of the version is healthy, or runs if it has no check, and every batch task has
/// finished.
pub(super) async fn until_healthy(client: &Client, file: &AppFile, version: u64, patience: Duration) -> Outcome {
    let until = Instant::now() + patience;
    let mut progress = Progress::start();
    loop {
        let missing = match look(client, &file.app.name, &file.request, version).await {
            Ok(Found::Healthy) => return Ok(()),
            Ok(Found::Hopeless(failure)) => return Err(failure),
            Ok(Found::Missing(what)) => what,
            Err(e) => e.message, // as while another machine is elected: the deploy itself is safe
        };
        if Instant::now() >= until {
            let app = &file.app.name;
            return Err(Failure::late(format!("{app} is not healthy after {patience:?}: {missing}"))
                .help(format!("it was deployed all the same; see `taffeta ps {app}` and `taffeta why TASK`")));
        }
        progress.now(&missing);
        sleep(LOOK_EVERY).await;
    }
}

async fn look(client: &Client, name: &AppName, request: &DeployRequest, version: u64) -> Result<Found, ApiError> {
    let apps = client.apps().await?;
    let Some(app) = apps.into_iter().find(|app| app.app == name.as_str()) else {
        return Ok(Found::Missing(format!("{name} is not known yet")));
    };
    if app.version > version {
        let newer = format!("version {} of {name} was deployed meanwhile, over version {version}", app.version);
        return Ok(Found::Hopeless(Failure::refused(newer)));
    }
    let tasks = client.tasks(Some(name.clone())).await?;
    let failed = tasks.iter().find(|task| task.kind == "batch" && task.state == "failed");
    if app.version == version && (app.healthy || failed.is_some()) {
        // Tasks of the version before may be just as healthy, or have failed: what is left to change tells.
        let plan = client.plan(request.clone()).await?;
        let kept = |task: &str| plan.steps.iter().any(|step| step.task == task && step.action == "keep");
        if let Some(failed) = failed.filter(|failed| kept(&failed.task)) {
            let what = format!("{name}/{} failed{}", failed.task, because(failed));
            let help = format!("see what it wrote: `taffeta logs {name}/{} --stderr`", failed.task);
            return Ok(Found::Hopeless(Failure::failed(what).help(help)));
        }
        // What runs again and again is as it should be while it waits for its next run.
        let idle = |task: &str| {
            let task = tasks.iter().find(|known| known.task == task && known.state == "waiting");
            let job = task.and_then(|task| app.jobs.iter().find(|job| job.name == task.service));
            job.is_some_and(|job| job.ready >= job.count)
        };
        if app.healthy && plan.steps.iter().all(|step| step.action == "keep" || idle(&step.task)) {
            return Ok(Found::Healthy);
        }
    }
    let missing = unfinished(&tasks);
    let rest = if app.healthy { "its instances are being replaced" } else { "not all instances are there yet" };
    Ok(Found::Missing(if missing.is_empty() { rest.into() } else { missing }))
}

/// The tasks that are not yet what they should be, and why.
pub(crate) fn unfinished(tasks: &[TaskView]) -> String {
    let late = |task: &&TaskView| match task.state.as_str() {
        "healthy" | "finished" => false,
        // Without a check there is nothing more to come; a reason says that there is.
        "running" => task.kind == "batch" || !task.reason.is_empty(),
        _ => true,
    };
    let late: Vec<&TaskView> = tasks.iter().filter(late).collect();
    let named = late.iter().take(NAMED_MAX).map(|task| {
        let place = task.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
        format!("{} is {}{place}{}", task.task, task.state, because(task))
    });
    let mut words = named.collect::<Vec<_>>().join("; ");
    if late.len() > NAMED_MAX {
        words += &format!("; and {} more", late.len() - NAMED_MAX);
    }
    words
}

fn because(task: &TaskView) -> String {
    if task.reason.is_empty() { String::new() } else { format!(" ({})", task.reason) }
}
