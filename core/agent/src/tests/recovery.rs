//! What an agent makes of a machine on which it was started again.

use super::{Node, batch, checked, found, run, running, service, set, task};
use crate::{Accepted, FoundState};
use taffeta_model::{Exit, Millis, Phase};

const R0: &str = "shop.web.1-0.1.3-0";
const R1: &str = "shop.web.1-0.1.3-1";

#[test]
fn a_run_that_still_runs_is_adopted_and_not_started_twice() {
    let mut node = Node::recovered(vec![found(R1, running())], Some(set(5, &[("shop/web.1", 3, service())])));
    assert!(node.run_for(100_000).is_empty());
    node.accept(set(6, &[("shop/web.1", 3, service())]));
    assert!(node.run_for(100_000).is_empty());
    let record = node.record();
    assert_eq!((record.pid, record.restarts, record.serving), (Some(7), 1, true));
    assert_eq!(record.ports, [("http".into(), 20_007)]);
}

#[test]
fn an_adopted_run_is_checked_at_once_and_healthy_only_after_a_pass() {
    let mut node = Node::recovered(vec![found(R0, running())], Some(set(5, &[("shop/web.1", 3, checked())])));
    assert_eq!(node.says(), "running [found running; not checked yet]");
    assert_eq!(node.step(), [format!("check {R0}")]);
    node.check(R0, Ok(()));
    assert_eq!(node.says(), "healthy serving []");
}

#[test]
fn an_adopted_run_is_drained_even_before_its_first_check() {
    let mut node = Node::recovered(vec![found(R0, running())], Some(set(5, &[("shop/web.1", 3, checked())])));
    node.accept(set(6, &[]));
    assert_eq!(node.run_for(1_500), [format!("1500 terminate {R0}")]);
}

#[test]
fn nothing_is_started_until_a_leader_confirms() {
    let persisted = set(5, &[("shop/web.1", 3, service())]);
    let mut node = Node::recovered(vec![], Some(persisted.clone()));
    assert!(node.run_for(29_000).is_empty());
    assert_eq!(node.says(), "starting [waits for a leader to confirm that it still belongs here]");
    assert_eq!(node.agent.accept(node.now, persisted, true), Ok(Accepted::Same));
    assert_eq!(node.step(), [format!("start {R0}")]);
}

#[test]
fn without_a_leader_the_persisted_set_starts_after_the_wait() {
    let mut node = Node::recovered(vec![], Some(set(5, &[("shop/web.1", 3, service())])));
    assert_eq!(node.agent.next_wake(), Some(Millis(30_000)));
    assert_eq!(node.run_for(40_000), [format!("30000 start {R0}")]);
}

#[test]
fn a_set_without_a_leader_behind_it_is_taken_but_not_started() {
    let mut node = Node::recovered(vec![], None);
    let offered = set(5, &[("shop/web.1", 3, service())]);
    assert_eq!(node.agent.accept(node.now, offered, false), Ok(Accepted::New));
    assert!(node.run_for(29_999).is_empty());
    assert_eq!(node.run_for(1), [format!("30000 start {R0}")]);
}

#[test]
fn an_unconfirmed_set_stops_nothing_however_long_it_takes() {
    let runs = vec![found(R0, running()), found("shop.old.1-0.1.2-0", running())];
    let mut node = Node::recovered(runs, Some(set(9, &[("shop/web.1", 9, service())])));
    assert!(node.run_for(1_000_000).is_empty());
    assert!(node.agent.records().iter().all(|r| r.phase == Phase::Running && !r.serving));
    node.agent.accept(node.now, set(9, &[]), true).unwrap(); // the same fence: the contents do not count
    let all = node.run_for(1_500);
    assert_eq!(all, ["1001500 terminate shop.old.1-0.1.2-0", &format!("1001500 terminate {R0}")]);
}

#[test]
fn a_crash_while_unconfirmed_is_restarted_only_after_the_wait() {
    let mut node = Node::recovered(vec![found(R0, running())], Some(set(5, &[("shop/web.1", 3, service())])));
    node.exits(R0, Exit::Code(1));
    assert_eq!(node.run_for(40_000), [format!("30000 start {R1}")]);
}

