//! Random clusters and histories against an oracle that looks at everything anew for every question.

use super::fixture::{Cluster, MIB, With, app, batch, service, task_id};
use crate::{Change, Plan, Waiting, preview};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::collections::BTreeMap;
use taffeta_model::{
    App, Command, Cpus, Exit, Job, JobKind, Liveness, Member, NodeId, Operator, Phase, Place, State, Task, TaskId,
};

/// Whether the machine could take the task, asked of the whole state, the task itself set aside.
fn fits(c: &Cluster, state: &State, id: &TaskId, node: NodeId) -> bool {
    if c.ring.members.get(&node).is_none_or(|view| view.liveness != Liveness::Alive) {
        return false;
    }
    let (job, member) = (state.job(id).unwrap(), &state.members[&node]);
    let others = || state.tasks.iter().filter(|(other, task)| *other != id && task.node().is_some());
    let (asked, mut used) = (job.resources, job.resources);
    for (other, task) in others() {
        if task.node() != Some(node) {
            continue;
        }
        let other = state.job(other).unwrap();
        used += other.resources;
        let fixed = |job: &Job| job.ports.iter().filter_map(|port| port.fixed).collect::<Vec<_>>();
        if fixed(job).iter().any(|port| fixed(other).contains(port)) {
            return false;
        }
    }
    // A machine may be over its capacity since a job has grown; a task that asks for none of that is no matter.
    let (has, within) = (member.capacity, |asked: u64, used: u64, has: u64| asked == 0 || used <= has);
    within(asked.cpus.0, used.cpus.0, has.cpus.0)
        && within(asked.memory, used.memory, has.memory)
        && within(asked.disk, used.disk, has.disk)
        && within(asked.ports.into(), used.ports.into(), has.ports.into())
        && job.constraints.iter().all(|constraint| {
            let value = |member: &Member| field(member, &constraint.field);
            let Some(here) = value(member) else { return false };
            let same = others().filter(|(other, task)| {
                let there = value(&state.members[&task.node().unwrap()]);
                other.app == id.app && other.job == id.job && there.as_ref() == Some(&here)
            });
            match &constraint.operator {
                Operator::Unique => same.count() == 0,
                Operator::MaxPer(most) => same.count() < *most as usize,
                Operator::Is(wanted) => here == *wanted,
            }
        })
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
    let alive = c.ring.members.get(&node).is_some_and(|view| view.liveness == Liveness::Alive);
    let report =
        c.ring.observed.get(id).and_then(|reports| reports.iter().find(|r| r.node == node && r.fence == fence));
    let unchecked = c.state.job(id).unwrap().health.is_none();
    alive && report.is_some_and(|r| r.phase == Phase::Healthy || (unchecked && r.phase == Phase::Running))
}

/// Plans, checks the plan against the state before and after it, and carries it out.
fn checked_turn(c: &mut Cluster) -> Result<Plan, TestCaseError> {
    let (plan, before) = (c.plan(), c.state.clone());
    prop_assert_eq!(&plan, &c.plan());
    invariant_dead_machines_tasks_wait_for_the_delay(c, &plan)?;
    invariant_one_that_serves_is_down_at_a_time(c, &plan)?;
    plan.commands.iter().for_each(|command| c.apply(command));
    let placements = placements(&plan);
    for (id, node) in &placements {
        prop_assert!(fits(c, &c.state, id, *node), "{id} does not fit on {node}");
        prop_assert_eq!(c.state.tasks[*id].node(), Some(*node));
    }
    // A task that an update has moved away gives room that those before it in the plan could not know of.
    let gave_room = placements.iter().any(|(id, _)| before.tasks[*id].node().is_some());
    for (id, why) in &plan.waiting {
        let why = if let Waiting::Outdated(why) = why { why } else { why };
        match why {
            Waiting::NoMachine | Waiting::NoRoom(_) if !gave_room => {
                let room = c.state.members.keys().find(|node| fits(c, &c.state, id, **node));
                prop_assert!(room.is_none(), "{id} waits though it fits on {room:?}: {why}");
            }
            Waiting::NoMachine | Waiting::NoRoom(_) | Waiting::After(_) => {}
            Waiting::Outdated(_) => prop_assert!(false, "a reason within a reason within a reason"),
        }
    }
    for (id, task) in c.state.tasks.iter().filter(|(_, task)| matches!(task.place, Place::Waiting { .. })) {
        prop_assert!(plan.waiting.contains_key(id), "{id} waits without a reason: {task:?}");
    }
    Ok(plan)
}

fn placements(plan: &Plan) -> Vec<(&TaskId, NodeId)> {
    let all = plan.commands.iter().filter_map(|command| match command {
        Command::Place(placements) => Some(placements),
        _ => None,
    });
    all.flatten().map(|p| (&p.task, p.node)).collect()
}

fn removals(plan: &Plan) -> Vec<&TaskId> {
    let all = plan.commands.iter().filter_map(|command| match command {
        Command::Remove(removals) => Some(removals),
        _ => None,
    });
    all.flatten().map(|r| &r.task).collect()
}

