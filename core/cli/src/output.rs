//! What goes to stdout: tables for people, the API's JSON for scripts. Progress and remarks go to stderr.

use crate::failure::{Failure, Outcome, one_line};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, ErrorKind, Write};

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For scripts: the API's own JSON
    Json,
}

/// Prints an answer: as JSON, or as the text that `text` makes of it.
pub(crate) fn show<T: Serialize>(format: Format, answer: &T, text: impl FnOnce(&T) -> String) -> Outcome {
    match format {
        Format::Table => print(&text(answer)),
        Format::Json => print_json(answer),
    }
}

/// Prints a list likewise; if there is nothing in it, people are told so on stderr.
pub(crate) fn show_list<T: Serialize>(
    format: Format,
    answer: &[T],
    empty: &str,
    text: impl FnOnce(&[T]) -> String,
) -> Outcome {
    match format {
        Format::Json => print_json(&answer),
        Format::Table if answer.is_empty() => {
            remark(empty);
            Ok(())
        }
        Format::Table => print(&text(answer)),
    }
}

fn print_json(answer: &impl Serialize) -> Outcome {
    let json = serde_json::to_string_pretty(answer);
    print(&json.map_err(|e| Failure::failed(format!("the answer cannot be printed: {e}")))?)
}

/// Prints a text and ends its last line.
pub(crate) fn print(text: &str) -> Outcome {
    let text = text.trim_end_matches('\n');
    print_bytes(format!("{text}\n").as_bytes())
}

/// Prints bytes as they are.
pub(crate) fn print_bytes(bytes: &[u8]) -> Outcome {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|e| match e.kind() {
        ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::failed(format!("cannot write to stdout: {e}")),
    })
}

/// A line on stderr.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}"); // whoever closed stderr does not want to know
}

/// Columns without borders, as kubectl prints them.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| one_line(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.trim_fmt()
}

/// A cell that may have nothing to say.
pub(crate) fn or_dash(text: impl Into<String>) -> String {
    let text = text.into();
    if text.is_empty() { "-".into() } else { text }
}
