//! Daemons: what holds for all tasks holds for them, and what another kind of job has left of them.

use super::fixture::{Cluster, GIB, With, app, batch, service};
use taffeta_model::{AppName, Command, Cpus, Job, JobKind, Liveness, Operator, Place, Quota, TeamName};

fn daemon() -> Job {
    Job { kind: JobKind::Daemon, ..service(1) }
}

fn all_on_machines(c: &Cluster) -> bool {
    c.state.tasks.values().all(|task| matches!(task.place, Place::On { .. }))
}

#[test]
fn they_stay_within_the_quota_of_their_team() {
    let mut c = Cluster::of(3);
    let team: TeamName = "red".parse().unwrap();
    let mut quota = Quota::unlimited();
    quota.limit.cpus = Cpus(250);
    c.apply(&Command::SetQuota { team: team.clone(), quota });
    let mut watch = app("watch", &[("agent", daemon())]);
    watch.team = Some(team.clone());
    c.deploy(&watch);
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1)].into());
    c.apply(&Command::RemoveQuota { team });
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1), (3, 1)].into());
}

#[test]
fn those_that_start_at_once_count_each_other() {
    let mut c = Cluster::of(4);
    for (i, zone) in (1..).zip(["a", "b", "a", "b"]) {
        c.member(i).zone = zone.into();
    }
    c.deploy(&app("watch", &[("agent", daemon().constraint("zone", Operator::Unique))]));
    c.turn();
    assert_eq!(c.load(), [(1, 1), (2, 1)].into());
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1)].into());
}

#[test]
fn a_service_that_becomes_a_daemon_has_one_on_each_machine() {
    let mut c = Cluster::of(2);
    c.deploy(&app("watch", &[("agent", service(5).memory(3 * GIB).version("1"))]));
    c.settle();
    assert_eq!(c.load(), [(1, 2), (2, 2)].into(), "the fifth waits");
    c.deploy(&app("watch", &[("agent", daemon().memory(3 * GIB).version("2"))]));
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1)].into());
    assert!(c.state.tasks.len() == 2 && all_on_machines(&c), "{:?}", c.state.tasks);
    // And back.
    c.deploy(&app("watch", &[("agent", service(4).memory(GIB).version("3"))]));
    c.settle();
    assert!(c.state.tasks.len() == 4 && all_on_machines(&c), "{:?}", c.state.tasks);
}

#[test]
fn the_room_of_one_that_is_gone_before_it_was_seen_is_given_to_others() {
    let mut c = Cluster::of(1);
    c.see(1, Liveness::Suspect, false);
    c.deploy(&app("watch", &[("agent", daemon().cpus(3000))]));
    c.deploy(&app("shop", &[("web", service(1).cpus(3000))]));
    c.turn();
    c.see(1, Liveness::Alive, false);
    c.turn();
    assert_eq!((c.on("watch/agent.1"), c.on("shop/web.1")), (1, 0));
    c.deploy(&app("watch", &[("agent", service(0))]));
    c.turn();
    assert_eq!(c.on("shop/web.1"), 1);
}

#[test]
fn one_whose_machine_matches_no_more_stays_until_those_that_came_to_be_with_it_are_there() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("log", service(1))]));
    c.settle();
    let nowhere = daemon().constraint("hostname", Operator::Like("a.*".into()));
    c.deploy(&app("shop", &[("log", nowhere), ("web", Job { with: vec!["log".parse().unwrap()], ..service(1) })]));
    c.turn();
    assert_eq!((c.on("shop/log.1"), c.on("shop/web.1")), (1, 1));
    c.settle();
    assert_eq!((c.on("shop/web.1"), c.load()), (1, [(1, 1)].into()));
}

#[test]
fn one_leaves_a_machine_without_the_field_of_a_rule_that_counts() {
    let mut c = Cluster::of(2);
    c.deploy(&app("watch", &[("agent", daemon())]));
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1)].into());
    c.member(1).zone = "a".into();
    c.deploy(&app("watch", &[("agent", daemon().constraint("zone", Operator::MaxPer(1)))]));
    c.settle();
    assert_eq!(c.load(), [(1, 1)].into());
}

#[test]
fn those_that_come_do_not_count_those_that_are_too_many() {
    let mut c = Cluster::of(4);
    for (i, zone) in (1..).zip(["a", "a", "b", "a"]) {
        c.member(i).zone = zone.into();
    }
    c.see(4, Liveness::Suspect, false);
    c.deploy(&app("watch", &[("agent", service(4).constraint("zone", Operator::GroupBy(None)))]));
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1), (3, 2)].into());
    c.see(4, Liveness::Alive, false);
    c.deploy(&app("watch", &[("agent", daemon().constraint("zone", Operator::GroupBy(None)))]));
    c.turn();
    assert_eq!(c.load(), [(1, 1), (2, 1), (3, 1)].into(), "zone a has more already");
}

#[test]
fn which_of_several_go_from_their_machines_first_does_not_depend_on_who_plans() {
    let mut c = Cluster::of(4);
    c.deploy(&app("watch", &[("agent", service(8).version("1"))]));
    c.settle();
    assert_eq!(c.load(), [(1, 2), (2, 2), (3, 2), (4, 2)].into());
    c.deploy(&app("watch", &[("agent", daemon().version("2"))]));
    let plan = c.plan();
    let gone = plan.commands.iter().find_map(|command| match command {
        Command::Remove(removals) => Some(removals.iter().map(|removal| removal.task.index).collect::<Vec<_>>()),
        _ => None,
    });
    assert!(gone.as_ref().is_some_and(|gone| gone.len() == 4 && gone.is_sorted()), "{gone:?}");
    assert_eq!(c.plan_met_backwards(), plan);
}

#[test]
fn a_batch_job_that_becomes_a_daemon_leaves_nothing_that_has_ended() {
    let mut c = Cluster::of(2);
    c.deploy(&app("watch", &[("agent", batch(3))]));
    c.settle();
    assert!(c.load().is_empty() && c.state.tasks.len() == 3, "all have ended");
    c.deploy(&app("watch", &[("agent", daemon())]));
    c.settle();
    assert_eq!(c.load(), [(1, 1), (2, 1)].into());
    assert!(c.state.tasks.len() == 2 && all_on_machines(&c), "{:?}", c.state.tasks);
}

#[test]
fn what_may_still_run_from_when_the_job_was_exclusive_keeps_its_index() {
    let mut c = Cluster::of(2);
    c.deploy(&app("watch", &[("agent", Job { exclusive: true, ..service(1) })]));
    c.settle();
    let watch: AppName = "watch".parse().unwrap();
    c.apply(&Command::Stop { app: watch });
    assert_eq!(c.state.leased.len(), 1);
    c.deploy(&app("watch", &[("agent", daemon())]));
    c.turn();
    assert_eq!(c.load(), [(1, 1), (2, 1)].into());
    assert!(c.state.tasks.keys().all(|id| id.index > 1), "{:?}", c.state.tasks);
}
