//! Running a command beside its task: a health check here, a person's in `exec`.

use crate::{
    enter::{Entering, enter_command},
    group::Groups,
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{io, path::Path, process::Stdio, time::Duration};
use tokio::{
    process::{Child, Command as AsyncCommand},
    time,
};

/// Starts the command beside its task. Blocking, as a fork is.
pub(crate) fn spawn(folder: &Path, groups: &Groups, run: &[String]) -> io::Result<Child> {
    let Entering { mut command, .. } = enter_command(folder, groups, run)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    AsyncCommand::from(command).kill_on_drop(true).spawn()
}

/// Whether it returns 0 in time; kills it and what it started if it does not return.
pub(crate) async fn passes(mut child: Child, timeout: Duration) -> bool {
    match time::timeout(timeout, child.wait()).await {
        Ok(status) => status.is_ok_and(|status| status.success()),
        Err(_) => {
            // Not reaped yet, so the number is its own; it leads a group of its own.
            let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            let _ = pid.map(|group| kill_process_group(group, Signal::KILL));
            let _ = child.kill().await;
            false
        }
    }
}
