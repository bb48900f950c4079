//! A value of the file that knows its place, so that no error lacks its line and field.

use super::error::{AppFileError, one_line};
use std::cmp::Reverse;
use toml::de::{DeTable, DeValue};

/// A value, the path that leads to it and where it stands.
pub(super) struct Item<'a> {
    text: &'a str,
    field: String,
    /// Byte position of the key, or of the value itself inside an array. Zero for the file as a whole.
    offset: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Item<'a> {
    pub(super) fn root(text: &'a str, value: &'a DeValue<'a>) -> Self {
        Self { text, field: String::new(), offset: 0, value }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn value(&self) -> &'a DeValue<'a> {
        self.value
    }

    pub(super) fn error(&self, message: impl AsRef<str>) -> AppFileError {
        AppFileError::new(Some(line_at(self.text, self.offset)), self.field.clone(), message)
    }

    /// The error about a field that should be inside this table.
    pub(super) fn missing(&self, key: &str, expected: &str) -> AppFileError {
        let field = format!("{}.{key}", self.field);
        AppFileError::new(Some(line_at(self.text, self.offset)), field, format!("missing; expected {expected}"))
    }

    /// `expected an integer, found the string "3"`.
    pub(super) fn expected(&self, what: &str) -> AppFileError {
        self.error(format!("expected {what}, found {}", found(self.value)))
    }

    pub(super) fn unknown_key(&self, key: &str, known: &[&str]) -> AppFileError {
        let nearest = nearest(key, known);
        let help = format!("known keys: {}", known.join(", "));
        self.error(format!("unknown key; did you mean `{nearest}`?")).help(help)
    }

    pub(super) fn string(&self) -> Result<&'a str, AppFileError> {
        self.value.as_str().ok_or_else(|| self.expected("a string"))
    }

    pub(super) fn bool(&self) -> Result<bool, AppFileError> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// A whole number of this range; `what` names it.
    pub(super) fn whole(&self, what: &str, least: u32, most: u32) -> Result<u32, AppFileError> {
        let number = self.value.as_integer().and_then(|i| i64::from_str_radix(i.as_str(), i.radix()).ok());
        let number = number.and_then(|n| u32::try_from(n).ok()).filter(|n| (least..=most).contains(n));
        number.ok_or_else(|| self.expected(&format!("{what} from {least} to {most}")))
    }

    /// A whole number other than zero, of at most this size on either side; `what` names it.
    pub(super) fn signed(&self, what: &str, most: i16) -> Result<i16, AppFileError> {
        let number = self.value.as_integer().and_then(|i| i64::from_str_radix(i.as_str(), i.radix()).ok());
        let number = number.and_then(|n| i16::try_from(n).ok()).filter(|n| *n != 0 && (-most..=most).contains(n));
        number.ok_or_else(|| self.expected(&format!("{what} from -{most} to {most}, but not 0")))
    }

    /// Elements of an array.
    pub(super) fn elements(&self, what: &str) -> Result<Vec<Self>, AppFileError> {
        let array = self.value.as_array().ok_or_else(|| self.expected(what))?;
        let element = |e: &'a toml::Spanned<DeValue<'a>>| Self {
            text: self.text,
            field: self.field.clone(),
            offset: e.span().start,
            value: e.get_ref(),
        };
        Ok(array.iter().map(element).collect())
    }

    /// Elements of an array of strings.
    pub(super) fn strings(&self) -> Result<Vec<String>, AppFileError> {
        self.elements("an array of strings")?.iter().map(|e| e.string().map(String::from)).collect()
    }

    /// Entries of a table in the order of the file: the first fault is the one that is told.
    pub(super) fn entries(&self) -> Result<Vec<(&'a str, Self)>, AppFileError> {
        let table = self.value.as_table().ok_or_else(|| self.expected("a table"))?;
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let name: &'a str = key.get_ref();
                let field =
                    if self.field.is_empty() { quoted(name) } else { format!("{}.{}", self.field, quoted(name)) };
                (name, Self { text: self.text, field, offset: key.span().start, value: value.get_ref() })
            })
            .collect();
        entries.sort_by_key(|(_, item)| item.offset);
        Ok(entries)
    }
}

/// The line, from 1, of a byte position.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// The line of a field by its path, as `service.web.health.port`, or of the deepest part of the path that the file has.
pub(super) fn line_of_field(text: &str, root: &DeValue<'_>, field: &str) -> Option<usize> {
    let mut table: Option<&DeTable<'_>> = root.as_table();
    let mut offset = None;
    for part in field.split('.') {
        let Some((key, value)) = table.and_then(|t| t.get_key_value(part)) else { break };
        offset = Some(key.span().start);
        table = value.get_ref().as_table();
    }
    offset.map(|offset| line_at(text, offset))
}

/// The known word with the fewest edits; of equals the one that begins most alike. Empty if none is known.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> &'k str {
    // A longer word is nobody's slip of the finger, and the comparison takes time in proportion to its length.
    let word: String = word.chars().take(64).collect();
    let alike = |k: &str| word.chars().zip(k.chars()).take_while(|(a, b)| a == b).count();
    let best = known.iter().min_by_key(|k| (strsim::osa_distance(&word, k), Reverse(alike(k))));
    best.copied().unwrap_or_default()
}

/// A key as it is written in a path: in quotes if it is not a bare one.
fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { key.into() } else { one_line(&format!("{key:?}")) }
}

/// A value in words, with what it says where that is short.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(s) if s.len() <= 40 => format!("the string {s:?}"),
        DeValue::String(_) => "a string".into(),
        DeValue::Integer(i) => i.to_string(),
        DeValue::Float(x) => x.to_string(),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "an array".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
