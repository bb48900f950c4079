//! Questions to the fabric.

use super::get;
use crate::{
    dns::{instances, name_of},
    fabric::Fabric,
    fleet::{Fleet, Task},
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
    if let Look::Strength(scope) | Look::Names(scope) | Look::Serves { scope, .. } = look {
        ensure_wanted(scope, &fleet)?;
    }
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
            let expected = names_of(&fleet, &alive, |service| chosen(scope, service));
            let (right, asked) = names_right(&fleet, &alive, &expected, NAME_LIMIT).await;
            if asked == 0 {
                return Err("no machine has a DNS that can be asked from here".into());
            }
            json!(part(right, asked))
        }
        Look::Serves { scope, path } => serves(&fleet, scope, path).await,
        Look::Faults => json!(fleet.active().count()),
    })
}

fn chosen(scope: &Scope, service: &str) -> bool {
    service.split_once('/').is_some_and(|(service, app)| scope.holds(app, service))
}

/// What nobody wants was mistyped, or is not there yet: all of nothing would be right.
fn ensure_wanted(scope: &Scope, fleet: &Fleet) -> Result<(), String> {
    if *scope == Scope::default() || fleet.wanted.keys().any(|service| chosen(scope, service)) {
        return Ok(());
    }
    let known: Vec<&str> = fleet.wanted.keys().map(String::as_str).collect();
    Err(format!("no instance of {scope} is wanted; services are {}", or_none(&known)))
}

fn or_none(known: &[&str]) -> String {
    if known.is_empty() { "none".into() } else { known.join(", ") }
}

/// Nothing of nothing is all of it: a cluster without services is whole.
fn part(some: usize, of: usize) -> f64 {
    if of == 0 { 1.0 } else { some as f64 / of as f64 }
}

/// The instances that each name is to give.
pub(crate) type Names = BTreeMap<String, BTreeSet<SocketAddr>>;

/// The instances that serve on these machines, for every service that is chosen.
pub(crate) fn names_of(fleet: &Fleet, machines: &BTreeSet<String>, chosen: impl Fn(&str) -> bool) -> Names {
    let mut expected = Names::new();
    for service in fleet.wanted.keys().filter(|service| chosen(service)) {
        let tasks = fleet.tasks.iter().filter(|task| task.service == *service);
        let listening: Vec<(&Task, SocketAddr)> = tasks.filter_map(|task| Some((task, task.at?))).collect();
        // A service without ports has no SRV records. One of which nothing serves here has none either, but is to have none.
        if !listening.is_empty() {
            let here = listening.iter().filter(|(task, _)| task.serves && machines.contains(&task.node));
            expected.insert(name_of(service), here.map(|(_, at)| *at).collect());
        }
    }
    expected
}

/// How many of these machines give exactly these instances; and how many were asked. A machine without DNS is not asked.
pub(crate) async fn names_right(
    fleet: &Fleet,
    machines: &BTreeSet<String>,
    expected: &Names,
    limit: Duration,
) -> (usize, usize) {
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

#[cfg(test)]
mod tests {
    use super::{ensure_wanted, names_of, names_right, part};
    use crate::{format::Look, targets::tests::fleet};
    use serde_json::json;
    use std::{collections::BTreeSet, time::Duration};

    fn wanted(arguments: &serde_json::Value) -> Result<(), String> {
        let Look::Strength(scope) = Look::from_words("strength", arguments).unwrap() else { panic!("another probe") };
        ensure_wanted(&scope, &fleet())
    }

    #[tokio::test]
    async fn what_nobody_wants_is_no_success() {
        assert_eq!(wanted(&json!({})), Ok(()));
        assert_eq!(wanted(&json!({"app": "shop"})), Ok(()));
        assert_eq!(wanted(&json!({"service": "web/shop"})), Ok(()));
        let mistyped = "no instance of wbe/shop is wanted; services are web/shop".to_owned();
        assert_eq!(wanted(&json!({"service": "wbe/shop"})), Err(mistyped));
        assert!(wanted(&json!({"app": "shp"})).is_err());
        assert_eq!((part(0, 0), part(1, 4)), (1.0, 0.25));
        let all: BTreeSet<String> = fleet().machines.keys().cloned().collect();
        let expected = names_of(&fleet(), &all, |_| true);
        let asked = names_right(&fleet(), &all, &expected, Duration::from_millis(10)).await;
        assert_eq!(asked, (0, 0), "none of them has DNS");
    }
}
