//! Processes of a run where there is no cgroup to find them by.

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use std::{fs, path::Path, thread::sleep, time::Duration};

/// Kills the processes that carry the run's `TAFFETA_TASK_DIR` in their environment: it is unique on the machine, cannot
/// be recycled as a process number can, and daemons inherit it. A program that wipes its environment and detaches, and
/// whose shim was killed, escapes; that is what best effort means. False if some survived two seconds.
pub(crate) fn kill_marked(work: &Path) -> bool {
    let mark = format!("TAFFETA_TASK_DIR={}", work.display());
    for _ in 0..200 {
        if kill_once(mark.as_bytes()) == 0 {
            return true;
        }
        sleep(Duration::from_millis(10));
    }
    false
}

fn kill_once(mark: &[u8]) -> usize {
    let marked = |pid: &u32| {
        // A dead process that nobody has reaped yet has an empty environment, so it does not count.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|b| *b == 0).any(|variable| variable == mark)
    };
    let mut found = 0;
    for pid in numbers().filter(marked) {
        let Some(fd) = pid_of(pid).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()) else { continue };
        if marked(&pid) {
            found += 1; // looked again through the open file: it is this process, whatever became of the number
            let _ = pidfd_send_signal(&fd, Signal::KILL);
        }
    }
    found
}

/// Kills the direct children of this process. Their numbers cannot be recycled before we reap them; their own children
/// become ours, for a subreaper, and are met in the next round.
pub(crate) fn kill_children() {
    let own = std::process::id();
    for pid in numbers().filter(|pid| parent_of(*pid) == Some(own)) {
        if let Some(pid) = pid_of(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn numbers() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
