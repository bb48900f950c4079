//! How a verb ends badly: an exit code, one line that says what, and one that says what can be done.

use std::{
    io::{self, Write},
    process::ExitCode,
};
use taffeta_node::{
    StartError,
    api::{ApiError, ErrorCode},
};
use taffeta_sim::Verdict;

/// What a verb ends with.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// An end that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// 1 it failed, 2 the command or file is wrong, 3 refused, 4 timed out; 5 healing not confirmed, 127 to 129 from the simulator alone; of `exec`
    /// whatever its command has returned; 0 if only the reader went away.
    code: u8,
    /// Empty if everything has been said.
    message: String,
    help: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.exit_code(), message: message.into(), help: None }
    }

    /// It failed: exit 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Failed, message)
    }

    /// The command or file is wrong: exit 2.
    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Invalid, message)
    }

    /// Refused: exit 3.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    /// It took too long: exit 4.
    pub(crate) fn late(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Timeout, message)
    }

    /// A simulated run ended with this verdict.
    pub(crate) fn simulated(verdict: Verdict, message: impl Into<String>) -> Self {
        Self { code: verdict.exit_code(), message: message.into(), help: None }
    }

    /// An experiment ended so: 1 deviated, 2 refused, 3 aborted, 5 healing not confirmed.
    pub(crate) fn experiment(verdict: taffeta_chaos_operator::Verdict, message: impl Into<String>) -> Self {
        Self { code: verdict.exit_code(), message: message.into(), help: None }
    }

    /// The exit code alone says it, as with an answer that was printed.
    pub(crate) fn silent(code: ErrorCode) -> Self {
        Self::new(code, "")
    }

    /// A command that was run elsewhere ended so, and has said itself what there is to say.
    pub(crate) fn ended(code: u8) -> Self {
        Self { code, message: String::new(), help: None }
    }

    /// Nobody reads our output any more, as with `taffeta ps | head -1`: nothing went wrong.
    pub(crate) fn reader_gone() -> Self {
        Self { code: 0, message: String::new(), help: None }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Says it on stderr, each part in one line, and gives the exit code.
    pub(crate) fn tell(&self) -> ExitCode {
        let mut stderr = io::stderr().lock();
        // Whoever closed stderr does not want to know.
        if !self.message.is_empty() {
            let _ = writeln!(stderr, "error: {}", one_line(&self.message));
        }
        if let Some(help) = &self.help {
            let _ = writeln!(stderr, "help: {}", one_line(help));
        }
        ExitCode::from(self.code)
    }

    #[cfg(test)]
    pub(crate) fn told(&self) -> (u8, &str, Option<&str>) {
        (self.code, &self.message, self.help.as_deref())
    }
}

impl From<ApiError> for Failure {
    fn from(e: ApiError) -> Self {
        Self::new(e.code, e.message).maybe_help(e.help)
    }
}

impl From<StartError> for Failure {
    fn from(e: StartError) -> Self {
        Self::new(e.code, e.message).maybe_help(e.help)
    }
}

/// What would break the line or the terminal becomes a space: errors quote what others wrote.
pub(crate) fn one_line(text: &str) -> String {
    let plain: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain
}
