//! Limits of processes, and the images that a crash would leave.

use super::{Place, prepare};
use rustix::{
    process::{Resource, getrlimit},
    thread::{CapabilitySet, capabilities},
};
use std::fs;
use taffeta_isolation_plan::{Confine, TaskSpec};
use taffeta_model::{Measure, Profile, Rlimit, RlimitBounds};

#[test]
fn a_limit_is_what_was_asked_for_in_any_profile() {
    let Some(place) = Place::new() else { return };
    for profile in Profile::ALL {
        let rlimits = [
            (Rlimit::Nofile, RlimitBounds { soft: Some(64), hard: Some(128) }),
            (Rlimit::Fsize, RlimitBounds::both(Some(4096))),
        ];
        let spec = TaskSpec { rlimits: rlimits.into(), ..place.spec(profile, &[]) };
        let tell = "ulimit -n; ulimit -Hn; ulimit -Hn 129 2>/dev/null || echo no further";
        assert_eq!(place.run_spec(&spec, &["sh", "-c", tell]).passed(), "64\n128\nno further");
        let large = place.run_spec(&spec, &["sh", "-c", "trap '' XFSZ; head -c 5000 /dev/zero > large"]);
        assert_ne!(large.code, Some(0), "{large:?}");
        assert_eq!(fs::metadata(place.work().join("large")).unwrap().len(), 4096);
    }
}

#[test]
fn a_limit_above_the_nodes_own_is_an_error_that_names_both() {
    let Some(place) = Place::new() else { return };
    let most = getrlimit(Resource::Nofile).maximum;
    if capabilities(None).unwrap().effective.contains(CapabilitySet::SYS_RESOURCE) || most.is_none() {
        eprintln!("SKIPPED: this process may raise its limits");
        return;
    }
    let rlimits = [(Rlimit::Nofile, RlimitBounds::both(most.map(|most| most + 1)))].into();
    let spec = TaskSpec { rlimits, ..place.spec(Profile::Standard, &[]) };
    let error = prepare(&Confine::of(&spec, &place.machine())).map(drop).unwrap_err().to_string();
    let most = most.unwrap();
    assert!(error.starts_with(&format!("rlimits: `nofile` is {}, and the hard limit", most + 1)), "{error}");
    assert!(error.contains(&format!("is {most}, which it may not raise")), "{error}");
}

#[test]
fn a_crash_leaves_no_image_unless_that_is_loosened() {
    let Some(place) = Place::new() else { return };
    let crash = ["sh", "-c", "ulimit -Sc $(ulimit -Hc) && sh -c 'kill -SEGV $$'; ls"];
    for profile in [Profile::Standard, Profile::Strict] {
        assert_eq!(place.run(profile, &[], &crash).passed(), "");
        let limits = place.run(profile, &[], &["grep", "core file size", "/proc/self/limits"]).passed();
        assert_eq!(limits.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["1", "1"], "{limits}");
    }
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.starts_with(['/', '|', '@']) || getrlimit(Resource::Core).maximum.is_some_and(|most| most < 1 << 20) {
        eprintln!("SKIPPED: this machine leaves images elsewhere, or none: {}", pattern.trim());
        return;
    }
    let left = place.run(Profile::Standard, &[Measure::CoreDumps], &crash).passed();
    assert!(left.contains("core"), "{left:?}");
}
