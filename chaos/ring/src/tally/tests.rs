use super::*;
use crate::node::identity;
use taffeta_model::NodeId;

fn change(before: Liveness, after: Liveness) -> MemberChange {
    MemberChange { id: NodeId(0), before: Some(before), after: Some(after), identity: identity(NodeId(0), 0) }
}

#[test]
fn survivors_that_have_a_victim_as_down_are_counted() {
    let mut tally = Tally::new(6, &[0, 1], &[]);
    let down = change(Liveness::Suspect, Liveness::Down);
    tally.note_kill(Millis(1_000), 0);
    tally.note_change(Millis(1_200), 1, 0, &down, false);
    tally.note_change(Millis(1_300), 2, 0, &down, false);
    assert_eq!(tally.kills[&0].reached, [None, None], "another victim does not count");
    tally.note_change(Millis(1_400), 3, 0, &down, false);
    tally.note_change(Millis(1_500), 4, 0, &down, false);
    tally.note_change(Millis(1_600), 4, 0, &change(Liveness::Down, Liveness::Alive), false);
    tally.note_change(Millis(1_700), 5, 0, &down, false);
    assert_eq!(tally.know99(), None);
    tally.note_change(Millis(1_800), 4, 0, &down, false);
    assert_eq!(tally.kills[&0].reached, [400, 800].map(|ms| Some(Duration::from_millis(ms))));
    assert_eq!(tally.know99(), None, "the other one is not known to be down");
    assert_eq!((tally.false_suspect, tally.false_down), (0, 0));
}

#[test]
fn a_verdict_on_who_takes_part_is_false() {
    let mut tally = Tally::new(3, &[], &[]);
    tally.note_change(Millis(1), 1, 0, &change(Liveness::Alive, Liveness::Suspect), true);
    tally.note_change(Millis(1), 2, 0, &change(Liveness::Suspect, Liveness::Suspect), true);
    tally.note_change(Millis(2), 1, 0, &change(Liveness::Suspect, Liveness::Down), true);
    tally.note_change(Millis(2), 2, 0, &change(Liveness::Suspect, Liveness::Down), false);
    assert_eq!((tally.false_suspect, tally.false_down), (1, 1));
}
