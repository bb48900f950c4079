//! What a run uses, by the kernel's counters.

use crate::{
    group::Groups,
    machine::Machine,
    record::{STATE_FILE, StateRecord, read_record},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use taffeta_isolation_plan::{Controller, Disks, Pressure, Pressures, Stall, Throttled, Usage};

/// Processes of a run without a group that are looked at: no more may be its own (`pids`), unless nothing limits them.
const PROCESSES_MAX: usize = 10_000;

/// What a run uses; without groups, what its processes do that live.
pub(crate) fn of_run(machine: &Machine, run_id: &str) -> Option<Usage> {
    let state: StateRecord = read_record(&machine.folder(run_id).join(STATE_FILE)).ok()??;
    let groups = &state.groups;
    let processes = || state.lives(state.task).then(|| of_processes(state.task.pid)).flatten();
    let cpu = cpu_of(groups).or_else(|| Some(processes()?.cpu))?;
    let memory = memory_of(groups).or_else(|| Some(processes()?.memory))?;
    let memory_files = Counters::of(groups, "memory");
    let pids_files = Counters::of(groups, "pids");
    Some(Usage {
        cpu,
        memory,
        memory_peak: memory_files.number("memory.max_usage_in_bytes", "memory.peak"),
        memory_max: memory_files.number("memory.limit_in_bytes", "memory.max"),
        pids: pids_files.number("pids.current", "pids.current"),
        pids_max: pids_files.number("pids.max", "pids.max"),
        forks_refused: pids_files.field("pids.events", "pids.events", "max"),
        oom_kills: memory_files.field("memory.oom_control", "memory.events", "oom_kill"),
        throttled: throttled(groups),
        disks: disks(groups),
        pressures: groups.unified().and_then(pressures),
    })
}

/// The files of one controller of a group, which have a name on each version.
struct Counters<'a> {
    v1: Option<&'a Path>,
    unified: Option<&'a Path>,
}

impl<'a> Counters<'a> {
    fn of(groups: &'a Groups, controller: &str) -> Self {
        // On a hybrid machine the unified group has none of these.
        Self { v1: groups.v1(controller), unified: groups.unified() }
    }

    fn file(&self, v1: &str, v2: &str) -> Option<PathBuf> {
        self.v1.map(|folder| folder.join(v1)).or_else(|| Some(self.unified?.join(v2)))
    }

    /// `None` as well for `max`, which is no number.
    fn number(&self, v1: &str, v2: &str) -> Option<u64> {
        number(&self.file(v1, v2)?)
    }

    fn field(&self, v1: &str, v2: &str, name: &str) -> Option<u64> {
        field(&self.file(v1, v2)?, name)
    }
}

fn cpu_of(groups: &Groups) -> Option<Duration> {
    if let Some(folder) = groups.v1("cpuacct").or_else(|| groups.v1("cpu"))
        && let Some(nanos) = number(&folder.join("cpuacct.usage"))
    {
        return Some(Duration::from_nanos(nanos));
    }
    // Every v2 group counts it, without a controller.
    field(&groups.unified()?.join("cpu.stat"), "usage_usec").map(Duration::from_micros)
}

/// What is used, less the file pages that nobody has touched lately, as `kubectl top` counts.
fn memory_of(groups: &Groups) -> Option<u64> {
    let files = Counters::of(groups, "memory");
    let used = files.number("memory.usage_in_bytes", "memory.current")?;
    let idle = if files.v1.is_some() { "total_inactive_file" } else { "inactive_file" };
    Some(used.saturating_sub(files.field("memory.stat", "memory.stat", idle).unwrap_or_default()))
}

/// `None` without a quota: there are no periods then.
fn throttled(groups: &Groups) -> Option<Throttled> {
    let file = Counters::of(groups, "cpu").file("cpu.stat", "cpu.stat")?;
    let periods = field(&file, "nr_periods").filter(|periods| *periods > 0)?;
    let nanos = || field(&file, "throttled_time").map(Duration::from_nanos);
    let time = field(&file, "throttled_usec").map(Duration::from_micros).or_else(nanos)?;
    Some(Throttled { periods, throttled: field(&file, "nr_throttled")?, time })
}

