use super::{AT_MAX, FAULTS_MAX, InvalidPlan, LASTS_MAX};
use crate::{
    fault::{CopyUse, Fault, PartitionShape},
    plan::{FaultPlan, Planned},
    target::Target,
};
use std::time::Duration;

fn planned(fault: Fault) -> Planned {
    Planned { at: Duration::from_secs(1), lasts: Some(Duration::from_secs(1)), target: Target::One, fault }
}

/// Behind a right one, so that the index is not 0.
fn check(planned: Planned) -> Result<(), InvalidPlan> {
    let first = Planned { at: Duration::ZERO, lasts: None, target: Target::All, fault: Fault::Pause };
    FaultPlan { faults: vec![first, planned] }.check()
}

fn refused_field(planned: Planned) -> &'static str {
    match check(planned).unwrap_err() {
        InvalidPlan::Field { index, field, .. } => {
            assert_eq!(index, 1);
            field
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_plan_without_faults_is_right() {
    assert_eq!(FaultPlan::default().check(), Ok(()));
}

#[test]
fn values_outside_their_range_are_refused() {
    let minute = Duration::from_secs(60);
    let over = minute + Duration::from_millis(1);
    let (micro, zero) = (Duration::from_micros(1), Duration::ZERO);
    let wrong = [
        (Fault::Loss { fraction: 1.001 }, "fraction"),
        (Fault::Duplicate { fraction: -0.001 }, "fraction"),
        (Fault::Reorder { fraction: f64::NAN }, "fraction"),
        (Fault::Slow { factor: 1 }, "factor"),
        (Fault::Slow { factor: 1001 }, "factor"),
        (Fault::Delay { by: over, jitter: zero }, "by_ms"),
        (Fault::Delay { by: zero, jitter: over }, "jitter_ms"),
        (Fault::Delay { by: micro, jitter: zero }, "by_ms"),
        (Fault::ClockOffset { by_ms: 31_622_400_001 }, "by_ms"),
        (Fault::ClockOffset { by_ms: i64::MIN }, "by_ms"),
        (Fault::ClockDrift { ppm: -500_001 }, "ppm"),
    ];
    for (fault, field) in wrong {
        assert_eq!(refused_field(planned(fault)), field, "{fault:?}");
    }
    let right = [
        Fault::Loss { fraction: 0.0 },
        Fault::Loss { fraction: 1.0 },
        Fault::Slow { factor: 2 },
        Fault::Slow { factor: 1000 },
        Fault::Delay { by: minute, jitter: minute },
        Fault::ClockOffset { by_ms: -31_622_400_000 },
        Fault::ClockDrift { ppm: 500_000 },
    ];
    for fault in right {
        assert_eq!(check(planned(fault)), Ok(()), "{fault:?}");
    }
}

#[test]
fn times_are_bounded_and_in_whole_milliseconds() {
    let (milli, micro) = (Duration::from_millis(1), Duration::from_micros(1));
    for at in [AT_MAX + milli, micro, Duration::MAX] {
        assert_eq!(refused_field(Planned { at, ..planned(Fault::Pause) }), "at_ms");
    }
    for lasts in [LASTS_MAX + milli, micro, Duration::ZERO, Duration::MAX] {
        assert_eq!(refused_field(Planned { lasts: Some(lasts), ..planned(Fault::Pause) }), "lasts_ms");
    }
    assert_eq!(check(Planned { at: AT_MAX, lasts: Some(LASTS_MAX), ..planned(Fault::Pause) }), Ok(()));
}

#[test]
fn faults_out_of_order_are_refused() {
    let at = |ms| Planned { at: Duration::from_millis(ms), ..planned(Fault::Pause) };
    let message = FaultPlan { faults: vec![at(5), at(5), at(4)] }.check().unwrap_err().to_string();
    assert_eq!(message, "faults[2].at_ms is 4; expected no less than that of the fault above it");
}

#[test]
fn more_faults_than_allowed_are_refused() {
    let mut plan = FaultPlan { faults: vec![planned(Fault::Pause); FAULTS_MAX] };
    assert_eq!(plan.check(), Ok(()));
    plan.faults.push(planned(Fault::Pause));
    assert_eq!(plan.check(), Err(InvalidPlan::TooMany { count: FAULTS_MAX + 1 }));
}

#[test]
fn empty_names_are_refused() {
    let service = |service: &str, app: &str| Target::Service { app: app.into(), service: service.into() };
    for target in [Target::Node("".into()), Target::Zone("".into()), service("", "shop"), service("web", "")] {
        assert_eq!(refused_field(Planned { target, ..planned(Fault::Pause) }), "target");
    }
}

#[test]
fn task_faults_do_not_strike_roles_of_consensus() {
    for fault in [Fault::TaskHang, Fault::TaskIgnoreTerm, Fault::TaskFailHealth] {
        for target in [Target::Leader, Target::Voters] {
            assert_eq!(refused_field(Planned { target, ..planned(fault) }), "target");
        }
        for target in ["n1", "one", "minority", "majority", "all", "zone=a", "service=web/shop"] {
            assert_eq!(check(Planned { target: target.parse().unwrap(), ..planned(fault) }), Ok(()));
        }
    }
}

#[test]
fn a_partition_leaves_a_rest_unless_it_cuts_single_links() {
    for shape in PartitionShape::ALL {
        let found = check(Planned { target: Target::All, ..planned(Fault::Partition { shape }) });
        assert_eq!(found.is_ok(), shape == PartitionShape::Swizzle, "{shape}");
    }
}

#[test]
fn an_instant_has_no_length_and_what_has_a_middle_needs_one() {
    for instant in [Fault::TaskCrash, Fault::Rotate] {
        assert_eq!(refused_field(planned(instant)), "lasts_ms");
        assert_eq!(check(Planned { lasts: None, ..planned(instant) }), Ok(()));
    }
    let swizzle = Fault::Partition { shape: PartitionShape::Swizzle };
    for halved in [swizzle, Fault::QuorumLost, Fault::Copy { used: CopyUse::Beside }] {
        assert_eq!(refused_field(Planned { lasts: None, ..planned(halved) }), "lasts_ms");
        assert_eq!(check(planned(halved)), Ok(()));
    }
}
