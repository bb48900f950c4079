use super::{super::PositionView, *};
use std::collections::BTreeMap;

fn survivor(name: &str, log: &[(u64, u64, u64)]) -> SurveyView {
    let log: Vec<StretchView> =
        log.iter().map(|(term, first, last)| StretchView { term: *term, first: *first, last: *last }).collect();
    let last = log.last().map(|s| PositionView { term: s.term, index: s.last });
    SurveyView {
        name: name.into(),
        node: name.into(),
        cluster: "c".into(),
        generation: 0,
        holds_ca: true,
        term: 1,
        last,
        committed: last,
        snapshot: None,
        log,
        voters: vec![],
        learners: vec![],
        members: vec![],
        apps: BTreeMap::new(),
        tokens: vec![],
        tasks: 0,
    }
}

fn lost(mine: &SurveyView, theirs: &SurveyView) -> Vec<(u64, u64, u64)> {
    mine.loss_against(theirs).entries.iter().map(|s| (s.term, s.first, s.last)).collect()
}

#[test]
fn the_later_log_knows_more_and_the_earlier_lacks_its_end() {
    let (a, b) = (survivor("a", &[(1, 0, 9)]), survivor("b", &[(1, 0, 12)]));
    assert!(a.knows_less_than(&b) && !b.knows_less_than(&a) && !a.knows_less_than(&a));
    assert_eq!(lost(&a, &b), [(1, 10, 12)]);
    assert_eq!(a.loss_against(&b).committed, 3);
    assert!(b.loss_against(&a).is_nothing());
}

#[test]
fn a_higher_term_knows_more_even_with_fewer_entries_and_what_it_lacks_is_told() {
    let (a, b) = (survivor("a", &[(1, 0, 5), (3, 6, 7)]), survivor("b", &[(1, 0, 5), (2, 6, 20)]));
    assert!(b.knows_less_than(&a));
    assert_eq!(lost(&a, &b), [(2, 6, 7), (2, 8, 20)]);
    assert_eq!(lost(&b, &a), [(3, 6, 7)]);
}

#[test]
fn what_a_snapshot_covers_is_here() {
    let mut a = survivor("a", &[(2, 90, 120)]);
    a.snapshot = Some(PositionView { term: 2, index: 100 });
    let b = survivor("b", &[(1, 0, 50), (2, 51, 130)]);
    assert_eq!(lost(&a, &b), [(2, 121, 130)]);
    assert_eq!(lost(&b, &a), []);
    let mut bare = survivor("c", &[]);
    (bare.snapshot, bare.last) =
        (Some(PositionView { term: 2, index: 140 }), Some(PositionView { term: 2, index: 140 }));
    assert_eq!(lost(&b, &bare), [(2, 131, 140)]);
    assert_eq!(lost(&bare, &b), []);
}

#[test]
fn names_that_differ_are_told() {
    let (mut a, mut b) = (survivor("a", &[(1, 0, 9)]), survivor("b", &[(1, 0, 12)]));
    a.apps = BTreeMap::from([("shop".into(), 1), ("old".into(), 1)]);
    b.apps = BTreeMap::from([("shop".into(), 2), ("new".into(), 1)]);
    b.tokens = vec!["t".into()];
    let loss = a.loss_against(&b);
    assert_eq!(loss.apps, ["new (version 1)", "shop (version 2)"]);
    assert_eq!(loss.tokens, ["t"]);
    assert_eq!(
        loss.to_string(),
        "would be lost: 3 entries (10 to 12 of term 1), 3 of them surely committed; apps: new (version 1), shop (version 2); tokens: t"
    );
    assert_eq!(b.loss_against(&a).apps, ["old (version 1)", "shop (version 1)"]);
}

#[test]
fn only_survivors_of_one_cluster_are_compared() {
    let (a, mut b) = (survivor("a", &[]), survivor("b", &[]));
    assert!(a.check_comparable(&b).is_ok());
    assert!(a.check_comparable(&a).is_err());
    b.cluster = "d".into();
    assert!(a.check_comparable(&b).is_err());
}
