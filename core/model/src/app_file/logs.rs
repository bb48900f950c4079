//! `logs = { ... }`: how much of its output is kept.

use super::{error::AppFileError, item::Item};
use crate::LogBounds;

const KEYS: [&str; 2] = ["size", "files"];

/// Reads `logs`; what is left out is the default.
pub(super) fn read_logs(table: &Item<'_>) -> Result<LogBounds, AppFileError> {
    let mut bounds = LogBounds::default();
    for (key, item) in table.entries()? {
        match key {
            "size" => bounds.size = item.size()?,
            "files" => {
                let files = item.whole("a number of files", 2, 32)?;
                bounds.files = u8::try_from(files).map_err(|_| item.error("too many files"))?;
            }
            _ => return Err(item.unknown_key(key, &KEYS)),
        }
    }
    Ok(bounds)
}
