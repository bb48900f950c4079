//! Exclusive tasks go from one machine to another in two steps, with a lease between them.

use super::fixture::{Cluster, GIB, MIB, With, app, batch, cron, service, task_id};
use crate::{Change, preview};
use taffeta_model::{Cause, Command, Job, Liveness, NodeId, Operator, Overlap, Phase, Place};

fn exclusive(job: Job) -> Job {
    Job { exclusive: true, ..job }
}

/// One exclusive service on one of the machines, where it works; gives the machine.
fn one(machines: u64, job: &Job) -> (Cluster, u64) {
    let mut c = Cluster::of(machines);
    c.deploy(&app("shop", &[("one", job.clone())]));
    c.settle();
    let on = c.on("shop/one.1");
    (c, on)
}

/// A turn in which the task is removed for that reason, and waits for the end of its lease.
#[track_caller]
fn let_go(c: &mut Cluster, from: u64, cause: &Cause) {
    let plan = c.turn();
    let [Command::Remove(removals)] = plan.commands.as_slice() else { panic!("{plan:?}") };
    assert_eq!((removals.len(), &removals[0].cause), (1, cause));
    let words = format!("may still run on n{from} until its lease ends");
    assert_eq!(plan.why(&task_id("shop/one.1")).unwrap().to_string(), words);
    assert!(c.turn().commands.is_empty(), "it waits");
    assert_eq!((c.on("shop/one.1"), c.why("shop/one.1")), (0, words));
}

#[test]
fn a_dead_machines_task_waits_for_the_end_of_its_lease() {
    let (mut c, on) = one(2, &exclusive(service(1)));
    c.see(on, Liveness::Suspect, false);
    c.turns(on, Liveness::Down);
    c.confirm_dead(on);
    assert!(c.turn().commands.is_empty(), "not before its delay");
    c.pass(5_000);
    let_go(&mut c, on, &Cause::MachineLost);
    c.pass(60_000);
    assert!(c.turn().commands.is_empty(), "no time that passes here ends a lease");
    c.leases_end();
    c.turn();
    assert_eq!(c.on("shop/one.1"), 3 - on);
}

#[test]
fn a_machine_that_is_back_in_time_gets_its_task_back_at_once() {
    let (mut c, on) = one(3, &exclusive(service(1)));
    c.see(on, Liveness::Down, true);
    c.pass(5_000);
    let_go(&mut c, on, &Cause::MachineLost);
    c.see(on, Liveness::Alive, false);
    c.turn();
    assert_eq!(c.on("shop/one.1"), on);
}

#[test]
fn an_update_stays_in_its_place_and_moves_only_where_that_is_too_small() {
    let (mut c, on) = one(2, &exclusive(service(1).memory(GIB)));
    c.deploy(&app("shop", &[("one", exclusive(service(1).memory(GIB).version("2")))]));
    c.turn();
    assert_eq!(c.on("shop/one.1"), on);
    c.settle();
    c.member(on).capacity.memory = GIB;
    c.deploy(&app("shop", &[("one", exclusive(service(1).memory(2 * GIB)))]));
    let_go(&mut c, on, &Cause::Outdated);
    c.leases_end();
    c.turn();
    assert_eq!(c.on("shop/one.1"), 3 - on);
}

#[test]
fn a_version_that_fits_nowhere_leaves_the_one_before_in_peace() {
    let (mut c, on) = one(2, &exclusive(service(1)));
    c.deploy(&app("shop", &[("one", exclusive(service(1).memory(9 * GIB)))]));
    let plan = c.turn();
    assert!(plan.commands.is_empty(), "{plan:?}");
    assert_eq!(c.on("shop/one.1"), on);
    let why = c.why("shop/one.1");
    assert!(why.contains("still the older version") && why.contains("needs 9 GiB"), "{why}");
}

#[test]
fn a_drain_takes_one_instance_at_a_time_and_waits_for_each() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("one", exclusive(service(2).constraint("hostname", Operator::Is("n1".into()))))]));
    c.settle();
    c.deploy(&app("shop", &[("one", exclusive(service(2)))]));
    c.settle();
    assert_eq!((c.on("shop/one.1"), c.on("shop/one.2")), (1, 1));
    c.apply(&Command::Drain { node: NodeId(1), on: true });
    let_go(&mut c, 1, &Cause::Drained);
    assert_eq!(c.on("shop/one.2"), 1, "the other goes when the first is back");
    c.leases_end();
    c.turn();
    assert_eq!((c.on("shop/one.1"), c.on("shop/one.2")), (2, 1));
    c.settle();
    assert_eq!((c.on("shop/one.1"), c.on("shop/one.2")), (2, 2));
}

