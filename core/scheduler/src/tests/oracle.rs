//! Random clusters and histories against an oracle that looks at everything anew for every question.

use super::fixture::{Cluster, MIB, With, app, batch, service, task_id};
use crate::{Change, Idle, Plan, Waiting, preview};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
};
use taffeta_model::{
    App, AppName, AppState, Cause, Command, Cpus, Decision, Exit, Job, JobKind, JobName, JobRef, Liveness, Maintenance,
    Member, NodeId, Operator, Phase, Place, Placement, PlacementStrategy, Quota, Removal, Resources, Schedule, State,
    Task, TaskId, TeamName, UnixMillis, UpdatePolicy, Volume, VolumeId,
};

/// Whether the machine could take the task, asked of the whole state, the task itself and those of `absent` set aside.
fn fits(c: &Cluster, state: &State, id: &TaskId, node: NodeId, absent: &BTreeSet<&TaskId>) -> bool {
    fits_as(c, state, (id, state.job(id).unwrap()), node, absent)
}

fn fits_as(c: &Cluster, state: &State, (id, job): (&TaskId, &Job), node: NodeId, absent: &BTreeSet<&TaskId>) -> bool {
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

/// What the tasks of a team use, and what they may.
fn over_quota(state: &State, team: &TeamName) -> bool {
    let Some(quota) = state.quotas.get(team) else { return false };
    let mut used = Resources::default();
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

fn serves(c: &Cluster, id: &TaskId, task: &Task) -> bool {
    let Place::On { node, fence } = task.place else { return false };
    let alive = c.ring.member(node).is_some_and(|view| view.liveness == Liveness::Alive);
    let report = c.ring.reports(id).iter().find(|r| r.node == node && r.fence == fence);
    let unchecked = c.state.job(id).unwrap().health.is_none();
    alive && report.is_some_and(|r| r.phase == Phase::Healthy || (unchecked && r.phase == Phase::Running))
}

/// Plans, checks the plan against the state before and after it, and carries it out.
fn checked_turn(c: &mut Cluster) -> Result<Plan, TestCaseError> {
    let (anew, before) = (c.plan(), c.state.clone());
    let plan = c.scheduler.borrow_mut().plan(c.now, &c.state, &mut c.ring);
    invariant_dead_machines_tasks_wait_for_the_delay(c, &plan)?;
    invariant_enough_serve(c, &plan)?;
    // Who makes way may give more room than is taken: one that knows nothing asks all apps at once whether they want it,
    // the other asks them in its next turn. So it is with what replaces a larger version. Nor does one that knows nothing know for how long a version has failed.
    let same_by_right = !gives_room(&c.state, &plan) && !gives_room(&c.state, &anew);
    if same_by_right {
        let told: Vec<_> = anew.waiting().map(|(id, why)| format!("{id}: {why}")).collect();
        prop_assert_eq!(&plan.commands, &anew.commands, "the scheduler missed a change; {:?}", told);
        let known: Vec<_> = anew.waiting().map(|(id, _)| id).collect();
        prop_assert_eq!(plan.waiting().map(|(id, _)| id).collect::<Vec<_>>(), known);
    }
    invariant_who_makes_way_is_of_less_priority(c, &plan)?;
    let over: Vec<_> = c.state.quotas.keys().filter(|team| over_quota(&c.state, team)).cloned().collect();
    carry_out(c, &plan)?;
    let placements = placements(&plan);
    for team in c.state.quotas.keys().filter(|team| !over.contains(team)) {
        prop_assert!(!over_quota(&c.state, team), "{team} is over its quota");
    }
    // A task that an update has moved away gives room that those before it in the plan could not know of, and so does
    // one that makes way for another; one that came may be what others must be with.
    let gave_room = placements.iter().any(|(id, _)| before.tasks.get(id).is_some_and(|task| task.node().is_some()))
        || !removals(&plan).is_empty()
        || plan.commands.iter().any(ends_tasks);
    // One beside others that has lost its machine is gone with it.
    for (id, why) in plan.waiting().filter(|(id, _)| c.state.tasks.contains_key(*id)) {
        let why = if let Waiting::Outdated(why) | Waiting::Drained(why) = why { why } else { why };
        let why = if let Waiting::Shielded { otherwise, .. } = why { otherwise } else { why };
        match why {
            // What keeps to an older version waits for a place for that.
            Waiting::NoMachine | Waiting::NoRoom(_)
                if c.state.tasks[id].revision != c.state.apps[&id.app].revisions[&id.job] => {}
            Waiting::NoMachine | Waiting::NoRoom(_) if !gave_room && c.state.job(id).unwrap().with.is_empty() => {
                let room = c.state.members.keys().find(|node| fits(c, &c.state, id, **node, &BTreeSet::new()));
                prop_assert!(room.is_none(), "{id} waits though it fits on {room:?}: {why}");
            }
            Waiting::Volume { name, .. } if c.state.tasks[id].revision == c.state.apps[&id.app].revisions[&id.job] => {
                let volume = c.state.volumes.get(&VolumeId { task: id.clone(), name: name.clone() });
                prop_assert!(volume.is_some(), "{id} waits for data that it has not: {why}");
                let node = volume.unwrap().node;
                let fits = c.state.members.contains_key(&node) && fits(c, &c.state, id, node, &BTreeSet::new());
                let placed = c.state.tasks[id].node().is_some();
                let free = gave_room || placed || !c.state.job(id).unwrap().with.is_empty();
                prop_assert!(free || !fits, "{id} waits though it fits where its data is: {why}");
            }
            Waiting::NoMachine
            | Waiting::NoRoom(_)
            | Waiting::Volume { .. }
            | Waiting::After(_)
            | Waiting::Preempted { .. }
            | Waiting::Leases
            | Waiting::Beside(_)
            | Waiting::Paused
            | Waiting::Unpromoted { .. } => {}
            Waiting::Shielded { .. } => prop_assert!(false, "one in another"),
            Waiting::Leased { .. } => {
                prop_assert!(c.state.leased.contains_key(id), "{id} waits for the end of a lease that it has not");
            }
            Waiting::OldMembers => prop_assert!(false, "all members are new"),
            Waiting::Parallel { most } => {
                // As many are on machines, or go before it as soon as there is room.
                let goes_first = |other: &TaskId, task: &Task| {
                    let behind = plan.why(other).is_some_and(|why| matches!(why, Waiting::Parallel { .. }));
                    task.node().is_some() || (matches!(task.place, Place::Waiting { .. }) && !behind)
                };
                let first =
                    c.state.tasks.of_job(&id.app, &id.job).filter(|(other, task)| goes_first(other, task)).count();
                prop_assert!(first >= *most as usize, "{id} waits though only {first} of {most} go first");
            }
            Waiting::Idle(_) => {
                let runs = &c.state.apps[&id.app].runs[&id.job];
                prop_assert!(
                    runs.current.is_none() || matches!(why, Waiting::Idle(Idle::Begins | Idle::Over)),
                    "{id}: {why}"
                );
            }
            Waiting::OverQuota { team, .. } => {
                prop_assert_eq!(c.state.apps[&id.app].app.team.as_ref(), Some(team));
            }
            Waiting::Outdated(_) | Waiting::Drained(_) => {
                prop_assert!(false, "a reason within a reason within a reason");
            }
        }
    }
    for (id, task) in c.state.tasks.iter().filter(|(_, task)| matches!(task.place, Place::Waiting { .. })) {
        prop_assert!(plan.why(id).is_some(), "{id} waits without a reason: {task:?}");
    }
    Ok(plan)
}

/// Whether it is a decision that ends a run whose tasks are on machines.
fn ends_tasks(command: &Command) -> bool {
    let Command::Fire(firings) = command else { return false };
    firings.iter().any(|firing| firing.decision == Decision::Expired)
}

/// Carries the plan out one placement after the other, each checked by the oracle at its instant.
fn carry_out(c: &mut Cluster, plan: &Plan) -> Result<(), TestCaseError> {
    for command in &plan.commands {
        let Command::Place(placements) = command else {
            c.apply(command);
            continue;
        };
        let alive = |node: NodeId| c.ring.member(node).is_some_and(|view| view.liveness == Liveness::Alive);
        let on_dead = |id: &TaskId| c.state.tasks.get(id).and_then(Task::node).is_some_and(|node| !alive(node));
        let lost: BTreeSet<TaskId> = placements.iter().map(|p| p.task.clone()).filter(on_dead).collect();
        for (i, placement) in placements.iter().enumerate() {
            let (id, node) = (&placement.task, placement.node);
            let later = placements[i..].iter().map(|p| &p.task);
            let absent = later.filter(|id| lost.contains(*id)).collect();
            let job = if placement.older { c.state.job_of(id) } else { c.state.job(id) }.unwrap().clone();
            prop_assert!(fits_as(c, &c.state, (id, &job), node, &absent), "{id} does not fit on {node}: {plan:?}");
            let leased = c.state.leased.get(id);
            prop_assert!(leased.is_none_or(|l| l.node == node), "{id} may run on {leased:?}, and comes to {node}");
            let was = c.state.tasks.get(id).and_then(Task::node);
            let moves = job.exclusive && was.is_some_and(|was| was != node);
            prop_assert!(!moves, "{id} goes from {was:?} to {node} in one step");
            c.apply(&Command::Place(vec![placement.clone()]));
            prop_assert_eq!(c.state.tasks[id].node(), Some(node));
        }
    }
    Ok(())
}

fn invariant_who_makes_way_is_of_less_priority(c: &Cluster, plan: &Plan) -> Result<(), TestCaseError> {
    let removed = plan.commands.iter().filter_map(|command| match command {
        Command::Remove(removals) => Some(removals),
        _ => None,
    });
    for removal in removed.flatten() {
        let Cause::Preempted { by } = &removal.cause else { continue };
        // Whoever makes way does so as what it is; the other one comes as what it is to be.
        let rank = |id: &TaskId| c.state.job_of(id).map(|job| (!job.revocable, job.priority));
        let by_older = placements_of(plan).any(|p| p.task == *by && p.older);
        let by_rank = if by_older { rank(by) } else { c.state.job(by).map(|job| (!job.revocable, job.priority)) };
        prop_assert!(rank(&removal.task) < by_rank, "{} makes way for {by}", removal.task);
        let to = placements(plan).iter().find(|(id, _)| *id == by).map(|(_, node)| *node);
        let from = c.state.tasks[&removal.task].node();
        prop_assert_eq!(from, to, "room is made where it is used");
    }
    Ok(())
}

/// Whether a plan frees room in its course, or gives a version up.
pub(super) fn gives_room(state: &State, plan: &Plan) -> bool {
    let moved = |id: &TaskId| state.tasks.get(id).is_some_and(|task| task.node().is_some());
    !removals(plan).is_empty()
        || placements(plan).iter().any(|(id, _)| moved(id))
        || plan.commands.iter().any(|command| matches!(command, Command::Rollback { .. }))
}

fn placements_of(plan: &Plan) -> impl Iterator<Item = &Placement> {
    let all = plan.commands.iter().filter_map(|command| match command {
        Command::Place(placements) => Some(placements),
        _ => None,
    });
    all.flatten()
}

fn placements(plan: &Plan) -> Vec<(&TaskId, NodeId)> {
    let all = plan.commands.iter().filter_map(|command| match command {
        Command::Place(placements) => Some(placements),
        _ => None,
    });
    all.flatten().map(|p| (&p.task, p.node)).collect()
}

fn removed(plan: &Plan) -> impl Iterator<Item = &Removal> {
    let all = plan.commands.iter().filter_map(|command| match command {
        Command::Remove(removals) => Some(removals),
        _ => None,
    });
    all.flatten()
}

fn removals(plan: &Plan) -> Vec<&TaskId> {
    let all = plan.commands.iter().filter_map(|command| match command {
        Command::Remove(removals) => Some(removals),
        _ => None,
    });
    all.flatten().map(|r| &r.task).collect()
}

fn invariant_dead_machines_tasks_wait_for_the_delay(c: &Cluster, plan: &Plan) -> Result<(), TestCaseError> {
    // What an update does not need any more is not lost.
    let surplus: BTreeSet<&TaskId> = removed(plan).filter(|r| r.cause == Cause::Surplus).map(|r| &r.task).collect();
    let moved = placements(plan).into_iter().map(|(id, _)| id).chain(removals(plan));
    for id in moved.filter(|id| !surplus.contains(id)) {
        let Some(from) = c.state.tasks.get(id).and_then(Task::node) else { continue };
        let delay = c.state.job(id).unwrap().reschedule_after;
        match c.ring.member(from) {
            None => {
                prop_assert!(c.now.since(c.ring.leader_since()) >= delay.max(crate::UNSEEN_GRACE));
                prop_assert!(c.ring.is_unseen_dead(from));
            }
            Some(view) => match view.liveness {
                Liveness::Alive => {}
                Liveness::Suspect => prop_assert!(false, "{id} leaves a suspect"),
                Liveness::Down | Liveness::Left => {
                    prop_assert!(c.now.since(view.since) >= delay, "{id} leaves too early");
                    prop_assert!(view.confirmed_dead, "{id} leaves on hearsay");
                }
            },
        }
    }
    Ok(())
}

/// Of a service as many serve as its policy has it, those on their way counted as missing: what a plan takes from those
/// that serve, be it for an update, a drain or a higher priority, is never more than may be missed.
fn invariant_enough_serve(c: &Cluster, plan: &Plan) -> Result<(), TestCaseError> {
    let mut taken: BTreeMap<(AppName, JobName), Vec<TaskId>> = BTreeMap::new();
    let touched = placements(plan).into_iter().map(|(id, _)| id).chain(removals(plan));
    for id in touched.filter(|id| c.state.tasks.contains_key(*id)) {
        if c.state.job(id).unwrap().kind == JobKind::Service && serves(c, id, &c.state.tasks[id]) {
            taken.entry((id.app.clone(), id.job.clone())).or_default().push(id.clone());
        }
    }
    for ((app, job), taken) in taken {
        let definition = &c.state.apps[&app].app.jobs[&job];
        let of_job = || c.state.tasks.iter().filter(|(id, _)| id.app == app && id.job == job);
        let hidden = |id: &TaskId| c.state.assigned_to(c.state.tasks[id].node().unwrap()).unwrap().tasks[id].hidden;
        let serving = of_job().filter(|(id, task)| serves(c, id, task) && !hidden(id)).count();
        let taken = taken.iter().filter(|id| !hidden(id)).count();
        // One that fits nowhere is not missed.
        let nowhere =
            |(id, task): &(&TaskId, &Task)| id.index <= definition.count && matches!(task.place, Place::Waiting { .. });
        let wanted = (definition.count as usize).saturating_sub(of_job().filter(nowhere).count());
        let least = wanted.saturating_sub(definition.update.max_unavailable as usize);
        prop_assert!(
            taken == 0 || serving - taken >= least,
            "{app}/{job}: of {serving} that serve {taken} go, though {least} should: {plan:?}"
        );
    }
    Ok(())
}

/// What may happen to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Deploy(App),
    Restart(usize),
    Scale(usize, usize, u32),
    See(u64, Liveness, bool),
    Unseen(u64, bool),
    Pass(u64),
    Report(usize, Phase),
    AllWell,
    NewLeader,
    Resize(u64, u64),
    Drain(u64, bool),
    Quota(&'static str, Option<u64>),
    Stop(usize),
    Promote(usize),
    Pause(usize, bool),
    Rollback(usize),
    LeasesEnd,
    Reset(usize),
    RemoveVolume(usize),
    Maintain(u64, Option<u64>),
    Avoid(u64, bool),
}

fn happen(c: &mut Cluster, event: Event) {
    let machines = c.state.members.len() as u64;
    match event {
        Event::Deploy(app) => c.deploy(&app),
        Event::Restart(i) => {
            if let Some(app) = pick(c.state.apps.keys(), i) {
                c.apply(&Command::Restart { app, job: None });
            }
        }
        Event::Scale(i, j, count) => {
            let app = pick(c.state.apps.values(), i).map(|deployed| deployed.app);
            if let Some((app, job)) = app.and_then(|app| Some((app.name.clone(), pick(app.jobs.keys(), j)?))) {
                c.apply(&Command::Scale { app, job, count });
            }
        }
        Event::See(i, liveness, confirmed) => c.see(i % machines + 1, liveness, confirmed),
        Event::Unseen(i, dead) => {
            let id = NodeId(i % machines + 1);
            c.unsee(id.0, dead);
        }
        Event::Pass(millis) => c.pass(millis),
        Event::Report(i, phase) => {
            if let Some(id) = pick(c.state.tasks.keys(), i) {
                let exit = (phase == Phase::Failed).then_some(Exit::Signal(9));
                c.report(&id.to_string(), phase, exit);
            }
        }
        Event::AllWell => c.all_well(),
        Event::NewLeader => {
            c.new_leader();
        }
        Event::Drain(i, on) => c.apply(&Command::Drain { node: NodeId(i % machines + 1), on }),
        Event::Quota(team, cpus) => {
            let team: TeamName = team.parse().unwrap();
            match cpus {
                Some(cpus) => {
                    let mut quota = Quota::unlimited();
                    quota.limit.cpus = Cpus(cpus);
                    c.apply(&Command::SetQuota { team, quota });
                }
                None if c.state.quotas.contains_key(&team) => c.apply(&Command::RemoveQuota { team }),
                None => {}
            }
        }
        Event::Promote(i) => {
            if let Some(app) = pick(c.state.apps.keys(), i) {
                c.apply(&Command::Promote { app, job: None, seen_version: None });
            }
        }
        Event::Pause(i, on) => {
            if let Some(app) = pick(c.state.apps.keys(), i) {
                c.apply(&Command::Pause { app, on });
            }
        }
        Event::Rollback(i) => {
            let kept = |app: &&AppState| app.kept.iter().any(|kept| kept.failed.is_none());
            let apps: Vec<AppName> = c.state.apps.values().filter(kept).map(|app| app.app.name.clone()).collect();
            if let Some(app) = pick(apps.iter(), i) {
                let now = UnixMillis(0);
                c.apply(&Command::Rollback { app, seen_version: None, to: None, reason: None, now });
            }
        }
        Event::Stop(i) => {
            if let Some(app) = pick(c.state.apps.keys(), i) {
                c.apply(&Command::Stop { app });
            }
        }
        Event::LeasesEnd => c.leases_end(),
        Event::Reset(i) => {
            if let Some(id) = pick(c.state.volumes.keys(), i) {
                c.try_apply(&Command::ResetVolume { task: id.task });
            }
        }
        Event::RemoveVolume(i) => {
            if let Some(VolumeId { task, name }) = pick(c.state.volumes.keys(), i) {
                c.try_apply(&Command::RemoveVolume { task, name: Some(name) });
            }
        }
        Event::Maintain(i, minutes) => {
            let window = minutes.map(|minutes| Maintenance {
                schedule: Schedule::new("*/3 * * * *", None).unwrap(),
                since: UnixMillis(0),
                length: std::time::Duration::from_secs(60 * minutes),
            });
            c.apply(&Command::Maintain { node: NodeId(i % machines + 1), window });
        }
        Event::Avoid(i, avoided) => c.avoid(i % machines + 1, avoided),
        Event::Resize(i, memory) => c.member(i % machines + 1).capacity.memory = memory * MIB,
    }
}

fn pick<'a, T: Clone + 'a>(mut from: impl ExactSizeIterator<Item = &'a T>, i: usize) -> Option<T> {
    let len = from.len();
    if len == 0 { None } else { from.nth(i % len).cloned() }
}

fn a_job() -> impl Strategy<Value = Job> {
    let operator = prop_oneof![
        Just(Operator::Unique),
        select(vec!["a", "b", "n1"]).prop_map(|v| Operator::Is(v.into())),
        option::of(select(vec!["a", "n2"])).prop_map(|v| Operator::Cluster(v.map(Into::into))),
        option::of(1..4_u32).prop_map(Operator::GroupBy),
        select(vec!["a.*", "n.*"]).prop_map(|v| Operator::Like(v.into())),
        select(vec!["a.*", "n.*"]).prop_map(|v| Operator::Unlike(v.into())),
        (0..3_u32).prop_map(Operator::MaxPer),
    ];
    let constraint = option::weighted(0.4, (select(vec!["hostname", "zone", "rack"]), operator));
    let priority = select(vec![50, 50, 50, 20, 80]);
    let custom = (option::weighted(0.2, 1..3_u64), priority, 0..6_u32, prop::bool::weighted(0.6));
    let ports = (option::weighted(0.2, select(vec![80, 81])), 0..3_u32);
    let apart = (option::weighted(0.1, 0..4_usize), option::weighted(0.1, 0..4_usize));
    let size = (0..1500_u64, 0..600_u64);
    let shape = (any::<bool>(), 0..5_u32, any::<bool>(), 0..20_u64);
    let promote = prop_oneof![2 => Just(Some(0)), 1 => Just(None), 1 => Just(Some(5))];
    let update = (0..3_u32, 0..3_u32, prop_oneof![3 => Just(0), 1 => 1..3_u32], prop::bool::weighted(0.1), promote);
    let limits = (0..4_u32, option::weighted(0.3, 1..20_u64));
    let volume = option::weighted(0.3, (select(vec!["v", "w"]), 1..60_u64));
    (shape, size, ports, constraint, custom, apart, (any::<bool>(), update, limits, volume)).prop_map(
        |(shape, (cpus, memory), (fixed, free), constraint, custom, (with, apart), (pack, update, limits, volume))| {
            let ((is_batch, count, checked, delay), (parallel, deadline)) = (shape, limits);
            let mut job = if is_batch && !checked { batch(count) } else { service(count) };
            job = job.cpus(cpus).memory(memory * MIB).free_ports(free);
            job = fixed.into_iter().fold(job, With::fixed_port);
            job = constraint.into_iter().fold(job, |job, (field, operator)| job.constraint(field, operator));
            let (gpus, priority, revocable, exclusive) = custom;
            job.custom.extend(gpus.map(|gpus| ("gpu".to_owned(), gpus)));
            (job.priority, job.revocable) = (priority, revocable == 0);
            let names = ["a", "b", "mail/c", "d"];
            job.with.extend(with.map(|i| names[i].parse::<JobRef>().unwrap()));
            job.apart.extend(apart.map(|i| names[i].parse::<JobRef>().unwrap()));
            let (max_surge, max_unavailable, canary, blue_green, promote) = update;
            job.update = UpdatePolicy {
                max_surge,
                max_unavailable: if max_surge == 0 && !blue_green { 1 } else { max_unavailable },
                canary: if blue_green { 0 } else { canary },
                blue_green,
                promote: promote.map(std::time::Duration::from_secs),
                healthy_within: std::time::Duration::from_secs(30),
                rollback: true,
            };
            job.exclusive = exclusive && max_surge == 0 && canary == 0 && !blue_green;
            if let Some((name, gib)) = volume {
                job.volume = Some(Volume { name: name.parse().unwrap(), size: gib << 30, at: None });
                (job.update.max_surge, job.update.blue_green) = (0, false);
                job.update.max_unavailable = job.update.max_unavailable.max(1);
            }
            job.strategy = if pack { PlacementStrategy::Pack } else { PlacementStrategy::Spread };
            job.reschedule_after = std::time::Duration::from_secs(delay);
            if job.kind.is_batch() {
                let seconds = |deadline| std::time::Duration::from_secs(deadline);
                (job.parallel, job.deadline) = (NonZeroU32::new(parallel), deadline.map(seconds));
            }
            if checked { job.checked() } else { job }
        },
    )
}

fn an_app() -> impl Strategy<Value = App> {
    let jobs = vec((a_job(), vec(0..4_usize, 0..2)), 1..4);
    let team = option::of(select(vec!["red", "blue"]));
    (select(vec!["blog", "mail", "shop"]), jobs, team).prop_map(|(name, jobs, team)| {
        let names = ["a", "b", "c", "d"];
        // Only earlier jobs are named, so that there is no cycle.
        let jobs = jobs.into_iter().enumerate().map(|(i, (job, after))| {
            let mut after: Vec<&str> = after.into_iter().filter(|j| *j < i).map(|j| names[j]).collect();
            after.dedup();
            // A job is neither with nor apart from itself.
            let other = |target: &JobRef| target.job.as_str() != names[i];
            let mut job = job.after(&after);
            job.with.retain(other);
            job.apart.retain(other);
            if job.with == job.apart {
                job.with.clear();
            }
            (names[i], job)
        });
        let mut app = app(name, &jobs.collect::<Vec<_>>());
        app.team = team.map(|team| team.parse().unwrap());
        app
    })
}

fn a_cluster() -> impl Strategy<Value = Cluster> {
    let rack = option::of(select(vec!["a", "b"]));
    let machine = (0..4000_u64, 0..2000_u64, (0..8_u32, 0..4_u64), select(vec!["", "a", "b"]), rack);
    vec(machine, 1..6).prop_map(|machines| {
        let mut c = Cluster::of(machines.len() as u64);
        for (i, (cpus, memory, (ports, gpus), zone, rack)) in (1..).zip(machines) {
            let member = c.member(i);
            (member.capacity.cpus, member.capacity.memory) = (Cpus(cpus), memory * MIB);
            (member.capacity.ports, member.zone) = (ports, zone.into());
            member.custom.insert("gpu".into(), gpus);
            member.attributes = BTreeMap::from_iter(rack.map(|rack| ("rack".into(), rack.into())));
        }
        c
    })
}

fn an_event() -> impl Strategy<Value = Event> {
    use Liveness::{Alive, Down, Left, Suspect};
    use Phase::{Failed, Finished, Healthy, Running, Starting, Stopping, Unhealthy};
    let phase = select(vec![Starting, Running, Healthy, Unhealthy, Stopping, Finished, Failed]);
    prop_oneof![
        3 => an_app().prop_map(Event::Deploy),
        1 => any::<usize>().prop_map(Event::Restart),
        1 => (any::<usize>(), any::<usize>(), 0..5_u32).prop_map(|(i, j, count)| Event::Scale(i, j, count)),
        3 => (0..6_u64, select(vec![Alive, Suspect, Down, Left]), any::<bool>())
            .prop_map(|(i, liveness, confirmed)| Event::See(i, liveness, confirmed)),
        1 => (0..6_u64, any::<bool>()).prop_map(|(i, dead)| Event::Unseen(i, dead)),
        2 => (0..12_000_u64).prop_map(Event::Pass),
        3 => (any::<usize>(), phase).prop_map(|(i, phase)| Event::Report(i, phase)),
        3 => Just(Event::AllWell),
        1 => Just(Event::NewLeader),
        1 => (0..6_u64, 0..2000_u64).prop_map(|(i, memory)| Event::Resize(i, memory)),
        1 => (0..6_u64, any::<bool>()).prop_map(|(i, on)| Event::Drain(i, on)),
        1 => (select(vec!["red", "blue"]), option::of(0..3000_u64)).prop_map(|(t, cpus)| Event::Quota(t, cpus)),
        1 => any::<usize>().prop_map(Event::Stop),
        1 => any::<usize>().prop_map(Event::Promote),
        1 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(i, on)| Event::Pause(i, on)),
        1 => any::<usize>().prop_map(Event::Rollback),
        2 => Just(Event::LeasesEnd),
        1 => any::<usize>().prop_map(Event::Reset),
        1 => any::<usize>().prop_map(Event::RemoveVolume),
        1 => (0..6_u64, option::of(1..3_u64)).prop_map(|(i, minutes)| Event::Maintain(i, minutes)),
        1 => (0..6_u64, any::<bool>()).prop_map(|(i, avoided)| Event::Avoid(i, avoided)),
    ]
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.state.members.values().map(|m| (&m.name, m.capacity, &m.custom, &m.zone, &m.attributes)))
            .finish()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Safety in any history; then all goes well and there must be an end, with nothing left undone.
    #[test]
    fn plans_are_safe_in_any_history_and_come_to_rest(mut c in a_cluster(), events in vec(an_event(), 1..25)) {
        for event in events {
            happen(&mut c, event);
            checked_turn(&mut c)?;
        }
        for i in 1..=c.state.members.len() as u64 {
            c.see(i, Liveness::Alive, false);
            c.apply(&Command::Maintain { node: NodeId(i), window: None });
        }
        c.pass(60_000);
        let mut last = None;
        for _ in 0..200 {
            c.all_well();
            c.leases_end();
            c.pass(1000);
            let plan = checked_turn(&mut c)?;
            if plan.commands.is_empty() {
                last = Some(plan);
                break;
            }
        }
        let last = last.expect("the commands come to an end");
        let again = c.scheduler.borrow_mut().plan(c.now, &c.state, &mut c.ring);
        prop_assert_eq!(again.commands, vec![], "nothing has changed since the plan before");
        prop_assert_eq!(c.plan().commands, vec![], "nor is there more to do for another leader");
        // Where a task waits for room, it is looked again from time to time.
        prop_assert!(last.wake_at.is_none() || last.waiting().next().is_some());
        prop_assert!(last.probe.is_empty());
        for (id, task) in c.state.tasks.iter().filter(|(_, task)| task.node().is_some()) {
            let wanted = c.state.apps[&id.app].revisions[&id.job];
            let told = last.why(id).is_some();
            let blocked = last.waiting().map(|(id, _)| id).any(|other| other.app == id.app && other.job == id.job);
            prop_assert!(task.revision == wanted || told || blocked, "{id} is outdated for no reason");
        }
    }

    /// The same state gives the same plan: to two that know nothing, and to one that met the machines in the opposite order;
    /// also where the plan gives room in its course.
    #[test]
    fn the_same_state_gives_the_same_plan(mut c in a_cluster(), events in vec(an_event(), 1..25)) {
        for event in events {
            happen(&mut c, event);
            let plan = c.plan();
            prop_assert_eq!(&c.plan(), &plan);
            prop_assert_eq!(&c.plan_met_backwards(), &plan);
            plan.commands.iter().for_each(|command| c.apply(command));
        }
    }

    /// For an app that is new, the preview tells the very machines.
    #[test]
    fn a_preview_of_a_new_app_comes_true(mut c in a_cluster(), mut first in an_app(), mut second in an_app()) {
        second.name = "second".parse().unwrap();
        for job in first.jobs.values_mut().chain(second.jobs.values_mut()).map(Arc::make_mut) {
            (job.priority, job.revocable) = (50, false); // when others make way depends on how they fare
        }
        c.deploy(&first);
        c.settle();
        let preview = preview(c.now, &c.state, &c.ring, &second).unwrap();
        c.deploy(&second);
        let last = c.settle();
        for (id, task) in c.state.tasks.iter().filter(|(id, _)| id.app == second.name) {
            let came = match &task.place {
                Place::Waiting { .. } => Change::Wait { reason: last.why(id).unwrap().clone() },
                Place::On { node, .. } | Place::Ended { node, .. } => Change::Create { node: *node },
            };
            let expected = match (&preview.tasks[id], &came) {
                (Change::Wait { .. }, Change::Wait { .. }) => continue, // what is free elsewhere may be told later
                (expected, _) => expected,
            };
            prop_assert_eq!(expected, &came);
        }
    }
}

/// The oracle itself can tell: it refuses what does not fit, or it would prove nothing.
#[test]
fn the_oracle_refuses_what_does_not_fit() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(2).fixed_port(80).constraint("hostname", Operator::Unique))]));
    c.settle();
    let id = task_id("shop/web.1");
    let here = NodeId(c.on("shop/web.1"));
    let there = NodeId(c.on("shop/web.2"));
    let none = BTreeSet::new();
    assert!(fits(&c, &c.state, &id, here, &none) && !fits(&c, &c.state, &id, there, &none));
    c.member(here.0).capacity.cpus = Cpus(99);
    assert!(!fits(&c, &c.state, &id, here, &none));
}
