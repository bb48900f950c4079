//! Leaving nothing behind: the processes, cgroups and files of a folder.

use crate::{
    group::{remove_groups_of, remove_orphans},
    wait::eventually,
};
use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

/// Levels between a folder that is swept and the data folders in it: clusters, machines.
const DEPTH_MAX: usize = 2;
/// Levels below the group of a node: those of its runs, and what tasks make themselves.
const GROUPS_DEPTH_MAX: usize = 4;
/// Begins the name of a cluster's folder; the id of the process follows, and a dash.
pub(crate) const CLUSTER: &str = "taffeta-test-";

/// Kills every process that has the folder in its command line or environment, or is in a cgroup of a node whose data the
/// folder holds, and removes the folder, what is mounted in it, and those cgroups. Safe to repeat, and for what another
/// process left there.
pub fn sweep(folder: &Path) {
    sweep_nodes(folder, &BTreeSet::new());
    remove_groups_of(folder);
    let _ = fs::remove_dir_all(folder);
}

/// The same but for the folder, and with the cgroups of these nodes, too: what tells the id of a node may be gone, with its
/// data or with the disk that they are on.
pub(crate) fn sweep_nodes(folder: &Path, known: &BTreeSet<String>) {
    let mut ids = known.clone();
    eventually("all processes have ended", || {
        ids.extend(nodes_of(folder));
        kill_all(folder);
        ids.iter().for_each(|id| kill_groups(id));
        processes_of(folder).is_empty()
    });
    ids.iter().for_each(|id| remove_groups(id));
    unmount_below(folder);
}

/// Sweeps what clusters have left whose test was killed: those whose process is no more.
pub fn sweep_orphans() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(CLUSTER).is_some_and(owner_is_gone) {
            eprintln!("sweeping {}, whose test was killed", entry.path().display());
            sweep(&entry.path());
        }
    }
    remove_orphans();
}

/// Whether the process is no more whose id begins what follows [`CLUSTER`] in a name.
pub(crate) fn owner_is_gone(rest: &str) -> bool {
    let owner = rest.split('-').next().and_then(|pid| pid.parse::<u32>().ok());
    owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// The ids of the nodes that keep their data in a folder, as its files and the cgroups of its processes tell them.
pub(crate) fn nodes_of(folder: &Path) -> BTreeSet<String> {
    let groups = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let of_group = |line: &str| Some(line.split_once(":/taffeta/")?.1.split('/').next()?.to_owned());
    let processes = processes_of(folder);
    let told = processes.iter().flat_map(|pid| groups(pid).lines().filter_map(of_group).collect::<Vec<_>>());
    told.chain(node_ids(folder, DEPTH_MAX)).filter(|id| !id.is_empty()).collect()
}

fn unmount_below(folder: &Path) {
    let inside = format!("{}/", folder.display());
    for line in fs::read_to_string("/proc/mounts").unwrap_or_default().lines() {
        if let Some(at) = line.split(' ').nth(1).filter(|at| at.starts_with(&inside)) {
            let _ = unmount(at, UnmountFlags::DETACH);
        }
    }
}

/// Sends a signal; a process that is gone is none to send it to.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Kills every process of a folder, again and again by the caller until none is left.
pub(crate) fn kill_all(folder: &Path) {
    for pid in processes_of(folder) {
        signal(pid, Signal::KILL);
    }
}

/// Processes that have the folder in their command line (nodes, shims) or in their environment (tasks).
pub(crate) fn processes_of(folder: &Path) -> BTreeSet<i32> {
    let needle = folder.to_string_lossy().into_owned();
    let me = std::process::id() as i32;
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let holds = |file: &str| {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            let mut fields = bytes.split(|b| *b == 0).map(String::from_utf8_lossy);
            fields.any(|field| belongs(&field, &needle))
        };
        if pid != me && (holds("cmdline") || holds("environ")) {
            found.insert(pid);
        }
    }
    found
}

/// Whether a field names the folder or something below it: `/x/n1` but not `/x/n10`.
fn belongs(field: &str, folder: &str) -> bool {
    let mut rest = field;
    while let Some(at) = rest.find(folder) {
        rest = &rest[at + folder.len()..];
        if rest.is_empty() || rest.starts_with('/') || rest.starts_with(':') {
            return true;
        }
    }
    false
}

/// The ids of the nodes whose data folders are in this one.
fn node_ids(folder: &Path, depth: usize) -> Vec<String> {
    let own = fs::read_to_string(folder.join("node.id")).ok().map(|id| id.trim().to_owned());
    let inner = if depth == 0 { vec![] } else { subfolders(folder) };
    own.into_iter().chain(inner.iter().flat_map(|inner| node_ids(inner, depth - 1))).collect()
}

/// Where the groups of a node are if it has any, in all hierarchies.
pub fn groups_of(node: &str) -> impl Iterator<Item = PathBuf> {
    let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|e| e.path());
    roots.chain(["/sys/fs/cgroup".into()]).map(move |root| root.join("taffeta").join(node))
}

/// Kills what is in them: a task may have left nothing else by which it is known.
pub(crate) fn kill_groups(node: &str) {
    for group in groups_of(node) {
        members(&group, GROUPS_DEPTH_MAX).into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }
}

fn members(group: &Path, depth: usize) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0);
    let inner = if depth == 0 { vec![] } else { subfolders(group) };
    own.chain(inner.iter().flat_map(|inner| members(inner, depth - 1))).collect()
}

/// Removes what a killed node leaves of its cgroups. The kernel lets go of the dead a little late: tries for a second.
pub(crate) fn remove_groups(node: &str) {
    for own in groups_of(node) {
        for _ in 0..100 {
            if remove_tree(&own, GROUPS_DEPTH_MAX) {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = own.parent().map(fs::remove_dir); // stays while another node uses it
    }
}

fn remove_tree(group: &Path, depth: usize) -> bool {
    if depth > 0 {
        for inner in subfolders(group) {
            remove_tree(&inner, depth - 1);
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}
