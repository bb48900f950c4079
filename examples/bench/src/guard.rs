//! The end of a benchmark, whatever it is.
//!
//! This process measures nothing. It starts itself once more for that, in a temporary folder which everything that is
//! started from there carries in its environment, and waits: for the end, for Ctrl-C, or for the time to be up. Then it
//! ends what carries the folder and removes it. Not even a panic in the middle of a measurement leaves a node behind.

use anyhow::{Context, Result, bail};
use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tokio::{
    process::Command,
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

/// Tells the inner process that it is the one that measures, and what.
const INNER: &str = "TAFFETA_BENCH_MEASURES";

/// What this process has to measure, if it is the inner one.
pub(crate) fn binary_to_measure() -> Option<PathBuf> {
    env::var_os(INNER).map(PathBuf::from)
}

/// Runs the benchmark of this command line in a process of its own, and leaves nothing of it behind.
pub(crate) fn run(binary: &Path, limit: Duration) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::Builder::new().prefix("taffeta-bench-").tempdir().context("no temporary folder")?;
    let ended = runtime.block_on(guarded(binary, folder.path(), limit));
    taffeta_harness::sweep(folder.path());
    ended
}

async fn guarded(binary: &Path, folder: &Path, limit: Duration) -> Result<ExitCode> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).env(INNER, binary).env("TMPDIR", folder).kill_on_drop(true);
    let mut inner = command.spawn().context("cannot start the process that measures")?;
    tokio::select! {
        ended = timeout(limit, inner.wait()) => match ended {
            Ok(status) => match status?.code() {
                Some(0) => Ok(ExitCode::SUCCESS),
                Some(_) => Ok(ExitCode::FAILURE), // it has said why
                None => bail!("the process that measures was killed"),
            },
            Err(_) => {
                eprintln!("error: it took longer than {limit:?}, what was measured until then is above");
                Ok(ExitCode::from(4))
            }
        },
        () = any(&mut interrupt, &mut terminate, &mut hangup) => bail!("it was told to end"),
    }
}

async fn any(interrupt: &mut Signal, terminate: &mut Signal, hangup: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
