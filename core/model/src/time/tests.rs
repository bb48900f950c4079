use super::{BEAT, Millis, UnixMillis, beat_until, next_beat, pulse_until};
use std::time::Duration;

#[test]
fn time_never_overflows_nor_runs_backwards() {
    assert_eq!(Millis(10) + Duration::from_millis(5), Millis(15));
    assert_eq!(Millis(10) + Duration::MAX, Millis(u64::MAX));
    assert_eq!(UnixMillis(10) + Duration::MAX, UnixMillis(u64::MAX));
    assert_eq!(Millis(15).since(Millis(10)), Duration::from_millis(5));
    assert_eq!(Millis(10).since(Millis(15)), Duration::ZERO);
}

#[test]
fn what_has_time_is_done_on_beats_and_all_of_it_on_the_same() {
    let millis = Duration::from_millis;
    assert_eq!(next_beat(millis(0), millis(1)), BEAT);
    assert_eq!(next_beat(millis(63), millis(64)), BEAT);
    assert_eq!(next_beat(BEAT, BEAT), BEAT * 2, "not the one that is now");
    assert_eq!(next_beat(millis(100), millis(250)), millis(256), "whole beats");
    assert_eq!(next_beat(millis(256), millis(250)), millis(512));
    assert_eq!(next_beat(millis(300), millis(500)), millis(512), "every second of the other ones");
    assert_eq!(next_beat(millis(1), Duration::MAX), Duration::from_millis(u64::MAX));
    let pulses = [(0, 0), (95, 0), (96, 128), (150, 128), (223, 128), (224, 256), (500, 512), (607, 512)];
    assert!(pulses.into_iter().all(|(at, pulse)| pulse_until(millis(at)) == millis(pulse)));
    assert_eq!(beat_until(millis(63)), Duration::ZERO);
    assert_eq!(beat_until(millis(64)), BEAT);
    assert_eq!(beat_until(millis(1_000)), millis(960));
}
