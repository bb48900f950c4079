//! Starting, stopping, restarting, ending.

use super::{Node, assigned, batch, checked, fence, found, run, service, set, task};
use crate::{Accepted, Action, FoundRun, FoundState, StaleFence, StartFailure};
use taffeta_model::{AssignedSet, Exit, Phase};

const R0: &str = "shop.web.1-0.1.3-0";
const R1: &str = "shop.web.1-0.1.3-1";
const R2: &str = "shop.web.1-0.1.3-2";

#[test]
fn stale_fence_is_refused() {
    let mut node = Node::with(set(5, &[("shop/web.1", 3, service())]));
    let before = (node.agent.records(), node.agent.revision());
    let refused = node.agent.accept(node.now, set(4, &[]), true);
    assert_eq!(refused, Err(StaleFence { offered: fence(4), obeyed: fence(5) }));
    assert_eq!((node.agent.records(), node.agent.revision()), before);
    assert_eq!(node.step(), [format!("start {R0}")]);
}

#[test]
fn the_same_fence_changes_nothing() {
    let mut node = Node::up(service());
    assert_eq!(node.agent.accept(node.now, set(3, &[]), true), Ok(Accepted::Same));
    assert!(node.step().is_empty());
    assert_eq!(node.agent.accept(node.now, set(4, &[("shop/web.1", 3, service())]), true), Ok(Accepted::New));
    assert!(node.step().is_empty());
}

#[test]
fn an_older_generation_is_refused_whatever_its_index() {
    let mut node = Node::with(set(5, &[]));
    let newer = AssignedSet { fence: taffeta_model::Fence { generation: 1, term: 0, index: 1 }, ..set(0, &[]) };
    assert_eq!(node.agent.accept(node.now, newer, true), Ok(Accepted::New));
    assert!(node.agent.accept(node.now, set(900, &[]), true).is_err());
}

#[test]
fn a_start_is_given_once() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, service())]));
    assert_eq!(node.step(), [format!("start {R0}")]);
    assert!(node.run_for(100_000).is_empty());
    assert_eq!(node.says(), "starting []");
}

#[test]
fn a_service_without_check_serves_while_it_runs() {
    let node = Node::up(service());
    let record = node.record();
    assert_eq!((record.phase, record.serving, record.pid), (Phase::Running, true, Some(42)));
    assert_eq!((record.tags, record.instance.as_str()), (vec!["blue".into()], "1"));
    assert_eq!(record.ports.len(), 1);
}

#[test]
fn what_is_not_isolated_is_told() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, service())]));
    node.step();
    let lacks = vec!["no memory limit".into(), "no pids limit".into()];
    node.agent.handle_started(node.now, &run(R0), 42, taffeta_model::UnixMillis(0), lacks);
    assert_eq!(node.says(), "running serving [not fully isolated]");
}

#[test]
fn a_stop_drains_then_terminates_then_kills_again_and_again_then_forgets() {
    let mut node = Node::up(service());
    node.accept(set(4, &[]));
    assert_eq!(
        node.run_for(18_000),
        [
            format!("1500 terminate {R0}"),
            format!("11500 kill {R0}"),
            format!("16500 kill {R0}"), // sent again, as no end was seen
        ]
    );
    assert_eq!(node.says(), "stopping [no longer assigned to this machine]");
    node.exits(R0, Exit::Signal(9));
    assert_eq!(node.step(), [format!("forget {R0}")]);
    assert!(node.agent.records().is_empty());
    node.agent.handle_forgotten(&run(R0));
    assert!(node.run_for(100_000).is_empty());
    assert!(node.agent.runs_of(&task("shop/web.1")).is_empty());
}

#[test]
fn a_run_leaves_dns_before_it_is_told_to_end() {
    let mut node = Node::up(service());
    node.accept(set(4, &[]));
    assert!(node.step().is_empty(), "no signal while DNS elsewhere may still give it out");
    assert!(!node.record().serving);
}

#[test]
fn a_run_that_does_not_serve_skips_the_drain() {
    let mut node = Node::up(checked());
    node.step();
    node.check(R0, Err("refused"));
    node.accept(set(4, &[]));
    assert_eq!(node.step(), [format!("terminate {R0}")]);
}

