//! Questions to the fabric.

use super::get;
use crate::{
    dns::{instances, name_of},
    fabric::Fabric,
    fleet::Fleet,
    format::{Look, Scope},
};
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};
use tokio::task::JoinSet;

/// How long a DNS server may take: the shortest that stub resolvers are set to.
const NAME_LIMIT: Duration = Duration::from_secs(1);
/// How long an instance may take.
const PAGE_LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn look(look: &Look, fabric: &Fabric) -> Result<Json, String> {
    if *look == Look::Faults {
        let chaos = fabric.chaos().await.map_err(|e| e.message)?;
        let fleet = Fleet { faults: chaos.faults, ..Fleet::default() };
        return Ok(json!(fleet.active().count()));
    }
    let fleet = fabric.view().await.map_err(|e| e.message)?;
    Ok(match look {
        Look::Leader => json!(fleet.leader),
        Look::Quorum => json!(fleet.quorum),
        Look::Alive => json!(fleet.alive().len()),
        Look::Strength(scope) => {
            let (serving, wanted) = fleet.strength(|service| chosen(scope, service));
            json!(part(serving, wanted))
        }
        Look::Names(scope) => {
            let alive: BTreeSet<String> = fleet.alive().into_iter().map(String::from).collect();
            let (right, asked) = names_right(&fleet, &alive, |service| chosen(scope, service), NAME_LIMIT).await;
            json!(part(right, asked))
        }
        Look::Serves { scope, path } => serves(&fleet, scope, path).await,
        Look::Faults => json!(fleet.active().count()),
    })
}

fn chosen(scope: &Scope, service: &str) -> bool {
    service.split_once('/').is_some_and(|(service, app)| scope.holds(app, service))
}

/// Nothing of nothing is all of it.
fn part(some: usize, of: usize) -> f64 {
    if of == 0 { 1.0 } else { some as f64 / of as f64 }
}

/// How many of these machines give exactly the instances that serve on these machines, for every service that is
/// chosen; and how many were asked. A machine without DNS is not asked.
pub(crate) async fn names_right(
    fleet: &Fleet,
    machines: &BTreeSet<String>,
    chosen: impl Fn(&str) -> bool,
    limit: Duration,
) -> (usize, usize) {
    let mut expected: BTreeMap<String, BTreeSet<SocketAddr>> = BTreeMap::new();
    for service in fleet.wanted.keys().filter(|service| chosen(service)) {
        let serving = fleet.tasks.iter().filter(|task| task.serves && task.service == *service);
        let here = serving.filter(|task| machines.contains(&task.node)).filter_map(|task| task.at);
        // A service without ports has no SRV records.
        let at: BTreeSet<SocketAddr> = here.collect();
        if !at.is_empty() {
            expected.insert(name_of(service), at);
        }
    }
    let mut asked = JoinSet::new();
    for server in
        fleet.machines.iter().filter(|(name, _)| machines.contains(*name)).filter_map(|(_, machine)| machine.dns)
    {
        let expected = expected.clone();
        asked.spawn(async move {
            for (name, at) in &expected {
                if instances(server, name, limit).await.ok().as_ref() != Some(at) {
                    return false;
                }
            }
            true
        });
    }
    let answers = asked.join_all().await;
    (answers.iter().filter(|right| **right).count(), answers.len())
}

async fn serves(fleet: &Fleet, scope: &Scope, path: &str) -> Json {
    let servers: Vec<SocketAddr> =
        fleet.machines.values().filter(|m| m.alive).filter_map(|machine| machine.dns).collect();
    let mut found = BTreeSet::new();
    for service in fleet.wanted.keys().filter(|service| chosen(scope, service)) {
        for server in &servers {
            if let Ok(at) = instances(*server, &name_of(service), NAME_LIMIT).await {
                found.extend(at);
                break;
            }
        }
    }
    let mut asked = JoinSet::new();
    for at in &found {
        let (at, path) = (*at, path.to_owned());
        asked.spawn(async move { get(at, &path, PAGE_LIMIT).await.is_ok_and(|status| (200..400).contains(&status)) });
    }
    let right = asked.join_all().await.into_iter().filter(|right| *right).count();
    // That nobody is found to be asked is no success.
    if found.is_empty() { json!(0) } else { json!(part(right, found.len())) }
}
