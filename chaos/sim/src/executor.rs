//! The seams at which a node starts tasks and asks after their health.

use crate::{
    tasks::{HANGS, News, NotMade, Stage, Tasks},
    time::{ProcessClock, ProcessTime},
};
use async_trait::async_trait;
use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};
use taffeta_isolation_plan::{
    ActError, Cgroups, CommandError, CommandEvent, CommandInput, CommandOutput, CommandSpec, Executor, FileAsk,
    FileEntry, FileError, FileKind, FilePiece, FileTold, Found, LogPiece, Measures, Memory, Permitted, Piece, Running,
    StartError, Started, Stream, TaskSpec, TerminalSize, Usage,
};
use taffeta_model::{BootMillis, Exit, ShippedFile, UnixMillis};
use taffeta_net::Clock;
use taffeta_node::Prober;
use tokio::time::sleep;

/// A start takes so long before there is a shim, until that has made the process, and until the agent knows it.
const WRITING: Duration = Duration::from_millis(3);
const MAKING: Duration = Duration::from_millis(3);
const TELLING: Duration = Duration::from_millis(2);

/// Asking a process takes so long.
const ASKING: Duration = Duration::from_millis(1);

/// Starts and ends simulated tasks for one life of an agent.
pub(crate) struct SimExecutor {
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) time: Arc<ProcessTime>,
    pub(crate) clock: Arc<ProcessClock>,
    /// Whether the agent's process is no more: its destructors must not act.
    pub(crate) dead: Arc<AtomicBool>,
    pub(crate) permitted: Permitted,
}

