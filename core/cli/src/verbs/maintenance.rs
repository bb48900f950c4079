//! Maintenance windows: times at which a machine is drained, again and again.

use super::Client;
use crate::{
    args::MaintenanceArgs,
    failure::{Failure, Outcome},
    output::{Format, or_dash, remark, show_list, table},
};
use std::time::Duration;
use taffeta_node::api::{MaintenanceRequest, MaintenanceView};

pub(super) async fn maintenance(client: Client, args: MaintenanceArgs) -> Outcome {
    let MaintenanceArgs { node, schedule, length, zone, off, output, .. } = args;
    let Some(node) = node else { return list(&client, output.format, None).await };
    if off {
        client.maintain(&node, None).await?;
        remark(&format!("{node} has no maintenance windows any more"));
        return Ok(());
    }
    let Some(schedule) = schedule else { return list(&client, output.format, Some(&node)).await };
    let Some(length) = length else {
        return Err(Failure::wrong("how long is the window?").help("as in `--for 2h`"));
    };
    let request = MaintenanceRequest { schedule, zone, seconds: length.as_secs() };
    client.maintain(&node, Some(&request)).await?;
    let known = client.maintenance().await.unwrap_or_default();
    let set = known.into_iter().find(|known| known.node == node && known.schedule == request.schedule.trim());
    match set {
        Some(MaintenanceView { open_until: Some(until), .. }) => {
            remark(&format!("{node} is under maintenance now, until {until}; see `taffeta nodes`"));
        }
        Some(MaintenanceView { next: Some(next), .. }) => {
            remark(&format!("{node} is drained for {} from {next} on; see `taffeta maintenance`", span(length)));
        }
        Some(_) | None => remark(&format!("{node} has the window; see `taffeta maintenance`")),
    }
    Ok(())
}

async fn list(client: &Client, format: Format, node: Option<&str>) -> Outcome {
    let mut windows = client.maintenance().await?;
    windows.retain(|window| node.is_none_or(|node| window.node == node));
    let empty = "no maintenance windows; set one: `taffeta maintenance NODE --schedule \"0 2 * * 0\" --for 2h`";
    show_list(format, &windows, empty, as_table)
}

fn as_table(windows: &[MaintenanceView]) -> String {
    let rows = windows.iter().map(|MaintenanceView { node, schedule, zone, seconds, open_until, next }| {
        vec![
            node.clone(),
            schedule.clone(),
            zone.clone().unwrap_or_else(|| "UTC".into()),
            span(Duration::from_secs(*seconds)),
            or_dash(open_until.clone().unwrap_or_default()),
            or_dash(next.clone().unwrap_or_default()),
        ]
    });
    table(&["NODE", "SCHEDULE", "ZONE", "FOR", "OPEN UNTIL", "NEXT"], rows)
}

/// As it is given: `2h`, `90m`, `75s`.
fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}
