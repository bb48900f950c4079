//! What a set may contain. A gossiped record reaches every machine, so a bad one must not get past the first.

use crate::OwnerSet;
use std::collections::BTreeSet;
use taffeta_model::{Exit, JobName, NodeInfo, TaskRecord};
use thiserror::Error;

/// Most records of one owner: ten times what a machine ordinarily runs.
pub const RECORDS_MAX: usize = 1000;

/// Longest text in bytes: reasons, tags, attributes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Most ports or tags of a record, attributes of a machine, or complaints about its isolation.
pub const ITEMS_MAX: usize = 100;

/// Why a set is not acceptable. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {message}")]
pub struct InvalidSet {
    /// The task and field, or the field of the machine.
    pub place: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Checks everything that types do not.
pub(crate) fn check(set: &OwnerSet) -> Result<(), InvalidSet> {
    if set.seq == 0 {
        return Err(invalid("seq", "0; sets are counted from 1"));
    }
    check_info(&set.info)?;
    if set.records.len() > RECORDS_MAX {
        return Err(invalid("records", format!("{} records; at most {RECORDS_MAX} are allowed", set.records.len())));
    }
    let twice_or_late = set.records.windows(2).find(|pair| pair[0].task >= pair[1].task);
    if let Some(pair) = twice_or_late {
        let message = "there are two records of this task, or it is out of order";
        return Err(invalid(pair[1].task.to_string(), message));
    }
    for record in &set.records {
        check_record(record).map_err(|(field, message)| invalid(format!("{} {field}", record.task), message))?;
    }
    Ok(())
}

fn check_info(info: &NodeInfo) -> Result<(), InvalidSet> {
    let attributes = info.attributes.iter().flat_map(|(name, value)| [name, value]);
    check_texts([&info.zone, &info.version].into_iter()).map_err(|m| invalid("zone or version", m))?;
    check_count(info.attributes.len()).map_err(|m| invalid("attributes", m))?;
    check_texts(attributes).map_err(|m| invalid("attributes", m))?;
    check_count(info.not_isolated.len()).map_err(|m| invalid("not_isolated", m))?;
    check_texts(info.not_isolated.iter()).map_err(|m| invalid("not_isolated", m))
}

fn check_record(record: &TaskRecord) -> Result<(), (&'static str, String)> {
    let label = |text: &str| JobName::new(text).map(drop).map_err(|e| e.to_string());
    label(&record.instance).map_err(|m| ("instance", m))?;
    if record.address.is_unspecified() {
        return Err(("address", format!("{} is not an address that others can reach", record.address)));
    }
    check_count(record.ports.len()).map_err(|m| ("ports", m))?;
    let mut names = BTreeSet::new();
    for (name, port) in &record.ports {
        label(name).map_err(|m| ("ports", m))?;
        if *port == 0 || !names.insert(name) {
            return Err(("ports", format!("`{name}` is 0 or given twice")));
        }
    }
    check_count(record.tags.len()).map_err(|m| ("tags", m))?;
    check_texts(record.tags.iter()).map_err(|m| ("tags", m))?;
    check_texts([&record.reason].into_iter()).map_err(|m| ("reason", m))?;
    match &record.exit {
        Some(Exit::NotStarted(why)) => check_texts([why].into_iter()).map_err(|m| ("exit", m)),
        Some(Exit::Code(_) | Exit::Signal(_) | Exit::OutOfMemory | Exit::Lost | Exit::Deadline | Exit::LeaseEnded)
        | None => Ok(()),
    }
}

fn check_count(count: usize) -> Result<(), String> {
    if count <= ITEMS_MAX { Ok(()) } else { Err(format!("{count} of them; at most {ITEMS_MAX} are allowed")) }
}

fn check_texts<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> Result<(), String> {
    match texts.map(|text| text.as_ref().len()).find(|bytes| *bytes > TEXT_BYTES_MAX) {
        Some(bytes) => Err(format!("a text of {bytes} bytes; at most {TEXT_BYTES_MAX} are allowed")),
        None => Ok(()),
    }
}

/// Shortens the words that come from the system, which nobody can be blamed for.
pub(crate) fn shorten(record: &mut TaskRecord) {
    cut(&mut record.reason);
    if let Some(Exit::NotStarted(why)) = &mut record.exit {
        cut(why);
    }
}

fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
}

fn invalid(place: impl Into<String>, message: impl Into<String>) -> InvalidSet {
    InvalidSet { place: place.into(), message: message.into() }
}
