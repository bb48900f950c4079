use super::*;

fn noted(events: &[(u64, Event, u64)]) -> u64 {
    let mut trace = Trace::new(false);
    events.iter().for_each(|(at, event, size)| trace.note(Duration::from_millis(*at), *event, 1, *size, 0));
    trace.hash()
}

#[test]
fn time_kind_size_and_order_all_count() {
    let two = [(1, Event::Send, 10), (2, Event::Deliver, 10)];
    assert_eq!(noted(&two), noted(&two));
    let others = [
        vec![(1, Event::Send, 10)],
        vec![two[1], two[0]],
        vec![(1, Event::Send, 11), two[1]],
        vec![(3, Event::Send, 10), two[1]],
        vec![(1, Event::Drop, 10), two[1]],
    ];
    assert!(others.iter().all(|other| noted(other) != noted(&two)));
}

#[test]
fn words_are_kept_only_if_they_are_asked_for() {
    assert_eq!(Trace::new(false).take_lines(), None);
    let mut trace = Trace::new(true);
    trace.note(Duration::ZERO, Event::Sync, 1, 2, 3);
    assert_eq!(trace.take_lines().map(|lines| lines.len()), Some(1));
}
