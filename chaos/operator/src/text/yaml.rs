//! YAML 1.2 with lines: the core schema, aliases and merge keys; no other tags, one document.

use super::{DEPTH_MAX, Entry, NODES_MAX, Node, Value, Wrong, add_entry};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_json::Number;
use std::collections::BTreeMap;

pub(super) fn read(text: &str) -> Result<Node, Wrong> {
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), left: NODES_MAX };
    loop {
        match builder.next()? {
            (Event::DocumentStart(_), _) => break,
            (Event::StreamEnd, _) => return Err(Wrong::at(1, "", "the file is empty")),
            _ => {} // a foreign enum: the beginning of the stream
        }
    }
    let (event, span) = builder.next()?;
    let root = builder.node(event, span, 0)?;
    loop {
        match builder.next()? {
            (Event::StreamEnd, _) => return Ok(root),
            (Event::DocumentStart(_), span) => {
                let what = "a second document begins here; a file holds one experiment";
                return Err(Wrong::at(line(&span.start), "", what));
            }
            _ => {} // a foreign enum: the document's end
        }
    }
}

fn line(marker: &Marker) -> usize {
    marker.line().max(1)
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What has a name, with the number of values in it.
    anchors: BTreeMap<usize, (Node, usize)>,
    /// Values that may still come.
    left: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Wrong> {
        let syntax = |e: ScanError| Wrong::at(line(e.marker()), "", format!("this is not YAML: {}", e.info()));
        match self.parser.next_event() {
            Some(event) => event.map_err(syntax),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// Takes these values from those that may come.
    fn spend(&mut self, line: usize, values: usize) -> Result<(), Wrong> {
        let what = || format!("there are more than {NODES_MAX} values up to here, aliases counted each time");
        self.left = self.left.checked_sub(values).ok_or_else(|| Wrong::at(line, "", what()))?;
        Ok(())
    }

    /// The value that begins with this event.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Wrong> {
        let line = line(&span.start);
        if depth > DEPTH_MAX {
            return Err(Wrong::at(line, "", format!("this is more than {DEPTH_MAX} levels deep")));
        }
        let left = self.left;
        self.spend(line, 1)?;
        let (anchor, value) = match event {
            Event::Alias(id) => {
                let Some((node, values)) = self.anchors.get(&id).cloned() else {
                    return Err(Wrong::at(line, "", "an alias of a value that it is itself a part of"));
                };
                self.spend(line, values)?;
                return Ok(Node { line, value: node.value });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let as_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                (anchor, if as_text { Value::Text(text.into_owned()) } else { plain(&text) })
            }
            Event::SequenceStart(anchor, _) => (anchor, Value::List(self.items(depth)?)),
            Event::MappingStart(anchor, _) => (anchor, Value::Map(self.entries(depth)?)),
            _ => return Err(Wrong::at(line, "", "a value is missing here")), // a foreign enum: nothing else begins one
        };
        let node = Node { line, value };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), left - self.left));
        }
        Ok(node)
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, Wrong> {
        let mut items = vec![];
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Wrong> {
        let (mut entries, mut merged) = (vec![], vec![]);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, span, depth + 1)?;
            let line = key.line;
            let key = match key.value {
                Value::Text(key) => key,
                Value::Number(number) => number.to_string(),
                Value::Bool(on) => on.to_string(),
                Value::Null | Value::List(_) | Value::Map(_) => {
                    return Err(Wrong::at(line, "", "a key has to be text"));
                }
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            match key.as_str() {
                "<<" => merged.push(node),
                _ => add_entry(&mut entries, Entry { key, line, node })?,
            }
        }
        for node in merged {
            merge(&mut entries, node)?;
        }
        Ok(entries)
    }
}

/// What `<<` brings in gives way to what is said beside it (yaml.org/type/merge.html).
fn merge(entries: &mut Vec<Entry>, node: Node) -> Result<(), Wrong> {
    match node.value {
        Value::Map(others) => {
            for other in others {
                if !entries.iter().any(|entry| entry.key == other.key) {
                    entries.push(other);
                }
            }
            Ok(())
        }
        Value::List(nodes) => nodes.into_iter().try_for_each(|node| merge(entries, node)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            Err(Wrong::at(node.line, "<<", "expected a mapping to merge"))
        }
    }
}

/// The core schema (YAML 1.2.2, section 10.3).
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::Text(text.into()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if !numeric {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let whole = text.parse::<i64>().ok().map(Number::from).or_else(|| text.parse::<u64>().ok().map(Number::from));
    whole.or_else(|| Number::from_f64(text.parse().ok()?))
}
