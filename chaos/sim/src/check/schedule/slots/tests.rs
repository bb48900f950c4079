use super::Ledger;
use std::time::Duration;
use taffeta_model::{
    Missed, MissedPolicy, Overlap, Past, Recurrence, Run, RunEnd, Runs, Schedule, Trigger, UnixMillis,
};

/// A job that is due every second.
fn every_second() -> Recurrence {
    Recurrence {
        schedule: Schedule::new("R//PT1S", None).expect("a good schedule"),
        epsilon: Duration::from_secs(1),
        overlap: Overlap::Skip,
        missed: MissedPolicy::Skip,
    }
}

fn at(ms: u64) -> UnixMillis {
    UnixMillis(ms)
}

fn run(slot: u64) -> Option<Run> {
    Some(Run { trigger: Trigger::Slot(at(slot)), started: None, args: vec![] })
}

fn ran(slot: u64) -> Past {
    Past::Ran { trigger: Trigger::Slot(at(slot)), started: None, ended: at(slot), end: RunEnd::Succeeded }
}

fn judged(steps: &[Runs]) -> Result<usize, String> {
    let cron = every_second();
    let mut ledger = Ledger::new(&Runs { since: at(1_000), handled: at(999), ..Runs::default() });
    let mut noted = vec![];
    for runs in steps {
        ledger.follow(runs, &cron, &mut noted)?;
    }
    Ok(noted.len())
}

fn runs(handled: u64, current: Option<Run>, history: Vec<Past>) -> Runs {
    Runs { since: at(1_000), handled: at(handled), current, history, ..Runs::default() }
}

#[test]
fn each_slot_once_is_right() {
    let missed = Past::Missed { first: at(2_000), last: at(3_000), count: 2, why: Missed::Overlap };
    let steps = [
        runs(1_000, run(1_000), vec![]),
        runs(3_000, run(1_000), vec![missed.clone()]),
        runs(3_000, None, vec![missed, ran(1_000)]),
    ];
    assert_eq!(judged(&steps), Ok(3));
}

#[test]
fn a_slot_that_is_started_again_is_seen() {
    let again = [runs(1_000, run(1_000), vec![]), runs(1_000, None, vec![]), runs(1_000, run(1_000), vec![])];
    assert!(judged(&again).expect_err("twice").contains("once more"));
    let at_once = [runs(1_000, run(1_000), vec![ran(1_000)])];
    assert!(judged(&at_once).expect_err("twice").contains("twice"));
}

#[test]
fn a_slot_that_nobody_tells_of_is_seen() {
    assert!(judged(&[runs(2_000, run(2_000), vec![])]).expect_err("lost").contains("the slot 1000 was neither"));
}
