//! Commands, as the Chaos Toolkit runs them.

use crate::format::{Arguments, ProcessCall};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value as Json, json};
use std::process::Stdio;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

/// Most bytes that are kept of what a command prints; the rest is read and thrown away.
const OUTPUT_MAX: usize = 1 << 20;

/// Ends a command's whole group when it is dropped: nothing outlives the experiment.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL); // it may have ended by itself
        }
    }
}

pub(super) async fn call(call: &ProcessCall) -> Result<Json, String> {
    let mut command = match &call.arguments {
        Arguments::Words(words) => {
            let mut command = Command::new(&call.path);
            command.args(words);
            command
        }
        Arguments::Shell(text) => {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(format!("{} {text}", call.path));
            command
        }
    };
    // A group of its own: Ctrl-C is for the experiment, which ends what it has begun.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| format!("{} cannot be started: {e}", call.path))?;
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = timeout(call.timeout, async { tokio::join!(child.wait(), read(stdout), read(stderr)) }).await;
    drop(group);
    let (status, stdout, stderr) = ended.map_err(|_| format!("{} took longer than {:?}", call.path, call.timeout))?;
    let status = status.map_err(|e| format!("{}: {e}", call.path))?;
    // As in Python: a signal is a negative status.
    let code = status.code().or_else(|| std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| -signal));
    Ok(json!({"status": code, "stdout": stdout, "stderr": stderr}))
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut buffer) = (vec![], [0; 4096]);
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let room = OUTPUT_MAX - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
