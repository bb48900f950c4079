//! What must hold of each plan, and of the state before and after it.
//!
//! Left out: what is the case, which is `facts`'; what happens between two plans, which is `histories`'.

use super::facts::{fits, fits_as, is_ready, over_quota, over_quota_with, serves, wishes};
use crate::{Idle, Plan, Waiting, tests::fixture::Cluster};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use taffeta_model::{
    AppName, Cause, Command, Decision, Job, JobKind, JobName, Liveness, NodeId, Operator, Place, Placement, Removal,
    State, Task, TaskId, VolumeId,
};

/// Plans, checks the plan against the state before and after it, and carries it out.
pub(super) fn checked_turn(c: &mut Cluster) -> Result<Plan, TestCaseError> {
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
    // one that makes way for another, or whose volume is smaller now; one that came may be what others must be with.
    let gave_room = placements.iter().any(|(id, _)| before.tasks.get(id).is_some_and(|task| task.node().is_some()))
        || !removals(&plan).is_empty()
        || plan.commands.iter().any(ends_tasks)
        || before.volumes.iter().any(|(id, was)| c.state.volumes.get(id).is_some_and(|now| now.size < was.size));
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
    // One that comes with the version to which the plan goes back was not there to be told of.
    let waits =
        |(id, task): &(&TaskId, &Task)| before.tasks.contains_key(id) && matches!(task.place, Place::Waiting { .. });
    for (id, task) in c.state.tasks.iter().filter(waits) {
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
    // Room that the plan itself gives may have come after a machine was chosen.
    let all_is_free_before = !gives_room(&c.state, plan) && !plan.commands.iter().any(ends_tasks);
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
            if all_is_free_before && leased.is_none() {
                invariant_what_is_preferred_is_taken(c, (id, &job), node, &absent)?;
            }
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

/// Among the machines that may take an instance, one that comes and goes is taken last, and of the others the one that is
/// preferred most. A daemon has no choice, and `GROUP_BY` comes before all wishes.
fn invariant_what_is_preferred_is_taken(
    c: &Cluster,
    (id, job): (&TaskId, &Job),
    to: NodeId,
    absent: &BTreeSet<&TaskId>,
) -> Result<(), TestCaseError> {
    let grouped = job.constraints.iter().any(|rule| matches!(rule.operator, Operator::GroupBy(_)));
    if job.kind == JobKind::Daemon || grouped {
        return Ok(());
    }
    let taken = wishes(c, job, to);
    for node in c.state.members.keys().filter(|node| fits_as(c, &c.state, (id, job), **node, absent)) {
        let wished = wishes(c, job, *node);
        prop_assert!(wished <= taken, "{id} comes to {to} ({taken:?}) though {node} is better ({wished:?})");
    }
    Ok(())
}

/// At rest each machine that takes a daemon has one of it, and none has two.
pub(super) fn invariant_each_machine_has_one_of_each_daemon(c: &Cluster) -> Result<(), TestCaseError> {
    for (app, deployed) in &c.state.apps {
        for (name, job) in deployed.app.jobs.iter().filter(|(_, job)| job.kind == JobKind::Daemon) {
            let over = |team| over_quota_with(&c.state, team, job.demand());
            let awaited = is_ready(c, app, job) && !deployed.app.team.as_ref().is_some_and(over);
            let another = TaskId { app: app.clone(), job: name.clone(), index: u32::MAX };
            for node in c.state.members.keys() {
                let on = |(_, task): &(&TaskId, &Task)| task.node() == Some(*node);
                let there = c.state.tasks.of_job(app, name).filter(on).count();
                prop_assert!(there <= 1, "{there} of {app}/{name} are on {node}");
                let takes = there == 0 && awaited && fits(c, &c.state, &another, *node, &BTreeSet::new());
                prop_assert!(!takes, "{node} could take {app}/{name}, and has none");
            }
        }
    }
    Ok(())
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

/// Whether a plan frees room in its course, or gives a version up.
pub(in crate::tests) fn gives_room(state: &State, plan: &Plan) -> bool {
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
