//! Names and pages.

use super::{NOBODY, alive, nobody_is_left};
use crate::{
    dns::{instances, name_of},
    fleet::Fleet,
    probe::get,
    scene::Scene,
    timeline::Request,
};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use tokio::time::{Instant, sleep_until};

/// Requests of one service: ten a second.
const EVERY: Duration = Duration::from_millis(100);
/// How long one DNS server may take before the next is asked.
const NAME_LIMIT: Duration = Duration::from_millis(500);
/// How long an instance may take.
const PAGE_LIMIT: Duration = Duration::from_secs(1);
/// Servers that a resolver asks in turn.
const SERVERS: usize = 2;
/// How long an instance may take to say whether it speaks HTTP at all.
const TRY_LIMIT: Duration = Duration::from_secs(1);
/// Most services that are asked: more would be a load of its own.
const SERVICES_MAX: usize = 8;

/// The services of which an instance answers HTTP.
pub(super) async fn serving_http(fleet: &Fleet) -> Vec<String> {
    let mut found = vec![];
    for service in fleet.wanted.keys() {
        let one = fleet.tasks.iter().find(|task| task.serves && task.service == *service).and_then(|task| task.at);
        if let Some(at) = one
            && get(at, "/", TRY_LIMIT).await.is_ok_and(|status| status < 500)
        {
            found.push(service.clone());
        }
        if found.len() == SERVICES_MAX {
            break;
        }
    }
    found
}

/// Asks for one service again and again: its name at each machine in turn, then a page of one of its instances. Where
/// no machine has a DNS that can be reached, there is nothing to be asked.
pub(super) async fn ask_for_ever(scene: Scene, fleet: Fleet, service: String) {
    let (name, alive) = (name_of(&service), alive(&fleet));
    if fleet.machines.values().all(|machine| machine.dns.is_none()) {
        return;
    }
    for turn in 0_usize.. {
        let next = Instant::now() + EVERY;
        let silent = scene.silent();
        let speaking = fleet.machines.iter().filter(|(machine, _)| !silent.contains(machine));
        let servers: Vec<SocketAddr> = speaking.filter_map(|(_, machine)| machine.dns).collect();
        let found = match servers.as_slice() {
            [] if nobody_is_left(&alive, &silent) => Err(NOBODY.to_owned()),
            // Those that are left have none that can be reached from here.
            [] => {
                sleep_until(next).await;
                continue;
            }
            servers => resolve(servers, turn, &name).await,
        };
        scene.told(Request::Name, &service, found.as_ref().map(drop).map_err(Clone::clone));
        // Without a name there is nobody to be asked, and that has been counted.
        let one = |found: BTreeSet<SocketAddr>| found.iter().nth(turn % found.len().max(1)).copied();
        if let Some(at) = found.ok().and_then(one) {
            let page = get(at, "/", PAGE_LIMIT).await;
            let told = match page {
                Ok(status) if status < 500 => Ok(()),
                Ok(status) => Err(format!("{at}: HTTP {status}")),
                Err(why) => Err(format!("{at}: {why}")),
            };
            scene.told(Request::Page, &service, told);
        }
        sleep_until(next).await;
    }
}

/// As a resolver with two servers does.
async fn resolve(servers: &[SocketAddr], turn: usize, name: &str) -> Result<BTreeSet<SocketAddr>, String> {
    let mut why = String::new();
    for number in 0..SERVERS.min(servers.len()) {
        let server = servers[(turn + number) % servers.len()];
        match instances(server, name, NAME_LIMIT).await {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => why = format!("{server}: no instance"),
            Err(e) => why = format!("{server}: {e}"),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::{NOBODY, Request, ask_for_ever};
    use crate::{
        fleet::{Fleet, Machine},
        scene::Scene,
    };
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn where_all_machines_are_silenced_whoever_asks_has_failed() {
        let scene = Scene::new();
        scene.silence("n1");
        let machine = Machine { alive: true, dns: "127.0.0.1:1".parse().ok(), ..Machine::default() };
        let fleet = Fleet { machines: [("n1".to_owned(), machine)].into(), ..Fleet::default() };
        let asked = ask_for_ever(scene.clone(), fleet, "web/shop".into());
        assert!(timeout(Duration::from_millis(50), asked).await.is_err(), "it goes on asking");
        let names = scene.timeline().requests[&Request::Name].clone();
        assert_eq!((names.right, names.last_error.as_deref()), (0, Some(NOBODY)));
        assert!(names.failed > 0);
    }
}
