//! JSON with lines. `serde_json` says whether it is JSON, and what its strings and numbers are; here is only counted.

use super::{Entry, Node, Value, Wrong, add_entry};
use serde_json::Value as Json;

pub(super) fn read(text: &str) -> Result<Node, Wrong> {
    serde_json::from_str::<Json>(text).map_err(|e| syntax(&e))?;
    let mut reader = Reader { text, at: 0, line: 1 };
    reader.node()
}

fn syntax(e: &serde_json::Error) -> Wrong {
    let told = e.to_string();
    let what = told.rsplit_once(" at line ").map_or(told.as_str(), |(what, _)| what);
    Wrong::at(e.line(), "", format!("this is not JSON: {what} (column {})", e.column()))
}

/// Goes through text that is known to be JSON, of a bounded depth.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at).copied().filter(u8::is_ascii_whitespace) {
            self.line += usize::from(byte == b'\n');
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or_default()
    }

    fn node(&mut self) -> Result<Node, Wrong> {
        let first = self.peek();
        let line = self.line;
        let value = match first {
            b'{' => Value::Map(self.entries()?),
            b'[' => Value::List(self.items()?),
            b'"' => Value::Text(self.scalar(Self::string_end)?),
            b't' | b'f' => Value::Bool(self.scalar(Self::word_end)?),
            b'n' => {
                self.at = self.word_end();
                Value::Null
            }
            _ => Value::Number(self.scalar(Self::word_end)?),
        };
        Ok(Node { line, value })
    }

    fn entries(&mut self) -> Result<Vec<Entry>, Wrong> {
        let mut entries = vec![];
        self.at += 1;
        while self.peek() != b'}' {
            let line = self.line;
            let key = self.scalar(Self::string_end)?;
            self.peek();
            self.at += 1; // the colon
            let node = self.node()?;
            add_entry(&mut entries, Entry { key, line, node })?;
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Ok(entries)
    }

    fn items(&mut self) -> Result<Vec<Node>, Wrong> {
        let mut items = vec![];
        self.at += 1;
        while self.peek() != b']' {
            items.push(self.node()?);
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Ok(items)
    }

    fn scalar<T: serde::de::DeserializeOwned>(&mut self, end: fn(&Self) -> usize) -> Result<T, Wrong> {
        let end = end(self);
        let value = serde_json::from_str(&self.text[self.at..end]).map_err(|e| Wrong::at(self.line, "", e.to_string()));
        self.at = end;
        value
    }

    fn string_end(&self) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' => at += 2,
                b'"' => return at + 1,
                _ => at += 1,
            }
        }
        bytes.len()
    }

    fn word_end(&self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b",]}".contains(byte);
        self.at + rest.iter().position(ends).unwrap_or(rest.len())
    }
}
