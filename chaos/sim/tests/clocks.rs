//! Clocks that are wrong by more than a certificate lives: one machine's, and the leader's.

use std::time::Duration;
use taffeta_chaos_plan::{Fault, FaultKind, FaultPlan, Planned, Target};
use taffeta_sim::{SimConfig, Verdict, run};

const DAY_MS: i64 = 86_400_000;

fn passes_with(seed: u64, target: &Target, by_ms: i64) {
    let at = |seconds| Duration::from_secs(seconds);
    let fault =
        |seconds, lasts, target: Target, fault| Planned { at: at(seconds), lasts: Some(at(lasts)), target, fault };
    let faults = vec![
        fault(10, 70, target.clone(), Fault::ClockOffset { by_ms }),
        // Others have to be trusted anew while it lasts: connections are made, and a leader is elected.
        fault(25, 8, Target::Leader, Fault::KillAgent),
        fault(45, 8, target.clone(), Fault::KillAgent),
    ];
    let config = SimConfig { lasts: at(90), plan: Some(FaultPlan { faults }), ..SimConfig::new(seed) };
    println!("seed {seed}, {target} by {by_ms} ms");
    let report = run(&config, &mut |_| {}).expect("a good configuration");
    assert_eq!(report.verdict, Verdict::Pass, "{target} by {by_ms}: {}", report.why.unwrap_or_default());
    assert_eq!(report.faults.get(&FaultKind::ClockOffset), Some(&1));
    assert!(report.writes["acknowledged"] > 20, "{:?}", report.writes);
}

#[test]
fn a_machine_whose_clock_is_days_off_takes_part() {
    for (seed, by_ms) in [(1, 3 * DAY_MS), (2, -3 * DAY_MS), (3, 30 * DAY_MS), (4, -20 * DAY_MS)] {
        passes_with(seed, &Target::Node("n2".into()), by_ms);
    }
}

#[test]
fn a_leader_whose_clock_is_days_off_stops_nobody() {
    for (seed, by_ms) in [(5, 3 * DAY_MS), (6, -3 * DAY_MS), (7, 30 * DAY_MS)] {
        passes_with(seed, &Target::Leader, by_ms);
    }
}
