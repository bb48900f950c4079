//! Running a program beside a task: inside its namespaces, its groups and its limits, as its health checks are.
//!
//! A task with a sandbox is entered by a process of our own, `shim enter`, as that takes a fork inside the task's pid
//! namespace and preparations which a process with many threads cannot make between fork and exec. It stands for the
//! program outside: passes signals on, ends as the program ends, and takes it along when it is killed.

use crate::{
    confine::resolve,
    group::Groups,
    record::{LAUNCH_FILE, Launch, Process, STATE_FILE, StateRecord, read_record},
    sandbox::{Doors, Nobody, Place, Program, Stuck, confine_of, joined_by_parent},
    secrets,
    sys::{self, Birth, Born, Entry, SingleThread},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open, pidfd_send_signal, waitpid},
    stdio::stdin,
    termios::isatty,
    thread::move_into_thread_name_spaces,
};
use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};
use taffeta_isolation_plan::{Confine, Identity, Namespace, SPEC_FILE, TaskSpec};

/// The word after `shim` on the command line; the folder of a run begins with a slash.
pub(crate) const ENTER: &str = "enter";

/// Begins what is told of a program that runs in a session of its own.
const LEADER: char = '=';

/// Statuses that shells give for a program that is not there, or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// A command beside a task.
#[derive(Debug)]
pub(crate) struct Entering {
    /// It runs in the task's working folder, environment and groups, and sees what the task sees. Its inputs, outputs and
    /// further variables are for the caller to choose. It leads a session of its own.
    pub(crate) command: Command,
    /// Where terminals are made that have a name for it.
    pub(crate) terminals: PathBuf,
    /// To be looked at after it was spawned and dropped.
    pub(crate) verdict: Verdict,
}

/// What has become of a command that was spawned.
#[derive(Debug)]
pub(crate) struct Verdict(Option<File>);

impl Verdict {
    /// Waits until it is the program, or is not. The leader of the session in which the program is, if that is not the
    /// spawned process's own. Blocking.
    pub(crate) fn wait(self) -> Result<Option<u32>, Stuck> {
        let Some(mut told) = self.0 else { return Ok(None) };
        let mut words = String::new();
        told.read_to_string(&mut words)?;
        match words.strip_prefix(LEADER) {
            Some(leader) => Ok(leader.parse().ok()),
            None => Stuck::decode(&words).map_or(Ok(None), Err),
        }
    }
}

/// The command; see [`Entering`].
pub(crate) fn enter_command(folder: &Path, groups: &Groups, run: &[String]) -> io::Result<Entering> {
    let launch: Option<Launch> = read_record(&folder.join(LAUNCH_FILE))?;
    let launch = launch.ok_or(io::ErrorKind::NotFound)?;
    let machines = PathBuf::from("/dev/ptmx");
    let Some(sandbox) = launch.sandbox.filter(|sandbox| !sandbox.is_nothing()) else {
        let command = beside(folder, groups, run)?;
        return Ok(Entering { command, terminals: machines, verdict: Verdict(None) });
    };
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut command = Command::new(&launch.program);
    command.arg0("taffeta").arg("shim").arg(ENTER).arg(folder).arg(tell.as_raw_fd().to_string()).args(run).env_clear();
    sys::lend(&mut command, tell);
    Entry { groups: vec![], dies_with: None, mounts: None }.install(&mut command);
    let state: Option<StateRecord> = read_record(&folder.join(STATE_FILE))?;
    let host = state.map(|state| state.init.unwrap_or(state.task)).filter(|_| sandbox.has(Namespace::Mount));
    let tasks = host.map(|process| PathBuf::from(format!("/proc/{}/root/dev/pts/ptmx", process.pid)));
    let terminals = tasks.filter(|path| path.exists()).unwrap_or(machines);
    Ok(Entering { command, terminals, verdict: Verdict(Some(told.into())) })
}

/// The same for a task without a sandbox, which is a process as any other.
fn beside(folder: &Path, groups: &Groups, run: &[String]) -> io::Result<Command> {
    let spec: Option<TaskSpec> = read_record(&folder.join(SPEC_FILE))?;
    let spec = spec.ok_or(io::ErrorKind::NotFound)?;
    let (program, args) = run.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    let inside = secrets::inside(folder)?;
    command.args(args).env_clear().envs(spec.environment()).envs(inside.variables).current_dir(spec.work());
    Entry {
        groups: groups.open_entries()?,
        dies_with: None,
        mounts: inside.mounts.map(|mounts| sys::Mounts::new(mounts, &spec.work())).transpose()?,
    }
    .install(&mut command);
    Ok(command)
}

/// `shim enter FOLDER FILE PROGRAM ARGS`: what [`enter_command`] runs. `FILE` is the number of an open one on which it tells
/// what has become of the program.
pub(crate) fn enter_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(folder), Some(tell)) = (args.next().map(PathBuf::from), args.next()) else { return ExitCode::from(2) };
    let tell = tell.to_str().and_then(|number| number.parse().ok()).map_or(Err(Errno::BADF.into()), sys::borrowed);
    let Ok(tell) = tell.map(File::from) else { return ExitCode::from(2) };
    let mut tell = Some(tell);
    match enter(&folder, args, &mut tell) {
        Ok(status) => end_as(status),
        Err(stuck) => {
            let _ = tell.map(|mut tell| tell.write_all(stuck.encode().as_bytes()));
            ExitCode::from(if matches!(stuck, Stuck::Absent(_)) { NOT_FOUND } else { NOT_EXECUTABLE })
        }
    }
}

