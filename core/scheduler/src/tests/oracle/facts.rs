//! What is the case, asked of the whole state each time: whether a task fits and how well, whether a team is over its
//! quota, who serves.
//!
//! Left out: what a plan may do of that, which is `checks`'.

use crate::tests::fixture::Cluster;
use std::collections::{BTreeMap, BTreeSet};
use taffeta_model::{
    AppName, Constraint, Job, JobKind, JobRef, Liveness, Member, NodeId, Operator, Phase, Place, Resources, State,
    Task, TaskId, TeamName, VolumeId,
};

/// Whether the machine could take the task, asked of the whole state, the task itself and those of `absent` set aside.
pub(super) fn fits(c: &Cluster, state: &State, id: &TaskId, node: NodeId, absent: &BTreeSet<&TaskId>) -> bool {
    fits_as(c, state, (id, state.job(id).unwrap()), node, absent)
}

pub(super) fn fits_as(
    c: &Cluster,
    state: &State,
    (id, job): (&TaskId, &Job),
    node: NodeId,
    absent: &BTreeSet<&TaskId>,
) -> bool {
    let member = &state.members[&node];
    let alive = c.ring.member(node).is_some_and(|view| view.liveness == Liveness::Alive);
    if !alive || member.draining || member.maintained_until(c.ring.date()).is_some() {
        return false;
    }
    let volume = |id: &TaskId, job: &Job| {
        let name = job.volume.as_ref().map(|volume| volume.name.clone());
        name.map(|name| VolumeId { task: id.clone(), name })
    };
    let own = volume(id, job);
    if own.as_ref().and_then(|own| state.volumes.get(own)).is_some_and(|volume| volume.node != node) {
        return false;
    }
    let others = || {
        let there = |(other, task): &(&TaskId, &Task)| *other != id && !absent.contains(other) && task.node().is_some();
        state.tasks.iter().filter(there)
    };
    let (asked, mut used, mut firm) = (job.demand(), job.demand(), job.resources.cpus.0);
    let mut counted: BTreeSet<VolumeId> = own.into_iter().collect();
    let mut gpus = job.custom.get("gpu").copied().unwrap_or_default();
    let fixed = |job: &Job| job.ports.iter().filter_map(|port| port.fixed).collect::<Vec<_>>();
    let named = |from: &TaskId, job: &Job, to: &TaskId| {
        let is = |target: &JobRef| target.app.as_ref().unwrap_or(&from.app) == &to.app && target.job == to.job;
        (job.with.iter().any(is), job.apart.iter().any(is))
    };
    let mut with = job.with.len();
    for target in &job.with {
        let is = |other: &TaskId| target.app.as_ref().unwrap_or(&id.app) == &other.app && target.job == other.job;
        with -= usize::from(others().any(|(other, task)| task.node() == Some(node) && is(other)));
    }
    for (other_id, _) in others().filter(|(_, task)| task.node() == Some(node)) {
        let other = state.job_of(other_id).unwrap();
        used += other.demand();
        counted.extend(volume(other_id, other));
        firm += if other.revocable == job.revocable { other.resources.cpus.0 } else { 0 };
        gpus += other.custom.get("gpu").copied().unwrap_or_default();
        let apart = named(id, job, other_id).1 || named(other_id, state.job(other_id).unwrap(), id).1;
        if apart || fixed(job).iter().any(|port| fixed(other).contains(port)) {
            return false;
        }
    }
    // What is there without its task takes its room all the same.
    let left = state.volumes.iter().filter(|(id, volume)| volume.node == node && !counted.contains(*id));
    used.disk += left.map(|(_, volume)| volume.size).sum::<u64>();
    // A machine may be over its capacity since a job has grown; a task that asks for none of that is no matter.
    let (has, within) = (member.capacity, |asked: u64, used: u64, has: u64| asked == 0 || used <= has);
    with == 0
        && within(asked.cpus.0, firm, has.cpus.0)
        && within(asked.memory, used.memory, has.memory)
        && within(asked.disk, used.disk, has.disk)
        && within(asked.ports.into(), used.ports.into(), has.ports.into())
        && within(job.custom.len() as u64, gpus, member.custom.get("gpu").copied().unwrap_or_default())
        && job.constraints.iter().all(|constraint| {
            let value = |member: &Member| field(member, constraint.plain_field());
            let Some(here) = value(member) else { return matches!(constraint.operator, Operator::Unlike(_)) };
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            let mut placed = 0;
            for (_, task) in others().filter(|(other, _)| other.app == id.app && other.job == id.job) {
                placed += 1;
                if let Some(there) = value(&state.members[&task.node().unwrap()]) {
                    *counts.entry(there).or_default() += 1;
                }
            }
            let same = counts.get(&here).copied().unwrap_or_default();
            match &constraint.operator {
                Operator::Unique => same == 0,
                Operator::MaxPer(most) => same < *most,
                Operator::Is(wanted) | Operator::Cluster(Some(wanted)) => here == *wanted,
                Operator::Cluster(None) => placed == 0 || same > 0,
                Operator::GroupBy(groups) => {
                    let enough = groups.is_none_or(|groups| counts.len() >= groups as usize);
                    same == 0 || (enough && counts.values().all(|count| *count >= same))
                }
                Operator::Like(letter) => here.starts_with(&letter[..1]),
                Operator::Unlike(letter) => !here.starts_with(&letter[..1]),
            }
        })
}

