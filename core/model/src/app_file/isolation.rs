//! `isolation = ...`, `user = ...` and `rlimits = { ... }`: what a process may still do.

use super::{error::AppFileError, item::Item, nearest};
use crate::{Isolation, Measure, Profile, Rlimit, RlimitBounds, RunAs};
use std::collections::{BTreeMap, BTreeSet};
use toml::de::DeValue;

const KEYS: [&str; 2] = ["profile", "without"];
const BOUNDS: [&str; 2] = ["soft", "hard"];

/// Reads `isolation`: the name of a profile, or a table.
pub(super) fn read_isolation(item: &Item<'_>) -> Result<Isolation, AppFileError> {
    if item.value().as_str().is_some() {
        return Ok(Isolation { profile: Some(read_profile(item)?), without: BTreeSet::new() });
    }
    let mut isolation = Isolation::default();
    let entries = item.entries().map_err(|_| item.expected("the name of a profile, or a table"))?;
    for (key, item) in entries {
        match key {
            "profile" => isolation.profile = Some(read_profile(&item)?),
            "without" => {
                let names = item.elements("an array of measures")?;
                isolation.without = names.iter().map(read_measure).collect::<Result<_, _>>()?;
            }
            _ => return Err(item.unknown_key(key, &KEYS)),
        }
    }
    Ok(isolation)
}

fn read_profile(item: &Item<'_>) -> Result<Profile, AppFileError> {
    let name = item.string()?;
    let unknown = || unknown_name(item, name, "profile", &Profile::ALL.map(Profile::name));
    Profile::named(name).ok_or_else(unknown)
}

fn read_measure(item: &Item<'_>) -> Result<Measure, AppFileError> {
    let name = item.string()?;
    let unknown = || unknown_name(item, name, "measure", &Measure::ALL.map(Measure::name));
    Measure::named(name).ok_or_else(unknown)
}

fn unknown_name(item: &Item<'_>, name: &str, what: &str, known: &[&str]) -> AppFileError {
    let nearest = nearest(name, known);
    let error = item.error(format!("`{name}` is no {what}; did you mean `{nearest}`?"));
    error.help(format!("known {what}s: {}", known.join(", ")))
}

/// Reads `user`.
pub(super) fn read_user(item: &Item<'_>) -> Result<RunAs, AppFileError> {
    item.string()?.parse().map_err(|bad: String| item.error(bad))
}

/// Reads `rlimits`.
pub(super) fn read_rlimits(item: &Item<'_>) -> Result<BTreeMap<Rlimit, RlimitBounds>, AppFileError> {
    let read = |(name, item): (&str, Item<'_>)| {
        let limit = Rlimit::named(name);
        let limit = limit.ok_or_else(|| item.unknown_key(name, &Rlimit::ALL.map(Rlimit::name)))?;
        Ok((limit, read_bounds(&item)?))
    };
    item.entries()?.into_iter().map(read).collect()
}

fn read_bounds(table: &Item<'_>) -> Result<RlimitBounds, AppFileError> {
    if !table.value().is_table() {
        return Ok(RlimitBounds::both(read_limit(
            table,
            "a whole number, `unlimited`, or a table of `soft` and `hard`",
        )?));
    }
    let (mut soft, mut hard) = (None, None);
    for (key, item) in table.entries()? {
        let limit = || read_limit(&item, "a whole number or `unlimited`");
        match key {
            "soft" => soft = Some(limit()?),
            "hard" => hard = Some(limit()?),
            _ => return Err(item.unknown_key(key, &BOUNDS)),
        }
    }
    let soft = soft.ok_or_else(|| table.missing("soft", "the limit that is enforced"))?;
    let hard = hard.ok_or_else(|| table.missing("hard", "how far the process may raise it"))?;
    Ok(RlimitBounds { soft, hard })
}

fn read_limit(item: &Item<'_>, expected: &str) -> Result<Option<u64>, AppFileError> {
    match item.value() {
        DeValue::String(word) if word == "unlimited" => Ok(None),
        DeValue::Integer(i) => {
            let number = u64::from_str_radix(i.as_str(), i.radix()).ok();
            number.map(Some).ok_or_else(|| item.expected(expected))
        }
        DeValue::String(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => Err(item.expected(expected)),
    }
}
