use super::{FaultPlan, Planned};
use crate::{
    fault::{CopyUse, DnsInstead, Fault, PartitionShape},
    kind::FaultKind,
};
use serde_json::json;
use std::time::Duration;

fn at(ms: u64, lasts_ms: Option<u64>, target: &str, fault: Fault) -> Planned {
    let target = target.parse().unwrap();
    Planned { at: Duration::from_millis(ms), lasts: lasts_ms.map(Duration::from_millis), target, fault }
}

/// One of each kind.
fn full() -> FaultPlan {
    let delay = Fault::Delay { by: Duration::from_millis(50), jitter: Duration::from_millis(20) };
    let faults = vec![
        at(0, None, "n2", Fault::KillAgent),
        at(12_500, Some(8000), "leader", Fault::KillMachine),
        at(13_000, Some(250), "minority", Fault::PowerCut),
        at(13_000, Some(1500), "zone=a", Fault::Stop),
        at(13_001, Some(8000), "one", Fault::Wipe),
        at(14_000, Some(8000), "service=web/shop", Fault::Pause),
        at(15_000, Some(8000), "one", Fault::Slow { factor: 4 }),
        at(15_000, Some(8000), "voters", Fault::DiskFull),
        at(16_000, Some(8000), "n1", Fault::Partition { shape: PartitionShape::OneWayIn }),
        at(17_000, Some(8000), "all", Fault::Loss { fraction: 0.07 }),
        at(18_000, Some(8000), "all", delay),
        at(19_000, Some(8000), "all", Fault::Duplicate { fraction: 0.125 }),
        at(20_000, Some(8000), "all", Fault::Reorder { fraction: 1.0 }),
        at(21_000, None, "one", Fault::ClockOffset { by_ms: -3000 }),
        at(22_000, Some(8000), "one", Fault::ClockDrift { ppm: 200 }),
        at(23_000, None, "service=web/shop", Fault::TaskCrash),
        at(24_000, Some(8000), "majority", Fault::TaskHang),
        at(25_000, Some(8000), "n1", Fault::TaskIgnoreTerm),
        at(26_000, Some(8000), "n1", Fault::TaskFailHealth),
        at(27_000, Some(8000), "one", Fault::Lie),
        at(28_000, Some(8000), "one", Fault::Move),
        at(29_000, Some(1000), "all", Fault::Rolling),
        at(30_000, Some(8000), "one", Fault::Copy { used: CopyUse::Instead }),
        at(31_000, Some(8000), "voters", Fault::QuorumLost),
        at(32_000, Some(8000), "one", Fault::Lag),
        at(33_000, Some(1000), "all", Fault::Upgrade),
        at(34_000, Some(8000), "one", Fault::Remove),
        at(35_000, None, "all", Fault::Rotate),
        at(36_000, Some(8000), "n1", Fault::Bandwidth { kbit_per_s: 512 }),
        at(37_000, Some(8000), "n1", Fault::Cpu { workers: 2, percent: 50 }),
        at(38_000, Some(8000), "n1", Fault::Memory { bytes: 1 << 20 }),
        at(39_000, Some(8000), "n1", Fault::Dns { fraction: 0.25, instead: DnsInstead::Servfail }),
        at(40_000, Some(8000), "n1", Fault::Drain),
        at(41_000, None, "leader", Fault::Leader),
    ];
    FaultPlan { faults }
}

#[test]
fn every_kind_of_fault_has_its_own_name() {
    let kinds: Vec<_> = full().faults.iter().map(|planned| planned.fault.kind()).collect();
    assert_eq!(kinds, FaultKind::all());
}

#[test]
fn a_plan_survives_a_file() {
    let plan = full();
    plan.check().unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<FaultPlan>(&text).unwrap(), plan);
    for planned in plan.faults {
        let value = serde_json::to_value(planned.fault).unwrap();
        let name = value.as_str().or_else(|| value.as_object()?.keys().next().map(String::as_str));
        assert_eq!(name, Some(planned.fault.kind().as_str()), "the tag is the name of the kind");
    }
}

