//! How far other machines are: coarse steps of the round-trip time, so that names seldom change for its sake.

use std::{collections::BTreeMap, time::Duration};
use taffeta_model::NodeId;

/// Round trips up to this are the first step; each further step is twice as far.
const FIRST: Duration = Duration::from_micros(250);
/// The last step: from 8 s on all is equally far.
const LAST: u8 = 16;
/// A measurement has to lie this much beyond a step for another one to be taken, in percent.
const MARGIN: u32 = 25;

/// The step of each machine with which there was a connection. This node itself is not in it.
pub(crate) type Distances = BTreeMap<NodeId, u8>;

/// The step of a round trip, given the one it had before.
pub(super) fn distance(round_trip: Duration, before: Option<u8>) -> u8 {
    let holds = |step: u8| {
        let nearest = if step == 1 { Duration::ZERO } else { end_of(step - 1) * (100 - MARGIN) / 100 };
        let farthest = end_of(step) * (100 + MARGIN) / 100;
        round_trip >= nearest && (round_trip <= farthest || step == LAST)
    };
    before.filter(|step| holds(*step)).unwrap_or_else(|| plain(round_trip))
}

fn plain(round_trip: Duration) -> u8 {
    (1..LAST).find(|step| round_trip <= end_of(*step)).unwrap_or(LAST)
}

fn end_of(step: u8) -> Duration {
    FIRST * (1 << (step - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_twice_as_far() {
        let of = |micros| distance(Duration::from_micros(micros), None);
        assert_eq!([0, 250, 251, 500, 501, 1_000].map(of), [1, 1, 2, 2, 3, 3]);
        assert_eq!(of(60_000_000), LAST);
    }

    #[test]
    fn a_round_trip_that_wavers_about_a_border_keeps_its_step() {
        let step = |micros, before| distance(Duration::from_micros(micros), Some(before));
        assert_eq!([step(480, 2), step(520, 2), step(600, 2)], [2, 2, 2]);
        assert_eq!([step(480, 3), step(520, 3), step(380, 3)], [3, 3, 3]);
        assert_eq!([step(640, 2), step(370, 3), step(180, 2)], [3, 2, 1]);
        assert_eq!(step(60_000_000, LAST), LAST);
    }
}
