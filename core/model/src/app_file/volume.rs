//! `volume = { ... }`: data that stays on one machine.

use super::{error::AppFileError, item::Item, mount::read_path};
use crate::{Volume, VolumeName};

const KEYS: [&str; 3] = ["name", "size", "at"];

/// Reads `volume`.
pub(super) fn read_volume(table: &Item<'_>) -> Result<Volume, AppFileError> {
    let (mut name, mut size, mut at) = (None, None, None);
    for (key, item) in table.entries()? {
        match key {
            "name" => name = Some(VolumeName::new(item.string()?).map_err(|bad| item.error(bad.to_string()))?),
            "size" => size = Some(item.size()?),
            "at" => at = Some(read_path(&item)?),
            _ => return Err(item.unknown_key(key, &KEYS)),
        }
    }
    let name = name.ok_or_else(|| table.missing("name", "the name of its folder"))?;
    let size = size.ok_or_else(|| table.missing("size", "how much of a machine's disk is counted for it"))?;
    Ok(Volume { name, size, at })
}
