//! Runs one ring and tells its figures, its real time and its memory: what `taffeta chaos sim ring` does, without the
//! minutes that the whole binary takes to build.
//!
//! `cargo run --release -p taffeta-chaos-ring --example ring -- --nodes 1000 --kill 10 --loss 0.01`

use std::{fs, time::Duration};
use taffeta_chaos_ring::{RingConfig, Stall, run};

#[expect(clippy::disallowed_methods, reason = "what is told is how long it really takes")]
fn main() {
    let mut config = RingConfig::quiet(1000, 1);
    let (mut seconds, mut json) = (0, false);
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{flag} needs a value"));
        match flag.as_str() {
            "--nodes" => config.nodes = number(&value()),
            "--kill" => config.kill = number(&value()),
            "--loss" => config.loss = number(&value()),
            "--stall" => config.stall = Some(stall(&value())),
            "--changes-per-second" => config.changes_per_second = number(&value()),
            "--seconds" => seconds = number(&value()),
            "--seed" => config.seed = number(&value()),
            "--join" => config.join = true,
            "--json" => json = true,
            _ => panic!("unknown flag {flag}"),
        }
    }
    config.seconds = config.seconds_min().max(seconds);
    let started = std::time::Instant::now();
    let report = run(&config, &mut |now| {
        eprint!(
            "\r{:4} of {} virtual seconds, {:6.1} s, {}  ",
            now.as_secs(),
            config.seconds,
            started.elapsed().as_secs_f64(),
            memory()
        );
    });
    let report = report.unwrap_or_else(|e| panic!("{e}"));
    eprintln!();
    if json {
        println!("{}", serde_json::to_string(&report).expect("plain data"));
    } else {
        println!("{report}");
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number for this flag"))
}

fn stall(text: &str) -> Stall {
    let (fraction, seconds) = text.split_once(':').expect("FRACTION:SECONDS");
    Stall { fraction: number(fraction), lasts: Duration::from_secs_f64(number(seconds)) }
}

/// The most that this process has taken so far.
fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?");
    line.trim().to_owned()
}
