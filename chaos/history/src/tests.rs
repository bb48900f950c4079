//! A store that keeps its promises passes, and each way to break one is caught.

mod store;

use crate::{Client, Fate, History, Key, Position, Read, Seen, Serial, Strength, Violation};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};
use store::{FAULTS, Fault, Step, World};

const A: Client = Client(1);
const X: Key = Key(10);
const Y: Key = Key(20);

/// Steps in which every fault can happen; then a last look.
fn run(fault: Option<Fault>, steps: &[Step]) -> World {
    let mut world = World::new(fault);
    steps.iter().for_each(|step| world.step(*step));
    world.read();
    world
}

const PLAIN: [Step; 10] = [
    Step::Write(A, X),
    Step::Read,
    Step::Write(A, Y),
    Step::Write(A, X),
    Step::Refused(A, X),
    Step::Unknown(A, Y, true),
    Step::Write(A, Y),
    Step::Write(A, X),
    Step::Crash,
    Step::Read,
];

#[test]
fn a_store_that_keeps_its_promises_passes() {
    let world = run(None, &PLAIN);
    assert_eq!(world.history.check(), Ok(()));
    let counts = (world.history.len(), world.history.acknowledged(), world.history.unknown(), world.history.refused());
    assert_eq!(counts, (7, 5, 1, 1));
}

/// What the check finds of a fault.
fn found(fault: Fault) -> Vec<Violation> {
    let world = run(Some(fault), &PLAIN);
    assert!(world.broke, "{fault:?} did not happen");
    world.history.check().expect_err("the fault is seen")
}

#[test]
fn each_fault_is_caught_and_named() {
    let names = |fault: Fault, wanted: fn(&Violation) -> bool| {
        let found = found(fault);
        assert!(found.iter().any(wanted), "{fault:?}: {found:?}");
    };
    names(Fault::LoseLast, |v| matches!(v, Violation::Lost { .. }));
    names(Fault::LoseOlder, |v| matches!(v, Violation::TwoPlaces { .. } | Violation::Miscounted { .. }));
    names(Fault::Reorder, |v| matches!(v, Violation::TwoPlaces { .. } | Violation::OnePlace { .. }));
    names(Fault::Overtake, |v| matches!(v, Violation::OnePlace { .. }));
    names(Fault::Invent, |v| matches!(v, Violation::Invented { .. }));
    names(Fault::Misplace, |v| matches!(v, Violation::Invented { .. }));
    names(Fault::Duplicate, |v| matches!(v, Violation::TwoPlaces { .. }));
    names(Fault::ApplyRefused, |v| matches!(v, Violation::RefusedIsThere { .. }));
    names(Fault::StaleRead, |v| matches!(v, Violation::Lost { .. }));
}

/// A history of acknowledged writes to one key, and the read at its end.
fn one_key(positions: &[u64], seen: Option<(u64, u64, u64)>) -> History {
    let mut history = History::default();
    let at = |index: usize| Duration::from_millis(index as u64);
    for (index, position) in positions.iter().enumerate() {
        let serial = history.invoke(at(index * 2 + 1), A, X);
        let fate = Fate::Acknowledged { at: at(index * 2 + 2), position: Position(*position) };
        history.end(serial, fate);
    }
    let seen =
        seen.map(|(serial, position, count)| (X, Seen { serial: Serial(serial), position: Position(position), count }));
    let (invoked, returned) = (at(100), at(101));
    history.add_read(Read { invoked, returned, strength: Strength::Linearizable, seen: seen.into_iter().collect() });
    history
}

#[test]
fn a_lost_write_that_a_later_one_hides_is_missed_in_the_count() {
    assert_eq!(one_key(&[3, 5, 9], Some((3, 9, 3))).check(), Ok(()));
    let found = one_key(&[3, 5, 9], Some((3, 9, 2))).check().expect_err("one is lost");
    assert_eq!(found, [Violation::Miscounted { key: X, read: 0, count: 2, least: 3, most: 3 }]);
}

