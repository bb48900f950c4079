//! What a process uses of the machine.

use std::{fs, thread::sleep, time::Duration};

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

/// Resident memory of a process, in MiB. Panics if there is no such process.
pub fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("resident memory");
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib / 1024.0
}
