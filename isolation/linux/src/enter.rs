//! Running a program beside a task, as its health checks are.

use crate::{
    group::Groups,
    record::read_record,
    secrets,
    sys::{self, Entry},
};
use std::{io, path::Path, process::Command};
use taffeta_isolation_plan::{SPEC_FILE, TaskSpec};

/// A command that runs in the task's working folder, environment and groups, and sees what the task sees. Its outputs
/// are for the caller to choose. It leads a session of its own.
pub(crate) fn enter_command(folder: &Path, groups: &Groups, run: &[String]) -> io::Result<Command> {
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
