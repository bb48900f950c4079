//! The demo's node processes, and whatever of them is left to be reaped.

use super::nodes::Node;
use crate::failure::{Failure, Outcome};
use rustix::process::{WaitOptions, set_child_subreaper, wait};
use std::{
    collections::BTreeMap,
    env,
    fs::File,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitStatus, Stdio},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A node process has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Death {
    /// Name of the node.
    pub(super) node: String,
    /// `exit status 1`, `signal 9`.
    pub(super) how: String,
}

/// The node processes that this demo started and that have not ended.
pub(super) struct Children {
    running: BTreeMap<u32, String>,
    news: Signal,
}

impl Children {
    /// Becomes the one to whom shims fall when their node dies: so their ends are collected here, also where nobody else
    /// would, as in a container without an init.
    pub(super) fn adopt() -> Outcome<Self> {
        let news = signal(SignalKind::child());
        let news = news.map_err(|e| Failure::failed(format!("cannot listen for signals: {e}")))?;
        // Without it all works; then the ends of killed shims are somebody else's to collect.
        let _ = set_child_subreaper(Some(rustix::process::getpid()));
        Ok(Self { running: BTreeMap::new(), news })
    }

    /// Starts a node in a process group of its own, so that Ctrl-C reaches the demo alone, which then ends all in order.
    pub(super) fn start(&mut self, node: &Node, token: Option<&str>, chaos: bool) -> Outcome {
        let failed = |e| Failure::failed(format!("cannot start {}: {e}", node.name));
        let log = File::create(&node.log).map_err(failed)?;
        let mut command = Command::new(env::current_exe().map_err(failed)?);
        command.args(["up", "--data", &node.data, "--name", &node.name, "--address", &node.ip.to_string()]);
        command.args(["--api-open", "--best-effort"]);
        if chaos {
            command.arg("--chaos");
        }
        // What a person has configured for a real node is not meant for these.
        for (name, _) in env::vars_os().filter(|(name, _)| configures(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command.env("TAFFETA_CONFIG", "/dev/null");
        if let Some(token) = token {
            command.args(["--join", "127.0.0.1"]).env("TAFFETA_JOIN_TOKEN", token); // the environment is private
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log).process_group(0);
        let child = command.spawn().map_err(failed)?;
        self.running.insert(child.id(), node.name.clone());
        Ok(())
    }

    /// The next node that ends. Safe to cancel.
    pub(super) async fn next_death(&mut self) -> Death {
        loop {
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                let pid = pid.as_raw_nonzero().get().unsigned_abs();
                if let Some(node) = self.running.remove(&pid) {
                    return Death { node, how: how(ExitStatus::from_raw(status.as_raw())) };
                }
            }
            self.news.recv().await;
        }
    }
}

fn configures(variable: &str) -> bool {
    variable.starts_with("TAFFETA_") && !matches!(variable, "TAFFETA_LOG" | "TAFFETA_WORKERS")
}

fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("killed by signal {signal}"),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => "unknown".into(),
    }
}
