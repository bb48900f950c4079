//! Reading values by name, so that each refusal says line, field and what would be right.

use crate::text::{Entry, Node, Value, Wrong};
use std::time::Duration;

/// A value, and the path that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) path: String,
    pub(crate) node: &'a Node,
}

/// A mapping whose keys are known.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    path: String,
    line: usize,
    entries: &'a [Entry],
}

impl<'a> Field<'a> {
    pub(crate) fn new(path: impl Into<String>, node: &'a Node) -> Self {
        Self { path: path.into(), node }
    }

    pub(crate) fn line(&self) -> usize {
        self.node.line
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) -> Wrong {
        Wrong::at(self.node.line, self.path.clone(), what)
    }

    fn expected(&self, what: &str) -> Wrong {
        self.wrong(format!("this is {}; expected {what}", self.node.kind()))
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.node.value == Value::Null
    }

    pub(crate) fn text(&self) -> Result<&'a str, Wrong> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                Err(self.expected("text"))
            }
        }
    }

    /// Text that is not empty.
    pub(crate) fn name(&self) -> Result<String, Wrong> {
        match self.text()?.trim() {
            "" => Err(self.wrong("this is empty")),
            text => Ok(text.into()),
        }
    }

    pub(crate) fn bool(&self) -> Result<bool, Wrong> {
        match &self.node.value {
            Value::Bool(on) => Ok(*on),
            Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                Err(self.expected("true or false"))
            }
        }
    }

    pub(crate) fn number(&self) -> Result<f64, Wrong> {
        match &self.node.value {
            Value::Number(number) => number.as_f64().ok_or_else(|| self.expected("a number")),
            Value::Text(text) => text.trim().parse().map_err(|_| self.expected("a number")),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => Err(self.expected("a number")),
        }
    }

    /// A whole number of this range.
    pub(crate) fn whole(&self, range: std::ops::RangeInclusive<i64>) -> Result<i64, Wrong> {
        let expected = || self.wrong(format!("expected a whole number from {} to {}", range.start(), range.end()));
        let whole = match &self.node.value {
            Value::Number(number) => number.as_i64(),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
        };
        whole.filter(|number| range.contains(number)).ok_or_else(expected)
    }

    /// Seconds as a number, or with a unit: `10`, `"500ms"`, `"2m"`; at most so long.
    pub(crate) fn duration(&self, max: Duration) -> Result<Duration, Wrong> {
        let expected = || {
            let what = format!("expected a time of at most {} s", max.as_secs());
            self.wrong(what).help("write seconds as a number, or a unit: 10, 1.5, \"500ms\", \"2m\"")
        };
        let duration = match &self.node.value {
            Value::Number(number) => number.as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok()),
            Value::Text(text) => parse_duration(text.trim()),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
        };
        duration.filter(|duration| *duration <= max).ok_or_else(expected)
    }

    pub(crate) fn list(&self) -> Result<Vec<Self>, Wrong> {
        match &self.node.value {
            Value::List(items) => {
                let field = |(index, node)| Self::new(format!("{}[{index}]", self.path), node);
                Ok(items.iter().enumerate().map(field).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                Err(self.expected("a list"))
            }
        }
    }

    /// A mapping of any keys.
    pub(crate) fn pairs(&self) -> Result<Vec<(&'a str, Self)>, Wrong> {
        let entries = self.entries()?;
        Ok(entries
            .iter()
            .map(|entry| (entry.key.as_str(), Self::new(join(&self.path, &entry.key), &entry.node)))
            .collect())
    }

    /// A mapping of these keys and no others.
    pub(crate) fn fields(&self, known: &[&str]) -> Result<Fields<'a>, Wrong> {
        let entries = self.entries()?;
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                let what = format!("unknown key `{}`", entry.key);
                return Err(Wrong::at(entry.line, self.path.clone(), what).help(nearest(&entry.key, known)));
            }
        }
        Ok(Fields { path: self.path.clone(), line: self.node.line, entries })
    }

    fn entries(&self) -> Result<&'a [Entry], Wrong> {
        match &self.node.value {
            Value::Map(entries) => Ok(entries),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                Err(self.expected("a mapping"))
            }
        }
    }
}

impl<'a> Fields<'a> {
    /// The value of a key; `None` also if it is nothing (`null`).
    pub(crate) fn get(&self, key: &str) -> Option<Field<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let field = Field::new(join(&self.path, key), &entry.node);
        (!field.is_nothing()).then_some(field)
    }

    pub(crate) fn need(&self, key: &str) -> Result<Field<'a>, Wrong> {
        self.get(key).ok_or_else(|| Wrong::at(self.line, self.path.clone(), format!("`{key}` is missing")))
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

/// Advice for a word that is not known: the nearest one, or all.
pub(crate) fn nearest(word: &str, known: &[&str]) -> String {
    let alike = known.iter().map(|known| (strsim::jaro_winkler(word, known), known));
    let best = alike.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness > 0.8);
    match best {
        Some((_, best)) => format!("did you mean `{best}`?"),
        None => format!("what may stand here: {}", known.join(", ")),
    }
}

/// `500ms`, `10s`, `2m`, `1h`, or seconds without a unit.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.trim().parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}
