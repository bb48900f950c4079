//! Files as trees of values that know their line, so that every refusal can name it.
//!
//! JSON and YAML give the same tree. Left out: what the values mean.

mod json;
mod yaml;

use serde_json::{Map, Number, Value as Json};
use std::fmt;

/// Most bytes of a file that is read: ten times what the largest plan takes.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most values in a file. Aliases of YAML count each time they are used: ten of them can stand for a billion values.
const NODES_MAX: usize = 1_000_000;
/// Deepest nesting, as `serde_json` has it.
const DEPTH_MAX: usize = 127;

/// A value, and the line on which it begins, from 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; no key is there twice.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) node: Node,
}

/// A file that cannot be meant. Nothing was changed; correct the named line and field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Wrong {
    /// Line, from 1.
    pub line: usize,
    /// Path of the field, as `method[2].provider.func`; empty if the file as a whole is meant.
    pub field: String,
    /// What is wrong there.
    pub what: String,
    /// What would be right.
    pub help: Option<String>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.what),
            field => write!(f, "line {}: {field}: {}", self.line, self.what),
        }
    }
}

impl Wrong {
    pub(crate) fn at(line: usize, field: impl Into<String>, what: impl Into<String>) -> Self {
        Self { line, field: field.into(), what: what.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Node {
    /// Reads a file; its name tells JSON (`.json`) from YAML (`.yaml`, `.yml`), else its first character does.
    pub(crate) fn read(text: &str, name: &str) -> Result<Self, Wrong> {
        let lower = name.to_ascii_lowercase();
        let json = lower.ends_with(".json")
            || !lower.ends_with(".yaml") && !lower.ends_with(".yml") && text.trim_start().starts_with('{');
        if json { json::read(text) } else { yaml::read(text) }
    }

    /// The value of a key; `None` also if this is no map.
    pub(crate) fn entry(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// What kind of value it is, for a person.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The same without lines.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(on) => Json::Bool(*on),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(list) => Json::Array(list.iter().map(Self::to_json).collect()),
            Value::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json()));
                Json::Object(pairs.collect::<Map<String, Json>>())
            }
        }
    }

    /// The other way round, every value on this line.
    pub(crate) fn of_json(line: usize, json: &Json) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(on) => Value::Bool(*on),
            Json::Number(number) => Value::Number(number.clone()),
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(list) => Value::List(list.iter().map(|item| Self::of_json(line, item)).collect()),
            Json::Object(map) => {
                let entry =
                    |(key, item): (&String, &Json)| Entry { key: key.clone(), line, node: Self::of_json(line, item) };
                Value::Map(map.iter().map(entry).collect())
            }
        };
        Self { line, value }
    }
}

/// Adds a key to a map, once.
fn add_entry(entries: &mut Vec<Entry>, entry: Entry) -> Result<(), Wrong> {
    if let Some(before) = entries.iter().find(|before| before.key == entry.key) {
        let what = format!("the key `{}` is on line {}, too", entry.key, before.line);
        return Err(Wrong::at(entry.line, "", what));
    }
    entries.push(entry);
    Ok(())
}

#[cfg(test)]
mod tests;
