//! The shim: a small process of one thread between the agent and one task, which outlives the agent.
//!
//! It owns the task: starts it, reaps what it leaves behind, keeps its outputs and its exit status on disk, and answers
//! on a socket. It decides nothing. When it dies, the kernel kills the task's main process, and the agent the rest.

mod logs;
mod serve;
mod task;

use crate::{
    enter::{ENTER, enter_main},
    lock::RunLock,
    record::{ExitRecord, date, write_exit},
    sandbox::{PROBE, probe_main},
    secrets::{self, Carried},
    sys::{self, SingleThread},
};
use rustix::{
    io::fcntl_dupfd_cloexec,
    process::{getpid, set_child_subreaper, setsid},
    stdio::stderr,
};
use serve::Shim;
use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::ExitCode,
};
use taffeta_model::Exit;

/// What the shim tells the agent, on what was its starter's stderr, when the task runs and `state.json` tells of it.
const READY: &str = "ready";

/// Why no task was started.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The program cannot be executed: this is the run's end, and is kept as such.
    NotStarted(String),
    /// The shim could not do its part: the run has not been.
    Failed(String),
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Self {
        Self::Failed(e.to_string())
    }
}

/// Runs the shim of one run: `args` are what follows the word `shim` on the command line, the run's folder; or a process
/// that helps the agent, which knows the words for that. Returns in
/// the starter at once, and in the shim itself, no longer the starter's child, when the task has ended. The caller returns
/// from `main` with it. What stderr was stays open until the task runs; what is written there then is `ready`, or why it
/// does not run. So whoever waits for its end waits for the start, and the starter is not in anybody's way.
///
/// To be called first in `main`, before any thread, runtime or file exists.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter().peekable();
    let first = args.peek().and_then(|arg| arg.to_str());
    if first == Some(ENTER) {
        return enter_main(args.skip(1));
    }
    if first == Some(PROBE) {
        return probe_main(args.skip(1));
    }
    let (Some(folder), None) = (args.next().map(PathBuf::from), args.next()) else {
        eprintln!("error: expected one argument, the folder of a run");
        return ExitCode::from(2);
    };
    // Before the fork: the starter's input ends with it.
    let carried = secrets::read(io::stdin().lock());
    match detach() {
        Ok(Some(ready)) => supervise(&folder, carried, File::from(ready)),
        Ok(None) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the shim of this process. `Some` there, with what was stderr; `None` in the starter.
fn detach() -> io::Result<Option<OwnedFd>> {
    sys::close_inherited_files()?;
    let ready = fcntl_dupfd_cloexec(stderr(), 3)?;
    match sys::fork(SingleThread::check()?)? {
        sys::Fork::Child => Ok(Some(ready)),
        sys::Fork::Parent => Ok(None),
    }
}

/// Becomes a daemon: lets go of what the starter lent, which are its session, outputs, working folder and name.
fn leave_everything() -> io::Result<()> {
    setsid()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    env::set_current_dir("/")?;
    rustix::thread::set_name(c"taffeta-shim")?;
    sys::ignore_hangups();
    // Orphans of the task become ours: we reap them, and find them where there is no cgroup.
    set_child_subreaper(Some(getpid()))?;
    Ok(())
}

fn supervise(folder: &Path, carried: io::Result<Carried>, mut ready: File) -> ExitCode {
    match begin(folder, carried) {
        Ok((lock, shim)) => {
            // Nobody listens any more if the agent was killed; the task runs all the same.
            let _ = ready.write_all(READY.as_bytes());
            drop(ready);
            let code = shim.run();
            drop(lock);
            code
        }
        Err(Refusal::NotStarted(why) | Refusal::Failed(why)) => {
            let _ = ready.write_all(why.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn begin(folder: &Path, carried: io::Result<Carried>) -> Result<(RunLock, Shim), Refusal> {
    leave_everything()?;
    let lock = RunLock::take(folder)?.ok_or_else(|| Refusal::Failed("the run has a shim already".into()))?;
    match task::start(folder, carried?) {
        Ok(shim) => Ok((lock, shim)),
        Err(Refusal::NotStarted(why)) => {
            secrets::remove(folder)?;
            let record = ExitRecord::new(&Exit::NotStarted(why.clone()), date());
            write_exit(folder, &record)?;
            Err(Refusal::NotStarted(why))
        }
        Err(Refusal::Failed(why)) => Err(Refusal::Failed(why)),
    }
}
