//! Placing, `after`, dead machines and batch tasks.

use super::fixture::{Cluster, GIB, MIB, With, app, batch, service, task_id};
use crate::{MOVES_MAX, Observed};
use std::collections::BTreeSet;
use taffeta_model::{Command, Exit, Fence, Liveness, Millis, NodeId, Operator, Phase, Place};

#[test]
fn instances_spread_over_machines() {
    let mut c = Cluster::of(3);
    c.deploy(&app("shop", &[("web", service(6))]));
    c.settle();
    assert_eq!(c.load(), [(1, 2), (2, 2), (3, 2)].into());
}

#[test]
fn one_task_of_each_of_many_apps_spreads_too() {
    let mut c = Cluster::of(3);
    for i in 0..30 {
        c.deploy(&app(&format!("a{i}"), &[("web", service(1))]));
    }
    c.settle();
    assert_eq!(c.load(), [(1, 10), (2, 10), (3, 10)].into());
}

#[test]
fn the_first_task_of_an_app_lands_where_its_name_says() {
    let first = |name: &str| {
        let mut c = Cluster::of(5);
        c.deploy(&app(name, &[("web", service(1))]));
        c.settle();
        c.on(&format!("{name}/web.1"))
    };
    let nodes: BTreeSet<u64> = (0..40).map(|i| first(&format!("a{i}"))).collect();
    assert_eq!(nodes, (1..=5).collect());
}

#[test]
fn machines_with_fewer_tasks_of_the_app_come_first() {
    let mut c = Cluster::of(2);
    c.member(2).capacity.memory = 64 * GIB; // far emptier, but that is asked later
    c.deploy(&app("shop", &[("a", service(1)), ("b", service(1))]));
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1)].into());
}

#[test]
fn instances_spread_over_zones() {
    let mut c = Cluster::of(4);
    (1..=3).for_each(|i| c.member(i).zone = "a".into());
    c.member(4).zone = "b".into();
    c.deploy(&app("shop", &[("web", service(2))]));
    c.settle();
    assert_eq!(c.load().get(&4), Some(&1));
}

#[test]
fn the_emptier_machine_by_its_scarcest_resource_is_taken() {
    let mut c = Cluster::of(2);
    c.member(1).capacity.cpus.0 = 1000; // its memory is as free as the other's
    c.deploy(&app("shop", &[("web", service(1))]));
    c.settle();
    assert_eq!(c.on("shop/web.1"), 2);
}

#[test]
fn capacity_is_not_exceeded_also_by_tasks_that_have_not_started() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("web", service(5).memory(3 * GIB))]));
    assert_eq!(c.turn().waiting().count(), 3);
    assert_eq!(c.turn().waiting().count(), 3);
    assert_eq!(c.load(), [(1, 2)].into());
}

#[test]
fn allocated_ports_are_counted() {
    let mut c = Cluster::of(1);
    c.member(1).capacity.ports = 5;
    c.deploy(&app("shop", &[("web", service(3).free_ports(2))]));
    c.settle();
    assert_eq!(c.load(), [(1, 2)].into());
    assert_eq!(c.why("shop/web.3"), "n1: needs 2 ports, 1 free");
}

#[test]
fn a_fixed_port_is_given_once_per_machine() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(1).fixed_port(8080))]));
    c.deploy(&app("blog", &[("web", service(2).fixed_port(8080))]));
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1)].into());
    assert!(c.why("shop/web.1").contains("n1: port 8080 is taken by blog/web."));
}

#[test]
fn only_machines_that_are_alive_are_given_tasks() {
    let mut c = Cluster::of(5);
    c.see(2, Liveness::Suspect, false);
    c.see(3, Liveness::Down, true);
    c.see(4, Liveness::Left, false);
    c.unsee(5, false);
    c.deploy(&app("shop", &[("web", service(4))]));
    c.settle();
    assert_eq!(c.load(), [(1, 4)].into());
}

