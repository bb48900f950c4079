//! What a run uses, by the kernel's counters.

use crate::{
    group::{Groups, UNIFIED},
    machine::Machine,
    record::{STATE_FILE, StateRecord, read_record},
};
use std::{fs, path::Path, time::Duration};
use taffeta_isolation_plan::Usage;

/// Processes of a run without a group that are looked at: no more may be its own (`pids`), unless nothing limits them.
const PROCESSES_MAX: usize = 10_000;

/// What a run uses; without groups, what its processes do that live.
pub(crate) fn of_run(machine: &Machine, run_id: &str) -> Option<Usage> {
    let state: StateRecord = read_record(&machine.folder(run_id).join(STATE_FILE)).ok()??;
    let groups = &state.groups;
    let processes = || of_processes(state.task.pid);
    let cpu = cpu_of(groups).or_else(|| Some(processes()?.cpu))?;
    let memory = memory_of(groups).or_else(|| Some(processes()?.memory))?;
    Some(Usage { cpu, memory })
}

fn cpu_of(groups: &Groups) -> Option<Duration> {
    if let Some(unified) = groups.0.get(UNIFIED) {
        return field(&unified.join("cpu.stat"), "usage_usec").map(Duration::from_micros);
    }
    let folder = groups.0.get("cpuacct").or_else(|| groups.0.get("cpu"))?;
    number(&folder.join("cpuacct.usage")).map(Duration::from_nanos)
}

/// What is used, less the file pages that nobody has touched lately, as `kubectl top` counts.
fn memory_of(groups: &Groups) -> Option<u64> {
    let (folder, used, idle) = match (groups.0.get(UNIFIED), groups.0.get("memory")) {
        (Some(v2), _) => (v2, "memory.current", "inactive_file"),
        (None, Some(v1)) => (v1, "memory.usage_in_bytes", "total_inactive_file"),
        (None, None) => return None,
    };
    let used = number(&folder.join(used))?;
    Some(used.saturating_sub(field(&folder.join("memory.stat"), idle).unwrap_or_default()))
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// A line of `name value`.
fn field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// A process, those that it waited for, and its descendants that live.
fn of_processes(first: u32) -> Option<Usage> {
    let mut usage = Usage::default();
    let (mut open, mut seen) = (vec![first], 0);
    let tick = Duration::from_secs(1) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    let page = rustix::param::page_size() as u64;
    while let Some(pid) = open.pop() {
        seen += 1;
        if seen > PROCESSES_MAX {
            return None;
        }
        let Some([user, system, waited_user, waited_system, pages]) = stat(pid) else { continue };
        let ticks = user + system + waited_user + waited_system;
        usage.cpu += tick * u32::try_from(ticks).unwrap_or(u32::MAX);
        usage.memory += pages * page;
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            open.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    (seen > 0).then_some(usage)
}

/// Fields 14 to 17 (times) and 24 (resident pages) of `/proc/PID/stat`.
fn stat(pid: u32) -> Option<[u64; 5]> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?; // a name may contain anything
    let fields: Vec<&str> = rest.split_whitespace().collect(); // from field 3
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some([field(14)?, field(15)?, field(16)?, field(17)?, field(24)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_a_group_is_counted_by_itself() {
        let spent = std::time::Instant::now();
        while spent.elapsed() < Duration::from_millis(60) {
            std::hint::black_box(0);
        }
        let usage = of_processes(std::process::id()).unwrap();
        assert!(usage.cpu >= Duration::from_millis(20) && usage.memory > 1 << 20, "{usage:?}");
        assert_eq!(stat(u32::MAX), None);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.stat");
        fs::write(&file, "inactive_file_x 3\ninactive_file 7\n").unwrap();
        assert_eq!(field(&file, "inactive_file"), Some(7));
        assert_eq!(field(&file, "file"), None);
    }
}
