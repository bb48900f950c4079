use super::{Log, NOW, ring};
use crate::{Command, Maintenance, NodeId, Refusal, Schedule, UnixMillis, WINDOWS_MAX, rfc3339};
use std::time::Duration;

fn window(schedule: &str, zone: Option<&str>, hours: u64) -> Maintenance {
    let length = Duration::from_secs(hours * 3600);
    Maintenance { schedule: Schedule::new(schedule, zone).unwrap(), since: NOW, length }
}

fn maintain(node: u64, window: Maintenance) -> Command {
    Command::Maintain { node: NodeId(node), window: Some(window) }
}

fn windows(log: &Log, node: u64) -> &[Maintenance] {
    &log.state.members[&NodeId(node)].maintenance
}

#[test]
fn a_machine_has_a_few_windows_and_one_of_each_schedule() {
    let mut log = ring();
    let at = log.apply(maintain(2, window("0 2 * * 0", None, 2)));
    assert_eq!(log.state.pool_fence, at);
    log.apply(maintain(2, window("0 2 * * 0", None, 3)));
    assert_eq!(windows(&log, 2), [window("0 2 * * 0", None, 3)]);
    for day in 1..WINDOWS_MAX {
        log.apply(maintain(2, window(&format!("0 2 * * {day}"), None, 2)));
    }
    assert!(matches!(log.refuse(maintain(2, window("0 2 * * 6", None, 2))), Refusal::Full(WINDOWS_MAX, _)));
    log.apply(Command::Maintain { node: NodeId(2), window: None });
    assert!(windows(&log, 2).is_empty());
}

#[test]
fn what_is_too_short_or_too_long_is_refused() {
    let mut log = ring();
    for length in [Duration::ZERO, Duration::from_secs(59), Duration::from_secs(7 * 86_400 + 1)] {
        let refused = log.refuse(maintain(1, Maintenance { length, ..window("0 2 * * 0", None, 1) }));
        assert!(matches!(refused, Refusal::Invalid { ref field, .. } if field == "for"), "{refused}");
    }
    assert_eq!(log.refuse(maintain(9, window("0 2 * * 0", None, 1))), Refusal::UnknownMember(NodeId(9)));
}

#[test]
fn a_window_is_as_long_as_it_says_also_when_the_clocks_change() {
    // 2026-10-25, 03:00 CEST becomes 02:00 CET: two o'clock is there twice, and the first one counts.
    let window = window("0 2 * * 0", Some("Europe/Berlin"), 2).window().unwrap();
    let at = |text: &str| UnixMillis(parse(text));
    assert_eq!(window.open_until(at("2026-10-24T23:59:59Z")), None);
    assert_eq!(window.next_edge(at("2026-10-24T23:59:59Z")), Some(at("2026-10-25T00:00:00Z")));
    assert_eq!(window.open_until(at("2026-10-25T00:00:00Z")), Some(at("2026-10-25T02:00:00Z")));
    assert_eq!(window.open_until(at("2026-10-25T01:59:59Z")), Some(at("2026-10-25T02:00:00Z")));
    assert_eq!(window.open_until(at("2026-10-25T02:00:00Z")), None);
    assert_eq!(window.next(at("2026-10-25T02:00:00Z")).map(rfc3339), Some("2026-11-01T01:00:00Z".into()));
}

/// Milliseconds since 1970, by the calendar itself: a repetition that begins there.
fn parse(text: &str) -> u64 {
    let calendar = Schedule::new(&format!("R/{text}/P1D"), None).unwrap().calendar(UnixMillis(0)).unwrap();
    calendar.first().unwrap().0
}
