use super::*;
use taffeta_model::MEMBERS_MAX;

/// Runs as long as all that is to happen takes.
fn report(config: RingConfig) -> RingReport {
    println!("seed {}", config.seed);
    let config = RingConfig { seconds: config.seconds_min(), ..config };
    let report = run(&config, &mut |_| {}).expect("a good config");
    println!("{report}");
    report
}

fn stall(fraction: f64, seconds: u64) -> Option<Stall> {
    Some(Stall { fraction, lasts: Duration::from_secs(seconds) })
}

/// Everything at once.
fn all_that_happens(nodes: usize, seed: u64) -> RingConfig {
    RingConfig {
        kill: 2,
        loss: 0.01,
        stall: stall(0.05, 3),
        changes_per_second: 5.0,
        join: true,
        ..RingConfig::quiet(nodes, seed)
    }
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    let first = report(all_that_happens(60, 1));
    assert_eq!(report(all_that_happens(60, 1)), first);
    assert_ne!(report(all_that_happens(60, 2)).trace, first.trace);
}

/// So many nodes that most turns are taken on two threads.
#[test]
fn threads_do_not_change_a_run() {
    let config = RingConfig { kill: 1, loss: 0.01, ..RingConfig::quiet(600, 12) };
    assert_eq!(report(config.clone()).trace, report(config).trace);
}

#[test]
fn a_kill_among_a_thousand_is_known_in_time() {
    let report = report(RingConfig { kill: 10, loss: 0.01, ..RingConfig::quiet(1_000, 1) });
    let (half, most) = (report.know50.expect("reached"), report.know99.expect("reached"));
    assert!(most.median_ms <= 2_500 && most.max_ms <= 4_500);
    assert!(half.median_ms >= 1_000 && half.max_ms <= most.max_ms, "a verdict takes at least the suspicion");
    assert_eq!(report.false_down, 0);
}

#[test]
fn loss_alone_makes_no_verdict() {
    let config = RingConfig { loss: 0.02, seconds: 120, ..RingConfig::quiet(300, 4) };
    let report = run(&config, &mut |_| {}).expect("a good config");
    assert_eq!(report.false_down, 0);
    assert_eq!((report.know50, report.know99), (None, None));
}

#[test]
fn a_standstill_of_a_second_makes_no_verdict() {
    let report = report(RingConfig { stall: stall(0.02, 1), loss: 0.01, ..RingConfig::quiet(1_000, 5) });
    assert_eq!((report.false_down, report.stalled_down, report.reversed_ms), (0, 0, None));
}

#[test]
fn every_verdict_on_a_standstill_of_three_seconds_is_taken_back_in_time() {
    let report = report(RingConfig { stall: stall(0.02, 3), loss: 0.01, ..RingConfig::quiet(1_000, 6) });
    assert!(report.stalled_down > 0, "it is longer than the suspicion");
    assert_eq!(report.unreversed, 0);
    assert!(report.reversed_ms.is_some_and(|ms| ms <= 3_000));
}

#[test]
fn three_hundred_go_through_all_that_happens() {
    let report = report(all_that_happens(300, 7));
    assert!(report.know99.expect("reached").max_ms <= 4_500);
    assert!(report.change99.expect("reached").max_ms <= 1_000);
    assert!(report.burst99.expect("reached").max_ms <= 1_000);
    assert!(report.messages_per_change.is_some_and(|copies| (0.9..2.0).contains(&copies)));
    assert!(report.change_bits_per_s.is_some_and(|bits| bits < 1e6));
    assert!(report.join_ms.is_some_and(|ms| ms <= 2_000));
    assert!(report.join_bytes > Some(0));
    assert!(report.idle_bytes_per_s <= 650.0);
}

#[test]
fn two_members_are_a_ring() {
    let report = report(RingConfig { kill: 1, changes_per_second: 1.0, ..RingConfig::quiet(2, 8) });
    assert!(report.know99.is_some() && report.change99.is_some() && report.burst99.is_some());
}

#[test]
fn a_third_member_joins_two() {
    assert!(report(RingConfig { join: true, ..RingConfig::quiet(3, 13) }).join_ms.is_some());
}

#[test]
fn heavy_faults_end_without_a_fault_of_the_machines() {
    let faults = RingConfig { kill: 20, loss: 0.5, stall: stall(0.5, 10), ..all_that_happens(60, 9) };
    report(faults);
}

#[test]
fn progress_tells_every_second() {
    let mut told = Vec::new();
    run(&RingConfig::quiet(2, 10), &mut |at| told.push(at.as_secs())).expect("a good config");
    assert_eq!(told, (0..=26).collect::<Vec<_>>());
}

#[test]
fn a_wrong_config_is_refused_by_the_name_of_its_field() {
    let good = || RingConfig { seconds: 100, ..RingConfig::quiet(10, 1) };
    let wrong = [
        ("nodes", RingConfig { nodes: 1, ..good() }),
        ("nodes", RingConfig { nodes: MEMBERS_MAX + 1, ..good() }),
        ("join", RingConfig { nodes: 2, join: true, ..good() }),
        ("kill", RingConfig { kill: 10, ..good() }),
        ("kill", RingConfig { kill: 9, join: true, ..good() }),
        ("loss", RingConfig { loss: 0.6, ..good() }),
        ("loss", RingConfig { loss: f64::NAN, ..good() }),
        ("changes_per_second", RingConfig { changes_per_second: -1.0, ..good() }),
        ("changes_per_second", RingConfig { changes_per_second: f64::INFINITY, ..good() }),
        ("stall.fraction", RingConfig { stall: stall(0.0, 1), ..good() }),
        ("stall.lasts", RingConfig { stall: stall(0.1, 0), ..good() }),
        ("seconds", RingConfig { seconds: 25, ..good() }),
        ("seconds", RingConfig { seconds: 3_601, ..good() }),
        ("seconds", RingConfig { stall: stall(0.1, 10), seconds: 40, ..good() }),
        ("seconds", RingConfig { kill: 1, seconds: 35, ..good() }),
    ];
    for (field, config) in wrong {
        let refused = run(&config, &mut |_| panic!("nothing runs")).expect_err(field);
        assert_eq!(refused.field, field);
        assert!(refused.to_string().starts_with(&format!("{field} is ")), "{refused}");
    }
}

#[test]
fn the_json_has_what_the_contract_names() {
    let json = serde_json::to_value(report(RingConfig::quiet(2, 11))).expect("plain data");
    let fields = json.as_object().expect("an object");
    for name in [
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
    ] {
        assert!(fields.contains_key(name), "{name}");
    }
    assert!(json["know50"].is_null() && json["change99"]["median_ms"].is_u64());
}
