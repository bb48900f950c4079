//! Who may still run an exclusive task.

use super::{Log, NOW, job_name, ring, task};
use crate::{
    Cause, Command, Exit, Fence, FileSource, LEASE_BASE, LEASE_DNS, NodeId, Place, Placement, Removal, parse_app_file,
};
use std::time::Duration;

const ONE: &str = "app = \"shop\"\n[service.one]\nrun = [\"./one\"]\nexclusive = true\ngrace = \"3s\"\n[batch.once]\n\
                   run = [\"./once\"]\nexclusive = true\n";

fn shop() -> Log {
    let mut log = ring();
    log.deploy(ONE);
    log
}

fn removed(log: &mut Log, id: &str) {
    let seen_attempt = log.state.tasks[&task(id)].attempt;
    log.apply(Command::Remove(vec![Removal { task: task(id), seen_attempt, cause: Cause::MachineLost }]));
}

/// Tries to place a task; whether it is there then.
fn comes_to(log: &mut Log, id: &str, node: u64) -> bool {
    let seen_attempt = log.state.tasks[&task(id)].attempt;
    let (task, cause) = (task(id), Cause::Waited);
    log.apply(Command::Place(vec![Placement {
        task: task.clone(),
        seen_attempt,
        node: NodeId(node),
        cause,
        older: false,
    }]));
    log.state.tasks[&task].node() == Some(NodeId(node))
}

fn release(log: &mut Log, id: &str, fence: Fence) {
    log.apply(Command::Release(vec![(task(id), fence)]));
}

#[test]
fn a_lease_is_the_time_to_work_to_leave_dns_and_to_end() {
    let log = shop();
    let job = &log.state.apps[&super::app_name("shop")].app.jobs[&job_name("one")];
    assert_eq!(job.lease(), LEASE_BASE + LEASE_DNS + Duration::from_secs(3));
}

#[test]
fn only_the_machine_that_may_still_run_a_task_gets_it_until_it_is_released() {
    let mut log = shop();
    let first = log.place("shop/one.1", 1);
    assert!(!comes_to(&mut log, "shop/one.1", 2), "not in one step");
    removed(&mut log, "shop/one.1");
    assert!(!comes_to(&mut log, "shop/one.1", 2));
    let second = log.place("shop/one.1", 1); // back where it may run still
    removed(&mut log, "shop/one.1");
    release(&mut log, "shop/one.1", first);
    assert!(!comes_to(&mut log, "shop/one.1", 2), "what was released is not the newest placement");
    release(&mut log, "shop/one.1", second);
    assert!(comes_to(&mut log, "shop/one.1", 2));
}

#[test]
fn the_lease_outlives_the_app_its_flag_and_the_membership_of_the_machine() {
    let without = ONE.replace("exclusive = true\n", "");
    for change in ["stop", "flag", "remove", "scale"] {
        let mut log = shop();
        let fence = log.place("shop/one.1", 2);
        match change {
            "stop" => {
                log.apply(Command::Stop { app: super::app_name("shop") });
                log.deploy(ONE);
            }
            "flag" => {
                log.deploy(&without);
                removed(&mut log, "shop/one.1");
            }
            "scale" => {
                for count in [0, 1] {
                    log.apply(Command::Scale { app: super::app_name("shop"), job: job_name("one"), count });
                }
            }
            _ => {
                log.apply(Command::RemoveMember { node: NodeId(2), now: NOW });
            }
        }
        assert!(!comes_to(&mut log, "shop/one.1", 3), "{change}");
        release(&mut log, "shop/one.1", fence);
        assert!(comes_to(&mut log, "shop/one.1", 3), "{change}");
        assert_eq!(log.state.leased.contains_key(&task("shop/one.1")), change != "flag", "{change}");
    }
}

#[test]
fn a_batch_task_that_has_ended_by_itself_is_released_and_one_that_was_ended_is_not() {
    let mut log = shop();
    let fence = log.place("shop/once.1", 1);
    log.finish("shop/once.1", fence);
    assert!(log.state.leased.is_empty());
    log.apply(Command::Restart { app: super::app_name("shop"), job: None });
    assert!(comes_to(&mut log, "shop/once.1", 2));
    log.state.tasks.update(&task("shop/once.1"), |task| {
        let Place::On { node, fence } = task.place else { panic!("it is on a machine") };
        task.place = Place::Ended { node, fence, exit: Exit::Deadline };
    });
    log.apply(Command::Restart { app: super::app_name("shop"), job: None });
    assert!(!comes_to(&mut log, "shop/once.1", 3));
}

#[test]
fn a_lease_is_as_long_as_the_longest_of_what_the_machine_may_run_still() {
    let mut log = shop();
    log.place("shop/one.1", 1);
    log.deploy(&ONE.replace("3s", "1s"));
    log.place("shop/one.1", 1);
    assert_eq!(log.state.leased[&task("shop/one.1")].lasts, LEASE_BASE + LEASE_DNS + Duration::from_secs(3));
    log.deploy(&ONE.replace("3s", "9s"));
    log.place("shop/one.1", 1);
    assert_eq!(log.state.leased[&task("shop/one.1")].lasts, LEASE_BASE + LEASE_DNS + Duration::from_secs(9));
}

#[test]
fn a_task_that_becomes_exclusive_is_waited_for_where_it_was() {
    let mut log = ring();
    log.deploy(&ONE.replace("exclusive = true\n", ""));
    let fence = log.place("shop/one.1", 1);
    log.deploy(ONE);
    removed(&mut log, "shop/one.1");
    assert!(!comes_to(&mut log, "shop/one.1", 2));
    release(&mut log, "shop/one.1", fence);
    assert!(comes_to(&mut log, "shop/one.1", 2));
}

#[test]
fn what_cannot_be_exclusive_is_refused_with_its_line() {
    let refused = |text: &str| {
        let files: &mut dyn FileSource = &mut super::AnyFile;
        parse_app_file(&format!("app = \"shop\"\n{text}"), files).expect_err("refused").to_string()
    };
    let daemon = refused("[daemon.log]\nrun = [\"./log\"]\nexclusive = true\n");
    assert!(daemon.contains("daemon.log.exclusive") && daemon.contains("never moves"), "{daemon}");
    for update in ["max_surge = 1", "canary = 1", "strategy = \"blue-green\""] {
        let text = refused(&format!("[service.web]\nrun = [\"./web\"]\nexclusive = true\nupdate = {{ {update} }}\n"));
        assert!(text.contains("service.web.update") && text.contains("in their places"), "{text}");
    }
    let typed = refused("[service.web]\nrun = [\"./web\"]\nexclusive = 1\n");
    assert!(typed.contains("expected true or false"), "{typed}");
}
