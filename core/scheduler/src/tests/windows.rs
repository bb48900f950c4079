//! Maintenance windows, and machines that come and go.

use super::fixture::{Cluster, MIDNIGHT, With, app, service, task_id};
use std::{fmt::Write, time::Duration};
use taffeta_model::{Command, Job, Maintenance, NodeId, PlacementStrategy, Preference, Schedule, UnixMillis, rfc3339};

const HOUR: u64 = 3_600_000;

fn maintain(c: &mut Cluster, machine: u64, schedule: &str, zone: Option<&str>, hours: u64) {
    let schedule = Schedule::new(schedule, zone).unwrap();
    let window = Maintenance { schedule, since: c.ring.date(), length: Duration::from_secs(hours * 3600) };
    c.apply(&Command::Maintain { node: NodeId(machine), window: Some(window) });
}

/// Lets the time pass to each moment that the plan asks for, and tells where the tasks are then; one more comes each time.
fn story(c: &mut Cluster, until: UnixMillis) -> String {
    let mut told = String::new();
    for count in 2.. {
        c.apply(&Command::Scale { app: "shop".parse().unwrap(), job: "web".parse().unwrap(), count });
        let plan = c.settle();
        let load: Vec<String> = c.load().iter().map(|(machine, tasks)| format!("n{machine} {tasks}")).collect();
        writeln!(told, "{} {}", rfc3339(c.ring.date()), load.join(", ")).unwrap();
        let Some(wake) = plan.wake_at.filter(|wake| *wake > c.now) else { return told };
        if c.ring.date().0 + (wake.0 - c.now.0) > until.0 {
            return told;
        }
        c.pass(wake.0 - c.now.0);
    }
    told
}

#[test]
fn a_machine_is_emptied_when_its_window_opens_and_used_again_when_it_closes() {
    let mut c = Cluster::of(3);
    c.deploy(&app("shop", &[("web", service(3).checked())]));
    // Midnight in Berlin is 23:00 UTC in November; the fixture begins on Sunday at midnight UTC.
    maintain(&mut c, 1, "0 4 * * *", Some("Europe/Berlin"), 2);
    let told = story(&mut c, UnixMillis(MIDNIGHT.0 + 30 * HOUR));
    let expected = "\
2026-11-22T00:00:01Z n1 1, n3 1
2026-11-22T03:00:01Z n2 1, n3 2
2026-11-22T05:00:01Z n1 1, n2 1, n3 2
2026-11-23T03:00:01Z n2 2, n3 3
2026-11-23T05:00:01Z n1 1, n2 2, n3 3
";
    assert_eq!(told, expected);
}

#[test]
fn windows_follow_the_clock_of_their_zone_over_a_change() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(2).checked())]));
    // To the Saturday before 2027-03-28, when Berlin's clocks go from 02:00 to 03:00.
    c.pass(125 * 24 * HOUR);
    assert_eq!(rfc3339(c.ring.date()), "2027-03-27T00:00:00Z");
    maintain(&mut c, 1, "30 2 * * *", Some("Europe/Berlin"), 1);
    let until = UnixMillis(c.ring.date().0 + 60 * HOUR);
    let told = story(&mut c, until);
    // What would be at 02:30 on the 28th, which is no time of that day, is at the first that comes after.
    let expected = "\
2027-03-27T00:00:01Z n1 1, n2 1
2027-03-27T01:30:01Z n2 3
2027-03-27T02:30:01Z n1 1, n2 3
2027-03-28T01:00:01Z n2 5
2027-03-28T02:00:01Z n1 1, n2 5
2027-03-29T00:30:01Z n2 7
2027-03-29T01:30:01Z n1 1, n2 7
";
    assert_eq!(told, expected);
}

#[test]
fn nothing_new_comes_in_a_window_and_the_reason_says_until_when() {
    let mut c = Cluster::of(1);
    maintain(&mut c, 1, "0 0 * * *", None, 2);
    c.pass(HOUR);
    c.deploy(&app("shop", &[("web", service(1))]));
    c.settle();
    assert_eq!(c.why("shop/web.1"), "n1: is under maintenance until 2026-11-22T02:00:00Z");
    c.pass(HOUR);
    c.settle();
    assert_eq!(c.on("shop/web.1"), 1);
}

#[test]
fn a_clock_that_is_set_back_closes_a_window_that_it_had_opened() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("web", service(1))]));
    maintain(&mut c, 1, "0 6 * * *", None, 2);
    c.pass(7 * HOUR);
    c.settle();
    assert_eq!(c.on("shop/web.1"), 0);
    c.ring.see_date(UnixMillis(c.ring.date().0 - 3 * HOUR));
    c.settle();
    assert_eq!(c.on("shop/web.1"), 1);
}

#[test]
fn windows_that_end_take_their_drain_with_them() {
    let mut c = Cluster::of(1);
    c.deploy(&app("shop", &[("web", service(1))]));
    maintain(&mut c, 1, "0 0 * * *", None, 24);
    c.pass(HOUR);
    c.settle();
    assert_eq!(c.on("shop/web.1"), 0);
    c.apply(&Command::Maintain { node: NodeId(1), window: None });
    c.settle();
    assert_eq!(c.on("shop/web.1"), 1);
}

#[test]
fn a_machine_that_comes_and_goes_is_taken_last_whatever_is_preferred() {
    let prefer = vec![Preference { rule: super::placing::rule("hostname IS n1"), weight: 100 }];
    for strategy in [PlacementStrategy::Spread, PlacementStrategy::Pack] {
        let mut c = Cluster::of(3);
        c.avoid(1, true);
        let job = Job { strategy, prefer: prefer.clone(), ..service(8).cpus(1000) };
        c.deploy(&app("shop", &[("web", job.clone())]));
        c.settle();
        assert!(!c.load().contains_key(&1), "{strategy:?}");
        c.deploy(&app("shop", &[("web", job.count(9))]));
        c.settle();
        assert_eq!(c.on("shop/web.9"), 1, "it is better than none");
        assert!(c.plan().why(&task_id("shop/web.9")).is_none());
    }
}

#[test]
fn whoever_is_there_already_stays() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("web", service(4))]));
    c.settle();
    let before = c.load();
    c.avoid(1, true);
    assert!(c.settle().commands.is_empty());
    assert_eq!(c.load(), before);
}