#[test]
fn a_finished_batch_task_is_not_run_again_by_a_restarted_agent() {
    let exited = FoundState::Exited { exit: Exit::Code(0) };
    for persisted in [Some(set(5, &[("shop/web.1", 3, batch(5))])), None] {
        let mut node = Node::recovered(vec![found(R0, exited.clone())], persisted);
        node.accept(set(6, &[("shop/web.1", 3, batch(5))]));
        assert!(node.run_for(100_000).is_empty());
        assert_eq!(node.says(), "finished [exited with 0]");
    }
}

#[test]
fn what_has_ended_for_good_is_not_run_even_where_its_folder_is_lost() {
    let ended = |exit: Exit| {
        let mut set = set(6, &[("shop/web.1", 3, batch(5))]);
        set.tasks.values_mut().for_each(|assigned| assigned.ended = Some(exit.clone()));
        set
    };
    for (exit, says) in [(Exit::Code(0), "finished [exited with 0]"), (Exit::Code(3), "failed [exited with 3]")] {
        let mut node = Node::recovered(vec![], None);
        node.accept(ended(exit));
        assert!(node.run_for(100_000).is_empty());
        assert_eq!(node.says(), says);
    }
}

#[test]
fn a_failed_batch_task_has_used_its_tries_also_after_an_agent_restart() {
    let exited = FoundState::Exited { exit: Exit::Code(2) };
    let mut node = Node::recovered(vec![found(R1, exited)], None);
    node.accept(set(6, &[("shop/web.1", 3, batch(1))]));
    assert!(node.run_for(100_000).is_empty());
    assert_eq!(node.says(), "failed [exited with 2 in the last of 2 tries]");
}

#[test]
fn runs_lost_with_a_reboot_start_again_at_once_when_confirmed() {
    for job in [service(), batch(0)] {
        let mut node =
            Node::recovered(vec![found(R0, FoundState::Lost)], Some(set(5, &[("shop/web.1", 3, job.clone())])));
        assert!(node.step().is_empty());
        node.accept(set(6, &[("shop/web.1", 3, job)]));
        assert_eq!(node.step(), [format!("start {R1}")]);
    }
}

#[test]
fn a_run_lost_with_a_reboot_uses_up_no_try() {
    let mut node = Node::recovered(vec![found(R0, FoundState::Lost)], None);
    node.accept(set(6, &[("shop/web.1", 3, batch(1))]));
    assert_eq!(node.step(), [format!("start {R1}")]);
    node.started(R1);
    node.exits(R1, Exit::Code(3));
    assert_eq!(node.says(), "starting [exited with 3; restart 2 in 250 ms]");
    assert_eq!(node.run_for(300), [format!("forget {R0}"), format!("250 start {}", "shop.web.1-0.1.3-2")]);
    node.started("shop.web.1-0.1.3-2");
    node.exits("shop.web.1-0.1.3-2", Exit::Code(4));
    assert_eq!(node.says(), "failed [exited with 4 in the last of 2 tries]");
}

#[test]
fn runs_found_ended_are_forgotten_but_for_the_last() {
    let ended = |exit| FoundState::Exited { exit };
    let runs = vec![
        found(R1, ended(Exit::Code(1))),
        found("shop.web.1-0.1.2-7", ended(Exit::Code(1))),
        found(R0, ended(Exit::Code(1))),
        found("shop.old.1-0.1.2-0", ended(Exit::Code(0))),
    ];
    let mut node = Node::recovered(runs, Some(set(5, &[("shop/web.1", 3, service())])));
    assert_eq!(node.step(), ["forget shop.web.1-0.1.2-7", &format!("forget {R0}")]);
    node.accept(set(6, &[("shop/web.1", 3, service())]));
    node.pass(250);
    assert_eq!(node.step(), ["forget shop.old.1-0.1.2-0", "start shop.web.1-0.1.3-2"]);
    assert_eq!(node.agent.runs_of(&task("shop/web.1")), [run(R1)]);
}

#[test]
fn of_two_runs_found_alive_the_older_is_stopped_and_nothing_is_started() {
    let runs = vec![found(R1, running()), found(R0, running())];
    let mut node = Node::recovered(runs, None);
    node.accept(set(5, &[("shop/web.1", 3, service())]));
    assert_eq!(node.run_for(5_000), [format!("1500 terminate {R0}")]);
    node.exits(R0, Exit::Signal(15));
    assert!(node.run_for(100_000).is_empty());
    assert_eq!(node.says(), "running serving []");
}
