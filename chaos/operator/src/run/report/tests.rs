use super::{Abort, Mended, Report, Verdict};
use crate::{
    fleet::Fleet,
    format::{Experiment, Given},
    plan::{Limits, Plan},
    run::Options,
    timeline::Request,
};
use jiff::Timestamp;
use std::time::Duration;

const TEXT: &str = "
title: t
method: []
extensions: [{name: taffeta, requests: {page: 2, write: 10}}]
";

/// A run whose pages fail for so many seconds.
fn judged(out_s: u64, aborted: Option<Abort>) -> Report {
    let experiment = Experiment::read(TEXT, "x.yaml", &Given::default()).unwrap();
    let limits = Limits::default();
    let plan = Plan::new(&experiment, &Fleet::default(), 1, limits);
    let mut report = Report::new(&experiment, "t-1", Timestamp::UNIX_EPOCH, plan);
    report.timeline.add_request(Duration::from_secs(1), Request::Page, "web/shop", Err("refused".into()));
    report.timeline.add_request(Duration::from_secs(1 + out_s), Request::Page, "web/shop", Ok(()));
    let options = Options { seed: 1, limits, strict: false, load: true, writing: false };
    report.judge(&experiment, &options, aborted, Mended::All);
    report
}

#[test]
fn requests_that_fail_for_too_long_are_a_deviation_and_those_that_nobody_makes_are_none() {
    let held = judged(2, None);
    assert_eq!((held.verdict, held.why.len()), (Verdict::Held, 0), "{:?}", held.why);
    let deviated = judged(3, None);
    assert_eq!(deviated.verdict, Verdict::Deviated);
    assert_eq!(deviated.why, ["page requests failed for 3.0 s at a stretch; 2 s are allowed; the last one: refused"]);
    let aborted = judged(3, Some(Abort("it was ended by a person".into())));
    assert_eq!((aborted.verdict, aborted.why.len()), (Verdict::Aborted, 2), "{:?}", aborted.why);
}

#[test]
fn what_nobody_confirms_outweighs_all_else_and_what_was_late_is_told() {
    let experiment =
        Experiment::read(&TEXT.replace("requests: {page: 2, write: 10}", "confirm: 7"), "x.yaml", &Given::default());
    let experiment = experiment.unwrap();
    let limits = Limits::default();
    let options = Options { seed: 1, limits, strict: false, load: false, writing: false };
    let judged = |mended: Mended, aborted: Option<Abort>| {
        let plan = Plan::new(&experiment, &Fleet::default(), 1, limits);
        let mut report = Report::new(&experiment, "t-1", Timestamp::UNIX_EPOCH, plan);
        report.judge(&experiment, &options, aborted, mended);
        (report.verdict.exit_code(), report.why)
    };
    let fault = || vec!["kill at n1".to_owned()];
    assert_eq!(judged(Mended::All, None), (0, vec![]));
    let late = "kill at n1: 7 s after its end it was not confirmed undone";
    assert_eq!(judged(Mended::Late(fault()), None), (1, vec![late.into()]));
    let (code, why) = judged(Mended::Not(fault()), Some(Abort("a person".into())));
    assert_eq!((code, why.len()), (5, 2));
    assert!(why.iter().any(|why| why == "kill at n1: nobody confirms that it is undone"), "{why:?}");
}
