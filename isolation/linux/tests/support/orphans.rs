//! Whose test was killed leaves agents, shims, tasks, groups and folders behind; the next one sweeps them.

use super::Bench;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

/// Begins the name of a bench's folder; its node's id follows, and a dot.
pub const FOLDER: &str = "taffeta-tasks-";

/// Sweeps what was left by tests whose process is no more.
pub fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((node_id, _)) = name.strip_prefix(FOLDER).and_then(|rest| rest.split_once('.')) else { continue };
        let owner = node_id.strip_prefix("test-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let ours = entry.metadata().is_ok_and(|about| about.uid() == geteuid().as_raw());
        if !ours || owner.is_none_or(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            continue;
        }
        eprintln!("sweeping {}, whose test was killed", entry.path().display());
        kill_those_of(&entry.path());
        drop(Bench::left(entry.path().join("tasks"), node_id.to_owned()));
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Kills the agents that it has left; what they have left is found by the next one.
fn kill_those_of(folder: &Path) {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let folder = folder.as_os_str().as_bytes();
        if line.windows(folder.len()).any(|window| window == folder)
            && let Some(pid) = Pid::from_raw(pid)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
