use super::*;
use taffeta_model::MEMBERS_MAX;

fn config(nodes: usize, seed: u64) -> RingConfig {
    println!("seed {seed}");
    RingConfig { nodes, kill: 0, loss: 0.0, stall: None, seconds: 20, seed }
}

fn report(config: &RingConfig) -> RingReport {
    let report = run(config, &mut |_| {}).expect("a good config");
    println!("{report}");
    report
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    let stall = Some(Stall { fraction: 0.1, lasts: Duration::from_secs(2) });
    let faults = |seed| RingConfig { kill: 2, loss: 0.05, stall, seconds: 37, ..config(50, seed) };
    let first = report(&faults(1));
    assert_eq!(report(&faults(1)), first);
    assert_ne!(report(&faults(2)).trace, first.trace);
}

#[test]
fn a_kill_is_known_within_six_seconds_and_nobody_else_is_called_down() {
    let report = report(&RingConfig { kill: 3, loss: 0.01, seconds: 30, ..config(200, 3) });
    let (half, most) = (report.know50.expect("reached"), report.know99.expect("reached"));
    assert!(most.max_ms <= 6_000 && half.max_ms <= most.max_ms);
    assert!(half.median_ms >= 1_000, "a verdict takes at least the suspicion");
    assert_eq!(report.false_down, 0);
}

#[test]
fn loss_alone_makes_no_verdict() {
    let report = report(&RingConfig { loss: 0.02, seconds: 60, ..config(200, 4) });
    assert_eq!(report.false_down, 0);
    assert_eq!((report.know50, report.know99), (None, None));
}

#[test]
fn a_standstill_of_a_second_makes_no_verdict() {
    let stall = Some(Stall { fraction: 0.02, lasts: Duration::from_secs(1) });
    let report = report(&RingConfig { stall, seconds: 30, ..config(200, 5) });
    assert_eq!(report.false_down, 0);
}

/// Else the test above would hold for a stall that does nothing.
#[test]
fn a_standstill_longer_than_the_suspicion_is_called_down() {
    let stall = Some(Stall { fraction: 0.02, lasts: Duration::from_secs(4) });
    let report = report(&RingConfig { stall, seconds: 35, ..config(100, 6) });
    assert!(report.false_suspect + report.false_down > 0);
}

#[test]
fn a_change_reaches_almost_all_within_three_seconds() {
    let report = report(&RingConfig { loss: 0.01, ..config(200, 7) });
    assert!(report.change99.expect("reached").max_ms <= 3_000);
    assert!(report.change_bits_per_s > 0.0);
}

#[test]
fn two_members_are_a_ring() {
    let report = report(&RingConfig { kill: 1, seconds: 30, ..config(2, 8) });
    assert!(report.know99.is_some() && report.change99.is_some());
}

#[test]
fn heavy_faults_end_without_a_fault_of_the_machines() {
    let stall = Some(Stall { fraction: 0.5, lasts: Duration::from_secs(10) });
    report(&RingConfig { kill: 20, loss: 0.5, stall, seconds: 50, ..config(60, 9) });
}

#[test]
fn progress_tells_every_second() {
    let mut told = Vec::new();
    run(&config(2, 10), &mut |at| told.push(at.as_secs())).expect("a good config");
    assert_eq!(told, (0..=20).collect::<Vec<_>>());
}

#[test]
fn a_wrong_config_is_refused_by_the_name_of_its_field() {
    let good = config(10, 1);
    let stall = |fraction, lasts| Some(Stall { fraction, lasts: Duration::from_secs(lasts) });
    let wrong = [
        ("nodes", RingConfig { nodes: 1, ..good.clone() }),
        ("nodes", RingConfig { nodes: MEMBERS_MAX + 1, ..good.clone() }),
        ("kill", RingConfig { kill: 10, seconds: 30, ..good.clone() }),
        ("loss", RingConfig { loss: 0.6, ..good.clone() }),
        ("loss", RingConfig { loss: f64::NAN, ..good.clone() }),
        ("stall.fraction", RingConfig { stall: stall(0.0, 1), seconds: 60, ..good.clone() }),
        ("stall.lasts", RingConfig { stall: stall(0.1, 0), seconds: 60, ..good.clone() }),
        ("seconds", RingConfig { stall: stall(0.1, 10), seconds: 35, ..good.clone() }),
        ("seconds", RingConfig { seconds: 19, ..good.clone() }),
        ("seconds", RingConfig { kill: 1, seconds: 29, ..good }),
    ];
    for (field, config) in wrong {
        let refused = run(&config, &mut |_| panic!("nothing runs")).expect_err(field);
        assert_eq!(refused.field, field);
        assert!(refused.to_string().starts_with(&format!("{field} is ")), "{refused}");
    }
}

#[test]
fn the_json_is_that_of_the_contract() {
    let json = serde_json::to_value(report(&config(2, 11))).expect("plain data");
    let names: Vec<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut wanted = [
        "seed",
        "nodes",
        "know50",
        "know99",
        "false_suspect",
        "false_down",
        "idle_bytes_per_s",
        "idle_packets_per_s",
        "change99",
        "change_bits_per_s",
        "memory_bytes_per_node",
        "trace",
    ];
    wanted.sort_unstable();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, wanted);
    assert!(json["know50"].is_null() && json["change99"]["median_ms"].is_u64());
}
