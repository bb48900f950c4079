//! One seed in a process of its own, and what became of it.

use super::super::scenario::Scenario;
use crate::failure::{Failure, Outcome, one_line};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    env,
    os::unix::process::ExitStatusExt,
    process::{self, ExitStatus, Stdio},
    time::Duration,
};
use taffeta_sim::Verdict;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

/// What is kept of a child's output, from its end: a report has about 3 kB.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// Most characters of what a child said when it crashed.
const SAID_CHARS_MAX: usize = 300;

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) seed: u64,
    pub(super) verdict: Verdict,
    /// What was wrong, unless it passed.
    pub(super) why: String,
    /// What it told of itself, if it came to that.
    pub(super) report: Option<Told>,
}

/// The part of a run's JSON that a sweep adds up.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    seed: u64,
    verdict: String,
    why: Option<String>,
    pub(super) virtual_s: f64,
    pub(super) faults: BTreeMap<String, u64>,
    pub(super) sometimes: BTreeMap<String, u64>,
}

/// This program, running one seed. Not named by its path, where a newer one may lie before a long sweep has ended.
pub(super) fn command(scenario: &Scenario, seed: u64) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("taffeta").args(scenario.words(seed)).args(["-o", "json", "--sweep", &process::id().to_string()]);
    let logs = env::var_os("TAFFETA_LOG").is_some_and(|filter| !filter.is_empty());
    command.stderr(if logs { Stdio::inherit() } else { Stdio::piped() });
    // A process group of its own, so that Ctrl-C reaches the sweep alone.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
    command
}

/// Runs it to its end, or as long as there is patience.
pub(super) async fn simulate(mut command: Command, seed: u64, patience: Duration) -> Outcome<Ended> {
    let child = command.spawn().map_err(|e| Failure::failed(format!("seed {seed} cannot be started: {e}")))?;
    let Ok(lived) = timeout(patience, live(child)).await else {
        let why = format!("hangs: no end after {} s", patience.as_secs());
        return Ok(Ended { seed, verdict: Verdict::Stuck, why, report: None });
    };
    let (status, stdout, stderr) = lived.map_err(|e| Failure::failed(format!("seed {seed} is lost: {e}")))?;
    Ok(judge(seed, status, &stdout, &stderr))
}

async fn live(mut child: Child) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr, status) = tokio::join!(end_of(stdout), end_of(stderr), child.wait());
    Ok((status?, stdout, stderr))
}

/// Reads to the end and keeps that.
async fn end_of(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut from) = from else { return vec![] };
    let mut kept = vec![];
    while let Ok(1..) = from.read_buf(&mut kept).await {
        if kept.len() > 2 * OUTPUT_BYTES_MAX {
            kept.drain(..kept.len() - OUTPUT_BYTES_MAX);
        }
    }
    kept
}

fn judge(seed: u64, status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Ended {
    let told = serde_json::from_slice::<Told>(stdout).ok().filter(|told| told.seed == seed);
    let verdict = told.as_ref().and_then(|told| verdict(&told.verdict));
    match (verdict, told) {
        // A process may still fall after its last word.
        (Some(verdict), Some(told)) if status.code() == Some(verdict.exit_code().into()) => {
            Ended { seed, verdict, why: told.why.clone().unwrap_or_default(), report: Some(told) }
        }
        (_, report) => Ended { seed, verdict: Verdict::Crash, why: crash(status, stderr), report },
    }
}

fn verdict(word: &str) -> Option<Verdict> {
    [Verdict::Pass, Verdict::Wrong, Verdict::Stuck, Verdict::Crash].into_iter().find(|v| v.to_string() == word)
}

/// How it ended, and the last that it said.
fn crash(status: ExitStatus, stderr: &[u8]) -> String {
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("killed by signal {signal}"),
        (None, Some(code)) => format!("exit status {code} without a report"),
        (None, None) => status.to_string(),
    };
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().map(one_line).filter(|line| !line.is_empty() && !line.starts_with("seed "));
    match lines.next_back() {
        Some(said) => format!("{how}: {}", said.chars().take(SAID_CHARS_MAX).collect::<String>()),
        None => how,
    }
}

#[cfg(test)]
mod tests;
