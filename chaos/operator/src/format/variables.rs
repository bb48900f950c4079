//! `${name}` in an experiment: values of `configuration` and `secrets`, which may come from the environment.
//!
//! As in the Chaos Toolkit: text that is nothing but one `${name}` becomes the value with its type, in longer text it
//! becomes text; a name that is not known stays as it is, since a shell may know it; `$$` is a `$`.

use super::{
    fields::{Field, nearest},
    secrets::Secrets,
};
use crate::text::{Entry, Node, Value, Wrong};
use std::collections::BTreeMap;

/// What a file's variables are filled with.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The process' environment.
    pub environment: BTreeMap<String, String>,
    /// What the command line says beats the file.
    pub variables: BTreeMap<String, String>,
}

/// The values by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    values: BTreeMap<String, Node>,
    /// Those that must not be told.
    pub(crate) secrets: Secrets,
}

impl Variables {
    /// Those of the file's sections `configuration` and `secrets`.
    pub(crate) fn read(
        configuration: Option<&Field<'_>>,
        secrets: Option<&Field<'_>>,
        given: &Given,
    ) -> Result<Self, Wrong> {
        let mut values = BTreeMap::new();
        for (_, group) in secrets.map(Field::pairs).transpose()?.unwrap_or_default() {
            for (name, field) in group.pairs()? {
                if let Some(value) = value(&field, given)? {
                    values.insert(name.to_owned(), value);
                }
            }
        }
        let secrets = Secrets::of(values.values());
        for (name, field) in configuration.map(Field::pairs).transpose()?.unwrap_or_default() {
            match given.variables.get(name) {
                // Kept as its type is told by how it looks, as in the file.
                Some(text) => {
                    values.insert(name.to_owned(), Node::read(text, ".yaml").unwrap_or_else(|_| text_node(text)))
                }
                None => value(&field, given)?.and_then(|value| values.insert(name.to_owned(), value)),
            };
        }
        let known: Vec<&str> = values.keys().map(String::as_str).collect();
        if let Some(unknown) = given.variables.keys().find(|name| !values.contains_key(*name)) {
            let what = format!("there is no variable `{unknown}` in this file");
            return Err(Wrong::at(1, "configuration", what).help(nearest(unknown, &known)));
        }
        Ok(Self { values, secrets })
    }

    /// The same value with all names in it replaced.
    pub(crate) fn fill(&self, node: &Node) -> Node {
        let line = node.line;
        let value = match &node.value {
            Value::Text(text) => return Node { line, value: self.fill_text(text) },
            Value::List(items) => Value::List(items.iter().map(|item| self.fill(item)).collect()),
            Value::Map(entries) => {
                let fill = |entry: &Entry| Entry { node: self.fill(&entry.node), ..entry.clone() };
                Value::Map(entries.iter().map(fill).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => node.value.clone(),
        };
        Node { line, value }
    }

    fn fill_text(&self, text: &str) -> Value {
        if let Some((name, "")) = name_at(text)
            && let Some(value) = self.values.get(name)
        {
            return value.value.clone();
        }
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            filled += &rest[..at];
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$$") {
                filled.push('$');
                rest = after;
                continue;
            }
            match name_at(rest).and_then(|(name, after)| Some((self.values.get(name)?, after))) {
                Some((value, after)) => {
                    filled += &in_text(value);
                    rest = after;
                }
                None => {
                    filled.push('$');
                    rest = &rest[1..];
                }
            }
        }
        Value::Text(filled + rest)
    }
}

/// The name that follows a `$`, with or without braces, and what comes after it.
fn name_at(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('$')?;
    let (text, braced) = text.strip_prefix('{').map_or((text, false), |text| (text, true));
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !part(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let first = name.chars().next()?;
    let rest = if braced { rest.strip_prefix('}')? } else { rest };
    (!first.is_ascii_digit()).then_some((name, rest))
}

fn in_text(node: &Node) -> String {
    match node.to_json() {
        serde_json::Value::String(text) => text,
        other => other.to_string(), // a foreign enum: what is no text is written as JSON
    }
}

fn text_node(text: &str) -> Node {
    Node { line: 1, value: Value::Text(text.into()) }
}

/// A setting: a value as it is, or `{type: env, key: NAME, default: ..., env_var_type: int}`.
fn value(field: &Field<'_>, given: &Given) -> Result<Option<Node>, Wrong> {
    let Some(kind) = field.node.entry("type") else { return Ok(Some(field.node.clone())) };
    match Field::new(format!("{}.type", field.path), kind).text()? {
        "env" => {}
        "probe" => {
            let what = "a value that a probe finds (dynamic configuration) is not supported";
            return Err(field.wrong(what).help("find it before, and give it with --var NAME=VALUE"));
        }
        "vault" => {
            return Err(field
                .wrong("HashiCorp Vault is not asked")
                .help("put the value into the environment: {type: env, key: NAME}"));
        }
        _ => return Ok(Some(field.node.clone())),
    }
    let fields = field.fields(&["type", "key", "default", "env_var_type"])?;
    let key = fields.need("key")?.name()?;
    let kind = fields.get("env_var_type").map(|kind| kind.text()).transpose()?;
    match given.environment.get(&key) {
        Some(text) => Ok(Some(Node { line: field.line(), value: typed(field, text, kind)? })),
        None => match field.node.entry("default") {
            Some(default) => Ok(Some(default.clone())),
            None => {
                Err(field.wrong(format!("the environment has no variable `{key}`")).help("set it, or add a `default`"))
            }
        },
    }
}

fn typed(field: &Field<'_>, text: &str, kind: Option<&str>) -> Result<Value, Wrong> {
    let wrong = || field.wrong("what the environment holds is not of the type that `env_var_type` says");
    let number = |text: &str| text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    match kind {
        None | Some("str") => Ok(Value::Text(text.into())),
        Some("int") => text.trim().parse::<i64>().map(|n| Value::Number(n.into())).map_err(|_| wrong()),
        Some("float") => number(text.trim()).map(Value::Number).ok_or_else(wrong),
        Some("bool") => match text.trim() {
            "true" | "True" | "1" | "yes" => Ok(Value::Bool(true)),
            "false" | "False" | "0" | "no" | "" => Ok(Value::Bool(false)),
            _ => Err(wrong()),
        },
        Some("json") => {
            serde_json::from_str(text).map(|json| Node::of_json(field.line(), &json).value).map_err(|_| wrong())
        }
        Some(other) => {
            let help = nearest(other, &["str", "int", "float", "bool", "json"]);
            Err(field.wrong(format!("unknown `env_var_type` `{other}`")).help(help))
        }
    }
}
