use super::{Swarm, SwarmConfig};
use crate::{fault::Fault, kind::FaultKind, target::Target};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

fn config(nodes: usize, seconds: u64) -> SwarmConfig {
    SwarmConfig { nodes, lasts: Duration::from_secs(seconds), allowed: FaultKind::SIMULATED.into() }
}

fn lines(swarm: &Swarm) -> String {
    let lines: Vec<_> = swarm.plan.faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// If this changes, the seed of a failed run no longer tells what went wrong in it.
#[test]
fn a_seed_gives_the_same_plan_for_ever() {
    let expected = "\
1.190 s: stop at leader for 0.841 s
1.677 s: kill-agent at leader for 1.383 s
5.243 s: task-fail-health at minority for 14.7 s
8.225 s: task-fail-health at one for 2.864 s
8.989 s: task-fail-health at one for 3.917 s
9.629 s: rotate at all
10.407 s: loss 8.9 % at one for 2.428 s
12.132 s: kill-agent at one for 2.036 s
13.454 s: task-crash at majority
13.555 s: kill-agent at one for 5.008 s
13.678 s: clock-drift -6830 ppm at all for 0.126 s
14.661 s: copy beside at one for 9.316 s
14.717 s: task-crash at one
15.105 s: copy beside at one for 12.858 s
15.180 s: clock-drift -5336 ppm at minority for 0.083 s
16.187 s: task-crash at minority
19.448 s: clock-drift -5008 ppm at leader for 4.128 s
19.867 s: power-cut at one for 1.521 s";
    assert_eq!(lines(&Swarm::draw(1, &config(5, 20))), expected);
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let all: String = (0..100).map(|seed| lines(&Swarm::draw(seed, &config(7, 120)))).collect();
    assert_eq!(
        all.bytes().fold(0xcbf2_9ce4_8422_2325, fnv),
        4_043_472_309_130_372_326,
        "100 plans, with every kind of fault in them"
    );
}

#[test]
fn over_200_seeds_each_kind_and_target_appears_and_mixtures_differ() {
    let swarms: Vec<_> = (0..200).map(|seed| Swarm::draw(seed, &config(5, 120))).collect();
    let planned = || swarms.iter().flat_map(|swarm| &swarm.plan.faults);
    let kinds: BTreeSet<_> = planned().map(|p| p.fault.kind()).collect();
    assert_eq!(kinds, FaultKind::SIMULATED.into());
    let mixtures: BTreeSet<_> = swarms.iter().map(|swarm| &swarm.mixture).collect();
    let fault_free = swarms.iter().filter(|swarm| swarm.mixture.is_empty()).count();
    assert!((3..=20).contains(&fault_free), "{fault_free}");
    assert_eq!(mixtures.len(), 201 - fault_free);
    let mut targets = BTreeMap::<_, usize>::new();
    let fixed = [FaultKind::Rolling, FaultKind::Upgrade, FaultKind::Rotate, FaultKind::QuorumLost];
    for p in planned().filter(|p| !fixed.contains(&p.fault.kind())) {
        *targets.entry(p.target.clone()).or_default() += 1;
    }
    let most = targets.iter().max_by_key(|(_, count)| **count).unwrap();
    assert_eq!(*most.0, Target::One);
    assert!(targets[&Target::Leader] > targets[&Target::Minority]);
    assert!(targets[&Target::Minority] > targets[&Target::Voters]);
    assert!(targets[&Target::Voters] > targets[&Target::All] && targets[&Target::Majority] > 0);
    for n in 1..=5 {
        assert!(targets[&Target::Node(format!("n{n}"))] > 0);
    }
}

#[test]
fn more_nodes_get_more_faults() {
    let count = |nodes| (0..100).map(|seed| Swarm::draw(seed, &config(nodes, 120)).plan.faults.len()).sum::<usize>();
    let (five, twenty) = (count(5), count(20));
    assert!((five * 17 / 10..five * 23 / 10).contains(&twenty), "{five} {twenty}");
}

#[test]
fn nothing_allowed_gives_no_faults_and_one_kind_allowed_nearly_always_some() {
    let mut config = config(5, 120);
    config.allowed = [FaultKind::Pause].into();
    let without = (0..200).filter(|seed| Swarm::draw(*seed, &config).mixture.is_empty()).count();
    assert!((3..=20).contains(&without), "{without}");
    config.allowed.clear();
    assert!((0..200).all(|seed| Swarm::draw(seed, &config).plan.faults.is_empty()));
}

#[test]
fn a_kind_left_out_leaves_the_others_as_they_were() {
    for seed in 0..50 {
        let mut config = config(5, 120);
        let mut expected = Swarm::draw(seed, &config);
        let Some((kind, _)) = expected.mixture.pop_first() else { continue };
        if expected.mixture.is_empty() {
            continue;
        }
        expected.plan.faults.retain(|planned| planned.fault.kind() != kind);
        config.allowed.remove(&kind);
        assert_eq!(Swarm::draw(seed, &config), expected);
    }
}

#[test]
fn an_endless_run_gets_as_many_faults_as_a_plan_may_have() {
    let config = SwarmConfig { lasts: Duration::MAX, ..config(1000, 0) };
    let plans: Vec<_> = (0..5).map(|seed| Swarm::draw(seed, &config).plan).collect();
    assert!(plans.iter().any(|plan| plan.faults.len() == crate::FAULTS_MAX));
    assert!(plans.iter().all(|plan| plan.check().is_ok()));
}

/// The ranges that drawn faults keep to; narrower than those of a plan.
fn is_moderate(fault: &Fault) -> bool {
    match fault {
        Fault::Slow { factor } => (2..=20).contains(factor),
        Fault::Loss { fraction } => (0.01..=0.4).contains(fraction),
        Fault::Duplicate { fraction } | Fault::Reorder { fraction } => (0.01..=0.3).contains(fraction),
        Fault::Delay { by, jitter } => (5..=400).contains(&by.as_millis()) && jitter <= by,
        Fault::ClockOffset { by_ms } => (40..=1_200_000).contains(&by_ms.abs()),
        Fault::ClockDrift { ppm } => (1..=50_000).contains(&ppm.abs()),
        _ => true,
    }
}

proptest! {
    #[test]
    fn a_drawn_plan_keeps_to_its_config(
        seed: u64,
        nodes in 0_usize..200,
        seconds in 0_u64..600,
        allowed in prop::collection::btree_set(prop::sample::select(FaultKind::SIMULATED.to_vec()), 0..=28),
    ) {
        let config = SwarmConfig { allowed, ..config(nodes, seconds) };
        let swarm = Swarm::draw(seed, &config);
        prop_assert_eq!(&swarm, &Swarm::draw(seed, &config));
        prop_assert_eq!(swarm.plan.check(), Ok(()));
        prop_assert!(swarm.mixture.keys().all(|kind| config.allowed.contains(kind)));
        prop_assert!(swarm.plan.faults.is_sorted_by_key(|planned| planned.at));
        for planned in &swarm.plan.faults {
            let kind = planned.fault.kind();
            prop_assert!(swarm.mixture.contains_key(&kind));
            prop_assert!(planned.at < config.lasts);
            let long = [FaultKind::QuorumLost, FaultKind::Lag].contains(&kind);
            let most = Duration::from_secs(if long { 60 } else { 30 });
            prop_assert!(planned.lasts.is_none_or(|lasts| lasts <= most));
            let may_stay = [FaultKind::TaskCrash, FaultKind::ClockOffset, FaultKind::Rotate].contains(&kind);
            prop_assert!(planned.lasts.is_some() || may_stay);
            prop_assert!(is_moderate(&planned.fault), "{planned}");
            let for_good = [FaultKind::Wipe, FaultKind::Copy, FaultKind::Remove].contains(&kind);
            prop_assert!(!for_good || planned.target == Target::One);
        }
        let count = |kind| swarm.plan.faults.iter().filter(|planned| planned.fault.kind() == kind).count();
        prop_assert!(count(FaultKind::Wipe) <= 3 && count(FaultKind::QuorumLost) <= 1);
    }
}
