//! Progress on stderr: a moving line where a person watches, else a plain line for each change.

use crate::{failure::one_line, output::remark};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{self, IsTerminal},
    time::Duration,
};

/// Longest moving line: a wrapped one cannot be redrawn.
const CHARS_MAX: usize = 100;

/// What is going on.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last: String,
}

impl Progress {
    pub(crate) fn start() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}");
            let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, last: String::new() }
    }

    /// What is waited for now.
    pub(crate) fn now(&mut self, what: &str) {
        let what = one_line(what);
        if what == self.last {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(what.chars().take(CHARS_MAX).collect::<String>()),
            None => remark(&what),
        }
        self.last = what;
    }

    /// What is waited for now, of interest only to whoever watches.
    pub(crate) fn hint(&mut self, what: &str) {
        if self.bar.is_some() {
            self.now(what);
        }
    }

    /// Something that is done; the line stays.
    pub(crate) fn done(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| remark(what)),
            None => remark(what),
        }
    }

    /// Takes the moving line away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