#[test]
fn one_that_makes_way_waits_for_the_end_of_its_lease() {
    let (mut c, on) = one(1, &exclusive(service(1).memory(6 * GIB)));
    c.deploy(&app("mail", &[("big", Job { priority: 90, ..service(1).memory(6 * GIB) })]));
    c.turn();
    assert_eq!((c.on("mail/big.1"), c.on("shop/one.1")), (1, 0));
    c.add(2);
    c.all_well();
    c.turn();
    assert_eq!(c.why("shop/one.1"), format!("may still run on n{on} until its lease ends"));
    c.leases_end();
    c.turn();
    assert_eq!(c.on("shop/one.1"), 2);
}

#[test]
fn an_app_that_is_deployed_again_waits_for_what_ran_before_it() {
    let (mut c, on) = one(2, &exclusive(service(1)));
    c.apply(&Command::Stop { app: "shop".parse().unwrap() });
    let elsewhere = format!("n{}", 3 - on);
    c.deploy(&app("shop", &[("one", exclusive(service(1)).constraint("hostname", Operator::Is(elsewhere)))]));
    assert!(c.turn().commands.is_empty());
    assert_eq!(c.why("shop/one.1"), format!("may still run on n{on} until its lease ends"));
    c.apply(&Command::RemoveMember { node: NodeId(on), now: c.ring.date() });
    c.ring.see(NodeId(on), None);
    assert!(c.turn().commands.is_empty());
    assert_eq!(c.why("shop/one.1"), "may still run on a machine that was removed, until its lease ends");
    c.leases_end();
    c.turn();
    assert_eq!(c.on("shop/one.1"), 3 - on);
}

#[test]
fn one_that_becomes_exclusive_leaves_its_machine_first() {
    let (mut c, on) = one(2, &service(1).memory(GIB));
    c.member(on).capacity.memory = GIB;
    c.deploy(&app("shop", &[("one", exclusive(service(1).memory(2 * GIB)))]));
    let_go(&mut c, on, &Cause::Outdated);
    c.leases_end();
    c.turn();
    assert_eq!(c.on("shop/one.1"), 3 - on);
}

#[test]
fn a_run_that_ended_by_itself_lets_the_next_go_anywhere_and_one_that_was_ended_does_not() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("one", exclusive(batch(1)))]));
    c.turn();
    let on = c.on("shop/one.1");
    c.end("shop/one", 0);
    c.turn();
    assert!(c.state.leased.is_empty());
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("one", exclusive(cron("* * * * *").overlap(Overlap::Replace)))]));
    c.pass(60_000);
    c.quiet();
    assert_eq!(c.on("shop/one.1"), on, "the same order as for the batch job");
    c.report("shop/one.1", Phase::Running, None);
    c.apply(&Command::Drain { node: NodeId(on), on: true });
    c.pass(60_000);
    c.quiet();
    assert!(matches!(c.place("shop/one.1"), Place::Waiting { .. }));
    assert_eq!(c.why("shop/one.1"), format!("may still run on n{on} until its lease ends"));
    c.leases_end();
    c.quiet();
    assert_eq!(c.on("shop/one.1"), 3 - on);
}

#[test]
fn exclusive_tasks_wait_for_old_members_and_others_do_not() {
    let mut c = Cluster::of(1);
    c.state.level = 1;
    c.deploy(&app("shop", &[("one", exclusive(service(1))), ("web", service(1).memory(64 * MIB))]));
    c.turn();
    assert_eq!((c.on("shop/one.1"), c.on("shop/web.1")), (0, 1));
    assert_eq!(c.why("shop/one.1"), "exclusive tasks start once all members speak version 2");
}

#[test]
fn a_preview_tells_where_a_task_ends_up() {
    let (mut c, on) = one(2, &exclusive(service(1).memory(GIB)));
    c.member(on).capacity.memory = GIB;
    let bigger = app("shop", &[("one", exclusive(service(1).memory(2 * GIB)))]);
    let preview = preview(c.now, &c.state, &c.ring, &bigger).unwrap();
    assert_eq!(preview.tasks[&task_id("shop/one.1")], Change::Update { node: NodeId(3 - on) });
}
