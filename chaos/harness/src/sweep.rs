//! Leaving nothing behind: the processes, cgroups and files of a folder.

use crate::wait::eventually;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

/// Levels between a folder that is swept and the data folders in it: clusters, machines.
const DEPTH_MAX: usize = 2;

/// Kills every process that has the folder in its command line or environment, and removes the folder and the cgroups
/// of the nodes whose data it holds. Safe to repeat, and for what another process left there.
pub fn sweep(folder: &Path) {
    eventually("all processes have ended", || {
        kill_all(folder);
        processes_of(folder).is_empty()
    });
    node_ids(folder, DEPTH_MAX).iter().for_each(|id| remove_groups(id));
    let _ = fs::remove_dir_all(folder);
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
    let folders = |entry: fs::DirEntry| -> Option<PathBuf> { entry.file_type().ok()?.is_dir().then(|| entry.path()) };
    let inner: Vec<PathBuf> = match depth {
        0 => vec![],
        _ => fs::read_dir(folder).into_iter().flatten().flatten().filter_map(folders).collect(),
    };
    own.into_iter().chain(inner.iter().flat_map(|inner| node_ids(inner, depth - 1))).collect()
}

/// Removes what a killed node leaves of its cgroups. The kernel lets go of the dead a little late: tries for a second.
fn remove_groups(node: &str) {
    let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|e| e.path());
    for root in roots.chain(["/sys/fs/cgroup".into()]) {
        let own = root.join("taffeta").join(node);
        for _ in 0..100 {
            for run in fs::read_dir(&own).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
                let _ = fs::remove_dir(run.path());
            }
            if fs::remove_dir(&own).is_ok() || !own.exists() {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_dir(root.join("taffeta")); // stays while another node uses it
    }
}
