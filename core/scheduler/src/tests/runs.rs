//! The runs of batch and cron jobs.

use super::fixture::{Cluster, MIDNIGHT, With, app, batch, cron, service, task_id};
use crate::{Change, preview};
use std::{num::NonZeroU32, time::Duration};
use taffeta_model::{
    Command, Exit, Job, JobKind, Liveness, Millis, MissedPolicy, NodeId, Overlap, Phase, Place, Trigger, UnixMillis,
};

const MINUTE: u64 = 60_000;

/// A cluster of two machines at midnight with one cron job `shop/report`, for which midnight is over.
fn deployed(report: Job) -> Cluster {
    let mut c = Cluster::of(2);
    c.ring.see_date(UnixMillis(MIDNIGHT.0 + 1));
    c.deploy(&app("shop", &[("report", report)]));
    c.ring.see_date(MIDNIGHT);
    c.quiet();
    c
}

fn slot(c: &Cluster) -> Option<u64> {
    match c.runs("shop/report").current.as_ref()?.trigger {
        Trigger::Slot(slot) => Some((slot.0 - MIDNIGHT.0) / MINUTE),
        Trigger::Deploy | Trigger::After | Trigger::ByHand { .. } => None,
    }
}

fn run(c: &mut Cluster, job: &str) {
    let now = c.ring.date();
    c.apply(&Command::Run { app: "shop".parse().unwrap(), job: job.parse().unwrap(), args: vec![], now });
}

#[test]
fn a_slot_starts_at_its_time_and_not_before() {
    let mut c = Cluster::of(2);
    c.pass(1);
    c.deploy(&app("shop", &[("report", cron("*/10 * * * *").count(3))]));
    let plan = c.quiet();
    assert_eq!(plan.wake_at, Some(Millis(c.now.0 + 10 * MINUTE - 1)));
    assert_eq!(c.why("shop/report.1"), "its next run is due 2026-11-22T00:10:00Z");
    c.pass(10 * MINUTE - 2);
    assert!(c.quiet().commands.is_empty() && slot(&c).is_none());
    c.pass(1);
    c.quiet();
    assert_eq!((slot(&c), c.load().values().sum::<usize>()), (Some(10), 3));
    c.end("shop/report", 0);
    c.pass(5000);
    c.quiet();
    let told = "due 2026-11-22T00:10:00Z, started 2026-11-22T00:10:00Z, ended 2026-11-22T00:10:05Z: ok";
    assert_eq!(c.history("shop/report"), [told]);
    assert!(matches!(c.place("shop/report.1"), Place::Ended { exit: Exit::Code(0), .. }), "its output is kept");
}

#[test]
fn a_new_leader_starts_no_slot_again_and_none_later_than_may_be() {
    let mut c = deployed(cron("*/10 * * * *").epsilon(60));
    c.pass(10 * MINUTE);
    c.turn();
    c.new_leader();
    c.quiet();
    c.end("shop/report", 0);
    c.new_leader();
    c.end("shop/report", 0);
    c.quiet();
    assert_eq!((c.runs("shop/report").finished, slot(&c)), (1, None));
    c.without_leader(11 * MINUTE); // a minute late: just in time
    c.quiet();
    assert_eq!(slot(&c), Some(20));
    c.end("shop/report", 0);
    c.quiet();
    c.without_leader(10 * MINUTE + 1);
    c.quiet();
    assert_eq!(slot(&c), None);
    assert_eq!(c.history("shop/report").last().unwrap(), "missed 2026-11-22T00:30:00Z: nobody led the cluster in time");
}

#[test]
fn of_missed_slots_the_newest_is_made_up_for_if_asked() {
    let mut c = deployed(cron("*/10 * * * *").missed(MissedPolicy::Run));
    c.without_leader(35 * MINUTE);
    c.quiet();
    assert_eq!(slot(&c), Some(30));
    let told = "missed 2 from 2026-11-22T00:10:00Z to 2026-11-22T00:20:00Z: nobody led the cluster in time";
    assert_eq!(c.history("shop/report"), [told]);
    c.end("shop/report", 0);
    c.quiet();
    c.without_leader(25 * MINUTE); // the slot of 01:00 is due this very instant, and does the work of the others
    c.quiet();
    assert_eq!(slot(&c), Some(60));
    assert!(c.history("shop/report").last().unwrap().starts_with("missed 2 from 2026-11-22T00:40:00Z"));
}