#[test]
fn unique_takes_each_value_once_and_refuses_machines_without_one() {
    let mut c = Cluster::of(4);
    for (i, rack) in [(1, "r1"), (2, "r1"), (3, "r2")] {
        c.member(i).attributes.insert("rack".into(), rack.into());
    }
    c.deploy(&app("shop", &[("web", service(3).constraint("rack", Operator::Unique))]));
    c.settle();
    let load = c.load();
    assert_eq!(load.values().sum::<usize>(), 2);
    assert!(load.contains_key(&3) && !load.contains_key(&4));
    assert!(c.why("shop/web.3").contains("n4: has no rack (rack UNIQUE)"));
}

#[test]
fn is_and_max_per_hold() {
    let mut c = Cluster::of(3);
    (1..=2).for_each(|i| c.member(i).zone = "a".into());
    c.member(3).zone = "b".into();
    let web = service(9).constraint("zone", Operator::Is("a".into())).constraint("hostname", Operator::MaxPer(2));
    c.deploy(&app("shop", &[("web", web)]));
    c.settle();
    assert_eq!(c.load(), [(1, 2), (2, 2)].into());
}

#[test]
fn after_a_batch_job_means_after_its_success() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("migrate", batch(1)), ("web", service(2).after(&["migrate"]))]));
    c.turn();
    assert_eq!(c.why("shop/web.1"), "waits for batch job `migrate` to finish: migrate.1 has not been reported yet");
    c.report("shop/migrate.1", Phase::Running, None);
    assert_eq!(c.why("shop/web.1"), "waits for batch job `migrate` to finish: migrate.1 is running");
    c.report("shop/migrate.1", Phase::Finished, Some(Exit::Code(0)));
    c.turn();
    assert!(c.turn().waiting().next().is_none());
    assert!(c.on("shop/web.1") != 0 && c.on("shop/web.2") != 0);
}

#[test]
fn a_failed_batch_job_is_named_as_the_reason() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("migrate", batch(2)), ("web", service(1).after(&["migrate"]))]));
    c.turn();
    c.report("shop/migrate.2", Phase::Failed, Some(Exit::Code(3)));
    c.turn();
    assert!(matches!(c.place("shop/migrate.2"), Place::Ended { exit: Exit::Code(3), .. }));
    assert_eq!(c.why("shop/web.1"), "waits for batch job `migrate`, which failed: migrate.2 (exited with 3)");
}

#[test]
fn after_a_service_means_after_all_its_instances_are_healthy() {
    let mut c = Cluster::of(2);
    let jobs = [("db", service(2).checked()), ("web", service(1).after(&["db"]))];
    c.deploy(&app("shop", &jobs));
    c.turn();
    assert_eq!(c.why("shop/web.1"), "waits for service `db` to be healthy: db.1 has not been reported yet");
    c.report("shop/db.1", Phase::Healthy, None);
    c.report("shop/db.2", Phase::Running, None);
    assert_eq!(c.why("shop/web.1"), "waits for service `db` to be healthy: db.2 is running");
    c.report("shop/db.2", Phase::Healthy, None);
    assert_eq!(c.turn().waiting().count(), 0);
}

#[test]
fn a_service_without_a_check_is_ready_when_it_runs_and_one_without_instances_always() {
    let mut c = Cluster::of(1);
    let jobs = [("db", service(1)), ("none", service(0)), ("web", service(1).after(&["db", "none"]))];
    c.deploy(&app("shop", &jobs));
    assert_eq!(c.turn().waiting().count(), 1);
    c.report("shop/db.1", Phase::Running, None);
    assert_eq!(c.turn().waiting().count(), 0);
}

#[test]
fn a_report_about_another_placement_does_not_count() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("migrate", batch(1))]));
    c.turn();
    let report = Observed {
        node: NodeId(1),
        fence: Fence::default(),
        phase: Phase::Finished,
        exit: Some(Exit::Code(0)),
        serving: false,
        since: c.now,
    };
    c.ring.report(&task_id("shop/migrate.1"), report);
    assert!(c.plan().commands.is_empty());
}

