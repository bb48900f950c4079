//! Starting the task.

use super::{
    Refusal,
    logs::{Logs, Writers},
    serve::Shim,
};
use crate::{
    control::short_path,
    ending::OutOfMemory,
    group::Groups,
    lease::{Lease, boot_time},
    record::{
        EXIT_FILE, LAUNCH_FILE, Launch, Process, STATE_FILE, StateRecord, VERSION, boot_id, date, read_record,
        write_record,
    },
    sandbox::{Running, Start, Stuck},
    secrets::{self, Carried},
    sys,
};
use rustix::process::{Pid, getpid};
use std::{
    fs::{self, File},
    io,
    os::unix::net::UnixListener,
    path::Path,
};
use taffeta_isolation_plan::{SPEC_FILE, Sandbox, TaskSpec};

/// Starts what the folder describes, once: a folder that knows a start or an end is refused.
pub(super) fn start(folder: &Path, carried: Carried) -> Result<Shim, Refusal> {
    let missing =
        |what: &str| Refusal::Failed(format!("{} is missing: the run was given up", folder.join(what).display()));
    let launch: Launch = read_record(&folder.join(LAUNCH_FILE))?.ok_or_else(|| missing(LAUNCH_FILE))?;
    if folder.join(STATE_FILE).exists() || folder.join(EXIT_FILE).exists() {
        return Err(Refusal::Failed("the run has had its process".into()));
    }
    let spec: TaskSpec = read_record(&folder.join(SPEC_FILE))?.ok_or_else(|| missing(SPEC_FILE))?;
    if let Some(at) = &launch.secrets {
        if carried.is_empty() {
            return Err(Refusal::Failed("the secrets did not arrive: the run was given up".into()));
        }
        secrets::place(folder, at, &carried)
            .map_err(|e| Refusal::Failed(format!("the secrets cannot be put into memory: {e}")))?;
    }
    let lease = spec.lease.map(|until| Lease::new(until, spec.grace)).transpose()?;
    if spec.lease.is_some_and(|until| until.left(boot_time()) <= spec.grace) {
        return Err(Refusal::Failed("its lease has ended".into()));
    }
    let listener = listen(folder)?;
    let signals = sys::child_signals()?; // before the child exists: its end must not be missed
    let oom = OutOfMemory::watch(&launch.groups);
    let sandbox = launch.sandbox.unwrap_or_default();
    let (logs, writers) = Logs::open(folder, spec.logs)?;
    let (running, state) = spawn(folder, &spec, &sandbox, &launch.groups, &carried, writers)?;
    Ok(Shim::new(folder.to_path_buf(), state, running, listener, signals, oom, (lease, logs)))
}

fn listen(folder: &Path) -> io::Result<UnixListener> {
    let open = File::open(folder)?;
    let path = short_path(&open);
    let _ = fs::remove_file(&path);
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177)); // whoever may write to it may kill the task
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Starts the task. Who runs is on disk before the program begins: a run whose program has begun is never taken for one
/// that has not been, and so never started once more, whoever is killed at whatever instant.
fn spawn(
    folder: &Path,
    spec: &TaskSpec,
    sandbox: &Sandbox,
    groups: &Groups,
    carried: &Carried,
    writers: Writers,
) -> Result<(Running, StateRecord), Refusal> {
    let file = folder.join(STATE_FILE);
    let outputs = (writers.stdout, writers.stderr);
    let mut state = None;
    let begins = |task: Pid, init: Option<Pid>| {
        let described = describe(&spec.run_id, groups.clone(), task, init)?;
        write_record(&file, &described)?;
        state = Some(described);
        Ok(())
    };
    let started = Start { spec, sandbox, groups, variables: carried.variables(), outputs }.start(begins);
    let started = started.map_err(|stuck| match stuck {
        Stuck::Absent(why) | Stuck::Unfit(why) | Stuck::Program(why) => Refusal::NotStarted(why),
        Stuck::Sandbox(why) => Refusal::Failed(why),
    });
    match (started, state) {
        (Ok(running), Some(mut state)) => {
            if !running.gaps.is_empty() {
                state.gaps.clone_from(&running.gaps);
                let _ = write_record(&file, &state); // the task runs: a later agent is told less then
            }
            Ok((running, state))
        }
        (Ok(_), None) => unreachable!("no task is let go before it is described"),
        (Err(refusal), _) => {
            // The program has not begun: the run has not been.
            let _ = fs::remove_file(&file);
            Err(refusal)
        }
    }
}

fn describe(run_id: &str, groups: Groups, task: Pid, init: Option<Pid>) -> io::Result<StateRecord> {
    let look_up = |pid: Pid| {
        let number = pid.as_raw_nonzero().get().unsigned_abs();
        Process::look_up(number).ok_or_else(|| io::Error::other("/proc is not mounted"))
    };
    Ok(StateRecord {
        version: VERSION,
        run_id: run_id.to_owned(),
        boot_id: boot_id()?,
        shim: look_up(getpid())?,
        task: look_up(task)?,
        init: init.map(look_up).transpose()?,
        started_at: date().0,
        groups,
        gaps: vec![],
    })
}