#[test]
fn a_write_before_one_that_was_acknowledged_before_it_was_sent_is_told() {
    let found = one_key(&[5, 3], Some((1, 5, 2))).check().expect_err("they are exchanged");
    assert_eq!(found, [Violation::Reordered { earlier: Serial(1), later: Serial(2) }]);
}

#[test]
fn a_key_that_is_gone_is_a_lost_write() {
    let found = one_key(&[3, 5], None).check().expect_err("both are lost");
    let lost = Violation::Lost { serial: Serial(2), position: Position(5), key: X, read: 0, shown: "nothing".into() };
    assert_eq!(found, [lost]);
}

#[test]
fn two_writes_in_one_place_are_told() {
    let found = one_key(&[3, 3], Some((2, 3, 1))).check().expect_err("the log was written twice");
    assert!(found.contains(&Violation::OnePlace { first: Serial(1), second: Serial(2), position: Position(3) }));
}

#[test]
fn writes_that_overlapped_may_come_in_any_order() {
    let mut history = History::default();
    let at = Duration::from_millis;
    let first = history.invoke(at(1), A, X);
    let second = history.invoke(at(2), Client(2), Y);
    history.end(first, Fate::Acknowledged { at: at(3), position: Position(2) });
    history.end(second, Fate::Acknowledged { at: at(4), position: Position(1) });
    assert_eq!(history.check(), Ok(()));
}

#[test]
fn a_read_that_shows_a_newer_key_and_misses_an_older_one_is_of_no_state() {
    let mut history = History::default();
    let at = Duration::from_millis;
    let first = history.invoke(at(1), A, X);
    history.end(first, Fate::Acknowledged { at: at(2), position: Position(1) });
    let second = history.invoke(at(3), A, Y);
    history.end(second, Fate::Acknowledged { at: at(4), position: Position(2) });
    let seen = BTreeMap::from([(Y, Seen { serial: second, position: Position(2), count: 1 })]);
    // Also a read that may be old is of a state that there was.
    history.add_read(Read { invoked: at(5), returned: at(6), strength: Strength::Stale, seen });
    let found = history.check().expect_err("the first is not there");
    assert!(matches!(found[..], [Violation::Lost { serial: Serial(1), .. }]), "{found:?}");
}

#[test]
fn an_unknown_write_that_was_seen_must_stay() {
    let mut world = World::new(None);
    world.step(Step::Unknown(A, X, true));
    world.read();
    let mut history = world.history;
    let (invoked, returned) = (Duration::from_millis(50), Duration::from_millis(51));
    history.add_read(Read { invoked, returned, strength: Strength::Linearizable, seen: BTreeMap::new() });
    let found = history.check().expect_err("it was there");
    assert_eq!(found, [Violation::WentBack { key: X, earlier: 0, later: 1 }]);
}

fn any_step() -> impl Strategy<Value = Step> {
    let who = (1..4_u32, 1..4_u64).prop_map(|(client, key)| (Client(client), Key(key)));
    prop_oneof![
        6 => who.clone().prop_map(|(client, key)| Step::Write(client, key)),
        1 => who.clone().prop_map(|(client, key)| Step::Refused(client, key)),
        2 => (who, any::<bool>()).prop_map(|((client, key), effect)| Step::Unknown(client, key, effect)),
        1 => Just(Step::Read),
        1 => (0..5_usize).prop_map(Step::StaleRead),
        2 => Just(Step::Crash),
    ]
}

proptest! {
    #[test]
    fn any_schedule_of_a_right_store_passes(steps in prop::collection::vec(any_step(), 0..60)) {
        prop_assert_eq!(run(None, &steps).history.check(), Ok(()));
    }

    #[test]
    fn any_schedule_in_which_a_fault_happens_is_caught(
        steps in prop::collection::vec(any_step(), 0..60),
        fault in prop::sample::select(FAULTS.to_vec()),
    ) {
        let world = run(Some(fault), &steps);
        prop_assert_eq!(world.history.check().is_err(), world.broke, "{:?}", fault);
    }
}