/// How much speaks for a machine that may be taken, the larger the better: that it does not come and go, and before all
/// others what the job prefers.
pub(super) fn wishes(c: &Cluster, job: &Job, node: NodeId) -> (bool, i32) {
    let member = &c.state.members[&node];
    let holds = |rule: &Constraint| match (field(member, rule.plain_field()), &rule.operator) {
        (None, operator) => matches!(operator, Operator::Unlike(_)),
        (Some(here), Operator::Is(wanted)) => here == *wanted,
        (Some(here), Operator::Like(letter)) => here.starts_with(&letter[..1]),
        (Some(here), Operator::Unlike(letter)) => !here.starts_with(&letter[..1]),
        (Some(_), Operator::Unique | Operator::Cluster(_) | Operator::GroupBy(_) | Operator::MaxPer(_)) => false,
    };
    let steady = c.ring.member(node).is_some_and(|view| !view.avoided);
    (steady, job.prefer.iter().filter(|wish| holds(&wish.rule)).map(|wish| i32::from(wish.weight)).sum())
}

/// Whether what the job comes after is ready: its services and daemons serve, its batch jobs have succeeded.
pub(super) fn is_ready(c: &Cluster, app: &AppName, job: &Job) -> bool {
    let ready = |id: &TaskId, task: &Task| match (&task.place, c.state.job(id).unwrap().kind) {
        (Place::Ended { exit, .. }, JobKind::Batch { .. }) => exit.is_success(),
        (_, kind) => !kind.is_batch() && serves(c, id, task),
    };
    job.after.iter().all(|earlier| c.state.tasks.of_job(app, earlier).all(|(id, task)| ready(id, task)))
}

/// What the tasks of a team use, and what they may.
pub(super) fn over_quota(state: &State, team: &TeamName) -> bool {
    over_quota_with(state, team, Resources::default())
}

/// The same with that much more.
pub(super) fn over_quota_with(state: &State, team: &TeamName, mut used: Resources) -> bool {
    let Some(quota) = state.quotas.get(team) else { return false };
    for (id, _) in state.tasks.iter().filter(|(_, task)| task.node().is_some()) {
        if state.apps[&id.app].app.team.as_ref() == Some(team) {
            used += state.job_of(id).unwrap().demand();
        }
    }
    !quota.limit.fits(&used)
}

fn field(member: &Member, field: &str) -> Option<String> {
    match field {
        "hostname" => Some(member.name.to_string()),
        "zone" => Some(member.zone.clone()).filter(|zone| !zone.is_empty()),
        other => member.attributes.get(other).cloned(),
    }
}

pub(super) fn serves(c: &Cluster, id: &TaskId, task: &Task) -> bool {
    let Place::On { node, fence } = task.place else { return false };
    let alive = c.ring.member(node).is_some_and(|view| view.liveness == Liveness::Alive);
    let report = c.ring.reports(id).iter().find(|r| r.node == node && r.fence == fence);
    let unchecked = c.state.job(id).unwrap().health.is_none();
    alive && report.is_some_and(|r| r.phase == Phase::Healthy || (unchecked && r.phase == Phase::Running))
}
