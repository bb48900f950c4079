//! A demo for the gauntlet, which is gone with it.

use crate::failure::{Failure, Outcome};
use rustix::process::{Pid, Signal, kill_process};
use std::{env, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Machines of it.
const NODES: &str = "5";
/// How long it may take to be ready: what it gives itself, and some more.
const READY_MAX: Duration = Duration::from_secs(90);
/// How long it may take to clean up.
const END_MAX: Duration = Duration::from_secs(60);
/// Begins the name of its folder.
const FOLDER: &str = "taffeta-demo-";

/// A demo that runs beside.
pub(super) struct OwnDemo {
    process: Child,
    /// Held, so that it is not told that nobody reads.
    _lines: Lines<BufReader<ChildStdout>>,
    /// Data folder of its first node.
    pub(super) data: PathBuf,
}

impl OwnDemo {
    /// Starts one, and returns when it is healthy.
    pub(super) async fn start() -> Outcome<Self> {
        let failed = |e: std::io::Error| Failure::failed(format!("the demo cannot start: {e}"));
        let mut command = Command::new(env::current_exe().map_err(failed)?);
        // A group of its own: Ctrl-C is for the gauntlet, which ends it at its own end.
        command
            .args(["demo", "--nodes", NODES, "--chaos"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut process = command.spawn().map_err(failed)?;
        let Some(stdout) = process.stdout.take() else { return Err(Failure::failed("the demo has no output")) };
        let mut lines = BufReader::new(stdout).lines();
        let folder = timeout(READY_MAX, folder(&mut lines)).await;
        match folder {
            Ok(Some(folder)) => Ok(Self { process, _lines: lines, data: folder.join("n1") }),
            // It has said why on stderr, if it could.
            Ok(None) | Err(_) => {
                let mut demo = Self { process, _lines: lines, data: PathBuf::new() };
                demo.end().await;
                Err(Failure::failed("the demo did not become healthy")
                    .help("run `taffeta demo --nodes 5 --chaos` by itself"))
            }
        }
    }

    /// Lets it clean up, and waits for that.
    pub(super) async fn end(&mut self) {
        if let Some(pid) = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT); // it may have ended
        }
        let _ = timeout(END_MAX, self.process.wait()).await; // it says itself what it could not clean up
    }
}

/// Its folder, as it names it when it says what to try, at the end of which it is ready.
async fn folder(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<PathBuf> {
    let mut found = None;
    while let Ok(Some(line)) = lines.next_line().await {
        let word = line.split([' ', '\'', '"']).find(|word| word.contains(FOLDER));
        if let Some((before, rest)) = word.and_then(|word| word.split_once(FOLDER)) {
            let name = rest.split('/').next().unwrap_or_default();
            found = Some(PathBuf::from(format!("{before}{FOLDER}{name}")));
        }
        if line.starts_with("Ctrl-C") {
            return found;
        }
    }
    None
}
