//! `drain`: a machine is emptied, and on demand waited for.

use super::Client;
use crate::{
    args::DrainArgs,
    failure::{Failure, Outcome},
    output::remark,
    progress::Progress,
};
use std::{collections::BTreeSet, time::Duration};
use taffeta_node::api::{ApiError, NodeView, TaskView};
use tokio::time::{Instant, sleep};

/// Pause between two looks: short beside a health check's second.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Most tasks that are named in one line.
const NAMED_MAX: usize = 5;

/// What a look found.
enum Found {
    /// Nothing is left to move.
    Empty,
    /// Something is.
    Left {
        /// How far it is and what is waited for.
        words: String,
        /// Whether the node that was asked knows of the drain: it may be a moment behind the leader.
        draining: bool,
    },
}

pub(super) async fn drain(client: Client, args: DrainArgs) -> Outcome {
    let DrainArgs { node, off, wait, timeout, .. } = args;
    if off {
        client.drain_node(&node, true).await?;
        remark(&format!("{node} takes tasks again"));
        return Ok(());
    }
    // Looked at first: what has moved is what is there before, and not any more.
    let name = find(&client, &node).await?.map_or_else(|| node.clone(), |known| known.name);
    let mut before: BTreeSet<String> =
        client.tasks(None).await?.iter().filter(|task| is_on(task, &name)).map(id).collect();
    client.drain_node(&node, false).await?;
    // A node of a version before knows of no volumes, and has none.
    let volumes = client.volumes().await.unwrap_or_default().into_iter();
    let here = volumes.filter(|volume| volume.state == "used" && volume.node.as_ref() == Some(&name));
    let stay: Vec<String> = here.map(|volume| volume.task).filter(|task| before.remove(task)).collect();
    if !stay.is_empty() {
        remark(&format!("their data keeps these on {name}: {}", stay.join(", ")));
    }
    if !wait {
        remark(&format!("{name} is drained: its services move elsewhere, and no new tasks come; see `taffeta nodes`"));
        return Ok(());
    }
    until_empty(&client, &name, &before, timeout).await
}

async fn find(client: &Client, node: &str) -> Result<Option<NodeView>, ApiError> {
    Ok(client.nodes().await?.into_iter().find(|known| known.name == node || known.id == node))
}

/// Returns when every task that was on the machine works elsewhere or has ended.
async fn until_empty(client: &Client, name: &str, before: &BTreeSet<String>, patience: Duration) -> Outcome {
    let until = Instant::now() + patience;
    let mut progress = Progress::start();
    let total = before.len();
    let mut known = false;
    loop {
        let left = match look(client, name, before).await {
            Ok(Found::Empty) => {
                progress.end();
                remark(&format!("{name} is empty: {total} of {total} tasks moved or ended"));
                return Ok(());
            }
            Ok(Found::Left { draining: false, .. }) if known => {
                return Err(Failure::refused(format!("the drain of {name} was ended meanwhile")));
            }
            Ok(Found::Left { words, draining }) => {
                known |= draining;
                words
            }
            Err(e) => e.message, // as while another machine is elected: the drain itself is safe
        };
        if Instant::now() >= until {
            return Err(Failure::late(format!("{name} is not empty after {patience:?}: {left}"))
                .help(format!("it is drained all the same; `taffeta drain {name} --off` ends that")));
        }
        progress.now(&left);
        sleep(LOOK_EVERY).await;
    }
}

async fn look(client: &Client, name: &str, before: &BTreeSet<String>) -> Result<Found, ApiError> {
    let Some(machine) = find(client, name).await? else { return Ok(Found::Empty) }; // it was removed meanwhile
    let tasks = client.tasks(None).await?;
    let mut waits: Vec<String> =
        tasks.iter().filter(|task| before.contains(&id(task)) && is_late(task, name)).map(words).collect();
    let moved = before.len() - waits.len();
    if ["alive", "draining", "suspect"].contains(&machine.state.as_str()) {
        waits.extend(stopping(client, name, &tasks).await?);
    }
    if waits.is_empty() {
        return Ok(Found::Empty);
    }
    let more = waits.len().saturating_sub(NAMED_MAX);
    waits.truncate(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let words = format!("{moved} of {} tasks moved; waits: {}{more}", before.len(), waits.join("; "));
    Ok(Found::Left { words, draining: machine.draining })
}

/// Instances that are placed elsewhere by now and whose processes have not ended yet.
async fn stopping(client: &Client, name: &str, tasks: &[TaskView]) -> Result<Vec<String>, ApiError> {
    let services = client.services().await?;
    let instances = services.iter().flat_map(|service| service.instances.iter().map(move |of| (service, of)));
    let here = instances.filter(|(_, instance)| instance.node == name && instance.state == "stopping");
    let daemon = |app: &str, service: &str| {
        tasks.iter().any(|task| task.kind == "daemon" && task.app == app && task.service == service)
    };
    let here = here.filter(|(service, _)| !daemon(&service.app, &service.service));
    Ok(here
        .map(|(s, instance)| format!("{}/{}.{}: still stopping there", s.app, s.service, instance.instance))
        .collect())
}

fn id(task: &TaskView) -> String {
    format!("{}/{}", task.app, task.task)
}

fn has_ended(task: &TaskView) -> bool {
    ["finished", "failed"].contains(&task.state.as_str())
}

/// Whether it has to go before the machine is empty.
fn is_on(task: &TaskView, name: &str) -> bool {
    task.kind != "daemon" && task.node.as_deref() == Some(name) && !has_ended(task)
}

/// Whether it is still there, or is not at work elsewhere yet.
fn is_late(task: &TaskView, name: &str) -> bool {
    let works = ["healthy", "running"].contains(&task.state.as_str());
    is_on(task, name) || !works && !has_ended(task)
}

fn words(task: &TaskView) -> String {
    let place = task.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let why = match (task.reason.as_str(), task.kind.as_str()) {
        ("", "batch") => format!("runs to its end{place}"),
        ("", _) => format!("{}{place}", task.state),
        (reason, _) => reason.to_owned(),
    };
    format!("{}: {why}", id(task))
}