#[test]
fn a_slot_that_meets_a_run_is_left_out_or_waits_or_takes_its_place() {
    let overlapping = |overlap| {
        let mut c = deployed(cron("*/10 * * * *").overlap(overlap));
        c.pass(10 * MINUTE);
        c.quiet();
        c.pass(10 * MINUTE);
        c.quiet();
        c
    };
    let mut c = overlapping(Overlap::Skip);
    assert_eq!(slot(&c), Some(10));
    assert_eq!(c.history("shop/report"), ["missed 2026-11-22T00:20:00Z: a run was under way"]);
    c.pass(10 * MINUTE);
    c.quiet();
    assert!(c.history("shop/report")[0].starts_with("missed 2 from 2026-11-22T00:20:00Z to 2026-11-22T00:30:00Z"));

    let mut c = overlapping(Overlap::Queue);
    assert_eq!(slot(&c), Some(10));
    c.new_leader();
    c.end("shop/report", 0);
    c.quiet();
    assert_eq!(slot(&c), Some(20));
    for _ in 0..10 {
        c.pass(10 * MINUTE);
        c.quiet();
    }
    assert_eq!(c.runs("shop/report").queue.len(), taffeta_model::QUEUE_MAX);
    assert!(c.history("shop/report").last().unwrap().ends_with("too many slots waited already"));

    let c = overlapping(Overlap::Replace);
    assert_eq!(slot(&c), Some(20));
    assert!(c.history("shop/report")[0].ends_with("replaced by the next slot"));
    assert_eq!(c.load().values().sum::<usize>(), 1, "the next run is placed");
}

#[test]
fn of_slots_that_replace_each_other_only_the_newest_starts() {
    let mut c = deployed(cron("* * * * *").overlap(Overlap::Replace).epsilon(3600));
    c.without_leader(5 * MINUTE);
    c.quiet();
    assert_eq!(slot(&c), Some(5));
    let told = c.history("shop/report");
    assert!(told[0].starts_with("missed 4 from ") && told[0].ends_with("a newer slot was due by then"), "{told:?}");
}

#[test]
fn a_run_goes_on_when_its_machine_is_lost() {
    let mut c = deployed(cron("*/10 * * * *"));
    c.pass(10 * MINUTE);
    c.quiet();
    let machine = c.on("shop/report.1");
    c.see(machine, Liveness::Down, true);
    c.pass(MINUTE);
    c.quiet();
    assert_eq!((c.on("shop/report.1"), slot(&c)), (3 - machine, Some(10)));
    c.end("shop/report", 0);
    c.quiet();
    assert_eq!(c.runs("shop/report").finished, 1);
}

#[test]
fn no_more_instances_run_at_once_than_may() {
    let mut c = Cluster::of(3);
    let job = Job { parallel: NonZeroU32::new(2), ..batch(5) };
    c.deploy(&app("shop", &[("job", job)]));
    c.quiet();
    assert_eq!(c.load().values().sum::<usize>(), 2);
    assert_eq!(c.why("shop/job.3"), "at most 2 of its job run at once");
    let machine = c.on("shop/job.1");
    c.see(machine, Liveness::Down, true);
    c.pass(MINUTE);
    c.quiet();
    assert_ne!(c.on("shop/job.1"), machine, "one that was let in stays in");
    assert_eq!(c.load().values().sum::<usize>(), 2);
    for _ in 0..5 {
        c.end("shop/job", 0);
        c.quiet();
    }
    assert_eq!(c.runs("shop/job").finished, 1);
    assert!(c.runs("shop/job").history.len() == 1);
}

#[test]
fn a_run_that_takes_longer_than_its_deadline_fails() {
    let mut c = Cluster::of(1);
    let slow = Job { deadline: Some(Duration::from_secs(3600)), parallel: NonZeroU32::new(1), ..batch(2) };
    c.deploy(&app("shop", &[("slow", slow), ("next", batch(1).after(&["slow"]))]));
    let plan = c.quiet();
    assert_eq!(plan.wake_at, Some(Millis(c.now.0 + 60 * MINUTE)));
    c.without_leader(60 * MINUTE - 1);
    c.quiet();
    assert_eq!(c.on("shop/slow.1"), 1);
    c.pass(1);
    c.quiet();
    assert!(matches!(c.place("shop/slow.1"), Place::Ended { exit: Exit::Deadline, .. }));
    assert_eq!(
        c.history("shop/slow")[0].split_once(": ").unwrap().1,
        "failed: 1 ended at the deadline of its run, 2 ended at the deadline of its run"
    );
    assert_eq!(c.why("shop/slow.2"), "its last run is over, and `taffeta run` begins another");
    assert_eq!(
        c.why("shop/next.1"),
        "waits for batch job `slow`, which failed: slow.1 (ended at the deadline of its run)"
    );
    run(&mut c, "slow");
    c.quiet();
    c.end("shop/slow", 0);
    c.quiet();
    c.end("shop/slow", 0);
    c.quiet();
    assert_eq!(c.on("shop/next.1"), 1);
}

