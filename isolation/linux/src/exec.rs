//! Commands of people beside a task.
//!
//! A command is a child of the agent in the task's groups. It ends with its task, and with its person: then its terminal is
//! gone, which it is told by SIGHUP, and all of its session is killed soon after.

use crate::{
    control::Client,
    enter::{Entering, enter_command},
    group::Groups,
    leftover::{session_lives, signal_session},
    sandbox::Stuck,
    terminal::Terminal,
};
use async_trait::async_trait;
use rustix::process::Signal;
use std::{
    collections::BTreeMap,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use taffeta_isolation_plan::{
    CommandError, CommandEvent, CommandInput, CommandOutput, CommandSpec, PIECE_BYTES_MAX, Running, Stream,
    TerminalSize,
};
use taffeta_model::Exit;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command as AsyncCommand},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

/// Commands beside one task, and on one machine: a person has a few, and each costs some processes and 100 KiB.
const OF_TASK_MAX: usize = 8;
const ALL_MAX: usize = 64;

/// How long a command may take to end when its person has gone.
const GRACE: Duration = Duration::from_secs(2);

/// A command has ended and what it started holds its outputs: so long a silence is taken for the end of what it wrote.
const SILENCE: Duration = Duration::from_millis(250);

/// What ends the input of a program that reads from a terminal.
const END_OF_TRANSMISSION: u8 = 4;

/// The commands of this machine, by run.
#[derive(Debug, Default)]
pub(crate) struct Commands(Mutex<BTreeMap<String, usize>>);

/// Room for a command; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    commands: Arc<Commands>,
    run_id: String,
}

impl Commands {
    /// Takes room for one more.
    pub(crate) fn take(self: &Arc<Self>, run_id: &str) -> Result<Place, CommandError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of_task, total) = (all.get(run_id).copied().unwrap_or_default(), all.values().sum::<usize>());
        if of_task >= OF_TASK_MAX {
            return Err(CommandError::TooMany(format!(
                "{OF_TASK_MAX} commands run beside the task, which is the most"
            )));
        }
        if total >= ALL_MAX {
            return Err(CommandError::TooMany(format!("{ALL_MAX} commands run on the machine, which is the most")));
        }
        *all.entry(run_id.to_owned()).or_default() += 1;
        Ok(Place { commands: Arc::clone(self), run_id: run_id.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.commands.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.run_id) {
            *count -= 1;
        }
        all.retain(|_, count| *count > 0);
    }
}

