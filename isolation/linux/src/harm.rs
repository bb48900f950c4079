//! What is done to runs on purpose, for an experiment, by whoever has their folder: no agent and no runtime is needed.

use crate::{
    group::Groups,
    machine::kill_all,
    record::{LAUNCH_FILE, Launch, Process, STATE_FILE, StateRecord, read_record},
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{fs, io, path::Path};
use taffeta_isolation_plan::WORK_FOLDER;

/// Whether everything of a run can be stopped and let go again.
pub fn can_freeze(run: &Path) -> bool {
    groups(run).is_ok_and(|groups| groups.can_freeze())
}

/// Stops everything of a run until it is thawed, by the freezer of its cgroup. Safe to repeat.
pub fn freeze(run: &Path) -> io::Result<()> {
    let groups = groups(run)?;
    if !groups.can_freeze() {
        return Err(io::Error::other("it has no cgroup that can be frozen"));
    }
    groups.freeze();
    Ok(())
}

/// Undoes [`freeze`]. What has ended meanwhile needs nothing.
pub fn thaw(run: &Path) -> io::Result<()> {
    match groups(run) {
        Ok(groups) => {
            groups.thaw();
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Kills the main process of a run; its shim tells of it as of any end.
pub fn kill_main(run: &Path) -> io::Result<()> {
    let state: Option<StateRecord> = read_record(&run.join(STATE_FILE))?;
    let state = state.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it does not run"))?;
    kill(&state.task);
    Ok(())
}

/// Kills all runs of a folder with their shims, as when the machine loses its power. What was written stays.
pub fn power_off(tasks_root: &Path) {
    let entries = fs::read_dir(tasks_root).into_iter().flatten().flatten();
    let runs: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    // The shims first: each would tell of the end of its task.
    for run in &runs {
        if let Ok(Some(state)) = read_record::<StateRecord>(&run.join(STATE_FILE)) {
            kill(&state.shim);
        }
    }
    for run in &runs {
        if let Ok(groups) = groups(run) {
            kill_all(&groups, &run.join(WORK_FOLDER));
        }
    }
}

fn groups(run: &Path) -> io::Result<Groups> {
    let launch: Option<Launch> = read_record(&run.join(LAUNCH_FILE))?;
    launch.map(|launch| launch.groups).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such run"))
}

/// Kills this very process: the number is held before it is looked at again.
fn kill(process: &Process) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if Process::look_up(process.pid).as_ref() == Some(process) {
        let _ = pidfd_send_signal(&held, Signal::KILL);
    }
}
