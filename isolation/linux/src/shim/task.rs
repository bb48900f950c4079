//! Starting the task.

use super::{
    Refusal,
    logs::{Logs, Writers},
    serve::Shim,
};
use crate::{
    control::short_path,
    group::Groups,
    lease::{Lease, boot_time},
    record::{
        EXIT_FILE, LAUNCH_FILE, Launch, Process, STATE_FILE, StateRecord, VERSION, boot_id, date, read_record,
        write_record,
    },
    secrets::{self, Carried},
    sys::{self, Entry},
};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};
use std::{
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::Path,
    process::{Command, Stdio},
};
use taffeta_isolation_plan::{SPEC_FILE, TaskSpec};

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
        secrets::place(folder, at, &carried)
            .map_err(|e| Refusal::Failed(format!("the secrets cannot be put into memory: {e}")))?;
    }
    let lease = spec.lease.map(|until| Lease::new(until, spec.grace)).transpose()?;
    if spec.lease.is_some_and(|until| until.left(boot_time()) <= spec.grace) {
        return Err(Refusal::Failed("its lease has ended".into()));
    }
    let listener = listen(folder)?;
    let signals = sys::child_signals()?; // before the child exists: its end must not be missed
    let oom = launch.groups.watch_oom();
    let (logs, writers) = Logs::open(folder, spec.logs)?;
    let (pid, pidfd) = spawn(&spec, &launch.groups, &carried, writers)?;
    let state = describe(&spec.run_id, launch.groups, pid)?;
    write_record(&folder.join(STATE_FILE), &state)?;
    Ok(Shim::new(folder.to_path_buf(), state, pidfd, listener, signals, oom, (lease, logs)))
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

fn spawn(spec: &TaskSpec, groups: &Groups, carried: &Carried, outputs: Writers) -> Result<(Pid, OwnedFd), Refusal> {
    let (program, args) = spec.run.split_first().ok_or_else(|| Refusal::NotStarted("no program is given".into()))?;
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(spec.environment()).envs(carried.variables()).current_dir(spec.work());
    command.stdin(Stdio::null()).stdout(outputs.stdout).stderr(outputs.stderr);
    Entry { groups: groups.open_entries()?, dies_with: Some(getpid()), mounts: None }.install(&mut command);
    let child = command.spawn().map_err(|e| Refusal::NotStarted(format!("cannot run `{program}`: {e}")))?;
    let pid = Pid::from_child(&child); // not reaped before `Shim::reap`, so the number is its own until then
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from)?;
    Ok((pid, pidfd))
}

fn describe(run_id: &str, groups: Groups, task: Pid) -> io::Result<StateRecord> {
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
        started_at: date().0,
        groups,
    })
}
