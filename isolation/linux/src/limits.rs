//! What cgroups this machine permits, and making one with limits that are in force, not merely asked for.
//!
//! `cgroups-rs` makes the groups and writes the limits, but swallows errors; so each limit is set on its own and read back
//! from the kernel afterwards.

use crate::group::{Groups, UNIFIED, subfolders};
use cgroups_rs::fs::{Cgroup, MaxValue, cpu::CpuController, hierarchies, memory::MemController, pid::PidController};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Debug, Display},
    fs, io,
    path::{Path, PathBuf},
};
use taffeta_isolation_plan::{Cgroups, Controller, Limits, Measures, Memory, Permitted};

/// Where a v2 hierarchy is mounted; `cgroups-rs` knows no other place.
const MOUNT: &str = "/sys/fs/cgroup";

/// Finds out by making the node's own group, which stays: its tasks get theirs inside.
pub(crate) fn probe(node_id: &str) -> Permitted {
    let group_parent = format!("taffeta/{node_id}");
    let root = rustix::process::geteuid().is_root();
    let cgroups =
        if hierarchies::is_cgroup2_unified_mode() { probe_v2(&group_parent) } else { probe_v1(&group_parent) };
    let memory = Memory::Nowhere { why: "it was not looked for".into() };
    Permitted { root, cgroups, group_parent, memory, measures: Measures::default() }
}

fn probe_v1(parent: &str) -> Cgroups {
    let mut have = BTreeSet::new();
    let mut why = String::from("no cgroup hierarchy is mounted");
    for controller in Controller::ALL {
        let Some(folder) = v1_folders(parent, &BTreeSet::from([controller])).into_values().next() else { continue };
        match fs::create_dir_all(&folder).and_then(|()| writable(&folder)) {
            Ok(()) => {
                have.insert(controller);
            }
            Err(e) => why = format!("{}: {e}", folder.display()),
        }
    }
    if have.is_empty() { Cgroups::None { why } } else { Cgroups::V1(have) }
}

fn probe_v2(parent: &str) -> Cgroups {
    let wanted = BTreeSet::from([Controller::Cpu, Controller::Memory, Controller::Pids]);
    let listed = |file: PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let have = |c: &Controller| text.split_whitespace().any(|name| name == c.name());
        wanted.iter().copied().filter(have).collect::<BTreeSet<_>>()
    };
    let offered = listed(Path::new(MOUNT).join("cgroup.controllers"));
    let folder = Path::new(MOUNT).join(parent);
    let made = Cgroup::new_with_specified_controllers(hierarchies::auto(), parent, Some(names(&offered)));
    let made = made.map_err(|e| cause(&e)).and_then(|_| writable(&folder).map_err(|e| e.to_string()));
    match made {
        Ok(()) => Cgroups::V2(listed(folder.join("cgroup.controllers"))),
        Err(e) => Cgroups::None { why: format!("{}: {e}", folder.display()) },
    }
}

fn writable(folder: &Path) -> io::Result<()> {
    Ok(accessat(CWD, folder, Access::WRITE_OK, AtFlags::EACCESS)?)
}

fn names(controllers: &BTreeSet<Controller>) -> Vec<String> {
    controllers.iter().map(|c| c.name().to_owned()).collect()
}

fn v1_folders(path: &str, controllers: &BTreeSet<Controller>) -> BTreeMap<String, PathBuf> {
    let group = Cgroup::load_with_specified_controllers(hierarchies::auto(), path, names(controllers));
    let folder = |s: &cgroups_rs::fs::Subsystem| (s.controller_name(), s.to_controller().path().to_path_buf());
    group.subsystems().iter().map(folder).collect()
}

/// Where the group of this path lies, whether or not it exists.
pub(crate) fn groups(path: &str, cgroups: &Cgroups) -> Groups {
    Groups(match cgroups {
        Cgroups::None { .. } => BTreeMap::new(),
        Cgroups::V1(controllers) => v1_folders(path, controllers),
        Cgroups::V2(_) => BTreeMap::from([(UNIFIED.to_owned(), Path::new(MOUNT).join(path))]),
    })
}

/// The groups inside the node's own, by name; with all the folders that have it.
pub(crate) fn groups_of_node(permitted: &Permitted) -> BTreeMap<String, Groups> {
    let mut found: BTreeMap<String, Groups> = BTreeMap::new();
    for (controller, folder) in groups(&permitted.group_parent, &permitted.cgroups).0 {
        for inner in subfolders(&folder) {
            let Some(name) = inner.file_name().and_then(|n| n.to_str()).map(str::to_owned) else { continue };
            found.entry(name).or_default().0.insert(controller.clone(), inner);
        }
    }
    found
}

