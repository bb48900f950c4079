//! The end of a demo: no process, no cgroup is left of it, whoever started what.

use crate::failure::{Failure, Outcome};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, wait};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process,
    thread::sleep,
    time::Duration,
};
use taffeta_model::NodeId;
use taffeta_net::NodeKey;

/// Rounds of 10 ms until what still lives counts as unkillable.
const ROUNDS_MAX: usize = 1_000;
/// Where cgroups are mounted: the hierarchies of v1 each in a folder of their own, v2 here or in `unified`.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Levels below a node's group: the tasks' groups, and what tasks make themselves.
const DEPTH_MAX: usize = 4;

/// Kills every process of the demo in this folder and removes its cgroups. Blocking, a few milliseconds as a rule.
pub(super) fn sweep(folder: &Path) -> Outcome {
    let mut quiet = 0;
    let (mut left, mut groups) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..ROUNDS_MAX {
        // Anew in each round: a node that was just starting may have made its groups since.
        groups = groups_of(&node_ids(folder));
        left = marked(folder);
        left.extend(groups.iter().flat_map(|group| members(group, DEPTH_MAX)));
        thaw(&groups);
        left.iter().for_each(|pid| kill(*pid, folder, &groups));
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        // Once more after the last: a process may have been forking while it was looked for.
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        if quiet == 2 {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    remove_groups(&groups);
    if left.is_empty() {
        return Ok(());
    }
    let pids: Vec<String> = left.iter().map(u32::to_string).collect();
    Err(Failure::failed(format!("some processes of the demo do not end: {}", pids.join(", "))))
}

/// The ids of the nodes that have begun to live in this folder: a key is on disk before anything is named by its id.
fn node_ids(folder: &Path) -> Vec<NodeId> {
    let nodes = fs::read_dir(folder).into_iter().flatten().flatten();
    let seed = |node: PathBuf| <[u8; 32]>::try_from(fs::read(node.join("node.key")).ok()?).ok();
    nodes.filter_map(|node| Some(NodeKey::from_seed(seed(node.path())?).public().node_id())).collect()
}

/// The cgroups of these nodes, wherever they are.
fn groups_of(ids: &[NodeId]) -> BTreeSet<PathBuf> {
    let inner = fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
    let hierarchies: Vec<PathBuf> = inner.chain([PathBuf::from(CGROUPS)]).collect();
    let group = |id: &NodeId| hierarchies.iter().map(|h| h.join("taffeta").join(id.to_string())).collect::<Vec<_>>();
    // Two names may lead to one hierarchy, as `cpu` to `cpu,cpuacct`.
    ids.iter().flat_map(group).filter_map(|path| path.canonicalize().ok()).collect()
}

fn members(group: &Path, depth: usize) -> BTreeSet<u32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut all: BTreeSet<u32> = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect();
    if depth > 0 {
        all.extend(subfolders(group).iter().flat_map(|inner| members(inner, depth - 1)));
    }
    all
}

/// A frozen process dies only when it is let go.
fn thaw(groups: &BTreeSet<PathBuf>) {
    for group in groups.iter().flat_map(|group| subfolders(group)) {
        if fs::read_to_string(group.join("freezer.state")).is_ok_and(|state| state.trim() != "THAWED") {
            let _ = fs::write(group.join("freezer.state"), "THAWED");
        }
    }
}

fn remove_groups(groups: &BTreeSet<PathBuf>) {
    for group in groups {
        for _ in 0..100 {
            if remove_tree(group, DEPTH_MAX) {
                break;
            }
            sleep(Duration::from_millis(10)); // the kernel lets go of the dead a little late
        }
        // Refused while another node has its groups there.
        let _ = group.parent().map(fs::remove_dir);
    }
}

fn remove_tree(group: &Path, depth: usize) -> bool {
    if depth > 0 {
        subfolders(group).iter().for_each(|inner| {
            remove_tree(inner, depth - 1);
        });
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// The processes that carry the folder: nodes and shims in their command line, tasks in their environment.
fn marked(folder: &Path) -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != process::id() && is_marked(*pid, folder)).collect()
}

fn is_marked(pid: u32, folder: &Path) -> bool {
    let inside = [folder.as_os_str().as_bytes(), b"/"].concat();
    // The dead that nobody has reaped have neither, so they do not count.
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    is_node_or_shim(&read("cmdline"), &inside) || is_task(&read("environ"), &inside)
}

/// Only those: a person's `tail -f` of a log stays.
fn is_node_or_shim(command_line: &[u8], inside: &[u8]) -> bool {
    let args: Vec<&[u8]> = command_line.split(|b| *b == 0).skip(1).collect();
    let verb = args.iter().any(|arg| [&b"up"[..], b"shim", b"keeper"].contains(arg));
    verb && args.iter().any(|arg| arg.starts_with(inside) || arg.starts_with(&[b"--data=", inside].concat()))
}

fn is_task(environment: &[u8], inside: &[u8]) -> bool {
    let mark = [b"TAFFETA_TASK_DIR=", inside].concat();
    environment.split(|b| *b == 0).any(|variable| variable.starts_with(&mark))
}

/// Kills what has the number, if it still is one of ours when it is held: numbers are used again.
fn kill(pid: u32, folder: &Path, groups: &BTreeSet<PathBuf>) {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let Ok(held) = pidfd_open(number, PidfdFlags::empty()) else { return };
    if is_marked(pid, folder) || groups.iter().any(|group| members(group, DEPTH_MAX).contains(&pid)) {
        let _ = pidfd_send_signal(&held, Signal::KILL);
    }
}

#[cfg(test)]
mod tests;
