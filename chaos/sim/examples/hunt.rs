//! Looks for the first seed that catches a planted bug, if asked for by something that is said in these words:
//! `cargo run --release -p taffeta-sim --features planted-bugs --example hunt -- [--quiet] [--faults=KINDS]
//! [NAME[=WORDS]]...`. With `--quiet` nothing is broken but the code, with `--faults` only what is named.

use std::{collections::BTreeMap, time::Duration};
use taffeta_chaos_plan::FaultKind;
use taffeta_model::{Bug, plant};
use taffeta_sim::{SimConfig, Verdict, run};

/// Seeds that are tried for each.
const SEEDS: u64 = 50;

fn main() {
    let quiet = std::env::args().any(|arg| arg == "--quiet");
    let kinds = std::env::args().find_map(|arg| {
        let list: Vec<FaultKind> = arg.strip_prefix("--faults=")?.split(',').filter_map(|k| k.parse().ok()).collect();
        Some(list)
    });
    let args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let wanted: BTreeMap<String, String> = args
        .map(|arg| arg.split_once('=').map_or_else(|| (arg.clone(), String::new()), |(n, w)| (n.into(), w.into())))
        .collect();
    for bug in Bug::ALL {
        let name = format!("{bug:?}");
        let words = wanted.get(&name).map(String::as_str);
        if !wanted.is_empty() && words.is_none() {
            continue;
        }
        plant(Some(bug));
        let caught = (1..=SEEDS).find_map(|seed| {
            let mut config = SimConfig { lasts: Duration::from_secs(120), ..SimConfig::new(seed) };
            if let Some(kinds) = &kinds {
                config.faults = kinds.iter().copied().collect();
            }
            if quiet {
                config.faults.clear();
            }
            let report = run(&config, &mut |_| {}).expect("a good configuration");
            let said = report.why.as_deref().is_some_and(|why| why.contains(words.unwrap_or_default()));
            (report.verdict != Verdict::Pass && said).then_some(report)
        });
        match caught {
            Some(r) => println!("{name}: seed {} is {}: {}", r.seed, r.verdict, r.why.unwrap_or_default()),
            None => println!("{name}: not caught by {SEEDS} seeds"),
        }
    }
}