/// Makes the group and sets the limits. Gives where it lies and, in words, which limits are not in force.
pub(crate) fn create(path: &str, limits: &Limits, cgroups: &Cgroups) -> io::Result<(Groups, Vec<String>)> {
    let (controllers, v2) = match cgroups {
        Cgroups::None { .. } => return Ok((Groups::default(), vec![])),
        Cgroups::V1(have) => (have, false),
        Cgroups::V2(have) => (have, true),
    };
    let group = Cgroup::new_with_specified_controllers(hierarchies::auto(), path, Some(names(controllers)));
    let group = group.map_err(|e| io::Error::other(format!("cannot make the cgroup {path}: {}", cause(&e))))?;
    let mut gaps = Vec::new();
    if let Some(cpu) = controllers.contains(&Controller::Cpu).then(|| group.controller_of()).flatten() {
        limit_cpu(cpu, limits, v2, &mut gaps);
    }
    if let Some(memory) = controllers.contains(&Controller::Memory).then(|| group.controller_of()).flatten() {
        limit_memory(memory, limits, v2, &mut gaps);
    }
    if let Some(pids) = controllers.contains(&Controller::Pids).then(|| group.controller_of()).flatten() {
        limit_pids(pids, limits, &mut gaps);
    }
    Ok((groups(path, cgroups), gaps))
}

fn limit_cpu(cpu: &CpuController, limits: &Limits, v2: bool, gaps: &mut Vec<String>) {
    let weight = if v2 { limits.cpu_weight } else { limits.cpu_shares };
    let set = cpu.set_shares(weight);
    confirm("cpu: the weight", weight, &set, cpu.shares(), |is| *is == weight, gaps);
    if let Some(quota) = limits.cpu_quota {
        let wanted = i64::try_from(quota.quota_us).unwrap_or(i64::MAX);
        let set = cpu.set_cfs_quota_and_period(Some(wanted), Some(quota.period_us));
        confirm("cpu: the quota in microseconds", wanted, &set, cpu.cfs_quota(), |is| *is == wanted, gaps);
        confirm("cpu: the period", quota.period_us, &set, cpu.cfs_period(), |is| *is == quota.period_us, gaps);
    }
}

fn limit_memory(memory: &MemController, limits: &Limits, v2: bool, gaps: &mut Vec<String>) {
    use cgroups_rs::fs::Controller as _;
    let wanted = i64::try_from(limits.memory_bytes).unwrap_or(i64::MAX);
    let set = memory.set_limit(wanted);
    let file = memory.path().join(if v2 { "memory.max" } else { "memory.limit_in_bytes" });
    let is = fs::read_to_string(file).map(|text| text.trim().to_owned());
    // The kernel counts whole pages, of 64 KiB at most.
    let close = |is: &String| is.parse::<i64>().is_ok_and(|is| is <= wanted && wanted - is < 65_536);
    confirm("memory: the limit in bytes", wanted, &set, is, close, gaps);
    // Swap off where it is counted: v1 limits the sum of both, v2 swap alone. Kernels without that have no file for it.
    let _ = memory.set_memswap_limit(if v2 { 0 } else { wanted });
    if v2 {
        // A task of which one process was killed for memory is half dead: all of it goes. The shim does so on v1.
        let _ = fs::write(memory.path().join("memory.oom.group"), "1");
    }
}

fn limit_pids(pids: &PidController, limits: &Limits, gaps: &mut Vec<String>) {
    let wanted = MaxValue::Value(i64::from(limits.pids_max));
    let set = pids.set_pid_max(wanted);
    confirm("pids: the limit", limits.pids_max, &set, pids.get_pid_max(), |is| *is == wanted, gaps);
}

/// Adds a gap unless what the kernel says is what was asked for.
fn confirm<T: Debug, E: Display>(
    what: &str,
    wanted: impl Display,
    set: &cgroups_rs::fs::error::Result<()>,
    is: Result<T, E>,
    fits: impl Fn(&T) -> bool,
    gaps: &mut Vec<String>,
) {
    match (is, set) {
        (Ok(is), _) if fits(&is) => {}
        (_, Err(e)) => gaps.push(format!("{what} of {wanted} is not in force: {}", cause(e))),
        (Ok(is), Ok(())) => gaps.push(format!("{what} of {wanted} is not in force: the kernel says {is:?}")),
        (Err(e), Ok(())) => gaps.push(format!("{what} of {wanted} cannot be read back: {e}")),
    }
}

/// The error with its cause, which `cgroups-rs` leaves out of its text.
fn cause(error: &cgroups_rs::fs::error::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
