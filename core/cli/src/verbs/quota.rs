//! What teams may use of the pool.

use super::Client;
use crate::{
    args::QuotaSetArgs,
    failure::Outcome,
    output::{Format, or_dash, remark, show_list, table},
    units::bytes_in_words,
};
use std::collections::BTreeMap;
use taffeta_model::TeamName;
use taffeta_node::api::{QuotaRequest, QuotaView};

pub(super) async fn set(client: Client, args: QuotaSetArgs) -> Outcome {
    let QuotaSetArgs { team, cpus, memory, disk, resource, share, .. } = args;
    let cpus = cpus.map(|cpus| cpus.0 as f64 / 1000.0);
    let request = QuotaRequest { cpus, memory, disk, custom: resource.into_iter().collect(), share };
    let set = client.set_quota(team, &request).await?;
    remark(&format!("the tasks of team {} may use {} together; its share is {}", set.team, limits(&set), set.share));
    Ok(())
}

pub(super) async fn list(client: Client, format: Format) -> Outcome {
    let empty = "no quotas: every team may use what there is; set one: `taffeta quota set TEAM --cpus N`";
    show_list(format, &client.quotas().await?, empty, as_table)
}

pub(super) async fn remove(client: Client, team: TeamName) -> Outcome {
    client.remove_quota(team.clone()).await?;
    remark(&format!("team {team} may use what there is"));
    Ok(())
}

/// As in `2 cpus, 1GiB of memory`.
fn limits(quota: &QuotaView) -> String {
    let limits = &quota.limits;
    let mut words: Vec<String> = vec![];
    words.extend(limits.cpus.map(|cpus| format!("{cpus} cpus")));
    words.extend(limits.memory.map(|memory| format!("{} of memory", bytes_in_words(memory))));
    words.extend(limits.disk.map(|disk| format!("{} of disk", bytes_in_words(disk))));
    words.extend(limits.custom.iter().map(|(name, count)| format!("{count} {name}")));
    if words.is_empty() { "all there is".into() } else { words.join(", ") }
}

fn as_table(quotas: &[QuotaView]) -> String {
    let of = |used: String, limit: Option<String>| format!("{used}/{}", or_dash(limit.unwrap_or_default()));
    let rows = quotas.iter().map(|QuotaView { team, limits, used, share, tasks }| {
        vec![
            team.clone(),
            share.to_string(),
            tasks.to_string(),
            of(used.cpus.to_string(), limits.cpus.map(|cpus| cpus.to_string())),
            of(bytes_in_words(used.memory), limits.memory.map(bytes_in_words)),
            of(bytes_in_words(used.disk), limits.disk.map(bytes_in_words)),
            or_dash(counts(&used.custom, &limits.custom)),
        ]
    });
    table(&["TEAM", "SHARE", "TASKS", "CPUS", "MEMORY", "DISK", "OTHERS"], rows)
}

/// As in `gpu 1/2`.
fn counts(used: &BTreeMap<String, u64>, limits: &BTreeMap<String, u64>) -> String {
    let of = |(name, limit): (&String, &u64)| format!("{name} {}/{limit}", used.get(name).copied().unwrap_or_default());
    limits.iter().map(of).collect::<Vec<_>>().join(", ")
}
