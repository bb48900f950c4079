//! Reading what a probe's value is held against.

use super::{
    fields::{Field, nearest},
    read::activity,
};
use crate::{
    text::{Node, Value, Wrong},
    tolerance::Tolerance,
};
use regex_lite::Regex;
use serde_json_path::JsonPath;

const TYPES: [&str; 4] = ["regex", "jsonpath", "range", "probe"];

/// A tolerance that stands alone, as on a command line.
pub(crate) fn read_tolerance(text: &str) -> Result<Tolerance, Wrong> {
    tolerance(&Field::new("tolerance", &Node::read(text, ".yaml")?))
}

pub(super) fn tolerance(field: &Field<'_>) -> Result<Tolerance, Wrong> {
    match &field.node.value {
        Value::Bool(_) | Value::Number(_) | Value::Text(_) => Ok(Tolerance::Equal(field.node.to_json())),
        Value::List(items) if items.is_empty() => Err(field.wrong("an empty list is met by nothing")),
        Value::List(items) => Ok(Tolerance::List(items.iter().map(Node::to_json).collect())),
        Value::Map(_) => typed(field),
        Value::Null => Err(field.wrong("a tolerance is missing")),
    }
}

fn typed(field: &Field<'_>) -> Result<Tolerance, Wrong> {
    let kind = field.node.entry("type").ok_or_else(|| field.wrong("`type` is missing"))?;
    let kind = Field::new(format!("{}.type", field.path), kind);
    match kind.text()? {
        "regex" => pattern(field),
        "jsonpath" => path(field),
        "range" => range(field),
        "probe" => Ok(Tolerance::Probe(Box::new(activity(field)?))),
        other => Err(kind.wrong(format!("unknown type of tolerance `{other}`")).help(nearest(other, &TYPES))),
    }
}

fn target(field: Option<Field<'_>>) -> Result<Option<String>, Wrong> {
    field.map(|field| field.name()).transpose()
}

fn pattern(field: &Field<'_>) -> Result<Tolerance, Wrong> {
    let fields = field.fields(&["type", "target", "pattern"])?;
    let pattern = fields.need("pattern")?;
    let compiled = Regex::new(pattern.text()?).map_err(|e| pattern.wrong(format!("this is no pattern: {e}")))?;
    Ok(Tolerance::Pattern { pattern: compiled, target: target(fields.get("target"))? })
}

fn path(field: &Field<'_>) -> Result<Tolerance, Wrong> {
    let fields = field.fields(&["type", "target", "path", "count", "expect"])?;
    let path = fields.need("path")?;
    let parsed = JsonPath::parse(path.text()?.trim()).map_err(|e| path.wrong(format!("this is no path: {e}")))?;
    let count = fields.get("count").map(|count| count.whole(0..=1_000_000)).transpose()?;
    let expect = fields.get("expect").map(|expect| match &expect.node.value {
        Value::List(items) => items.iter().map(Node::to_json).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => vec![expect.node.to_json()],
    });
    Ok(Tolerance::Path {
        path: Box::new(parsed),
        target: target(fields.get("target"))?,
        count: count.and_then(|count| usize::try_from(count).ok()),
        expect,
    })
}

fn range(field: &Field<'_>) -> Result<Tolerance, Wrong> {
    let fields = field.fields(&["type", "target", "range"])?;
    let bounds = fields.need("range")?;
    match bounds.list()?.as_slice() {
        [low, high] => {
            let bounds = [low.number()?, high.number()?];
            Ok(Tolerance::Range { bounds, target: target(fields.get("target"))? })
        }
        _ => Err(bounds.wrong("expected two numbers, the lower one first")),
    }
}
