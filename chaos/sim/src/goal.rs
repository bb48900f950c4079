//! What has to come about once a majority is left alone.

mod kept;
mod planned;
mod voters;

use crate::{
    cluster::Cluster,
    dns,
    machine::Machine,
    tasks::Living,
    workload::{App, Shape, Workload},
};
use hickory_proto::rr::RecordType;
use std::{collections::BTreeSet, net::SocketAddr};
use taffeta_model::{AppName, Exit, JobName, Place, State, TaskId};

/// What is still missing, in words; `None` if all is as it should be: a leader that all know, every deploy acknowledged
/// and healthy, every name right on every node, and nothing running that should not.
pub(crate) fn missing(cluster: &Cluster, workload: &Workload) -> Option<String> {
    if !workload.is_settled() {
        return Some("not every deploy is acknowledged".into());
    }
    let Some((leader, leadership)) = cluster.leader() else { return Some("nobody leads".into()) };
    let leading = &cluster.machines[leader];
    for machine in cluster.present() {
        let knows = machine.look(|inspect| inspect.leadership().leader.is_some() || !inspect.votes());
        if knows != Some(true) {
            return Some(format!("{} is not up or knows no leader", machine.name));
        }
    }
    // A copy, so that the leader can be asked for its names meanwhile.
    let Some(state) = leading.look(|inspect| inspect.state(State::clone)) else {
        return Some("the leader went down".into());
    };
    if let Some(what) = voters::missing(cluster, &state, &leadership) {
        return Some(what);
    }
    let mut wanted = BTreeSet::new();
    for app in workload.wanted() {
        if let Some(what) = missing_of(cluster, &state, &app, &mut wanted) {
            return Some(format!("{}: {what}", app.shape.name()));
        }
    }
    if let Some(what) = planned::missing(cluster, &state, workload) {
        return Some(what);
    }
    if let Some(what) = kept::missing(cluster, &state, workload) {
        return Some(what);
    }
    for machine in cluster.present() {
        let is_left = |run: &&Living| !wanted.contains(&run.id.to_string()) && !planned::is_legitimate(&state, &run.id);
        if let Some(run) = machine.tasks.living().iter().find(is_left) {
            return Some(format!("{} still runs on {}", run.id, machine.name));
        }
    }
    None
}

/// Jobs of an app with their counts: those of services, and those of batch work.
fn jobs(app: &App) -> [Vec<(&'static str, u32)>; 2] {
    match app.shape {
        Shape::Shop => [vec![("web", app.count), ("cache", 2), ("vault", 1)], vec![("migrate", 1)]],
        Shape::Edge => [vec![("gate", app.count)], vec![]],
        Shape::Bulk => [vec![], vec![("crunch", app.count), ("doomed", 1)]],
    }
}

fn missing_of(cluster: &Cluster, state: &State, app: &App, wanted: &mut BTreeSet<String>) -> Option<String> {
    let [services, batches] = jobs(app);
    let name = AppName::new(app.shape.name()).expect("a label");
    let task = |job: &str, index| TaskId { app: name.clone(), job: JobName::new(job).expect("a label"), index };
    for (job, count) in batches {
        for id in (1..=count).map(|index| task(job, index)) {
            let ended = state.tasks.get(&id).map(|task| &task.place);
            match ended {
                Some(Place::Ended { exit, .. }) if job != "migrate" || *exit == Exit::Code(0) => {}
                other => return Some(format!("{id} has not ended: {other:?}")),
            }
        }
    }
    // Exclusive tasks wait for a machine of the older version that will never be upgraded.
    let known = |job: &str| job != "vault" || state.spoken_level() >= 2;
    for (job, count) in services.into_iter().filter(|(job, _)| known(job)) {
        let mut right = BTreeSet::new();
        for id in (1..=count).map(|index| task(job, index)) {
            let Some(Place::On { node, fence }) = state.tasks.get(&id).map(|task| &task.place) else {
                let why =
                    cluster.leader().and_then(|(i, _)| cluster.machines[i].look(|inspect| inspect.why_it_waits(&id)));
                return Some(format!("{id} is not placed: {}", why.unwrap_or_default()));
            };
            let machine = cluster.machine_of(*node).filter(|m| cluster.places.contains(&m.number));
            let Some(machine) = machine else { return Some(format!("{id} is on a machine that is gone")) };
            let run = machine.tasks.living().into_iter().find(|run| run.id.task() == id && run.id.fence() == *fence);
            let Some(run) = run.filter(|run| machine.tasks.pulse_of(cluster.now(), run.id.as_str()).is_ok()) else {
                return Some(format!("{id} does not serve on {}", machine.name));
            };
            wanted.insert(run.id.to_string());
            let port = run.ports.first().copied().unwrap_or_default();
            right.insert((id.index.to_string(), SocketAddr::new(machine.address.ip(), port)));
        }
        let surplus = state.tasks.keys().find(|id| id.app == name && id.job.as_str() == job && id.index > count);
        if let Some(id) = surplus {
            return Some(format!("{id} is one too many"));
        }
        for machine in cluster.present() {
            if let Some(what) = wrong_name(machine, &format!("{job}.{name}.fabric.internal"), &right) {
                return Some(what);
            }
        }
    }
    None
}

fn wrong_name(machine: &Machine, name: &str, right: &BTreeSet<(String, SocketAddr)>) -> Option<String> {
    let Some(reply) = dns::ask(machine, name, RecordType::SRV) else {
        return Some(format!("{} does not answer DNS", machine.name));
    };
    let given: BTreeSet<(String, SocketAddr)> = reply.services.into_iter().collect();
    (given != *right).then(|| format!("{} answers {name} with {given:?} instead of {right:?}", machine.name))
}
