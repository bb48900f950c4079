//! `update = { ... }`: how tasks of an older version are replaced.

use super::{error::AppFileError, item::Item};
use crate::{COUNT_MAX, JobKind, SURGE_MAX, UpdatePolicy};

const KEYS: [&str; 7] = ["max_surge", "max_unavailable", "canary", "strategy", "promote", "healthy_within", "rollback"];

/// Reads `update`.
pub(super) fn read_update(item: &Item<'_>, kind: JobKind) -> Result<UpdatePolicy, AppFileError> {
    let mut policy = UpdatePolicy::default();
    for (key, item) in item.entries()? {
        match key {
            "max_surge" | "strategy" | "canary" if kind == JobKind::Daemon => {
                return Err(item.error("a daemon is updated machine by machine, each in its place"));
            }
            "max_surge" => policy.max_surge = item.whole("a number of instances", 0, SURGE_MAX)?,
            "max_unavailable" => policy.max_unavailable = item.whole("a number of instances", 0, COUNT_MAX)?,
            "canary" => policy.canary = item.whole("a number of instances", 0, COUNT_MAX)?,
            "strategy" => {
                policy.blue_green = match item.string()? {
                    "rolling" => false,
                    "blue-green" => true,
                    _ => return Err(item.expected("`rolling` or `blue-green`")),
                };
            }
            "promote" if item.value().as_str() == Some("manual") => policy.promote = None,
            "promote" => {
                let after = item.duration().map_err(|_| item.expected("`manual`, or a time as \"30s\""));
                policy.promote = Some(after?);
            }
            "healthy_within" => policy.healthy_within = item.duration()?,
            "rollback" => policy.rollback = item.bool()?,
            _ => return Err(item.unknown_key(key, &KEYS)),
        }
    }
    Ok(policy)
}