fn invariant_dead_machines_tasks_wait_for_the_delay(c: &Cluster, plan: &Plan) -> Result<(), TestCaseError> {
    for id in placements(plan).into_iter().map(|(id, _)| id).chain(removals(plan)) {
        let Some(from) = c.state.tasks[id].node() else { continue };
        let delay = c.state.job(id).unwrap().reschedule_after;
        match c.ring.members.get(&from) {
            None => {
                prop_assert!(c.now.since(c.ring.leader_since) >= delay.max(crate::UNSEEN_GRACE));
                prop_assert!(c.ring.unseen_dead.contains(&from));
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

fn invariant_one_that_serves_is_down_at_a_time(c: &Cluster, plan: &Plan) -> Result<(), TestCaseError> {
    for (id, _) in placements(plan) {
        let is_service = matches!(c.state.job(id).unwrap().kind, JobKind::Service);
        if !is_service || !serves(c, id, &c.state.tasks[id]) {
            continue;
        }
        let siblings = c.state.tasks.iter().filter(|(o, _)| o.app == id.app && o.job == id.job && *o != id);
        for (other, task) in siblings {
            // One that fits nowhere is not on its way, be it that this very plan takes it from a dead machine.
            let nowhere = matches!(task.place, Place::Waiting { .. }) || removals(plan).contains(&other);
            let settled = nowhere || serves(c, other, task);
            prop_assert!(settled, "{id} is replaced while {other} is not serving");
            let moved = placements(plan).iter().any(|(moved, _)| *moved == other);
            prop_assert!(!moved, "{id} and {other} are placed in one turn");
        }
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
            c.ring.members.remove(&id);
            c.ring.unseen_dead.retain(|other| *other != id);
            c.ring.unseen_dead.extend(Some(id).filter(|_| dead));
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
            c.ring.leader_since = c.now;
            c.ring.observed.clear();
        }
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
        (0..3_u32).prop_map(Operator::MaxPer),
    ];
    let constraint = option::weighted(0.4, (select(vec!["hostname", "zone", "rack"]), operator));
    let ports = (option::weighted(0.2, select(vec![80, 81])), 0..3_u32);
    (any::<bool>(), 0..5_u32, (0..1500_u64, 0..600_u64), ports, constraint, any::<bool>(), 0..20_u64).prop_map(
        |(is_batch, count, (cpus, memory), (fixed, free), constraint, checked, delay)| {
            let mut job = if is_batch && !checked { batch(count) } else { service(count) };
            job = job.cpus(cpus).memory(memory * MIB).free_ports(free);
            job = fixed.into_iter().fold(job, With::fixed_port);
            job = constraint.into_iter().fold(job, |job, (field, operator)| job.constraint(field, operator));
            job.reschedule_after = std::time::Duration::from_secs(delay);
            if checked { job.checked() } else { job }
        },
    )
}

fn an_app() -> impl Strategy<Value = App> {
    let jobs = vec((a_job(), vec(0..4_usize, 0..2)), 1..4);
    (select(vec!["blog", "mail", "shop"]), jobs).prop_map(|(name, jobs)| {
        let names = ["a", "b", "c", "d"];
        // Only earlier jobs are named, so that there is no cycle.
        let jobs = jobs.into_iter().enumerate().map(|(i, (job, after))| {
            let mut after: Vec<&str> = after.into_iter().filter(|j| *j < i).map(|j| names[j]).collect();
            after.dedup();
            (names[i], job.after(&after))
        });
        app(name, &jobs.collect::<Vec<_>>())
    })
}

fn a_cluster() -> impl Strategy<Value = Cluster> {
    let rack = option::of(select(vec!["a", "b"]));
    let machine = (0..4000_u64, 0..2000_u64, 0..8_u32, select(vec!["", "a", "b"]), rack);
    vec(machine, 1..6).prop_map(|machines| {
        let mut c = Cluster::of(machines.len() as u64);
        for (i, (cpus, memory, ports, zone, rack)) in (1..).zip(machines) {
            let member = c.member(i);
            (member.capacity.cpus, member.capacity.memory) = (Cpus(cpus), memory * MIB);
            (member.capacity.ports, member.zone) = (ports, zone.into());
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
    ]
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.state.members.values().map(|m| (&m.name, m.capacity, &m.zone))).finish()
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
        (1..=c.state.members.len() as u64).for_each(|i| c.see(i, Liveness::Alive, false));
        c.pass(60_000);
        let mut last = None;
        for _ in 0..200 {
            c.all_well();
            let plan = checked_turn(&mut c)?;
            if plan.commands.is_empty() {
                last = Some(plan);
                break;
            }
        }
        let last = last.expect("the commands come to an end");
        prop_assert_eq!(last.wake_at, None);
        prop_assert!(last.probe.is_empty());
        for (id, task) in c.state.tasks.iter().filter(|(_, task)| task.node().is_some()) {
            let wanted = c.state.apps[&id.app].revisions[&id.job];
            let told = last.waiting.contains_key(id);
            let blocked = last.waiting.keys().any(|other| other.app == id.app && other.job == id.job);
            prop_assert!(task.revision == wanted || told || blocked, "{id} is outdated for no reason");
        }
    }

    /// For an app that is new, the preview tells the very machines.
    #[test]
    fn a_preview_of_a_new_app_comes_true(mut c in a_cluster(), first in an_app(), mut second in an_app()) {
        second.name = "second".parse().unwrap();
        c.deploy(&first);
        c.settle();
        let preview = preview(c.now, &c.state, &c.ring, &second).unwrap();
        c.deploy(&second);
        let waiting = c.settle().waiting;
        for (id, task) in c.state.tasks.iter().filter(|(id, _)| id.app == second.name) {
            let came = match &task.place {
                Place::Waiting { .. } => Change::Wait { reason: waiting[id].clone() },
                Place::On { node, .. } | Place::Ended { node, .. } => Change::Create { node: *node },
            };
            prop_assert_eq!(&preview.tasks[id], &came);
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
    assert!(fits(&c, &c.state, &id, here) && !fits(&c, &c.state, &id, there));
    c.member(here.0).capacity.cpus = Cpus(99);
    assert!(!fits(&c, &c.state, &id, here));
}
