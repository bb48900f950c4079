//! Exclusive tasks: they start under a lease and end before it does.

use super::{Node, batch, checked, fence, found, run, running, service, set, task};
use crate::{Action, FoundState, Grant, Needs};
use std::time::Duration;
use taffeta_model::{BootMillis, Exit, Job, Phase};

const R0: &str = "shop.web.1-0.1.3-0";
const R1: &str = "shop.web.1-0.1.3-1";

fn exclusive(job: Job) -> Job {
    Job { exclusive: true, grace: Duration::from_secs(1), ..job }
}

/// Grants a lease for so long from now on; its supervisor's stamp is a million more.
fn grant(node: &mut Node, placed: u64, ms: u64) {
    let until = node.now + Duration::from_millis(ms);
    let stamp = BootMillis(until.0 + 1_000_000);
    node.agent.handle_grants(&[Grant { task: task("shop/web.1"), fence: fence(placed), until, stamp }], &[]);
}

fn needs(node: &Node) -> (Vec<(String, u64)>, Vec<String>) {
    let Needs { held, rid, .. } = node.agent.needs();
    let held = held.iter().map(|(task, fence)| (task.to_string(), fence.index)).collect();
    (held, rid.iter().map(ToString::to_string).collect())
}

/// One exclusive task placed at 3, which runs under a lease of 11 s.
fn up() -> Node {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, exclusive(service()))]));
    grant(&mut node, 3, 11_000);
    assert_eq!(node.step(), [format!("start {R0}")]);
    node.started(R0);
    node.step();
    node
}

#[test]
fn nothing_starts_without_a_lease_of_its_own_placement_that_is_worth_it() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, exclusive(service()))]));
    assert_eq!(node.step(), [""; 0]);
    assert_eq!(node.says(), "starting [waits for the leader to grant its lease]");
    assert_eq!(needs(&node), (vec![("shop/web.1".into(), 3)], vec![]));
    grant(&mut node, 2, 60_000);
    assert_eq!(node.step(), [""; 0], "of another placement");
    grant(&mut node, 3, 5_000);
    assert_eq!(node.step(), [""; 0], "it would leave in a second and a half");
    grant(&mut node, 3, 5_500);
    let actions = node.actions();
    let [Action::Start { lease: Some(BootMillis(1_005_500)), .. }] = actions.as_slice() else { panic!("{actions:?}") };
}

#[test]
fn a_lease_that_is_not_renewed_ends_the_run_in_time_also_without_a_leader() {
    let mut node = up();
    // 11 s, less the grace of 1 s, 2 s to leave DNS and half a second.
    assert_eq!(node.run_for(7_499), [""; 0]);
    assert_eq!(node.run_for(3_000), [format!("9000 terminate {R0}"), format!("10000 kill {R0}")]);
    assert!(node.says().contains("stopping [its lease was not renewed"), "{}", node.says());
    node.exits(R0, Exit::Signal(9));
    assert_eq!(node.run_for(60_000), [""; 0]);
    assert!(node.says().contains("starting [its lease was not renewed"), "{}", node.says());
    assert_eq!(needs(&node), (vec![("shop/web.1".into(), 3)], vec![]), "it asks on");
    grant(&mut node, 3, 11_000);
    assert_eq!(node.step(), [format!("start {R1}")]);
}

#[test]
fn each_renewal_is_passed_on_once_and_lets_the_run_go_on() {
    let mut node = up();
    for _ in 0..5 {
        node.pass(2_000);
        grant(&mut node, 3, 11_000);
        let until = BootMillis(node.now.0 + 1_011_000);
        assert_eq!(node.actions(), [Action::Extend { run: run(R0), until }]);
        assert_eq!(node.step(), [""; 0]);
    }
    assert!(node.record().serving);
}

#[test]
fn a_renewal_that_comes_while_the_process_is_made_is_passed_on_when_it_is_there() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, exclusive(service()))]));
    grant(&mut node, 3, 11_000);
    node.step();
    node.pass(100);
    grant(&mut node, 3, 11_000);
    assert_eq!(node.step(), [""; 0]);
    node.started(R0);
    assert_eq!(node.step(), [format!("extend {R0}")]);
}