#[test]
fn the_simulator_refuses_by_name_what_it_does_not_know() {
    let plan = full();
    let error = plan.check_simulated().unwrap_err().to_string();
    assert!(error.starts_with("faults[28].fault is bandwidth; expected a fault that the simulator knows"), "{error}");
    let known = plan.faults.into_iter().filter(|planned| planned.fault.kind().is_simulated()).collect();
    FaultPlan { faults: known }.check_simulated().unwrap();
}

#[test]
fn a_person_can_write_a_plan() {
    let file = json!({ "faults": [
        { "at_ms": 12_500, "lasts_ms": 8000, "target": "leader", "fault": "kill-machine" },
        { "at_ms": 15_000, "target": "n2", "fault": { "delay": { "by_ms": 50 } } },
        { "at_ms": 16_000, "lasts_ms": 900, "target": "one", "fault": { "partition": { "shape": "one-way-out" } } },
        { "at_ms": 17_000, "target": "one", "fault": { "clock-offset": { "by_ms": -10 } } },
    ]});
    let delay = Fault::Delay { by: Duration::from_millis(50), jitter: Duration::ZERO };
    let expected = vec![
        at(12_500, Some(8000), "leader", Fault::KillMachine),
        at(15_000, None, "n2", delay),
        at(16_000, Some(900), "one", Fault::Partition { shape: PartitionShape::OneWayOut }),
        at(17_000, None, "one", Fault::ClockOffset { by_ms: -10 }),
    ];
    assert_eq!(serde_json::from_value::<FaultPlan>(file).unwrap().faults, expected);
}

#[test]
fn a_mistyped_field_is_refused_and_not_ignored() {
    let refused = [
        json!({ "at_ms": 1, "last_ms": 8000, "target": "one", "fault": "pause" }),
        json!({ "at_ms": 1, "target": "one", "fault": { "slow": { "factor": 2, "by": 3 } } }),
        json!({ "at_ms": 1, "target": "one", "fault": { "slow": {} } }),
        json!({ "at_ms": 1, "target": "one", "fault": "slow" }),
        json!({ "at_ms": 1, "target": "one", "fault": "explode" }),
        json!({ "at_ms": -1, "target": "one", "fault": "pause" }),
        json!({ "at_ms": 1, "target": "zone=", "fault": "pause" }),
    ];
    for planned in refused {
        assert!(serde_json::from_value::<Planned>(planned.clone()).is_err(), "{planned}");
    }
}

#[test]
fn a_planned_fault_is_one_line_of_a_timeline() {
    let lines: Vec<_> = full().faults.iter().map(ToString::to_string).collect();
    let expected = "\
0.000 s: kill-agent at n2
12.500 s: kill-machine at leader for 8 s
13.000 s: power-cut at minority for 0.25 s
13.000 s: stop at zone=a for 1.5 s
13.001 s: wipe at one for 8 s
14.000 s: pause at service=web/shop for 8 s
15.000 s: slow by 4 at one for 8 s
15.000 s: disk-full at voters for 8 s
16.000 s: partition one-way-in at n1 for 8 s
17.000 s: loss 7 % at all for 8 s
18.000 s: delay 50 to 70 ms at all for 8 s
19.000 s: duplicate 12.5 % at all for 8 s
20.000 s: reorder 100 % at all for 8 s
21.000 s: clock-offset -3000 ms at one
22.000 s: clock-drift +200 ppm at one for 8 s
23.000 s: task-crash at service=web/shop
24.000 s: task-hang at majority for 8 s
25.000 s: task-ignore-term at n1 for 8 s
26.000 s: task-fail-health at n1 for 8 s
27.000 s: lie at one for 8 s
28.000 s: move at one for 8 s
29.000 s: rolling at all for 1 s
30.000 s: copy instead at one for 8 s
31.000 s: quorum-lost at voters for 8 s
32.000 s: lag at one for 8 s
33.000 s: upgrade at all for 1 s
34.000 s: remove at one for 8 s
35.000 s: rotate at all
36.000 s: bandwidth 512 kbit/s at n1 for 8 s
37.000 s: cpu 2 x 50 % at n1 for 8 s
38.000 s: memory 1048576 bytes at n1 for 8 s
39.000 s: dns 25 % servfail at n1 for 8 s
40.000 s: drain at n1 for 8 s
41.000 s: leader at leader";
    assert_eq!(lines.join("\n"), expected);
}
