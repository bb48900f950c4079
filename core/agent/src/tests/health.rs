//! Health checks and what follows from them.

use super::{Node, checked, set};
use crate::Action;
use std::time::Duration;
use taffeta_model::{Exit, HealthProbe, Phase};

const R0: &str = "shop.web.1-0.1.3-0";
const R1: &str = "shop.web.1-0.1.3-1";

/// A run whose first check has passed.
fn healthy() -> Node {
    let mut node = Node::up(checked());
    assert_eq!(node.step(), [format!("check {R0}")]);
    node.check(R0, Ok(()));
    node
}

/// Lets time pass in which each check has this outcome; gives what was asked for besides checks.
fn checks(node: &mut Node, ms: u64, outcome: Result<(), &str>) -> Vec<String> {
    let end = node.now + Duration::from_millis(ms);
    let mut others = vec![];
    loop {
        for action in node.step() {
            if action.starts_with("check") { node.check(R0, outcome) } else { others.push(action) }
        }
        match node.agent.next_wake().filter(|wake| *wake <= end) {
            Some(wake) if wake > node.now => node.now = wake,
            Some(wake) => panic!("a wake at {wake:?}, which has passed: the driver would spin"),
            None => break,
        }
    }
    node.now = end;
    others
}

#[test]
fn a_checked_service_serves_only_after_the_first_pass() {
    let mut node = Node::up(checked());
    assert_eq!(node.says(), "running [not checked yet]");
    node.step();
    node.check(R0, Err("connection refused"));
    assert_eq!(node.says(), "running [no health check has passed yet: connection refused]");
    node.run_for(100);
    node.check(R0, Ok(()));
    assert_eq!(node.says(), "healthy serving []");
}

#[test]
fn checks_are_quick_until_the_first_pass_and_regular_after_it() {
    let mut node = Node::up(checked());
    let mut times = vec![];
    for outcome in [Err("no"), Err("no"), Ok(()), Ok(()), Err("no")] {
        assert_eq!(node.step(), [format!("check {R0}")]);
        times.push(node.now.0);
        node.pass(20); // the check takes its time, which does not shift the next one
        node.check(R0, outcome);
        node.now = node.agent.next_wake().unwrap();
    }
    assert_eq!(times, [0, 100, 200, 1200, 2200]);
}

#[test]
fn a_check_names_its_probe_its_ports_and_its_limit() {
    let mut node = Node::up(checked());
    let ports = node.record().ports.into_iter().map(|(name, port)| (name.to_string(), port)).collect();
    let probe = HealthProbe::Http { path: "/health".into(), port: "http".into() };
    let timeout = Duration::from_millis(500);
    assert_eq!(node.actions(), [Action::Check { run: R0.parse().unwrap(), probe, ports, timeout }]);
}

#[test]
fn at_most_one_check_of_a_run_is_under_way() {
    let mut node = Node::up(checked());
    assert_eq!(node.run_for(20_000), [format!("check {R0}")]);
    node.check(R0, Ok(()));
    node.check(R0, Err("told twice")); // none is under way any more
    assert_eq!(node.says(), "healthy serving []");
}

#[test]
fn failures_in_a_row_make_unhealthy_and_one_pass_makes_healthy() {
    let mut node = healthy();
    for outcome in [Err("no"), Err("no"), Ok(()), Err("no"), Err("no")] {
        node.run_for(1_000);
        node.check(R0, outcome);
        assert_eq!(node.says(), "healthy serving []");
    }
    node.run_for(1_000);
    node.check(R0, Err("timed out"));
    assert_eq!(node.says(), "unhealthy [the health check fails: timed out]");
    node.run_for(1_000);
    node.check(R0, Ok(()));
    assert_eq!(node.says(), "healthy serving []");
}

#[test]
fn steady_health_does_not_move_the_revision() {
    let mut node = healthy();
    let revision = node.agent.revision();
    assert!(checks(&mut node, 60_000, Ok(())).is_empty());
    assert_eq!(node.agent.revision(), revision);
}

#[test]
fn what_is_unhealthy_for_too_long_is_restarted_through_the_stop_sequence() {
    let mut node = healthy();
    assert!(checks(&mut node, 5_000, Ok(())).is_empty());
    assert!(checks(&mut node, 3_000 + 29_000, Err("timed out")).is_empty());
    assert_eq!(node.record().phase, Phase::Unhealthy);
    assert_eq!(checks(&mut node, 1_000, Err("timed out")), [format!("terminate {R0}")]);
    let why = "unhealthy for 30 s: the health check fails: timed out";
    assert_eq!(node.says(), format!("stopping [restarted: {why}]"));
    node.exits(R0, Exit::Signal(15));
    assert_eq!(node.says(), format!("starting [{why}; restart 1 in 250 ms]"));
    let now = node.now.0;
    assert_eq!(node.run_for(250), [format!("{} start {R1}", now + 250)]);
}

#[test]
fn what_never_becomes_healthy_is_restarted_with_growing_delays() {
    let mut job = checked();
    job.health.as_mut().unwrap().every = Duration::from_secs(10); // 100 s of patience, more than what resets the delay
    let mut node = Node::up(job);
    assert_eq!(checks(&mut node, 100_000, Err("refused")), [format!("terminate {R0}")]);
    node.exits(R0, Exit::Signal(15));
    node.run_for(250);
    node.started(R1);
    // No check is ever answered: the second life ends the same way, and has earned no reset.
    node.run_for(100_000);
    node.exits(R1, Exit::Signal(15));
    assert!(node.record().reason.ends_with("restart 2 in 500 ms"), "{}", node.record().reason);
}

#[test]
fn a_slow_check_gives_more_time_before_the_restart() {
    let mut job = checked();
    job.health.as_mut().unwrap().every = Duration::from_secs(60);
    let mut node = Node::up(job);
    assert!(checks(&mut node, 599_000, Err("refused")).is_empty());
    assert_eq!(checks(&mut node, 1_000, Err("refused")), [format!("terminate {R0}")]);
}

#[test]
fn a_check_that_ends_after_the_stop_began_says_nothing() {
    let mut node = healthy();
    node.run_for(1_000);
    node.accept(set(4, &[]));
    node.step();
    node.check(R0, Ok(()));
    assert_eq!(node.says(), "stopping [no longer assigned to this machine]");
}
