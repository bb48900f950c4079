//! `mounts = [{ ... }]` and `tmpfs = [{ ... }]`: what a task sees besides its folder.

use super::{error::AppFileError, item::Item};
use crate::{AbsolutePath, HostMount, Tmpfs};

const MOUNT_KEYS: [&str; 3] = ["host", "at", "read_only"];
const TMPFS_KEYS: [&str; 2] = ["at", "size"];

/// Reads `mounts`.
pub(super) fn read_mounts(item: &Item<'_>) -> Result<Vec<HostMount>, AppFileError> {
    item.elements("an array of tables")?.iter().map(read_mount).collect()
}

/// Reads `tmpfs`.
pub(super) fn read_tmpfs(item: &Item<'_>) -> Result<Vec<Tmpfs>, AppFileError> {
    item.elements("an array of tables")?.iter().map(read_one_tmpfs).collect()
}

/// Reads an absolute path.
pub(super) fn read_path(item: &Item<'_>) -> Result<AbsolutePath, AppFileError> {
    AbsolutePath::new(item.string()?).map_err(|bad| item.error(bad.to_string()))
}

fn read_mount(table: &Item<'_>) -> Result<HostMount, AppFileError> {
    let (mut host, mut at, mut read_only) = (None, None, false);
    for (key, item) in table.entries()? {
        match key {
            "host" => host = Some(read_path(&item)?),
            "at" => at = Some(read_path(&item)?),
            "read_only" => read_only = item.bool()?,
            _ => return Err(item.unknown_key(key, &MOUNT_KEYS)),
        }
    }
    let host = host.ok_or_else(|| table.missing("host", "a path of the machine"))?;
    Ok(HostMount { at: at.unwrap_or_else(|| host.clone()), host, read_only })
}

fn read_one_tmpfs(table: &Item<'_>) -> Result<Tmpfs, AppFileError> {
    let (mut at, mut bytes) = (None, None);
    for (key, item) in table.entries()? {
        match key {
            "at" => at = Some(read_path(&item)?),
            "size" => bytes = Some(item.size()?),
            _ => return Err(item.unknown_key(key, &TMPFS_KEYS)),
        }
    }
    let at = at.ok_or_else(|| table.missing("at", "where the task finds it"))?;
    let bytes = bytes.ok_or_else(|| table.missing("size", "how much of the task's memory it may take"))?;
    Ok(Tmpfs { at, bytes })
}