#[test]
fn a_deadline_does_not_count_while_nothing_runs() {
    let mut c = Cluster::of(1);
    c.see(1, Liveness::Suspect, false);
    let job = Job { deadline: Some(Duration::from_secs(60)), ..batch(1) };
    c.deploy(&app("shop", &[("job", job)]));
    c.pass(60 * MINUTE);
    c.quiet();
    assert!(c.runs("shop/job").current.as_ref().is_some_and(|run| run.started.is_none()));
}

#[test]
fn a_batch_job_runs_again_after_each_run_before_it() {
    let mut c = Cluster::of(2);
    let mail = batch(1).after(&["report", "db", "init"]);
    let last = batch(1).after(&["mail"]);
    let jobs =
        [("report", cron("*/10 * * * *")), ("mail", mail), ("last", last), ("db", service(1)), ("init", batch(1))];
    c.deploy(&app("shop", &jobs));
    c.quiet();
    assert_eq!(c.why("shop/mail.1"), "runs when cron job `report` has finished once more");
    assert_eq!(c.why("shop/last.1"), "runs when batch job `mail` has finished once more");
    c.pass(10 * MINUTE);
    c.quiet();
    c.end("shop/report", 0);
    c.quiet();
    assert!(c.why("shop/mail.1").starts_with("waits for service `db` to be healthy"), "what runs once comes first");
    c.report("shop/db.1", Phase::Running, None);
    c.end("shop/init", 0);
    c.quiet();
    assert_ne!(c.on("shop/mail.1"), 0);
    c.end("shop/mail", 1);
    c.quiet();
    assert!(c.why("shop/last.1").starts_with("runs when"), "a run that failed begins no other");
    for _ in 0..3 {
        c.pass(10 * MINUTE);
        c.quiet();
        c.end("shop/report", 0);
        c.quiet();
    }
    assert_eq!((c.runs("shop/report").finished, c.runs("shop/mail").taken.values().sum::<u64>()), (4, 2));
    for _ in 0..3 {
        c.new_leader();
        c.report("shop/db.1", Phase::Running, None);
        c.end("shop/mail", 0);
        c.quiet();
        c.end("shop/last", 0);
        c.quiet();
    }
    assert_eq!((c.runs("shop/mail").finished, c.runs("shop/last").finished), (3, 3), "they catch up, run by run");
}

#[test]
fn a_run_ends_in_the_version_that_it_began_with() {
    let report = |version: &str| app("shop", &[("report", cron("*/10 * * * *").version(version))]);
    let mut c = Cluster::of(2);
    c.deploy(&report("1"));
    c.quiet();
    c.pass(10 * MINUTE);
    c.quiet();
    let placed = c.place("shop/report.1").clone();
    c.deploy(&report("2"));
    c.quiet();
    assert_eq!(*c.place("shop/report.1"), placed);
    c.end("shop/report", 0);
    c.quiet();
    assert_eq!((c.runs("shop/report").finished, slot(&c)), (1, None));
}

#[test]
fn a_batch_job_that_is_changed_while_it_runs_begins_anew_and_both_runs_are_told() {
    let migrate = |version: &str| app("shop", &[("migrate", batch(1).version(version))]);
    let mut c = Cluster::of(2);
    c.deploy(&migrate("1"));
    c.quiet();
    c.pass(MINUTE);
    c.deploy(&migrate("2"));
    c.quiet();
    c.end("shop/migrate", 0);
    c.quiet();
    let history = c.history("shop/migrate");
    assert_eq!(history.len(), 2, "{history:?}");
    assert!(history[0].ends_with("replaced by a newer version") && history[1].ends_with(": ok"), "{history:?}");
}

#[test]
fn a_job_without_instances_misses_its_slots() {
    let mut c = deployed(cron("*/10 * * * *").count(0));
    c.pass(25 * MINUTE);
    c.quiet();
    assert!(c.history("shop/report")[0].ends_with("the job had no instance"));
    c.apply(&Command::Scale { app: "shop".parse().unwrap(), job: "report".parse().unwrap(), count: 1 });
    c.pass(5 * MINUTE);
    c.quiet();
    assert_eq!(slot(&c), Some(30));
}

#[test]
fn a_date_that_jumps_is_noticed() {
    let mut c = deployed(cron("0 * * * *").epsilon(3600));
    c.ring.see_date(UnixMillis(MIDNIGHT.0 + 61 * MINUTE));
    c.quiet();
    assert_eq!(slot(&c), Some(60));
    c.end("shop/report", 0);
    c.quiet();
    c.ring.see_date(UnixMillis(MIDNIGHT.0 + 59 * MINUTE));
    c.pass(2 * MINUTE);
    c.quiet();
    assert_eq!((slot(&c), c.runs("shop/report").finished), (None, 1), "a slot that comes twice runs once");
}

