//! Volumes: where data is, and what of it may go.

use super::Client;
use crate::{
    failure::{Failure, Outcome},
    output::{Format, remark, show_list, table},
    units::bytes_in_words,
};
use taffeta_model::{TaskId, VolumeName};
use taffeta_node::api::VolumeView;

pub(super) async fn list(client: Client, format: Format) -> Outcome {
    let empty = "no volumes; a job gets one by `volume = { name = \"data\", size = \"1GiB\" }`";
    show_list(format, &client.volumes().await?, empty, as_table)
}

pub(super) async fn reset(client: Client, task: TaskId, yes: bool) -> Outcome {
    if !yes {
        let lost = found(&client, &task, None).await?;
        let lost: Vec<&VolumeView> = lost.iter().filter(|volume| volume.state != "kept").collect();
        return Err(Failure::refused(format!("this would lose {}", in_words(&lost)))
            .help(format!("if {task} is to begin with an empty volume, on any machine: add --yes")));
    }
    client.reset_volume(task.clone()).await?;
    remark(&format!("{task} begins with an empty volume; see `taffeta why {task}`"));
    Ok(())
}

pub(super) async fn remove(client: Client, task: TaskId, name: Option<VolumeName>, yes: bool) -> Outcome {
    if !yes {
        let lost = found(&client, &task, name.as_ref()).await?;
        let lost: Vec<&VolumeView> = lost.iter().collect();
        return Err(Failure::refused(format!("this would lose {}", in_words(&lost)))
            .help("if nobody needs that any more: add --yes"));
    }
    client.remove_volume(task.clone(), name).await?;
    remark(&format!("what {task} had left is dropped"));
    Ok(())
}

/// The volumes of a task, of that name if one is given.
async fn found(client: &Client, task: &TaskId, name: Option<&VolumeName>) -> Outcome<Vec<VolumeView>> {
    let (of, all) = (task.to_string(), client.volumes().await?);
    let is_it = |volume: &VolumeView| volume.task == of && name.is_none_or(|name| volume.name == name.as_str());
    let found: Vec<VolumeView> = all.into_iter().filter(is_it).collect();
    if found.is_empty() {
        let name = name.map(|name| format!(" `{name}`")).unwrap_or_default();
        let message = format!("`{task}` has no volume{name}");
        return Err(Failure::failed(message).help("`taffeta volume list` lists what is there"));
    }
    Ok(found)
}

/// As in `the volume data of shop/db.1 (1GiB on n2, used by its task)`.
fn in_words(volumes: &[&VolumeView]) -> String {
    let one = |VolumeView { task, name, node, size, state, .. }: &&VolumeView| {
        let place = node.as_ref().map_or_else(|| "on a removed machine".into(), |node| format!("on {node}"));
        let state = match state.as_str() {
            "used" => ", used by its task",
            "awaited" => ", awaited by its task",
            _ => "",
        };
        format!("the volume `{name}` of {task} ({} {place}{state})", bytes_in_words(*size))
    };
    if volumes.is_empty() { "nothing".into() } else { volumes.iter().map(one).collect::<Vec<_>>().join(", ") }
}

fn as_table(volumes: &[VolumeView]) -> String {
    let rows = volumes.iter().map(|VolumeView { task, name, node, size, used, over, limit, state, born }| {
        let node = node.clone().unwrap_or_else(|| "(removed)".into());
        let used = used.map_or_else(|| "-".into(), bytes_in_words);
        let used = if *over { format!("{used} (over)") } else { used };
        let limit = limit.clone().unwrap_or_else(|| "-".into());
        vec![task.clone(), name.clone(), node, bytes_in_words(*size), used, limit, state.clone(), born.clone()]
    });
    table(&["TASK", "VOLUME", "NODE", "SIZE", "USED", "LIMIT", "STATE", "BORN"], rows)
}
