use super::{
    pool::{Candidate, Plan},
    race::{Move, Race},
    script::upstream,
};
use proptest::prelude::*;
use std::time::Duration;
use tokio::time::Instant;

const MS: Duration = Duration::from_millis(1);

fn candidate(at: u8) -> Candidate {
    Candidate { address: upstream(at), plain: false, patience: 100 * MS }
}

fn race(now: Instant, count: u8, rounds: u32) -> Race {
    Race::new(now, &Plan { order: (0..count).map(candidate).collect(), ..Plan::default() }, rounds)
}

fn ask(at: u8, hedge: bool) -> Move {
    Move::Ask { candidate: candidate(at), hedge }
}

#[test]
fn silent_ones_are_hedged_and_asked_once_more() {
    let start = Instant::now();
    let (mut race, mut now, mut log) = (race(start, 2, 2), start, Vec::new());
    loop {
        match race.next(now) {
            Move::Ask { candidate, hedge } => log.push(((now - start).as_millis(), candidate.address, hedge)),
            Move::Wait(Some(until)) => now = until,
            Move::Wait(None) => break,
            Move::Over => panic!("two are outstanding"),
        }
    }
    let expected = [(0, 0, false), (100, 1, true), (700, 0, true), (800, 1, true)];
    assert_eq!(log, expected.map(|(ms, at, hedge)| (ms, upstream(at), hedge)));
}

#[test]
fn failure_brings_the_next_at_once_and_a_refusal_is_not_repeated() {
    let now = Instant::now();
    let mut race = race(now, 2, 2);
    assert_eq!(race.next(now), ask(0, false));
    race.handle_refusal(now + MS, upstream(0));
    assert_eq!(race.next(now + MS), ask(1, false));
    race.handle_failure(now + 2 * MS);
    assert_eq!(race.next(now + 2 * MS), ask(1, false));
    race.handle_failure(now + 3 * MS);
    assert_eq!(race.next(now + 3 * MS), Move::Over);
}

#[test]
fn one_on_trial_is_asked_beside_the_first_and_does_not_delay_it() {
    let now = Instant::now();
    let plan = Plan { order: vec![candidate(0)], trial: Some(candidate(1)), ..Plan::default() };
    let mut race = Race::new(now, &plan, 1);
    assert_eq!(race.next(now), ask(0, false));
    assert_eq!(race.next(now), ask(1, false));
    assert_eq!(race.next(now), Move::Wait(None));
}

proptest! {
    /// Whatever happens when, everybody is asked before it is over, nobody more often than there are rounds, and the
    /// race never waits for nothing.
    #[test]
    fn race_ends_after_everybody_had_a_chance(count in 0u8..4, rounds in 1u32..4, events in prop::collection::vec((0u8..3, 0u64..400), 0..60)) {
        let mut now = Instant::now();
        let (mut race, mut asked, mut outstanding) = (race(now, count, rounds), Vec::new(), Vec::new());
        let mut events = events.into_iter();
        loop {
            match race.next(now) {
                Move::Ask { candidate, .. } => {
                    asked.push(candidate.address);
                    outstanding.push(candidate.address);
                }
                Move::Over => break,
                Move::Wait(until) => {
                    prop_assert!(!outstanding.is_empty());
                    prop_assert!(until.is_none_or(|u| u > now));
                    let (event, ms) = events.next().unwrap_or((1, 0));
                    now += Duration::from_millis(ms);
                    match event {
                        0 => {}
                        1 => { outstanding.remove(0); race.handle_failure(now); }
                        _ => { let address = outstanding.remove(0); race.handle_refusal(now, address); }
                    }
                }
            }
        }
        prop_assert!(outstanding.is_empty());
        for at in 0..count {
            let times = asked.iter().filter(|a| **a == upstream(at)).count();
            prop_assert!(times >= 1 && times <= rounds as usize);
        }
    }
}