fn disks(groups: &Groups) -> Option<Disks> {
    match groups.v1(Controller::Io.v1_name()) {
        Some(v1) => {
            // Counted whatever scheduler a disk has: `MAJOR:MINOR Read BYTES`.
            let text = fs::read_to_string(v1.join("blkio.throttle.io_service_bytes_recursive")).ok()?;
            let sum = |what: &str| text.lines().filter_map(|line| after(line, what)?.trim().parse::<u64>().ok()).sum();
            Some(Disks { read: sum(" Read "), written: sum(" Write ") })
        }
        None => {
            let text = fs::read_to_string(groups.unified()?.join("io.stat")).ok()?;
            let number = |word: &str, name: &str| word.strip_prefix(name)?.parse::<u64>().ok();
            let sum = |name| text.split_whitespace().filter_map(|word| number(word, name)).sum();
            Some(Disks { read: sum("rbytes="), written: sum("wbytes=") })
        }
    }
}

fn after<'a>(line: &'a str, what: &str) -> Option<&'a str> {
    line.split_once(what).map(|(_, after)| after)
}

/// Every v2 group has them, without a controller, where the kernel counts pressure at all.
fn pressures(group: &Path) -> Option<Pressures> {
    let of = |name: &str| pressure(&fs::read_to_string(group.join(name)).ok()?);
    Some(Pressures { cpu: of("cpu.pressure")?, memory: of("memory.pressure")?, io: of("io.pressure")? })
}

/// From lines as `some avg10=0.12 avg60=0.00 avg300=0.00 total=1234`, in percent and microseconds.
fn pressure(text: &str) -> Option<Pressure> {
    let stall = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let value = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let (whole, part) = value("avg10")?.split_once('.')?;
        let avg10 = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part.parse().ok()?)?;
        Some(Stall { avg10, total: Duration::from_micros(value("total")?.parse().ok()?) })
    };
    Some(Pressure { some: stall("some")?, full: stall("full").unwrap_or_default() })
}

pub(crate) fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// A line of `name value`.
pub(crate) fn field(file: &Path, name: &str) -> Option<u64> {
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
        let usage = || of_processes(std::process::id()).unwrap();
        while usage().cpu < Duration::from_millis(20) {
            assert!(spent.elapsed() < Duration::from_secs(30), "{:?}", usage());
        }
        assert!(usage().memory > 1 << 20, "{:?}", usage());
        assert_eq!(stat(u32::MAX), None);
    }

    #[test]
    fn pressure_is_read_in_hundredths_of_a_percent() {
        let text =
            "some avg10=12.05 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.30 avg60=0.00 avg300=0.00 total=7\n";
        let some = Stall { avg10: 1205, total: Duration::from_millis(1500) };
        let full = Stall { avg10: 30, total: Duration::from_micros(7) };
        assert_eq!(pressure(text), Some(Pressure { some, full }));
        let old = pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n").unwrap();
        assert_eq!(
            (old.some.total, old.full),
            (Duration::from_micros(3), Stall::default()),
            "no `full` for processors"
        );
        assert_eq!(pressure("some avg10=x total=1"), None);
    }

    #[test]
    fn what_was_read_and_written_is_summed_over_the_disks_of_either_version() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 5\n8:0 Write 7\n8:0 Total 12\n8:16 Read 1\nTotal 13\n",
        );
        write("io.stat", "8:0 rbytes=5 wbytes=7 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=0\n");
        let of = |name: &str| disks(&Groups([(name.to_owned(), folder.path().to_path_buf())].into()));
        assert_eq!(of("blkio"), Some(Disks { read: 6, written: 7 }));
        assert_eq!(of("unified"), Some(Disks { read: 6, written: 7 }));
        assert_eq!(of("memory"), None);
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
