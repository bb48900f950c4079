//! The one error of the app file.

use std::fmt;

/// Longest message in characters: an error quotes what the file says, which may be anything.
const MESSAGE_CHARS_MAX: usize = 400;

/// What is wrong in an app file. Shown as one line, as
/// ``line 7: service.web.cout: unknown key; did you mean `count`?``. Nothing was changed: correct the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppFileError {
    /// Line in the file, from 1; `None` if it is about what the file lacks as a whole.
    pub line: Option<usize>,
    /// The field, as `service.web.cout`; empty if it is about no field, as with broken TOML.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to write instead, where that can be said.
    pub help: Option<String>,
}

impl AppFileError {
    pub(super) fn new(line: Option<usize>, field: impl Into<String>, message: impl AsRef<str>) -> Self {
        Self { line, field: field.into(), message: one_line(message.as_ref()), help: None }
    }

    /// Adds what to do about it, unless something nearer to the fault has been said.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.get_or_insert_with(|| help.into());
        self
    }
}

impl fmt::Display for AppFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for AppFileError {}

/// Escapes what would break the line or the terminal, and cuts what is too long to be read.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars().take(MESSAGE_CHARS_MAX) {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    if text.chars().nth(MESSAGE_CHARS_MAX).is_some() {
        line.push('…');
    }
    line
}