#[test]
fn a_task_that_lost_its_machine_is_not_held_back_by_after() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("db", service(1)), ("web", service(1).after(&["db"]))]));
    c.settle();
    let machine = c.on("shop/web.1");
    c.report("shop/db.1", Phase::Unhealthy, None);
    c.see(machine, Liveness::Down, true);
    c.pass(5000);
    c.turn();
    assert_eq!(c.on("shop/web.1"), 3 - machine);
}

#[test]
fn nor_is_it_while_it_waits_for_room() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("db", service(1)), ("web", service(1).after(&["db"]))]));
    c.settle();
    c.see(1, Liveness::Left, true);
    c.pass(5000);
    c.turn();
    assert!(matches!(c.place("shop/web.1"), Place::Waiting { last: Some(NodeId(1)) }));
    c.see(1, Liveness::Alive, false);
    c.turn();
    assert_eq!((c.on("shop/db.1"), c.on("shop/web.1")), (1, 1));
}

#[test]
fn a_batch_job_that_runs_again_is_held_back_by_after() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("first", batch(1)), ("second", batch(1).after(&["first"]))]));
    c.settle();
    c.apply(&Command::Restart { app: "shop".parse().unwrap(), job: None });
    c.turn();
    assert_eq!((c.on("shop/first.1"), c.on("shop/second.1")), (1, 0));
    c.settle();
    assert!(matches!(c.place("shop/second.1"), Place::Ended { exit: Exit::Code(0), .. }));
}

#[test]
fn a_dead_machines_tasks_move_after_the_delay_from_the_first_suspicion_once_confirmed() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(2))]));
    c.settle();
    c.see(1, Liveness::Suspect, false);
    let suspected = c.now;
    let plan = c.plan();
    assert!(plan.commands.is_empty() && plan.probe == [NodeId(1)].into());
    c.pass(2000);
    c.turns(1, Liveness::Down);
    let plan = c.plan();
    assert!(plan.commands.is_empty() && plan.probe == [NodeId(1)].into());
    assert_eq!(plan.wake_at, Some(Millis(c.now.0 + 1000)), "to be probed again");
    assert_eq!(c.now.0, suspected.0 + 2000);
    c.pass(3000);
    assert!(c.plan().commands.is_empty(), "not confirmed");
    c.confirm_dead(1);
    assert!(c.turn().probe.is_empty());
    assert_eq!(c.load(), [(2, 2)].into());
}

#[test]
fn a_lost_instance_counts_no_longer_for_its_zone() {
    let mut c = Cluster::of(4);
    (1..=4).for_each(|i| c.member(i).zone = if i <= 2 { "a" } else { "b" }.into());
    c.deploy(&app("shop", &[("web", service(2))]));
    c.settle();
    let machine = c.on("shop/web.1");
    let (same_zone, elsewhere) = if machine <= 2 { (3 - machine, [3, 4]) } else { (7 - machine, [1, 2]) };
    elsewhere.into_iter().for_each(|i| c.member(i).capacity.memory = 64 * GIB); // emptier, but that is asked later
    c.see(machine, Liveness::Down, true);
    c.pass(5000);
    c.turn();
    assert_eq!(c.on("shop/web.1"), same_zone);
}

#[test]
fn of_lost_instances_none_counts_and_the_first_goes_first() {
    let mut c = Cluster::of(3);
    for (i, zone) in [(1, "a"), (2, "b"), (3, "b")] {
        c.member(i).zone = zone.into();
    }
    c.member(1).capacity.cpus.0 = 8000; // the emptiest: the first instance goes there
    c.see(3, Liveness::Down, false);
    let web = service(2).constraint("zone", Operator::Unique);
    c.deploy(&app("shop", &[("web", web)]));
    c.settle();
    assert_eq!((c.on("shop/web.1"), c.on("shop/web.2")), (1, 2));
    (1..=2).for_each(|i| c.see(i, Liveness::Down, true));
    c.see(3, Liveness::Alive, false);
    c.pass(5000);
    c.turn();
    // Neither holds its zone any more, so the first may go to where the second was.
    assert_eq!((c.on("shop/web.1"), c.on("shop/web.2")), (3, 0));
}

