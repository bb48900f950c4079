//! Processes that compute, or hold memory, until their time is over or their keeper dies.

use super::journal::boot_millis;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::{
    fs, hint, io,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::Duration,
};

/// Verbs of the keeper for them.
pub(crate) const BURN: &str = "burn";
pub(crate) const HOLD: &str = "hold";

/// Of each of these a part is computed in.
const SLICE: Duration = Duration::from_millis(20);

/// Memory that is left to the machine, at least.
pub(crate) const MEMORY_RESERVE: u64 = 64 << 20;

/// Bytes of memory that the machine can still give, by its own account; `None` where it does not tell.
pub(crate) fn memory_available() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Starts one. The folder is for those who look for processes of a node by it.
pub(crate) fn start(verb: &str, amount: u64, until: u64, folder: &Path) -> io::Result<Child> {
    let parent = std::process::id();
    let mut command = Command::new("/proc/self/exe");
    command.arg("keeper").arg(verb).args([amount, until, parent.into()].map(|n| n.to_string())).arg(folder);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Is one: `AMOUNT UNTIL PARENT FOLDER` follow the verb.
pub(crate) fn run(verb: &str, args: &[String]) -> ExitCode {
    let numbers: Vec<u64> = args.iter().map_while(|arg| arg.parse().ok()).collect();
    let [amount, until, parent] = numbers[..] else { return ExitCode::from(2) };
    // It dies with its keeper, also if that is dead by now.
    let bound = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    let alive = getppid().is_some_and(|pid| i64::from(pid.as_raw_nonzero().get()) == parent as i64);
    if !bound || !alive {
        return ExitCode::FAILURE;
    }
    let _ = rustix::thread::set_name(c"taffeta-chaos");
    match verb {
        BURN => burn(amount.min(100), until),
        _ => hold(amount, until),
    }
    ExitCode::SUCCESS
}

fn burn(percent: u64, until: u64) {
    while boot_millis() < until {
        #[expect(clippy::disallowed_methods, reason = "a process of its own, which no simulator runs")]
        let begun = std::time::Instant::now();
        let busy = SLICE * u32::try_from(percent).unwrap_or(100) / 100;
        while begun.elapsed() < busy {
            hint::spin_loop();
        }
        sleep(SLICE.saturating_sub(busy));
    }
}

fn hold(bytes: u64, until: u64) {
    // If memory runs out all the same, this is what the kernel kills.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let mut held: Vec<Vec<u8>> = vec![];
    let mut left = bytes;
    while left > 0 && boot_millis() < until {
        let piece = left.min(4 << 20);
        held.push(vec![0x5a; usize::try_from(piece).unwrap_or(0)]);
        left -= piece;
    }
    while boot_millis() < until {
        sleep(Duration::from_millis((until - boot_millis().min(until)).min(1_000)));
    }
    drop(held);
}
