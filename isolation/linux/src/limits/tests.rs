//! Limits of version 2 that the kernel does not keep: with files in their place that take what is written, or do not.

use super::*;
use std::os::unix::fs::symlink;
use taffeta_isolation_plan::Quota;

const LIMITS: Limits = Limits {
    cpu_shares: 256,
    cpu_weight: 10,
    cpu_quota: Some(Quota { quota_us: 25_000, period_us: 100_000 }),
    memory_bytes: 64 << 20,
    pids_max: 50,
    cpuset: None,
    io_weight: None,
};

/// What is not in force of a group in this folder.
fn gaps(folder: &Path, set: impl FnOnce(&mut Limiter<'_>)) -> Vec<String> {
    let groups = Groups([(UNIFIED.to_owned(), folder.to_path_buf())].into());
    let have = BTreeSet::from(Controller::UNIFIED);
    let mut limiter = Limiter { groups: &groups, have: &have, v1: false, gaps: vec![] };
    set(&mut limiter);
    limiter.gaps
}

#[test]
fn a_limit_that_is_taken_and_not_kept_is_told_with_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    symlink("/dev/null", folder.path().join("cpu.weight")).unwrap();
    fs::write(folder.path().join("cpu.max"), "max 100000").unwrap();
    let found = gaps(folder.path(), |limiter| limiter.limit_cpu(&LIMITS));
    assert_eq!(found, ["cpu: the weight of 10 is not in force: cpu.weight says "]);
    // What was there was longer: the file keeps the rest of it, as no file of the kernel does.
    fs::write(folder.path().join("pids.max"), "1000").unwrap();
    let found = gaps(folder.path(), |limiter| limiter.limit_pids(&LIMITS));
    assert_eq!(found, ["pids: the limit of 50 is not in force: pids.max says 5000"]);
}

#[test]
fn a_limit_that_the_kernel_does_not_know_is_told_and_one_that_is_kept_is_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cpu.weight"), "99").unwrap();
    fs::write(folder.path().join("memory.max"), "max").unwrap();
    fs::write(folder.path().join("memory.swap.max"), "9").unwrap();
    let found = gaps(folder.path(), |limiter| {
        limiter.limit_cpu(&LIMITS);
        limiter.limit_memory(&LIMITS);
        limiter.limit_pids(&LIMITS);
    });
    let wanted = [
        "cpu: the quota in microseconds of 25000 100000 is not in force: this kernel has no cpu.max",
        "memory: the end of the whole task at its limit of 1 is not in force: this kernel has no memory.oom.group",
        "pids: the limit of 50 is not in force: this kernel has no pids.max",
    ];
    assert_eq!(found, wanted);
    assert_eq!(fs::read_to_string(folder.path().join("memory.max")).unwrap(), (64 << 20).to_string());
}
