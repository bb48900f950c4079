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

/// Kills the main process of a run; its shim tells of it as of any end. One that has ended is an error.
pub fn kill_main(run: &Path) -> io::Result<()> {
    let state: Option<StateRecord> = read_record(&run.join(STATE_FILE))?;
    match state {
        Some(state) if kill(&state.task) => Ok(()),
        Some(_) | None => Err(io::Error::new(io::ErrorKind::NotFound, "it does not run")),
    }
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

/// Kills this very process: the number is held before it is looked at again. Gives whether it was there to be killed.
fn kill(process: &Process) -> bool {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return false };
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    Process::look_up(process.pid).as_ref() == Some(process) && pidfd_send_signal(&held, Signal::KILL).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::write_record;

    #[test]
    fn only_a_main_process_that_lives_can_be_killed() {
        let run = tempfile::tempdir().unwrap();
        let not_found = || kill_main(run.path()).unwrap_err().kind();
        assert_eq!(not_found(), io::ErrorKind::NotFound, "nothing was started");
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let task = Process::look_up(child.id()).unwrap();
        let told = |task| StateRecord {
            version: 1,
            run_id: "r".into(),
            boot_id: "b".into(),
            shim: task,
            task,
            init: None,
            started_at: 0,
            groups: Groups::default(),
            gaps: vec![],
        };
        // Another process has its number since.
        write_record(&run.path().join(STATE_FILE), &told(Process { start: task.start + 1, ..task })).unwrap();
        assert_eq!(not_found(), io::ErrorKind::NotFound);
        write_record(&run.path().join(STATE_FILE), &told(task)).unwrap();
        kill_main(run.path()).unwrap();
        assert!(!child.wait().unwrap().success());
        assert_eq!(not_found(), io::ErrorKind::NotFound, "it has ended");
    }
}
