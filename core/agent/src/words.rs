//! How reasons are worded.

use std::time::Duration;

/// Most characters of a text that came from outside: reasons travel to every node with each record.
const TEXT_MAX: usize = 200;

/// `250 ms`, `4 s`.
pub(crate) fn span(time: Duration) -> String {
    let ms = time.as_millis();
    if ms.is_multiple_of(1000) { format!("{} s", ms / 1000) } else { format!("{ms} ms") }
}

/// The text on one line, at most [`TEXT_MAX`] characters of it.
pub(crate) fn brief(text: &str) -> String {
    text.trim().chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
