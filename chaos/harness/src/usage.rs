//! What a process uses of the machine.

use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, SystemTime},
};

/// Linux counts time for `/proc` in hundredths of a second, whatever its own clock.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process since its start, to 10 ms. Panics if there is no such process.
fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let after_name = stat.rsplit(')').next().expect("a name in brackets");
    let fields: Vec<u32> = after_name.split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
    // The state is field 3, the first after the name; user and system time are fields 14 and 15 (proc_pid_stat(5)).
    TICK * fields.iter().sum::<u32>()
}

/// Lets a time pass and gives what each process used of a core meanwhile: 0.01 is a hundredth of a core.
pub fn cores_used(pids: &[u32], window: Duration) -> Vec<f64> {
    let before: Vec<Duration> = pids.iter().map(|pid| cpu_time(*pid)).collect();
    sleep(window); // the measurement itself
    let used = pids.iter().zip(before).map(|(pid, before)| cpu_time(*pid) - before);
    used.map(|used| used.as_secs_f64() / window.as_secs_f64()).collect()
}

/// How often the threads of a process have been woken since they began (`voluntary_ctxt_switches` of proc_pid_status(5)): what
/// an idle process does, whatever that costs on the machine. Panics if there is no such process.
pub fn wakeups(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a running process");
    let of = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    // A thread may end meanwhile.
    let all = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    all.filter_map(of).sum::<u64>()
}

/// What a process has had written to disks since it started (proc_pid_io(5)). Panics if there is no such process.
pub fn written_bytes(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("a running process");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:")).expect("a count of written bytes");
    line.trim().parse().expect("a number")
}

/// Files below a folder that were changed since then. Panics if there is no such folder.
pub fn changed_since(folder: &Path, moment: SystemTime) -> Vec<PathBuf> {
    let mut changed = vec![];
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let about = entry.metadata().expect("a file");
        if about.is_dir() {
            changed.extend(changed_since(&entry.path(), moment));
        } else if about.modified().expect("a date") > moment {
            changed.push(entry.path());
        }
    }
    changed
}

/// Resident memory of a process, in MiB. Panics if there is no such process.
pub fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("resident memory");
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib / 1024.0
}