#[test]
fn a_farewell_is_hearsay_until_the_machine_does_not_answer() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(2))]));
    c.settle();
    c.see(1, Liveness::Left, false);
    c.pass(5000);
    let plan = c.turn();
    assert!(plan.commands.is_empty() && plan.probe.contains(&NodeId(1)));
    c.confirm_dead(1);
    c.turn();
    assert_eq!(c.load(), [(2, 2)].into());
}

#[test]
fn a_machine_that_is_back_in_time_keeps_its_tasks() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(2))]));
    c.settle();
    let before = c.state.tasks.clone();
    c.see(1, Liveness::Down, true);
    c.pass(4000);
    c.turn();
    c.see(1, Liveness::Alive, false);
    c.pass(60_000);
    c.settle();
    assert_eq!(c.state.tasks, before);
}

#[test]
fn a_member_that_a_new_leader_has_not_seen_is_dead_only_after_the_grace() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(2))]));
    c.settle();
    c.unsee(1, true);
    c.new_leader();
    c.pass(9_999);
    let plan = c.turn();
    assert!(plan.commands.is_empty());
    assert_eq!(plan.wake_at, Some(Millis(c.now.0 + 1)));
    c.pass(1);
    c.unsee(1, false);
    let plan = c.turn();
    assert!(plan.commands.is_empty() && plan.probe == [NodeId(1)].into());
    c.unsee(1, true);
    c.turn();
    assert_eq!(c.load(), [(2, 2)].into());
}

#[test]
fn a_lost_task_that_fits_nowhere_waits_and_goes_where_room_appears() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(2).memory(5 * GIB))]));
    c.settle();
    c.see(1, Liveness::Down, true);
    c.pass(5000);
    let plan = c.turn();
    let id = c.state.tasks.iter().find(|(_, task)| task.node().is_none()).unwrap().0.to_string();
    assert!(matches!(c.place(&id), Place::Waiting { last: Some(NodeId(1)) }));
    assert_eq!(plan.why(&task_id(&id)).unwrap().to_string(), "n2: needs 5 GiB of memory, 3 GiB free; n1: is down");
    c.see(1, Liveness::Alive, false);
    c.turn();
    assert_eq!(c.on(&id), 1);
}

#[test]
fn an_ended_batch_task_is_booked_though_its_machine_died() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("migrate", batch(1))]));
    c.turn();
    c.report("shop/migrate.1", Phase::Finished, Some(Exit::Code(0)));
    let machine = c.on("shop/migrate.1");
    c.see(machine, Liveness::Down, true);
    c.pass(60_000);
    c.turn();
    assert!(matches!(c.place("shop/migrate.1"), Place::Ended { exit: Exit::Code(0), .. }));
    c.turn(); // the run is over, too
    assert!(c.turn().commands.is_empty());
}

#[test]
fn a_plan_is_bounded_and_the_next_one_goes_on_at_once() {
    let mut c = Cluster::of(3);
    c.deploy(&app("shop", &[("web", service(1200).memory(MIB).cpus(1))]));
    let plan = c.turn();
    let Some(Command::Place(placements)) = plan.commands.first() else { panic!("{plan:?}") };
    assert_eq!((placements.len(), plan.wake_at), (MOVES_MAX, Some(c.now)));
    c.turn();
    assert_eq!(c.turn().wake_at, None);
    assert_eq!(c.load(), [(1, 400), (2, 400), (3, 400)].into());
}

#[test]
fn room_is_given_that_was_taken_by_a_decision_that_came_to_nothing() {
    let mut c = Cluster::of(1);
    c.member(1).capacity.cpus.0 = 300;
    c.see(1, Liveness::Down, false);
    c.deploy(&app("blog", &[("a", service(1).cpus(200))]));
    c.deploy(&app("mail", &[("a", service(1).cpus(200))]));
    c.turn();
    c.see(1, Liveness::Alive, false);
    c.turn(); // for blog, by its name; before the scheduler reads that, blog is gone again
    c.apply(&Command::Stop { app: "blog".parse().unwrap() });
    c.turn();
    assert_eq!(c.on("mail/a.1"), 1);
}
