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

/// Sends a signal to all processes of a session. The session's number is its own while its leader is not reaped.
pub(crate) fn signal_session(session: u32, signal: Signal) {
    for pid in numbers().filter(|pid| is_in_session(*pid, session)) {
        let Some(fd) = pid_of(pid).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()) else { continue };
        if is_in_session(pid, session) {
            let _ = pidfd_send_signal(&fd, signal);
        }
    }
}

/// Whether any process of the session lives.
pub(crate) fn session_lives(session: u32) -> bool {
    numbers().any(|pid| is_in_session(pid, session))
}

fn is_in_session(pid: u32, session: u32) -> bool {
    let is = |fields: Vec<String>| {
        let dead = matches!(fields.first().map(String::as_str), Some("Z" | "X"));
        !dead && fields.get(3).and_then(|field| field.parse().ok()) == Some(session)
    };
    fields(pid).is_some_and(is)
}

fn numbers() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: u32) -> Option<u32> {
    fields(pid)?.get(1)?.parse().ok()
}

/// What follows the name in `/proc/PID/stat`: first the state, then the parent, the process group, the session.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().take(4).map(str::to_owned).collect())
}

fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