#[test]
fn no_run_begins_while_a_member_knows_nothing_of_runs() {
    let mut c = Cluster::of(1);
    c.state.level = 1;
    c.pass(1);
    c.deploy(&app("shop", &[("report", cron("* * * * *")), ("job", batch(1))]));
    c.pass(MINUTE);
    c.quiet();
    assert_eq!(c.why("shop/report.1"), "runs begin once all members speak version 2");
    assert_eq!(c.on("shop/job.1"), 1, "a batch job runs as ever");
    c.apply(&Command::RaiseLevel(2));
    c.quiet();
    assert_eq!(slot(&c), Some(1));
}

#[test]
fn a_schedule_that_this_leader_cannot_read_is_told() {
    let mut job = cron("@daily");
    let foreign = "{\"text\":\"@daily\",\"timezone\":\"Mars/Olympus\"}";
    job.cron.as_mut().unwrap().schedule = serde_json::from_str(foreign).unwrap();
    let c = deployed(job);
    assert!(
        c.why("shop/report.1")
            .starts_with("its schedule cannot be read by this leader: `Mars/Olympus` is no time zone")
    );
}

#[test]
fn a_schedule_that_is_over_is_told() {
    let mut c = deployed(cron("R2//PT10M"));
    c.pass(1);
    c.quiet();
    c.end("shop/report", 0);
    c.quiet();
    c.pass(10 * MINUTE);
    c.quiet();
    c.end("shop/report", 0);
    let plan = c.quiet();
    assert_eq!((c.runs("shop/report").finished, plan.wake_at), (2, None));
    let grown = app("shop", &[("report", cron("R2//PT10M").count(2))]);
    c.deploy(&grown);
    c.quiet();
    assert_eq!(c.why("shop/report.2"), "its schedule has no run left");
}

#[test]
fn a_run_by_hand_is_a_run_like_others() {
    let mut c = deployed(cron("*/10 * * * *"));
    c.pass(5 * MINUTE);
    run(&mut c, "report");
    c.quiet();
    assert_ne!(c.on("shop/report.1"), 0);
    c.pass(5 * MINUTE);
    c.quiet();
    assert_eq!(c.history("shop/report"), ["missed 2026-11-22T00:10:00Z: a run was under way"]);
    c.end("shop/report", 3);
    c.quiet();
    let told = "asked for at 2026-11-22T00:05:00Z, started 2026-11-22T00:05:00Z, ended 2026-11-22T00:10:00Z: \
                failed: 1 exited with 3";
    assert_eq!(c.history("shop/report")[1], told);
}

#[test]
fn a_preview_tells_when_a_cron_job_is_due() {
    let mut c = Cluster::of(1);
    c.pass(1);
    let jobs = [("now", cron("R1//P")), ("then", batch(1).after(&["now"])), ("later", cron("@daily"))];
    let preview = preview(c.now, &c.state, &c.ring, &app("shop", &jobs)).unwrap();
    assert_eq!(preview.tasks[&task_id("shop/now.1")], Change::Create { node: NodeId(1) });
    assert_eq!(preview.tasks[&task_id("shop/then.1")], Change::Create { node: NodeId(1) });
    let Change::Wait { reason } = &preview.tasks[&task_id("shop/later.1")] else { panic!("{preview:?}") };
    assert_eq!(reason.to_string(), "its next run is due 2026-11-23T00:00:00Z");
}

#[test]
fn a_preview_comes_to_an_end_though_few_run_at_once() {
    let c = Cluster::of(1);
    let many = Job { parallel: NonZeroU32::new(1), ..batch(2000).memory(1).cpus(1) };
    let preview = preview(c.now, &c.state, &c.ring, &app("shop", &[("many", many)])).unwrap();
    assert!(preview.tasks.values().all(|change| *change == Change::Create { node: NodeId(1) }));
}

#[test]
fn five_hundred_short_tasks_are_one_run() {
    let mut c = Cluster::of(2);
    c.deploy(&app("shop", &[("job", batch(500).cpus(1).memory(1))]));
    c.settle();
    assert!(c.state.tasks.values().all(|task| matches!(task.place, Place::Ended { exit: Exit::Code(0), .. })));
    assert_eq!((c.runs("shop/job").finished, c.runs("shop/job").history.len()), (1, 1));
    assert!(matches!(c.state.job(&task_id("shop/job.1")).unwrap().kind, JobKind::Batch { .. }));
}
