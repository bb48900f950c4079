//! Which ports a run gets.

use super::{Node, run, service, set, task};
use crate::{Action, PORT_TRIES_MAX, PORTS, StartFailure, port_order, port_seed};
use std::collections::BTreeSet;
use taffeta_model::{Exit, Job, PortSpec};

const R0: &str = "shop.web.1-0.1.3-0";

fn with_ports(ports: &[(&str, Option<u16>)]) -> Job {
    let ports = ports.iter().map(|(name, fixed)| PortSpec { name: (*name).into(), fixed: *fixed }).collect();
    Job { ports, ..service() }
}

/// Ports of the starts among the actions.
fn given(actions: &[Action]) -> Vec<Vec<u16>> {
    let start = |action: &Action| match action {
        Action::Start { ports, .. } => Some(ports.iter().map(|(_, n)| *n).collect()),
        Action::Extend { .. }
        | Action::Check { .. }
        | Action::Terminate { .. }
        | Action::Kill { .. }
        | Action::Forget { .. } => None,
    };
    actions.iter().filter_map(start).collect()
}

#[test]
fn an_order_gives_every_port_once() {
    for seed in (0..200).chain([u64::MAX]) {
        let order: Vec<u16> = port_order(seed).collect();
        let distinct: BTreeSet<u16> = order.iter().copied().collect();
        assert_eq!((order.len(), distinct.len()), (12_000, 12_000), "seed {seed}");
        assert!(distinct.iter().all(|n| PORTS.contains(n)));
    }
}

#[test]
fn the_order_depends_on_task_and_attempt_alone() {
    let first = |id: &str, attempt| port_order(port_seed(&task(id), attempt)).take(5).collect::<Vec<_>>();
    assert_eq!(first("shop/web.1", 1), first("shop/web.1", 1));
    assert_ne!(first("shop/web.1", 1), first("shop/web.1", 2));
    assert_ne!(first("shop/web.1", 1), first("shop/web.2", 1));
}

#[test]
fn no_two_runs_of_a_node_share_a_port() {
    let job = with_ports(&[("a", None), ("b", None), ("c", None)]);
    let tasks: Vec<_> = (1..=1000).map(|i| (format!("shop/web.{i}"), 3, job.clone())).collect();
    let tasks: Vec<_> = tasks.iter().map(|(id, at, job)| (id.as_str(), *at, job.clone())).collect();
    let mut node = Node::with(set(3, &tasks));
    let all: Vec<u16> = given(&node.actions()).concat();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (3000, 3000));
}

#[test]
fn what_is_withheld_is_no_failure_of_the_task() {
    let withheld = || StartFailure::Withheld("no voter gives the secret `db` (version 1)".into());
    let mut node = Node::with(set(3, &[("shop/web.1", 3, super::batch(0))]));
    for _ in 0..5 {
        assert_eq!(node.actions()[0].run(), &run(R0), "the run has not been, so its name is free");
        node.agent.handle_start_failed(node.now, &run(R0), withheld());
        let record = &node.agent.records()[0];
        assert!(record.reason.starts_with("no voter gives the secret `db` (version 1); tried again in"), "{record:?}");
        assert_eq!((record.exit.clone(), record.restarts), (None, 0), "a batch job loses no try");
        node.now = node.agent.next_wake().expect("it is tried again");
    }
    node.agent.handle_start_failed(node.now, &run("shop.web.1-0.1.3-9"), withheld());
    assert_eq!(node.actions()[0].run(), &run(R0), "what was not being made changes nothing");
    node.started(R0);
}

#[test]
fn a_port_that_is_taken_is_replaced_without_back_off_and_without_a_restart() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, service())]));
    let first = given(&node.actions())[0].clone();
    node.agent.handle_start_failed(node.now, &run(R0), StartFailure::PortTaken(first.clone()));
    let actions = node.actions();
    assert_eq!(actions[0].run(), &run(R0), "the run has not been, so its name is free");
    assert_ne!(given(&actions)[0], first);
    node.started(R0);
    assert_eq!(node.record().restarts, 0);
}

#[test]
fn port_after_port_taken_is_backed_off_from() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, service())]));
    let mut tried = BTreeSet::new();
    for _ in 0..PORT_TRIES_MAX {
        let ports = given(&node.actions())[0].clone();
        assert!(tried.insert(ports.clone()), "no port is tried twice");
        node.agent.handle_start_failed(node.now, &run(R0), StartFailure::PortTaken(ports));
    }
    assert_eq!(node.says(), "starting [10 starts in a row found ports taken; tried again in 250 ms]");
    assert_eq!(node.run_for(300), [format!("250 start {R0}")]);
}

#[test]
fn a_fixed_port_that_another_program_has_is_waited_for() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, with_ports(&[("http", Some(8080)), ("x", None)]))]));
    let ports = given(&node.actions())[0].clone();
    assert_eq!(ports[0], 8080);
    node.agent.handle_start_failed(node.now, &run(R0), StartFailure::PortTaken(vec![8080]));
    assert_eq!(node.says(), "starting [another program has port 8080; tried again in 250 ms]");
    assert_eq!(node.run_for(300), [format!("250 start {R0}")]);
}

#[test]
fn a_fixed_port_that_another_task_has_is_waited_for() {
    let job = with_ports(&[("http", Some(8080))]);
    let mut node = Node::with(set(3, &[("shop/web.1", 3, job.clone()), ("shop/web.2", 3, job)]));
    assert_eq!(node.run_for(60_000), [format!("start {R0}")]);
    assert_eq!(node.agent.records()[1].reason, "waits for port 8080, which shop/web.1 has");
    node.started(R0);
    node.exits(R0, Exit::Code(1));
    assert_eq!(node.step(), ["start shop.web.2-0.1.3-0"]);
}

#[test]
fn an_allocated_port_keeps_clear_of_the_fixed_ones() {
    let first = port_order(port_seed(&task("shop/web.1"), 1)).next();
    let mut node = Node::with(set(3, &[("shop/web.1", 3, with_ports(&[("a", None), ("b", first)]))]));
    let ports = given(&node.actions())[0].clone();
    assert_eq!(Some(ports[1]), first);
    assert_ne!(ports[0], ports[1]);
}

#[test]
fn a_restart_keeps_its_ports() {
    let mut node = Node::up(service());
    let before = node.record().ports;
    node.exits(R0, Exit::Code(1));
    node.run_for(250);
    assert_eq!(node.record().ports, before);
}

#[test]
fn what_is_done_before_the_process_is_made_is_told_until_it_is() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, super::batch(0))]));
    node.actions();
    let reason = |node: &Node| node.agent.records()[0].reason.clone();
    let before = node.agent.revision();
    node.agent.handle_doing(&run(R0), "fetching x: 1 of 4 MiB".into());
    assert_eq!((reason(&node).as_str(), node.agent.revision()), ("fetching x: 1 of 4 MiB", before + 1));
    node.agent.handle_doing(&run(R0), "fetching x: 1 of 4 MiB".into());
    node.agent.handle_doing(&run("shop.web.1-0.1.3-9"), "of another run".into());
    assert_eq!(node.agent.revision(), before + 1, "nothing new");
    node.agent.handle_started(node.now, &run(R0), 7, taffeta_model::UnixMillis(1), vec![]);
    assert_eq!(reason(&node), "");
    node.agent.handle_doing(&run(R0), "late".into());
    assert_eq!(reason(&node), "");
}