impl SimExecutor {
    /// Everything is in force on a simulated machine.
    pub(crate) fn permitted() -> Permitted {
        let cgroups = Cgroups::V2(taffeta_isolation_plan::Controller::ALL.into_iter().collect::<BTreeSet<_>>());
        Permitted {
            root: true,
            cgroups,
            group_parent: "taffeta".into(),
            memory: Memory::Private,
            measures: Measures::default(),
        }
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Executor for SimExecutor {
    async fn start(&self, spec: TaskSpec) -> Result<Started, StartError> {
        spec.check()?;
        let run_id = spec.run_id.clone();
        let waiting = self.tasks.ask(&run_id, &self.dead);
        sleep(WRITING).await; // an agent that dies here leaves nothing
        if self.is_dead() {
            return Err(StartError::Failed("the agent is no more".into()));
        }
        if spec.lease.is_some_and(|until| until.left(self.boot_time()) <= spec.grace) {
            return Err(StartError::Failed("its lease has ended".into()));
        }
        self.tasks.begin(self.time.now() + MAKING, self.clock.date(), spec);
        waiting.reach(Stage::Begun);
        sleep(MAKING).await; // here a shim, which goes on
        let made = self.tasks.made(self.time.now(), &run_id);
        waiting.reach(Stage::Made);
        sleep(TELLING).await; // and here a run that the next one finds
        waiting.end();
        match made {
            Ok((pid, started_at)) => Ok(Started { pid, started_at, not_isolated: vec![] }),
            Err(NotMade::Ended(exit)) => Err(StartError::AlreadyRan { run_id, exit }),
            Err(NotMade::ShimDied) => Err(StartError::Failed("its shim died before the task ran".into())),
        }
    }

    async fn recover(&self) -> Vec<Found> {
        while self.tasks.is_making() {
            sleep(ASKING).await;
        }
        self.tasks.recover(self.time.now())
    }

    async fn wait(&self, run_id: &str) -> Exit {
        let Some(mut news) = self.tasks.news_of(run_id) else { return Exit::Lost };
        loop {
            let heard = news.borrow_and_update().clone();
            match heard {
                News::Ended(exit) => return exit,
                News::HungUp => {
                    sleep(ASKING).await;
                    self.tasks.settle(self.time.now(), run_id);
                }
                News::Runs => {
                    if news.changed().await.is_err() {
                        return Exit::Lost;
                    }
                }
            }
        }
    }

    async fn signal(&self, run_id: &str, signal: i32) -> Result<(), ActError> {
        sleep(ASKING).await;
        match self.tasks.signal(self.time.now(), run_id, signal) {
            Some(true) => Ok(()),
            Some(false) => Err(ActError::Ended(run_id.into())),
            None => Err(ActError::Unknown(run_id.into())),
        }
    }

    async fn kill(&self, run_id: &str) -> Result<(), ActError> {
        sleep(ASKING).await;
        if self.tasks.kill(self.time.now(), run_id) { Ok(()) } else { Err(ActError::Unknown(run_id.into())) }
    }

    async fn extend(&self, run_id: &str, until: BootMillis) -> Result<(), ActError> {
        sleep(ASKING).await;
        let known = !self.is_dead() && self.tasks.extend(run_id, until);
        if known { Ok(()) } else { Err(ActError::Unknown(run_id.into())) }
    }

    fn boot_time(&self) -> BootMillis {
        self.tasks.boot_time(self.time.now())
    }

    async fn forget(&self, run_id: &str) -> Result<(), ActError> {
        sleep(ASKING).await;
        if self.tasks.forget(run_id) { Ok(()) } else { Err(ActError::Running(run_id.into())) }
    }

    async fn run_check(&self, run_id: &str, _: &[String], limit: Duration) -> bool {
        answer(self.tasks.pulse_of(self.time.now(), run_id), limit).await.is_ok()
    }

    async fn exec(&self, run_id: &str, _: CommandSpec) -> Result<Running, CommandError> {
        sleep(MAKING).await;
        let mut news = self.tasks.news_of(run_id).ok_or_else(|| CommandError::Unknown(run_id.into()))?;
        if *news.borrow() != News::Runs {
            return Err(CommandError::Ended(run_id.into()));
        }
        // A simulated command has nothing to say either: it ends with success, or with its task.
        let ends = async move {
            tokio::select! {
                () = sleep(MAKING) => Exit::Code(0),
                _ = news.wait_for(|news| *news != News::Runs) => Exit::Signal(9),
            }
        };
        Ok(Running { input: Box::new(NoInput), output: Box::new(SimCommand(Box::pin(ends))) })
    }

    async fn look(&self, run_id: &str, ask: FileAsk) -> Result<FileTold, FileError> {
        sleep(ASKING).await;
        let (at, files) = self.tasks.files_of(run_id).ok_or_else(|| FileError::Unknown(run_id.into()))?;
        if ask.path.is_empty() {
            return Ok(FileTold::Folder {
                entries: files.into_iter().map(|file| listed(at, file)).collect(),
                more: false,
            });
        }
        let body = files.get(&ask.path).map(|file| &file.body).ok_or_else(|| FileError::NotFound(ask.path.clone()))?;
        let from = usize::try_from(ask.offset).unwrap_or(usize::MAX).min(body.len());
        let to = body.len().min(from.saturating_add(ask.bytes_max as usize));
        Ok(FileTold::Piece(FilePiece { bytes: body[from..to].to_vec(), size: body.len() as u64, identity: 1 }))
    }

    async fn usage(&self, run_id: &str) -> Option<Usage> {
        sleep(ASKING).await;
        self.tasks.usage_of(self.clock.date(), run_id)
    }

    async fn tidy(&self) {}

    fn folder(&self, run_id: &str) -> PathBuf {
        PathBuf::from("/tasks").join(run_id)
    }

    async fn read_log(&self, _: &str, _: Stream, _: Piece) -> io::Result<LogPiece> {
        Ok(LogPiece { at_line: true, ..LogPiece::default() }) // simulated tasks have nothing to say
    }

    fn permitted(&self) -> &Permitted {
        &self.permitted
    }
}

fn listed(modified: UnixMillis, (name, file): (String, ShippedFile)) -> FileEntry {
    let mode = if file.executable { 0o755 } else { 0o644 };
    FileEntry { name, kind: FileKind::File, size: file.body.len() as u64, mode, modified }
}

/// The input of a command that reads none.
struct NoInput;

#[async_trait]
impl CommandInput for NoInput {
    async fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    async fn end(&mut self) {}

    fn resize(&mut self, _: TerminalSize) {}
}

/// A simulated command.
struct SimCommand(Pin<Box<dyn Future<Output = Exit> + Send>>);

#[async_trait]
impl CommandOutput for SimCommand {
    async fn next(&mut self) -> CommandEvent {
        CommandEvent::Ended(self.0.as_mut().await)
    }
}

/// A reply as it comes over the machine's own network: soon, or never.
async fn answer(pulse: Result<(), String>, limit: Duration) -> Result<(), String> {
    let hangs = pulse.as_ref().is_err_and(|why| why == HANGS);
    sleep(if hangs { limit } else { ASKING }).await;
    pulse
}

/// Asks after the health of simulated tasks.
pub(crate) struct SimProber {
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) time: Arc<ProcessTime>,
}

#[async_trait]
impl Prober for SimProber {
    async fn http(&self, address: SocketAddr, _: &str, limit: Duration) -> Result<(), String> {
        answer(self.tasks.pulse_at(self.time.now(), address.port()), limit).await
    }

    async fn read(&self, address: SocketAddr, _: &str, _: usize, limit: Duration) -> Result<Vec<u8>, String> {
        answer(self.tasks.pulse_at(self.time.now(), address.port()), limit).await?;
        Ok(vec![]) // simulated tasks have nothing to say
    }

    async fn tcp(&self, address: SocketAddr, limit: Duration) -> Result<(), String> {
        answer(self.tasks.pulse_at(self.time.now(), address.port()), limit).await
    }

    fn is_free(&self, port: u16) -> bool {
        !self.tasks.has_port(port)
    }
}