/// Starts the command. Blocking, as a fork is; to be called inside of a runtime. `task` is a connection on which the shim tells the
/// task's end.
pub(crate) fn start(
    folder: &Path,
    groups: &Groups,
    spec: &CommandSpec,
    task: Client,
    place: Place,
) -> Result<Running, CommandError> {
    let failed = |e: io::Error| CommandError::Failed(format!("the command cannot be started: {e}"));
    let Entering { mut command, terminals, verdict } = enter_command(folder, groups, &spec.run).map_err(failed)?;
    let mut terminal = None;
    match &spec.terminal {
        Some(wanted) => {
            command.env("TERM", &wanted.kind);
            terminal = Some(Arc::new(Terminal::give_to(&mut command, wanted.size, &terminals).map_err(failed)?));
        }
        None => {
            command.stdin(if spec.input { Stdio::piped() } else { Stdio::null() });
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
    }
    let program = spec.run.first().map(String::as_str).unwrap_or_default();
    let mut command = AsyncCommand::from(command);
    let mut child = command.spawn().map_err(|e| refused(program, &e))?;
    drop(command); // it holds the command's end of the terminal, and of what is told
    let leader = verdict.wait().map_err(stuck)?;
    let input = Input {
        pipe: child.stdin.take(),
        terminal: terminal.clone().filter(|_| spec.input),
        resized: terminal.clone(),
    };
    let sources = match terminal {
        Some(terminal) => [Some(Source::Terminal(terminal)), None],
        None => [child.stdout.take().map(Source::Stdout), child.stderr.take().map(Source::Stderr)],
    };
    let session = leader.or_else(|| child.id());
    let (end, task_ended) = watch::channel(false);
    let watching = tokio::spawn(watch_task(task, end));
    let child = Some(child);
    let output = Output {
        child,
        session,
        sources,
        ended: None,
        task_ended,
        watching,
        buffer: vec![0; PIECE_BYTES_MAX],
        _place: place,
    };
    Ok(Running { input: Box::new(input), output: Box::new(output) })
}

fn refused(program: &str, e: &io::Error) -> CommandError {
    let said = format!("cannot run `{program}`: {e}");
    match e.kind() {
        io::ErrorKind::NotFound => CommandError::NotFound(said),
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => CommandError::NotExecutable(said),
        _ if e.raw_os_error() == Some(libc::ENOEXEC) => CommandError::NotExecutable(said),
        _ => CommandError::Failed(said),
    }
}

fn stuck(why: Stuck) -> CommandError {
    match why {
        Stuck::Absent(why) => CommandError::NotFound(why),
        Stuck::Unfit(why) => CommandError::NotExecutable(why),
        Stuck::Program(why) | Stuck::Sandbox(why) => CommandError::Failed(why),
    }
}

async fn watch_task(mut task: Client, end: watch::Sender<bool>) {
    while let Ok(Some(reply)) = task.reply().await {
        if reply.exit.is_some() {
            break;
        }
    }
    end.send_replace(true);
}

struct Input {
    pipe: Option<ChildStdin>,
    /// If it takes input.
    terminal: Option<Arc<Terminal>>,
    resized: Option<Arc<Terminal>>,
}

#[async_trait]
impl CommandInput for Input {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(terminal) = &self.terminal {
            let mut left = bytes;
            while !left.is_empty() {
                let written = terminal.write(left).await?;
                left = &left[written..];
            }
            return Ok(());
        }
        match &mut self.pipe {
            Some(pipe) => pipe.write_all(bytes).await,
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    async fn end(&mut self) {
        self.pipe = None;
        if let Some(terminal) = self.terminal.take() {
            let _ = terminal.write(&[END_OF_TRANSMISSION]).await; // nobody reads there any more
        }
    }

    fn resize(&mut self, size: TerminalSize) {
        if let Some(terminal) = &self.resized {
            terminal.resize(size);
        }
    }
}

enum Source {
    Stdout(ChildStdout),
    Stderr(ChildStderr),
    Terminal(Arc<Terminal>),
}

impl Source {
    fn stream(&self) -> Stream {
        match self {
            Self::Stdout(_) | Self::Terminal(_) => Stream::Stdout,
            Self::Stderr(_) => Stream::Stderr,
        }
    }
}

/// Reads what is there; safe to cancel. Waits for ever if there is no source.
async fn read(source: &mut Option<Source>, buffer: &mut [u8]) -> usize {
    let result = match source {
        Some(Source::Stdout(pipe)) => pipe.read(buffer).await,
        Some(Source::Stderr(pipe)) => pipe.read(buffer).await,
        Some(Source::Terminal(terminal)) => terminal.read(buffer).await,
        None => std::future::pending().await,
    };
    result.unwrap_or(0)
}

struct Output {
    /// Taken when it is left to itself.
    child: Option<Child>,
    /// Number of its session.
    session: Option<u32>,
    sources: [Option<Source>; 2],
    /// How it ended, and when the silence since then, or since it was written last, is long enough.
    ended: Option<(Exit, Instant)>,
    task_ended: watch::Receiver<bool>,
    watching: JoinHandle<()>,
    buffer: Vec<u8>,
    _place: Place,
}

#[async_trait]
impl CommandOutput for Output {
    async fn next(&mut self) -> CommandEvent {
        loop {
            if let Some((exit, _)) = self.ended.as_ref().filter(|_| self.sources.iter().all(Option::is_none)) {
                return CommandEvent::Ended(exit.clone());
            }
            if let Some(event) = self.step().await {
                return event;
            }
        }
    }
}

impl Output {
    async fn step(&mut self) -> Option<CommandEvent> {
        let [first, second] = &mut self.sources;
        let (low, high) = self.buffer.split_at_mut(PIECE_BYTES_MAX / 2);
        let silent_at = self.ended.as_ref().map(|(_, at)| *at);
        let child = self.child.as_mut()?;
        let task_ended = &mut self.task_ended;
        let task_ends = async move { drop(task_ended.wait_for(|ended| *ended).await) };
        let (at, length) = tokio::select! {
            length = read(first, low) => (0, length),
            length = read(second, high) => (1, length),
            status = child.wait(), if silent_at.is_none() => {
                let exit = status.map_or(Exit::Lost, exit_of);
                self.ended = Some((exit, Instant::now() + SILENCE));
                return None;
            }
            () = sleep_until(silent_at.unwrap_or_else(Instant::now)), if silent_at.is_some() => {
                self.sources = [None, None];
                return None;
            }
            () = task_ends, if silent_at.is_none() => {
                // What is in the task's groups was killed with it; where there are none, this is what does it.
                if let Some(session) = self.session {
                    signal_session(session, Signal::KILL);
                }
                let _ = child.start_kill();
                let exit = child.wait().await.map_or(Exit::Lost, exit_of);
                self.ended = Some((exit, Instant::now() + SILENCE));
                return None;
            }
        };
        if length == 0 {
            self.sources[at] = None;
            return None;
        }
        if let Some((_, at)) = &mut self.ended {
            *at = Instant::now() + SILENCE;
        }
        let stream = self.sources[at].as_ref().map_or(Stream::Stdout, Source::stream);
        let begin = at * (PIECE_BYTES_MAX / 2);
        Some(CommandEvent::Output(stream, self.buffer[begin..begin + length].to_vec()))
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Lost,
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.watching.abort();
        if let (None, Some(child), Some(session)) = (&self.ended, self.child.take(), self.session)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(put_down(child, session));
        }
    }
}

/// Ends a command whose person has gone, with all of its session.
async fn put_down(mut child: Child, session: u32) {
    // It is reaped last: until then the number of its session is no other's.
    signal_session(session, Signal::HUP);
    let until = Instant::now() + GRACE;
    while Instant::now() < until && session_lives(session) {
        sleep(Duration::from_millis(50)).await;
    }
    signal_session(session, Signal::KILL);
    let _ = child.kill().await; // an error means that it has ended
}
