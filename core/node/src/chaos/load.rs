//! Processes that compute, or hold memory, until their time is over or their keeper dies.
//!
//! Where the machine has cgroups they are in one of their own, in which they can have what they were told to take and little
//! more: if memory runs out there, nothing else dies for it. Memory is looked at again before each piece of it is taken, as
//! others may have taken theirs since it was promised.

use super::journal::boot_millis;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::{
    fs, hint, io,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::Duration,
};
use taffeta_isolation_linux::{LoadBounds, LoadGroup, own_room};

/// Verbs of the keeper for them.
pub(crate) const BURN: &str = "burn";
pub(crate) const HOLD: &str = "hold";

/// Of each of these a part is computed in.
const SLICE: Duration = Duration::from_millis(20);

/// Memory that is left to the machine, at least.
const MEMORY_RESERVE: u64 = 64 << 20;
/// Memory that a process of ours takes beside what it holds: its own code and stack.
const OWN_BYTES: u64 = 32 << 20;
/// So much is taken at a time.
const PIECE: u64 = 4 << 20;

/// What a process ends with that was to hold more memory than there still was.
const SHORT: u8 = 3;

/// Bytes of memory that may still be taken: by the machine's own account, and by the limits of the cgroups that they would
/// count in; `None` where nobody tells.
pub(crate) fn memory_to_spare(group: Option<&LoadGroup>) -> Option<u64> {
    let above = group.map_or_else(own_room, LoadGroup::room_above);
    let least = [memory_available(), above].into_iter().flatten().min()?;
    Some(least.saturating_sub(MEMORY_RESERVE))
}

fn memory_available() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What processes that compute may take.
pub(crate) fn burn_bounds(workers: u32, percent: u32) -> LoadBounds {
    let all = u64::from(workers);
    LoadBounds { memory_bytes: all * OWN_BYTES, cpu_percent: all * u64::from(percent), processes: workers }
}

/// What a process that holds so much memory may take.
pub(crate) fn hold_bounds(bytes: u64) -> LoadBounds {
    LoadBounds { memory_bytes: bytes.saturating_add(OWN_BYTES), cpu_percent: 0, processes: 1 }
}

/// Starts one, which enters the group by itself. The folder is for those who look for processes of a node by it.
pub(crate) fn start(
    verb: &str,
    amount: u64,
    until: u64,
    folder: &Path,
    group: Option<&LoadGroup>,
) -> io::Result<Child> {
    let parent = std::process::id();
    let mut command = Command::new("/proc/self/exe");
    command.arg("keeper").arg(verb).args([amount, until, parent.into()].map(|n| n.to_string())).arg(folder);
    if let Some(group) = group {
        command.arg(serde_json::to_string(group)?);
    }
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Why one of them is no more, though its time is not over; `None` while all are there.
pub(crate) fn ended_early(children: &mut [Child]) -> Option<String> {
    children.iter_mut().find_map(|child| match child.try_wait() {
        Ok(None) => None,
        Ok(Some(status)) if status.code() == Some(SHORT.into()) => {
            Some("the machine has no memory to spare any more, and nothing is held".into())
        }
        Ok(Some(status)) => Some(format!("a process of it has ended ({status})")),
        Err(e) => Some(format!("a process of it is not known: {e}")),
    })
}

/// Is one: `AMOUNT UNTIL PARENT FOLDER [GROUP]` follow the verb.
pub(crate) fn run(verb: &str, args: &[String]) -> ExitCode {
    let numbers: Vec<u64> = args.iter().map_while(|arg| arg.parse().ok()).collect();
    let [amount, until, parent] = numbers[..] else { return ExitCode::from(2) };
    let group: Option<LoadGroup> = match args.get(4).map(|text| serde_json::from_str(text)) {
        Some(Ok(group)) => Some(group),
        Some(Err(_)) => return ExitCode::from(2),
        None => None,
    };
    // It dies with its keeper, also if that is dead by now.
    let bound = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    let alive = getppid().is_some_and(|pid| i64::from(pid.as_raw_nonzero().get()) == parent as i64);
    if !bound || !alive {
        return ExitCode::FAILURE;
    }
    // Nothing is taken outside of it.
    if group.as_ref().is_some_and(|group| group.enter().is_err()) {
        return ExitCode::FAILURE;
    }
    let _ = rustix::thread::set_name(c"taffeta-chaos");
    match verb {
        BURN => {
            burn(amount.min(100), until);
            ExitCode::SUCCESS
        }
        _ => hold(amount, until, group.as_ref()),
    }
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

fn hold(bytes: u64, until: u64, group: Option<&LoadGroup>) -> ExitCode {
    // If memory runs out all the same, this is what the kernel kills.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let mut held: Vec<Vec<u8>> = vec![];
    let mut left = bytes;
    while left > 0 && boot_millis() < until {
        let piece = left.min(PIECE);
        if memory_to_spare(group).is_some_and(|spare| piece > spare) {
            return ExitCode::from(SHORT);
        }
        held.push(vec![0x5a; usize::try_from(piece).unwrap_or(0)]);
        left -= piece;
    }
    while boot_millis() < until {
        sleep(Duration::from_millis((until - boot_millis().min(until)).min(1_000)));
    }
    drop(held);
    ExitCode::SUCCESS
}