#[test]
fn a_late_grant_does_not_shorten_a_lease() {
    let mut node = up();
    grant(&mut node, 3, 1_000);
    assert_eq!(node.run_for(7_000), [""; 0]);
}

#[test]
fn a_run_that_was_found_goes_on_for_a_while_until_its_lease_is_renewed() {
    let set = set(3, &[("shop/web.1", 3, exclusive(checked()))]);
    let mut run = found(R0, running());
    run.exclusive = true;
    let mut node = Node::recovered(vec![run.clone()], Some(set.clone()));
    assert_eq!(node.step(), [format!("check {R0}")]);
    node.check(R0, Ok(()));
    node.pass(7_000);
    grant(&mut node, 3, 11_000);
    assert_eq!(node.step(), [format!("extend {R0}"), format!("check {R0}")]);
    let mut node = Node::recovered(vec![run], Some(set));
    let ended: Vec<_> = node.run_for(12_000).into_iter().filter(|action| !action.contains("check")).collect();
    assert_eq!(ended, [format!("9500 terminate {R0}"), format!("10500 kill {R0}")]);
}

#[test]
fn whoever_supervises_it_may_end_it_first_and_that_is_nobodys_failure() {
    for job in [exclusive(service()), exclusive(batch(0))] {
        let mut node = Node::with(set(3, &[("shop/web.1", 3, job.clone())]));
        grant(&mut node, 3, 11_000);
        node.step();
        node.started(R0);
        node.exits(R0, Exit::LeaseEnded);
        assert_eq!(node.record().phase, Phase::Starting, "{:?}", job.kind);
        grant(&mut node, 3, 12_000);
        assert_eq!(node.step(), [format!("start {R1}")], "at once");
        let mut ended = found(R0, FoundState::Exited { exit: Exit::LeaseEnded });
        ended.exclusive = true;
        let mut node = Node::recovered(vec![ended], None);
        node.accept(set(3, &[("shop/web.1", 3, job)]));
        grant(&mut node, 3, 12_000);
        assert_eq!(node.step(), [format!("start {R1}")]);
    }
}

#[test]
fn what_has_left_is_told_when_it_has_ended_until_that_is_known() {
    let mut node = up();
    node.accept(set(4, &[]));
    node.step();
    assert_eq!(needs(&node), (vec![], vec![]), "it runs still");
    node.exits(R0, Exit::Code(0));
    node.step();
    assert_eq!(needs(&node), (vec![], vec!["shop/web.1".into()]));
    assert_eq!(node.agent.needs().obeyed, Some(fence(4)));
    node.agent.handle_grants(&[], &[task("shop/web.1")]);
    assert!(node.agent.needs().is_empty());
}

#[test]
fn what_has_left_and_come_back_is_not_told_to_have_left() {
    let mut node = up();
    node.accept(set(4, &[]));
    node.step();
    node.exits(R0, Exit::Code(0));
    node.step();
    node.accept(set(5, &[("shop/web.1", 5, exclusive(service()))]));
    node.step();
    assert_eq!(needs(&node), (vec![("shop/web.1".into(), 5)], vec![]));
}

#[test]
fn a_batch_task_that_is_over_asks_for_nothing() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, exclusive(batch(0)))]));
    grant(&mut node, 3, 11_000);
    node.step();
    node.started(R0);
    node.exits(R0, Exit::Code(0));
    node.step();
    assert_eq!((node.record().phase, needs(&node)), (Phase::Finished, (vec![], vec![])));
    let mut over = set(4, &[("shop/web.1", 3, exclusive(batch(0)))]);
    over.tasks.values_mut().for_each(|assigned| assigned.ended = Some(Exit::Deadline));
    node.accept(over);
    node.step();
    assert_eq!(needs(&node), (vec![], vec!["shop/web.1".into()]), "a run that was ended has left nothing");
}