#[test]
fn a_stop_waits_until_it_is_known_what_became_of_the_start() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, service())]));
    node.step();
    node.accept(set(4, &[]));
    assert!(node.run_for(5_000).is_empty());
    node.started(R0);
    assert_eq!(node.run_for(2_000), [format!("6500 terminate {R0}")]);
}

#[test]
fn another_placement_starts_only_after_the_old_run_has_ended() {
    let mut node = Node::up(service());
    node.accept(set(9, &[("shop/web.1", 9, service())]));
    assert_eq!(node.run_for(5_000), [format!("1500 terminate {R0}")]);
    assert_eq!((node.record().fence, node.record().phase), (fence(3), Phase::Stopping));
    node.exits(R0, Exit::Code(0));
    assert_eq!(node.step(), ["start shop.web.1-0.1.9-0"]);
    assert_eq!((node.record().fence, node.record().restarts), (fence(9), 0));
}

#[test]
fn one_placement_keeps_its_definition_while_another_version_rolls_out() {
    let mut node = Node::up(service());
    let mut changed = service();
    changed.run = vec!["./newer".into()];
    node.accept(set(4, &[("shop/web.1", 3, changed)]));
    node.exits(R0, Exit::Code(1));
    node.pass(250);
    let actions = node.actions();
    let Action::Start { assigned: started, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(started.job, service());
}

#[test]
fn a_change_that_only_the_scheduler_looks_at_reaches_the_record() {
    let mut node = Node::up(service());
    let mut scaled = assigned(3, service());
    (scaled.version, scaled.job.count) = (2, 5);
    node.accept(AssignedSet { fence: fence(4), tasks: [(task("shop/web.1"), scaled)].into(), volumes: None });
    assert!(node.step().is_empty());
    assert_eq!(node.record().version, 2);
}

#[test]
fn a_service_is_restarted_whatever_its_exit() {
    for exit in [Exit::Code(0), Exit::Code(1), Exit::Signal(9), Exit::OutOfMemory, Exit::Lost] {
        let mut node = Node::up(service());
        node.exits(R0, exit.clone());
        assert_eq!(node.says(), format!("starting [{exit}; restart 1 in 250 ms]"));
        assert_eq!(node.run_for(1_000), [format!("250 start {R1}")]);
        assert_eq!((node.record().restarts, node.record().exit), (1, Some(exit)));
    }
}

#[test]
fn what_is_known_of_an_end_follows_its_exit() {
    let words = || Some("its limit of 64 MiB was reached".to_owned());
    let mut node = Node::up(service());
    node.agent.handle_exit(node.now, &run(R0), Exit::OutOfMemory, words());
    assert_eq!(node.says(), "starting [killed: out of memory: its limit of 64 MiB was reached; restart 1 in 250 ms]");
    // Also when an earlier agent was there to see it, and for good.
    let ended = FoundRun { words: words(), ..found(R0, FoundState::Exited { exit: Exit::OutOfMemory }) };
    let node = Node::recovered(vec![ended], Some(set(3, &[("shop/web.1", 3, batch(0))])));
    assert_eq!(node.says(), "failed [killed: out of memory: its limit of 64 MiB was reached]");
}

#[test]
fn back_off_doubles_up_to_its_cap_and_is_reset_by_a_minute_of_work() {
    let mut node = Node::up(service());
    let mut delays = vec![];
    let mut crash = |node: &mut Node, restart: u32| {
        node.exits(&format!("shop.web.1-0.1.3-{restart}"), Exit::Code(1));
        let before = node.now;
        node.now = node.agent.next_wake().unwrap();
        delays.push(node.now.since(before).as_millis());
        for action in node.actions().iter().filter(|action| matches!(action, Action::Forget { .. })) {
            node.agent.handle_forgotten(action.run());
        }
        node.started(&format!("shop.web.1-0.1.3-{}", restart + 1));
    };
    for restart in 0..10 {
        crash(&mut node, restart);
        node.pass(59_000); // just short of what resets it
    }
    node.pass(1_000);
    crash(&mut node, 10);
    assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 250]);
    assert_eq!(node.record().restarts, 11);
}

#[test]
fn a_failed_start_is_backed_off_from() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, service())]));
    node.step();
    node.agent.handle_start_failed(node.now, &run(R0), StartFailure::NotStarted("no such file".into()));
    assert_eq!(node.says(), "starting [could not be started: no such file; restart 1 in 250 ms]");
    assert_eq!(node.run_for(300), [format!("250 start {R1}")]);
}

