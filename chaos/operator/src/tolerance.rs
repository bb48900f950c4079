//! Whether what a probe has found is what was expected.
//!
//! The rules are those of the Chaos Toolkit (chaoslib/hypothesis.py): a number or a list is compared with the `status` of
//! what has one, a list of two is a range, a longer one a set. Pure; a tolerance that is a probe of its own is asked by
//! whoever runs the experiment.

use crate::format::Activity;
use regex_lite::Regex;
use serde_json::Value as Json;
use serde_json_path::JsonPath;

/// What a probe's value is held against.
#[derive(Clone, Debug)]
pub enum Tolerance {
    /// Equal to this; a number also to the value's `status`.
    Equal(Json),
    /// One of these; of two numbers, between them.
    List(Vec<Json>),
    /// The text matches.
    Pattern {
        /// The expression.
        pattern: Regex,
        /// The part of the value that is meant, as `stdout`.
        target: Option<String>,
    },
    /// The path finds something in the document.
    Path {
        /// The path (RFC 9535).
        path: Box<JsonPath>,
        /// The part of the value that is meant, as `body`.
        target: Option<String>,
        /// So many values.
        count: Option<usize>,
        /// Exactly these values.
        expect: Option<Vec<Json>>,
    },
    /// A number from and to.
    Range {
        /// Both are still right.
        bounds: [f64; 2],
        /// The part of the value that is meant.
        target: Option<String>,
    },
    /// Another probe, which gets the value as its argument `value` and finds something that is true.
    Probe(Box<Activity>),
}

impl Tolerance {
    /// Whether it is met by a value; `None` if only a further probe could tell.
    pub fn is_met(&self, value: &Json) -> Option<bool> {
        let status = value.as_object().and_then(|map| map.get("status"));
        Some(match self {
            Self::Equal(expected) if expected.is_number() => same(status.unwrap_or(value), expected),
            Self::Equal(expected) => same(value, expected),
            Self::List(all) => match (status, all.as_slice()) {
                (Some(status), _) => all.iter().any(|one| same(one, status)),
                (None, [low, high]) => is_between(value, low, high),
                (None, _) => all.iter().any(|one| same(one, value)),
            },
            Self::Pattern { pattern, target } => match part(value, target.as_deref()) {
                Json::String(text) => pattern.is_match(text),
                other => pattern.is_match(&other.to_string()), // a foreign enum: what is no text is matched as JSON
            },
            Self::Path { path, target, count, expect } => {
                let document = document(part(value, target.as_deref()));
                let found = path.query(&document).all();
                let counted = count.map_or(!found.is_empty(), |count| found.len() == count);
                match expect {
                    Some(expect) => found.len() == expect.len() && found.iter().zip(expect).all(|(a, b)| same(a, b)),
                    None => counted,
                }
            }
            Self::Range { bounds: [low, high], target } => {
                let number = match part(value, target.as_deref()) {
                    Json::String(text) => text.trim().parse().ok(),
                    other => other.as_f64(), // a foreign enum: only a number is one
                };
                number.is_some_and(|number: f64| (*low..=*high).contains(&number))
            }
            Self::Probe(_) => return None,
        })
    }
}

/// `1` and `1.0` are the same number.
fn same(a: &Json, b: &Json) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn is_between(value: &Json, low: &Json, high: &Json) -> bool {
    match (value.as_f64(), low.as_f64(), high.as_f64()) {
        (Some(value), Some(low), Some(high)) => (low..=high).contains(&value),
        _ => match (value.as_str(), low.as_str(), high.as_str()) {
            (Some(value), Some(low), Some(high)) => (low..=high).contains(&value),
            _ => false, // nothing is between a number and a text
        },
    }
}

/// The named part of a value, or the value itself if there is none of that name.
fn part<'a>(value: &'a Json, target: Option<&str>) -> &'a Json {
    target.and_then(|target| value.get(target)).unwrap_or(value)
}

/// Text that is JSON is meant as JSON.
fn document(value: &Json) -> Json {
    match value.as_str() {
        Some(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        None => value.clone(),
    }
}

#[cfg(test)]
mod tests;
