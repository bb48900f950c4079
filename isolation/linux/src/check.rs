//! Running a command beside its task: a health check here, a person's in `exec`.

use crate::{
    group::Groups,
    record::read_record,
    secrets,
    sys::{self, Entry},
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    io,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use taffeta_isolation_plan::{SPEC_FILE, TaskSpec};
use tokio::{
    process::{Child, Command as AsyncCommand},
    time,
};

/// The command, to be run in the task's working folder, environment and groups. It leads a session of its own.
pub(crate) fn command(folder: &Path, groups: &Groups, run: &[String]) -> io::Result<Command> {
    let spec: Option<TaskSpec> = read_record(&folder.join(SPEC_FILE))?;
    let spec = spec.ok_or(io::ErrorKind::NotFound)?;
    let (program, args) = run.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    let inside = secrets::inside(folder)?;
    command.args(args).env_clear().envs(spec.environment()).envs(inside.variables).current_dir(spec.work());
    Entry {
        groups: groups.open_entries()?,
        dies_with: None,
        mounts: inside.mounts.map(|mounts| sys::Mounts::new(mounts, &spec.work())).transpose()?,
    }
    .install(&mut command);
    Ok(command)
}

/// Starts a health check. Blocking, as a fork is.
pub(crate) fn spawn(folder: &Path, groups: &Groups, run: &[String]) -> io::Result<Child> {
    let mut command = command(folder, groups, run)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    AsyncCommand::from(command).kill_on_drop(true).spawn()
}

/// Whether it returns 0 in time; kills it and what it started if it does not return.
pub(crate) async fn passes(mut child: Child, timeout: Duration) -> bool {
    match time::timeout(timeout, child.wait()).await {
        Ok(status) => status.is_ok_and(|status| status.success()),
        Err(_) => {
            // Not reaped yet, so the number is its own; it leads a group of its own since `Entry`.
            let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            let _ = pid.map(|group| kill_process_group(group, Signal::KILL));
            let _ = child.kill().await;
            false
        }
    }
}
