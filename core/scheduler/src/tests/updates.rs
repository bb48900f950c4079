//! How outdated tasks are replaced.

use super::fixture::{Cluster, GIB, With, app, batch, service};
use crate::Plan;
use taffeta_model::{Command, Exit, Liveness, Millis, Operator, Phase};

fn shop(version: &str) -> taffeta_model::App {
    app("shop", &[("web", service(3).checked().version(version))])
}

fn placed(plan: &Plan) -> Vec<String> {
    plan.commands
        .iter()
        .flat_map(|command| match command {
            Command::Place(placements) => placements.iter().map(|p| p.task.short()).collect(),
            _ => vec![],
        })
        .collect()
}

#[test]
fn healthy_instances_are_replaced_one_after_the_other_in_place() {
    let mut c = Cluster::of(3);
    c.deploy(&shop("1"));
    c.settle();
    let before: Vec<u64> = (1..=3).map(|i| c.on(&format!("shop/web.{i}"))).collect();
    c.deploy(&shop("2"));
    for i in 1..=3 {
        assert_eq!(placed(&c.turn()), [format!("web.{i}")]);
        assert!(c.turn().commands.is_empty(), "not while web.{i} has no report");
        c.report(&format!("shop/web.{i}"), Phase::Running, None);
        assert!(c.turn().commands.is_empty(), "not while web.{i} is not healthy");
        c.report(&format!("shop/web.{i}"), Phase::Healthy, None);
    }
    assert!(matches!(c.turn().commands[..], [Command::Settle { .. }]));
    assert!(c.turn().commands.is_empty());
    assert_eq!((1..=3).map(|i| c.on(&format!("shop/web.{i}"))).collect::<Vec<_>>(), before);
}

#[test]
fn instances_that_serve_nobody_are_replaced_at_once() {
    let mut c = Cluster::of(3);
    c.deploy(&shop("1"));
    c.settle();
    c.report("shop/web.1", Phase::Unhealthy, None);
    c.report("shop/web.3", Phase::Starting, None);
    c.deploy(&shop("2"));
    assert_eq!(placed(&c.turn()), ["web.1", "web.3"]);
    assert!(c.turn().commands.is_empty());
}

#[test]
fn a_new_leader_does_not_take_silence_for_idleness() {
    let mut c = Cluster::of(3);
    c.deploy(&shop("1"));
    c.settle();
    c.deploy(&shop("2"));
    c.new_leader();
    let plan = c.turn();
    assert!(plan.commands.is_empty());
    assert_eq!(plan.wake_at, Some(Millis(c.now.0 + 10_000)));
    c.pass(10_000);
    assert_eq!(placed(&c.turn()).len(), 3);
}

#[test]
fn a_single_instance_is_just_replaced() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(1))]));
    c.settle();
    c.apply(&Command::Restart { app: "shop".parse().unwrap(), job: None });
    assert_eq!(placed(&c.turn()), ["web.1"]);
}

#[test]
fn a_missing_machine_holds_the_update() {
    let mut c = Cluster::of(3);
    c.deploy(&shop("1"));
    c.settle();
    c.deploy(&shop("2"));
    let machine = c.on("shop/web.3");
    c.see(machine, Liveness::Suspect, false);
    assert!(c.turn().commands.is_empty());
    c.see(machine, Liveness::Alive, false);
    assert_eq!(placed(&c.turn()), ["web.1"]);
}

#[test]
fn an_instance_that_fits_nowhere_does_not_hold_the_update() {
    let mut c = Cluster::of(2);
    let web =
        |version: &str| app("shop", &[("web", service(3).version(version).constraint("hostname", Operator::Unique))]);
    c.deploy(&web("1"));
    c.settle();
    c.deploy(&web("2"));
    c.settle();
    let revision = c.state.apps.values().next().unwrap().revisions.values().next().unwrap();
    let updated = c.state.tasks.values().filter(|task| task.node().is_some() && task.revision == *revision);
    assert_eq!(updated.count(), 2);
}

#[test]
fn what_an_instance_has_is_free_for_its_newer_version() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("web", service(1).memory(5 * GIB).fixed_port(80))]));
    c.settle();
    c.deploy(&app("shop", &[("web", service(1).memory(8 * GIB).fixed_port(80))]));
    assert_eq!(placed(&c.turn()), ["web.1"]);
}

#[test]
fn a_newer_version_that_fits_nowhere_leaves_the_older_one_running() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("web", service(1))]));
    c.settle();
    let before = c.state.tasks.clone();
    c.deploy(&app("shop", &[("web", service(1).memory(9 * GIB))]));
    let plan = c.settle();
    assert_eq!(c.state.tasks, before);
    assert_eq!(
        plan.waiting().map(|(_, why)| why.to_string()).collect::<Vec<_>>(),
        ["still the older version, as the newer one cannot start: n1: needs 9 GiB of memory, 8 GiB free"]
    );
}

#[test]
fn a_newer_version_moves_if_it_fits_only_elsewhere() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(1))]));
    c.settle();
    let other = 3 - c.on("shop/web.1");
    let there = Operator::Is(format!("n{other}"));
    c.deploy(&app("shop", &[("web", service(1).constraint("hostname", there))]));
    c.settle();
    assert_eq!(c.on("shop/web.1"), other);
}

#[test]
fn an_update_waits_for_a_batch_job_that_runs_again() {
    let shop = |version: &str| {
        let web = service(2).version(version).after(&["migrate"]);
        app("shop", &[("migrate", batch(1).version(version)), ("web", web)])
    };
    let mut c = Cluster::of(2);
    c.deploy(&shop("1"));
    c.settle();
    c.deploy(&shop("2"));
    assert_eq!(placed(&c.turn()), ["migrate.1"]);
    assert!(c.turn().commands.is_empty());
    assert!(
        c.why("shop/web.2").ends_with("waits for batch job `migrate` to finish: migrate.1 has not been reported yet")
    );
    c.report("shop/migrate.1", Phase::Finished, Some(Exit::Code(0)));
    c.turn();
    assert_eq!(placed(&c.turn()), ["web.1"]);
}

#[test]
fn an_update_does_not_wait_for_an_unhealthy_service() {
    let shop = |version: &str| app("shop", &[("db", service(1)), ("web", service(1).version(version).after(&["db"]))]);
    let mut c = Cluster::of(2);
    c.deploy(&shop("1"));
    c.settle();
    c.report("shop/db.1", Phase::Unhealthy, None);
    c.deploy(&shop("2"));
    assert_eq!(placed(&c.turn()), ["web.1"]);
}

#[test]
fn a_value_that_an_instance_takes_itself_is_free_for_its_newer_version() {
    let mut c = Cluster::of(2);
    (1..=2).for_each(|i| c.member(i).zone = "a".into());
    let web = |memory| app("shop", &[("web", service(2).memory(memory).constraint("zone", Operator::Unique))]);
    c.deploy(&web(GIB));
    c.settle();
    let machine = c.load().into_keys().next().unwrap();
    c.member(machine).capacity.memory = GIB;
    c.deploy(&web(2 * GIB));
    c.settle();
    assert_eq!(c.load(), [(3 - machine, 1)].into());
}

#[test]
fn a_batch_task_that_ended_in_an_older_version_runs_again() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("migrate", batch(1).version("1"))]));
    c.turn();
    c.deploy(&app("shop", &[("migrate", batch(1).version("2"))]));
    c.report("shop/migrate.1", Phase::Finished, Some(Exit::Code(0)));
    assert_eq!(placed(&c.turn()), ["migrate.1"]);
}
