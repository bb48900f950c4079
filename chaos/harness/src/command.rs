//! Other programs, run to their end.

use std::{path::Path, process::Command};

/// Runs it; what it said if it failed.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// Why these programs, each with the package that has it, cannot be run as root here.
pub(crate) fn lacking(programs: &[(&str, &str)]) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it takes root".into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| std::env::split_paths(&path).any(|folder| Path::new(&folder).join(name).exists());
    match programs.iter().find(|(name, _)| !is_there(name)) {
        Some((name, package)) => Err(format!("`{name}` is missing (package {package})")),
        None => Ok(()),
    }
}
