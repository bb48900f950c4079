//! The configuration file: flat TOML, of which each wrong line is told.

use super::{Given, Key, Shape, Source, Value};
use crate::failure::{Failure, Outcome};
use std::{collections::BTreeMap, path::Path};
use toml::de::{DeTable, DeValue};

/// What the file gives.
pub(super) fn read(path: &Path, text: &str) -> Outcome<BTreeMap<Key, Given>> {
    let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count();
    let wrong =
        |offset: usize, what: &str| Failure::wrong(format!("{}: line {}: {what}", path.display(), line_at(offset)));
    let root = DeTable::parse(text).map_err(|e| {
        let offset = e.span().map_or(0, |span| span.start);
        wrong(offset, e.message()).help("the file is TOML: see https://toml.io")
    })?;
    let mut entries: Vec<_> = root.get_ref().iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start); // so that the first fault in the file is the one that is told
    let mut given = BTreeMap::new();
    for (name, item) in entries {
        let offset = name.span().start;
        let name: &str = name.get_ref();
        let Some(key) = Key::ALL.into_iter().find(|key| key.name() == name) else {
            let known: Vec<&str> = Key::ALL.iter().map(|key| key.name()).collect();
            let nearest = known.iter().min_by_key(|k| strsim::osa_distance(name, k)).copied().unwrap_or_default();
            return Err(wrong(offset, &format!("{name}: unknown key; did you mean `{nearest}`?"))
                .help(format!("known keys: {}", known.join(", "))));
        };
        let value = value(key, item.get_ref()).map_err(|why| wrong(offset, &format!("{name}: {why}")))?;
        given.insert(key, Given { value, source: Source::File { path: path.into(), line: line_at(offset) } });
    }
    Ok(given)
}

fn value(key: Key, found: &DeValue<'_>) -> Result<Value, String> {
    let expected = |what: &str| format!("expected {what}, found {}", kind(found));
    match key.shape() {
        Shape::Text => found.as_str().map(|s| Value::Text(s.into())).ok_or_else(|| expected("a string")),
        Shape::Amount => amount(found).map(Value::Text).ok_or_else(|| expected("a number, or a string as \"8GiB\"")),
        Shape::Counts => counts(found).map(Value::List).ok_or_else(|| expected("a table of whole numbers")),
        Shape::Switch => found.as_bool().map(Value::Switch).ok_or_else(|| expected("true or false")),
        Shape::List => strings(found).map(Value::List).ok_or_else(|| expected("an array of strings")),
        Shape::Pairs => pairs(found).map(Value::List).ok_or_else(|| expected("a table of strings")),
    }
}

/// One string, or an array of them.
fn strings(found: &DeValue<'_>) -> Option<Vec<String>> {
    if let Some(one) = found.as_str() {
        return Some(vec![one.into()]);
    }
    found.as_array()?.iter().map(|item| item.get_ref().as_str().map(String::from)).collect()
}

fn amount(found: &DeValue<'_>) -> Option<String> {
    match found {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Integer(_) => whole(found),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn whole(found: &DeValue<'_>) -> Option<String> {
    let number = found.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
}

fn counts(found: &DeValue<'_>) -> Option<Vec<String>> {
    let table = found.as_table()?;
    table.iter().map(|(key, value)| Some(format!("{}={}", key.get_ref(), whole(value.get_ref())?))).collect()
}

fn pairs(found: &DeValue<'_>) -> Option<Vec<String>> {
    let table = found.as_table()?;
    table.iter().map(|(key, value)| Some(format!("{}={}", key.get_ref(), value.get_ref().as_str()?))).collect()
}

fn kind(found: &DeValue<'_>) -> String {
    match found {
        DeValue::String(s) => format!("the string {:?}", s.chars().take(40).collect::<String>()),
        DeValue::Integer(i) => i.to_string(),
        DeValue::Float(x) => x.to_string(),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "an array".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