fn enter(folder: &Path, args: impl Iterator<Item = OsString>, tell: &mut Option<File>) -> Result<WaitStatus, Stuck> {
    let missing = |what: &str| Stuck::Sandbox(format!("{what} is missing: the task does not run"));
    let run: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let spec: TaskSpec = read_record(&folder.join(SPEC_FILE))?.ok_or_else(|| missing(SPEC_FILE))?;
    let launch: Launch = read_record(&folder.join(LAUNCH_FILE))?.ok_or_else(|| missing(LAUNCH_FILE))?;
    let state: StateRecord = read_record(&folder.join(STATE_FILE))?.ok_or_else(|| missing(STATE_FILE))?;
    let sandbox = launch.sandbox.unwrap_or_default();
    if run.is_empty() {
        return Err(missing("a program"));
    }
    let alone = SingleThread::check()?;
    let inside = secrets::inside(folder)?;
    // What the agent has set for this command alone, as its kind of terminal.
    let variables = inside.variables.into_iter().chain(env::vars_os()).collect();
    let terminal = isatty(stdin());
    // Without a first process of ours, the program itself is in all namespaces that it has.
    let host = open_process(&state, state.init.unwrap_or(state.task))?;
    let nobody = match sandbox.identity {
        Identity::Unprivileged(_) => Some(Nobody::of(state.task.pid, &spec)?),
        Identity::Machine | Identity::Agent => None,
    };
    if !state.lives(state.task) {
        return Err(missing("its process")); // after all was opened: if the number is still the task's, so was what was opened
    }
    let place = match inside.mounts.as_ref().filter(|_| !sandbox.has(Namespace::Mount)) {
        Some(mounts) => Place::Mounts { mounts: mounts.as_fd(), host: host.as_fd() },
        None => Place::Of(host.as_fd()),
    };
    let program = Program {
        spec: &spec,
        sandbox: &sandbox,
        confine: confine_of(&spec, &sandbox, Confine::beside),
        run: &run,
        variables,
        doors: Doors::open(&launch.groups)?,
        ids: spec.user.as_ref().map(resolve).transpose().map_err(|e| Stuck::Program(e.to_string()))?,
        nobody: nobody.as_ref(),
        outputs: None,
        leads: terminal,
        dies_with: None,
    };
    let signals = sys::all_signals()?;
    let joined = joined_by_parent(&sandbox);
    if !joined.is_empty() {
        let joined = move_into_thread_name_spaces(host.as_fd(), joined);
        joined.map_err(|e| Stuck::Sandbox(format!("cannot enter its namespaces: {}", io::Error::from(e))))?;
    }
    if terminal {
        sys::leave_terminal();
        let _ = sys::signals_sent(&signals); // of that this process is told as if somebody had sent it
    }
    let born = give_birth(alone, program, place)?;
    if let Some(mut tell) = tell.take().filter(|_| terminal) {
        let _ = write!(tell, "{LEADER}{}", born.pid.as_raw_nonzero());
    }
    Ok(stand_for(&born, &signals)?)
}

/// A file for exactly this process of the run.
fn open_process(state: &StateRecord, process: Process) -> io::Result<OwnedFd> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let fd = pidfd_open(pid, PidfdFlags::empty())?;
    if state.lives(process) { Ok(fd) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn give_birth(alone: SingleThread, program: Program<'_>, place: Place<'_>) -> Result<Born, Stuck> {
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let group = program.birthplace()?;
    let birth = Birth { group: group.as_ref().map(AsFd::as_fd), ..Birth::default() };
    let born = birth.give(alone, move |in_group| {
        // What is not in force of its isolation is what is not of the task's, which was told when that began.
        let stuck = program.become_it(place, in_group, || Ok(()), |_| {});
        let _ = File::from(tell).write_all(stuck.encode().as_bytes());
        1
    })?;
    let mut why = String::new();
    File::from(told).read_to_string(&mut why)?;
    Stuck::decode(&why).map_or(Ok(born), Err)
}

/// Passes on what is sent here until it has ended.
fn stand_for(born: &Born, signals: &OwnedFd) -> io::Result<WaitStatus> {
    loop {
        let mut files = [PollFd::new(&born.fd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        let _ = poll(&mut files, None); // an interruption is a round without news
        for signal in sys::signals_sent(signals).into_iter().filter_map(Signal::from_named_raw) {
            if signal != Signal::CHILD {
                let _ = pidfd_send_signal(&born.fd, signal);
            }
        }
        match waitpid(Some(born.pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn end_as(status: WaitStatus) -> ExitCode {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Some(signal)) => sys::end_by(signal),
        (None, None) => ExitCode::FAILURE,
    }
}