#[test]
fn a_failed_start_told_of_a_run_that_is_up_changes_nothing() {
    let mut node = Node::up(service());
    for failure in [StartFailure::NotStarted("late".into()), StartFailure::PortTaken(vec![1])] {
        node.agent.handle_start_failed(node.now, &run(R0), failure);
    }
    assert_eq!(node.says(), "running serving []");
}

#[test]
fn an_exit_that_is_told_twice_counts_once() {
    let mut node = Node::up(service());
    node.exits(R0, Exit::Code(1));
    let revision = node.agent.revision();
    node.exits(R0, Exit::Code(1));
    node.started(R0); // late, too
    assert_eq!(node.agent.revision(), revision);
    assert_eq!(node.says(), "starting [exited with 1; restart 1 in 250 ms]");
}

#[test]
fn a_batch_task_that_ends_with_0_is_finished_and_stays_so_until_it_leaves_the_set() {
    let mut node = Node::up(batch(0));
    node.exits(R0, Exit::Code(0));
    assert!(node.run_for(100_000).is_empty());
    let record = node.record();
    assert_eq!((record.phase, record.exit, record.serving), (Phase::Finished, Some(Exit::Code(0)), false));
    assert_eq!(node.agent.runs_of(&task("shop/web.1")), [run(R0)]);
    node.accept(set(4, &[]));
    assert_eq!(node.step(), [format!("forget {R0}")]);
    assert!(node.agent.records().is_empty());
}

#[test]
fn a_batch_task_fails_after_its_retries() {
    let mut node = Node::up(batch(1));
    node.exits(R0, Exit::Code(3));
    assert_eq!(node.says(), "starting [exited with 3; restart 1 in 250 ms]");
    assert_eq!(node.run_for(300), [format!("250 start {R1}")]);
    node.started(R1);
    node.exits(R1, Exit::Code(4));
    assert_eq!(node.run_for(100_000), [format!("forget {R0}")]);
    assert_eq!(node.says(), "failed [exited with 4 in the last of 2 tries]");
    assert_eq!(node.record().exit, Some(Exit::Code(4)));
}

#[test]
fn the_folder_of_the_last_ended_run_is_kept_until_the_next_one_has_ended() {
    let mut node = Node::up(service());
    node.exits(R0, Exit::Code(1));
    assert_eq!(node.run_for(250), [format!("250 start {R1}")]);
    node.started(R1);
    assert_eq!(node.agent.runs_of(&task("shop/web.1")), [run(R0), run(R1)]);
    node.exits(R1, Exit::Code(1));
    assert_eq!(node.step(), [format!("forget {R0}")]);
    node.agent.handle_forgotten(&run(R0));
    assert_eq!(node.run_for(500), [format!("750 start {R2}")]);
    assert_eq!(node.agent.runs_of(&task("shop/web.1")), [run(R1)], "what is being made has no folder yet");
    node.started(R2);
    assert_eq!(node.agent.runs_of(&task("shop/web.1")), [run(R1), run(R2)]);
}

#[test]
fn folders_that_cannot_be_removed_hold_back_the_next_start() {
    let mut node = Node::up(service());
    let mut restart = 0;
    while node.record().phase == Phase::Running {
        assert!(restart < 10, "never held back");
        node.exits(&format!("shop.web.1-0.1.3-{restart}"), Exit::Code(1));
        restart += 1;
        node.run_for(30_000);
        node.started(&format!("shop.web.1-0.1.3-{restart}"));
    }
    assert_eq!(node.says(), "starting [waits until the folders of 5 ended runs are removed]");
    node.agent.handle_forgotten(&run(R0));
    assert_eq!(node.step(), [format!("start shop.web.1-0.1.3-{restart}")]);
}

#[test]
fn a_long_reason_is_cut_and_kept_on_one_line() {
    let mut node = Node::with(set(3, &[("shop/web.1", 3, service())]));
    node.step();
    let why = format!("first\nsecond{}", "x".repeat(100_000));
    node.agent.handle_start_failed(node.now, &run(R0), StartFailure::NotStarted(why));
    let reason = node.record().reason;
    assert!(reason.len() < 300 && reason.contains("first second") && reason.ends_with("restart 1 in 250 ms"));
}
