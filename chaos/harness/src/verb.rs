//! Verbs of the command line, run against a node.

use serde_json::Value;
use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; 128 if a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The output as JSON; panics with both outputs if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }

    /// Panics unless the command succeeded.
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// Runs a verb of the binary against this API, with the token that is to be shown there, if any.
pub(crate) fn verb(binary: &Path, api: SocketAddr, token: Option<&str>, args: &[&str]) -> Output {
    let mut command = Command::new(binary);
    command.args(args).stdin(Stdio::null()).env("TAFFETA_API", format!("http://{api}"));
    command.envs(token.map(|token| ("TAFFETA_TOKEN", token)));
    let output = command.output().expect("the binary runs");
    Output {
        code: output.status.code().unwrap_or(128),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
