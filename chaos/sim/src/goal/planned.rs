//! What has to become of the scheduler's work: updates are done, drained machines are empty, who is let through has its
//! place, and each machine has its daemon.

use crate::{
    cluster::Cluster,
    workload::{KEEP, Workload},
};
use taffeta_agent::RunId;
use taffeta_model::{AppName, JobKind, JobName, Place, State, TaskId};

/// Apps of the planner and of the keeper: what of them runs where the state has it is wanted, be it the last word or not.
const APPS: [&str; 4] = ["tide", "low", "high", KEEP.0];

/// Jobs whose runs come and go.
const RECURRING: [&str; 2] = ["tick", "chore"];

/// Who waits for room that is short may do so for good.
const MAKES_WAY: &str = "filler";

/// What is still missing, in words.
pub(super) fn missing(cluster: &Cluster, state: &State, workload: &Workload) -> Option<String> {
    for work in workload.planned() {
        let app = AppName::new(work.app()).expect("a label");
        let (service, count) = work.service();
        let job = JobName::new(service).expect("a label");
        let Some(known) = state.apps.get(&app) else { return Some(format!("{app} is not deployed")) };
        let wanted = known.revisions.get(&job).copied();
        let surplus = state.tasks.of_job(&app, &job).map(|(id, _)| id).find(|id| id.index > count);
        if let Some(id) = surplus {
            return Some(format!("{id} is one too many"));
        }
        for id in (1..=count).map(|index| TaskId { app: app.clone(), job: job.clone(), index }) {
            if let Some(what) = missing_of(cluster, state, &id, wanted) {
                return Some(what);
            }
        }
        let daemon = work.daemon().map(|name| JobName::new(name).expect("a label"));
        if let Some(what) = daemon.and_then(|daemon| missing_of_daemon(cluster, state, (&app, &daemon))) {
            return Some(what);
        }
    }
    for member in state.members.values().filter(|member| member.draining) {
        let moves =
            |id: &TaskId| state.job_of(id).is_some_and(|job| job.kind == JobKind::Service && job.volume.is_none());
        let left = state.tasks.iter().find(|(id, task)| task.node() == Some(member.id) && moves(id));
        if let Some((id, _)) = left {
            return Some(format!("{} is drained, and {id} is there", member.name));
        }
    }
    None
}

/// Whether the task is placed, of that revision, and serves.
pub(super) fn missing_of(cluster: &Cluster, state: &State, id: &TaskId, wanted: Option<u64>) -> Option<String> {
    let task = state.tasks.get(id);
    let Some((Place::On { node, fence }, revision)) = task.map(|task| (&task.place, task.revision)) else {
        if id.job.as_str() == MAKES_WAY {
            return None;
        }
        let why = cluster.leader().and_then(|(i, _)| cluster.machines[i].look(|inspect| inspect.why_it_waits(id)));
        return Some(format!("{id} is not placed: {}", why.unwrap_or_default()));
    };
    if Some(revision) != wanted {
        return Some(format!("{id} is of another version than its app"));
    }
    let machine = cluster.machine_of(*node).filter(|m| cluster.places.contains(&m.number));
    let Some(machine) = machine else { return Some(format!("{id} is on a machine that is gone")) };
    let run = machine.tasks.living().into_iter().find(|run| run.id.task() == *id && run.id.fence() == *fence);
    let serves = run.is_some_and(|run| machine.tasks.pulse_of(cluster.now(), run.id.as_str()).is_ok());
    (!serves).then(|| format!("{id} does not serve on {}", machine.name))
}

/// One is on each machine that is left alone and takes new tasks, in the present version, and on none are two. What a drained
/// machine has stays there, of whatever version.
fn missing_of_daemon(cluster: &Cluster, state: &State, (app, job): (&AppName, &JobName)) -> Option<String> {
    let wanted = state.apps.get(app).and_then(|known| known.revisions.get(job)).copied();
    state.members.values().find_map(|member| {
        let here = state.tasks.of_job(app, job).filter(|(_, task)| task.node() == Some(member.id));
        let here: Vec<&TaskId> = here.map(|(id, _)| id).collect();
        let machine = cluster.machine_of(member.id).filter(|m| cluster.places.contains(&m.number));
        let takes = machine.is_some() && !member.draining;
        match &here[..] {
            [] if takes => Some(format!("{} has no {app}/{job}", member.name)),
            [id] if takes => missing_of(cluster, state, id, wanted),
            [] | [_] => None,
            [_, _, ..] => Some(format!("{} has {} of {app}/{job}", member.name, here.len())),
        }
    })
}

/// Whether it is a run of these apps that may be there.
pub(super) fn is_legitimate(state: &State, run: &RunId) -> bool {
    let id = run.task();
    let recurs = RECURRING.contains(&id.job.as_str());
    let there = || {
        let task = state.tasks.get(&id);
        matches!(task.map(|task| &task.place), Some(Place::On { fence, .. }) if *fence == run.fence())
    };
    APPS.contains(&id.app.as_str()) && (recurs || there())
}
