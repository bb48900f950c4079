//! What a call costs: `cargo run --release -p taffeta-calendar --example speed`.
//!
//! Prints microseconds per call, on average over instants spread across twenty years.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use taffeta_calendar::{Schedule, UnixMillis};

const ROUNDS: u64 = 20_000;
const BEGIN: u64 = 1_700_000_000_000;
const SPREAD: u64 = 20 * 365 * 86_400_000;

const CASES: [(&str, Option<&str>); 9] = [
    ("0 3 * * 1-5", None),
    ("0 3 * * 1-5", Some("Europe/Vienna")),
    ("*/15 * * * *", Some("Europe/Vienna")),
    ("30 1 29 2 *", Some("Australia/Lord_Howe")),
    ("0 0 29 2 */7", Some("Africa/Casablanca")),
    ("* 2 8-14 3 */7", Some("America/New_York")), // always skipped: the worst there is
    ("R/2001-11-22T02:00:00Z/PT24H", Some("Europe/Vienna")),
    ("R/2001-01-31T02:00:00Z/P1M", Some("Europe/Vienna")),
    ("R/0001-01-31T02:00:00Z/P1M3DT1S", Some("America/New_York")),
];

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

fn micros(calls: u64, took: Duration) -> f64 {
    took.as_secs_f64() * 1e6 / calls as f64
}

fn main() {
    println!("{:>9} {:>9} {:>9}  schedule", "parse", "next", "last");
    for (text, zone) in CASES {
        let schedule = Schedule::new(text, zone).expect("a good schedule");
        let began = now();
        for _ in 0..ROUNDS {
            black_box(black_box(&schedule).calendar(UnixMillis(BEGIN)).expect("a good schedule"));
        }
        let parse = micros(ROUNDS, began.elapsed());
        let calendar = schedule.calendar(UnixMillis(BEGIN)).expect("a good schedule");
        let began = now();
        for round in 0..ROUNDS {
            black_box(calendar.next_after(UnixMillis(BEGIN + SPREAD / ROUNDS * round)));
        }
        let next = micros(ROUNDS, began.elapsed());
        let began = now();
        for round in 0..ROUNDS / 10 {
            let after = BEGIN + SPREAD / ROUNDS * 10 * round;
            black_box(calendar.last(UnixMillis(after), UnixMillis(after + 7 * 86_400_000)));
        }
        let last = micros(ROUNDS / 10, began.elapsed());
        println!("{parse:9.2} {next:9.2} {last:9.2}  {schedule}");
    }
}
