use super::*;
use crate::node::identity;
use std::time::Duration;
use taffeta_model::{Liveness, Millis, NodeId};
use taffeta_swim::MemberChange;

fn change(before: Liveness, after: Liveness) -> MemberChange {
    MemberChange { id: NodeId(0), before: Some(before), after: Some(after), identity: identity(NodeId(0), 0) }
}

#[test]
fn survivors_that_have_a_victim_as_down_are_counted() {
    let mut verdicts = Verdicts::new(6, &[0, 1], &[], None);
    let down = change(Liveness::Suspect, Liveness::Down);
    verdicts.note_kill(Millis(1_000), 0);
    verdicts.note(Millis(1_200), 1, 0, &down, false); // another victim does not count
    verdicts.note(Millis(1_300), 2, 0, &down, false);
    verdicts.note(Millis(1_500), 4, 0, &down, false);
    verdicts.note(Millis(1_600), 4, 0, &change(Liveness::Down, Liveness::Alive), false);
    verdicts.note(Millis(1_700), 5, 0, &down, false);
    verdicts.note(Millis(1_750), 3, 0, &down, false);
    verdicts.note(Millis(1_800), 4, 0, &down, false);
    assert_eq!((verdicts.know50(), verdicts.know99()), (None, None), "the other one is not known to be down");
    verdicts.note_kill(Millis(2_000), 1);
    (2..6).for_each(|by| verdicts.note(Millis(3_000), by, 1, &down, false));
    let max = |times: Option<crate::Percentiles>| times.map(|t| (t.median_ms, t.max_ms));
    assert_eq!(max(verdicts.know50()), Some((500, 1_000)));
    assert_eq!(max(verdicts.know99()), Some((800, 1_000)));
    assert_eq!((verdicts.false_suspect, verdicts.false_down), (0, 0));
}

#[test]
fn a_verdict_on_who_takes_part_is_false() {
    let mut verdicts = Verdicts::new(3, &[], &[], None);
    verdicts.note(Millis(1), 1, 0, &change(Liveness::Alive, Liveness::Suspect), true);
    verdicts.note(Millis(1), 2, 0, &change(Liveness::Suspect, Liveness::Suspect), true);
    verdicts.note(Millis(2), 1, 0, &change(Liveness::Suspect, Liveness::Down), true);
    verdicts.note(Millis(2), 2, 0, &change(Liveness::Suspect, Liveness::Down), false);
    assert_eq!((verdicts.false_suspect, verdicts.false_down, verdicts.stalled_down), (1, 1, 0));
}

#[test]
fn a_verdict_on_who_stood_still_is_to_be_taken_back() {
    let mut verdicts = Verdicts::new(3, &[], &[0], Some(Millis(5_000)));
    assert_eq!(verdicts.reversed(), None);
    let (down, back) = (change(Liveness::Suspect, Liveness::Down), change(Liveness::Down, Liveness::Alive));
    verdicts.note(Millis(4_000), 1, 0, &down, false);
    verdicts.note(Millis(5_001), 2, 0, &down, true);
    verdicts.note(Millis(5_200), 1, 0, &back, true);
    assert_eq!((verdicts.stalled_down, verdicts.unreversed()), (2, 1));
    verdicts.note(Millis(5_900), 2, 0, &back, true);
    assert_eq!((verdicts.reversed(), verdicts.unreversed()), (Some(Duration::from_millis(900)), 0));
}

#[test]
fn a_later_set_counts_for_the_earlier_ones() {
    let mut changes = Changes::new(4, 4);
    changes.note_publish(Millis(100), 0, 2, Phase::Single);
    changes.note_held(Millis(110), 1, 0, 2);
    changes.note_publish(Millis(200), 0, 3, Phase::Burst);
    changes.note_held(Millis(210), 1, 0, 3);
    changes.note_held(Millis(220), 2, 0, 3);
    assert_eq!(changes.held99(Phase::Single), None);
    changes.note_held(Millis(300), 3, 0, 3);
    let max = |times: Option<crate::Percentiles>| times.map(|t| t.max_ms);
    assert_eq!((max(changes.held50(Phase::Single)), max(changes.held99(Phase::Single))), (Some(10), Some(200)));
    assert_eq!((max(changes.held50(Phase::Burst)), max(changes.held99(Phase::Burst))), (Some(10), Some(100)));
    assert_eq!((changes.count(Phase::Single), changes.count(Phase::Burst)), (1, 1));
}
