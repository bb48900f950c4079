use super::{Request, Sample, Span, Timeline};
use std::time::Duration;

fn span(node: &str, begun_s: f64, undone_s: f64) -> Span {
    Span {
        id: "a".into(),
        name: "kill".into(),
        fault: "kill-machine".into(),
        node: node.into(),
        backend: "signal".into(),
        begun_s,
        due_s: undone_s,
        undone_s: Some(undone_s),
        silences: vec![node.into()],
        error: None,
    }
}

/// A second each: who leads, how many serve of 3, how many of 2 give right names.
fn timeline(samples: &[(&str, usize, usize)], faults: Vec<Span>) -> Timeline {
    let sample = |(index, (leader, serving, right)): (usize, &(&str, usize, usize))| Sample {
        at_s: index as f64,
        leader: Some((*leader).to_owned()).filter(|leader| !leader.is_empty()),
        quorum: !leader.is_empty(),
        serving: *serving,
        wanted: 3,
        right: *right,
        asked: 2,
        changes: 0,
    };
    Timeline { samples: samples.iter().enumerate().map(sample).collect(), faults, ..Timeline::default() }
}

#[test]
fn times_count_from_the_event_before_what_went_wrong() {
    let seen = [("n1", 3, 2), ("", 2, 1), ("n2", 2, 2), ("n2", 2, 2), ("n2", 3, 2), ("n2", 3, 1), ("n2", 3, 2)];
    let timeline = timeline(&seen, vec![span("n1", 0.5, 4.5)]);
    assert_eq!(timeline.new_leader_s(), Some(1.5));
    assert_eq!(timeline.full_strength_s(), Some(3.5));
    // From 1 to 2 after the beginning at 0.5, and from 5 to 6 after the end at 4.5.
    assert_eq!(timeline.names_right_s(), Some(1.5));
}

#[test]
fn names_are_late_since_what_they_lag_behind() {
    let seen = [("n1", 3, 2), ("n2", 2, 1), ("n2", 2, 2), ("n2", 2, 2), ("n2", 3, 1), ("n2", 3, 2)];
    let mut late = timeline(&seen, vec![span("n1", 0.5, 9.5)]);
    assert_eq!(late.names_right_s(), Some(4.5), "nothing came or went: the fault has put them wrong");
    for (sample, changes) in late.samples.iter_mut().zip([0, 1, 1, 1, 2, 2]) {
        sample.changes = changes;
    }
    assert_eq!(late.names_right_s(), Some(2.0), "wrong at 4, right at 5, and at 3 the last time before");
    // A name that is ahead of what was seen to serve is as wrong.
    late.samples[4].changes = 1;
    assert_eq!(late.names_right_s(), Some(2.0));
    // From the fault on until the end, whatever comes meanwhile.
    late.samples[2..].iter_mut().for_each(|sample| sample.right = 1);
    assert_eq!(late.names_right_s(), Some(4.5));
    late.samples[0].right = 1;
    assert_eq!(late.names_right_s(), Some(4.5), "they were wrong before, too");
}

#[test]
fn what_no_fault_has_put_wrong_has_no_time() {
    let worker = timeline(&[("n1", 3, 2), ("n1", 3, 2), ("n1", 3, 2)], vec![span("n3", 0.5, 1.5)]);
    assert_eq!((worker.new_leader_s(), worker.names_right_s(), worker.full_strength_s()), (None, None, None));
    let never = timeline(&[("n1", 3, 2), ("n1", 2, 2), ("n1", 2, 2)], vec![span("n3", 0.5, 1.5)]);
    assert_eq!(never.full_strength_s(), Some(1.5));
}

#[test]
fn an_outage_lasts_from_the_first_failure_to_the_next_success() {
    let mut timeline = Timeline::default();
    let failed = || Err("refused".to_owned());
    for (at, outcome) in [(0, Ok(())), (1, failed()), (2, failed()), (4, Ok(())), (5, failed())] {
        timeline.add_request(Duration::from_secs(at), Request::Page, "web/shop", outcome);
    }
    timeline.end(Duration::from_secs(6));
    let pages = &timeline.requests[&Request::Page];
    assert_eq!((pages.right, pages.failed, pages.out_s, pages.longest_s), (2, 3, 4.0, 3.0));
    assert_eq!((pages.bins[4], pages.bins[16]), ((0, 1), (1, 0)));
}

#[test]
fn a_service_that_is_out_is_so_whatever_another_one_answers() {
    let mut timeline = Timeline::default();
    for at in 0..10 {
        timeline.add_request(Duration::from_secs(at), Request::Page, "web/shop", Ok(()));
        timeline.add_request(Duration::from_secs(at), Request::Page, "orders/shop", Err("refused".to_owned()));
    }
    timeline.end(Duration::from_secs(15));
    let pages = &timeline.requests[&Request::Page];
    assert_eq!((pages.right, pages.failed, pages.out_s, pages.longest_s), (10, 10, 15.0, 15.0));
}

#[test]
fn a_leader_that_nobody_follows_is_missed_until_the_end() {
    let gone = span("n1", 0.5, 2.5);
    let never = timeline(&[("n1", 3, 2), ("", 3, 2), ("", 3, 2), ("", 3, 2)], vec![gone.clone()]);
    assert_eq!(never.new_leader_s(), Some(2.5));
    let again = timeline(&[("n1", 3, 2), ("n1", 3, 2), ("n1", 3, 2), ("n1", 3, 2), ("n1", 3, 2)], vec![gone.clone()]);
    assert_eq!(again.new_leader_s(), Some(2.5), "the same one, after its fault");
    let asked = Span { fault: "leader".into(), silences: vec![], ..gone.clone() };
    let kept = timeline(&[("n1", 3, 2), ("n1", 3, 2), ("n1", 3, 2), ("n1", 3, 2), ("n1", 3, 2)], vec![asked]);
    assert_eq!(kept.new_leader_s(), Some(3.5), "it has not handed over");
    let full = Span { fault: "disk-full".into(), silences: vec![], ..gone };
    let moved = timeline(&[("n1", 3, 2), ("n1", 3, 2), ("n2", 3, 2)], vec![full]);
    assert_eq!(moved.new_leader_s(), Some(1.5));
}
