//! A task that comes while others are still stopping.

use super::{Node, set, task};
use taffeta_model::{Cpus, Exit, Job, JobKind, Resources};

/// Three of these fill the machine.
fn third() -> Job {
    let resources = Resources { cpus: Cpus(1000), ..Resources::default() };
    Job { run: vec!["./server".into()], resources, ..Job::new(JobKind::Batch { retries: 0 }) }
}

fn cpus(milli: u64) -> Job {
    Job { resources: Resources { cpus: Cpus(milli), ..Resources::default() }, ..third() }
}

fn revocable(milli: u64) -> Job {
    Job { revocable: true, ..cpus(milli) }
}

/// `web.1` and `web.2` of these jobs run, and then the newest set has only `api.1` of another one.
fn replaced(before: Job, after: Job) -> Node {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, before.clone()), ("shop/web.2", 3, before)]));
    assert_eq!(node.step().len(), 2);
    node.started("shop.web.1-0.1.3-0");
    node.started("shop.web.2-0.1.3-0");
    node.accept(set(4, &[("shop/api.1", 4, after)]));
    node
}

fn reason(node: &Node) -> String {
    let records = node.agent.records();
    records.iter().find(|record| record.task == task("shop/api.1")).unwrap().reason.clone()
}

const STOP: [&str; 2] = ["1500 terminate shop.web.1-0.1.3-0", "1500 terminate shop.web.2-0.1.3-0"];
const START: &str = "start shop.api.1-0.1.4-0";

#[test]
fn a_start_waits_until_enough_of_what_is_being_stopped_has_ended() {
    let mut node = replaced(third(), cpus(2000));
    assert!(node.step().is_empty());
    assert_eq!(reason(&node), "waits for shop/web.1 and 1 more to end");
    assert_eq!(node.run_for(2_000), STOP);
    assert_eq!(reason(&node), "waits for shop/web.1 and 1 more to end");
    node.exits("shop.web.2-0.1.3-0", Exit::Signal(15));
    assert!(node.step().contains(&START.to_owned()), "2 of 3 are free");
    assert_eq!(reason(&node), "");
}

#[test]
fn what_is_killed_in_the_end_is_waited_for_until_then() {
    let mut node = replaced(third(), cpus(3000));
    assert_eq!(node.run_for(2_000), STOP);
    node.exits("shop.web.1-0.1.3-0", Exit::Signal(15));
    node.step();
    assert_eq!(reason(&node), "waits for shop/web.2 to end");
    assert_eq!(node.run_for(10_000), ["11500 kill shop.web.2-0.1.3-0"]);
    node.exits("shop.web.2-0.1.3-0", Exit::Signal(9));
    assert!(node.step().contains(&START.to_owned()));
}

#[test]
fn what_fits_beside_them_starts_at_once() {
    let resources = |resources| Job { resources, ..third() };
    let custom = |count| Job { custom: [("gpu".to_owned(), count)].into(), ..cpus(0) };
    let gib = 1 << 30;
    let memory = |n: u64| resources(Resources { memory: n * gib, ..Resources::default() });
    let disk = |n: u64| resources(Resources { disk: n * gib, ..Resources::default() });
    for (what, before, after, waits) in [
        ("it fits", third(), third(), false),
        ("cpus", third(), cpus(1001), true),
        ("revocable ones take no cpus of others", third(), revocable(3000), false),
        ("but of one another", revocable(1000), revocable(2000), true),
        ("and others none of theirs", revocable(1000), cpus(3000), false),
        ("memory", memory(1), memory(2), true),
        ("memory that fits", memory(1), memory(1), false),
        ("disk", disk(1), disk(2), true),
        ("a countable resource", custom(1), custom(2), true),
        ("another kind of resource", memory(1), custom(3), false),
        ("more than the machine has, held by nobody who leaves", memory(1), custom(4), false),
    ] {
        let mut node = replaced(before, after);
        let started = node.step().contains(&START.to_owned());
        assert_eq!(started, !waits, "{what}");
        assert_eq!(reason(&node).starts_with("waits for shop/web.1"), waits, "{what}");
    }
}

#[test]
fn a_machine_that_has_shrunk_goes_on() {
    // Nothing is being stopped: the restart of what is there, and what is placed beside it, do not wait.
    let tasks = [("shop/web.1", 3, cpus(2000)), ("shop/web.2", 3, cpus(2000))];
    let mut node = Node::with(set(3, &tasks));
    assert_eq!(node.step(), ["start shop.web.1-0.1.3-0", "start shop.web.2-0.1.3-0"]);
}

#[test]
fn what_was_replaced_while_it_was_being_started_is_waited_for() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, cpus(3000))]));
    assert_eq!(node.step(), ["start shop.web.1-0.1.3-0"]);
    node.accept(set(4, &[("shop/api.1", 4, cpus(3000))]));
    assert!(node.step().is_empty());
    assert_eq!(reason(&node), "waits for shop/web.1 to end");
    node.started("shop.web.1-0.1.3-0");
    assert_eq!(node.run_for(1_500), STOP[..1]);
    node.exits("shop.web.1-0.1.3-0", Exit::Signal(15));
    assert!(node.step().contains(&START.to_owned()));
}
