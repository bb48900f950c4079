//! When a node looks after what nobody tells it.
//!
//! Tokio keeps what is due later in blocks of 64 ms, counted from the start of its runtime, and wakes at the start of each
//! block in which anything is due, only to sort it: for whatever is due in the middle of a block an idle machine wakes
//! twice. So whatever has time is done at the start of a block, and all of it at the same ones. Times here are counted
//! from the start of the runtime; from any other they are as good, only that the machine wakes more often.

use std::time::Duration;

/// From one possible instant to the next.
pub const BEAT: Duration = Duration::from_millis(64);

/// The first instant after `now` at which what is done `every` so often is due: on a beat, every so many whole beats.
pub fn next_beat(now: Duration, every: Duration) -> Duration {
    let every = every.as_millis().div_ceil(BEAT.as_millis()).max(1) * BEAT.as_millis();
    let next = (now.as_millis() / every + 1) * every;
    Duration::from_millis(u64::try_from(next).unwrap_or(u64::MAX))
}

/// Of the instants two beats apart, at which heartbeats are due on a LAN, the last one that is not later than half a beat after
/// `at`: whatever begins on one of them and has a little over some of their distance ends on another, also if it begins late.
pub fn pulse_until(at: Duration) -> Duration {
    let pulse = 2 * BEAT.as_millis();
    let last = (at.as_millis() + BEAT.as_millis() / 2) / pulse * pulse;
    Duration::from_millis(u64::try_from(last).unwrap_or(u64::MAX))
}

/// The last beat that is not after `at`.
pub fn beat_until(at: Duration) -> Duration {
    let beats = at.as_millis() / BEAT.as_millis();
    Duration::from_millis(u64::try_from(beats * BEAT.as_millis()).unwrap_or(u64::MAX))
}
