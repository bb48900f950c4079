//! The agent's side: the `Executor` of a real machine.

use crate::{
    check,
    control::{Action, Client, NOT_UNDERSTOOD, Reply},
    exec::{self, Commands},
    files,
    hierarchy::Hierarchies,
    lease, limits,
    log_files::log_file,
    machine::Machine,
    output, sandbox, secrets,
    settle::Settled,
    usage,
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    panic::resume_unwind,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use taffeta_isolation_plan::{
    ActError, CommandError, CommandSpec, Executor, FileAsk, FileError, FileTold, Found, InvalidSpec, LogPiece,
    Measures, Memory, Permitted, Piece, Running, StartError, Started, Stream, TaskSpec, Usage, check_name,
};
use taffeta_model::{BootMillis, Exit};
use thiserror::Error;
use tokio::{
    sync::Mutex as AsyncMutex,
    task::spawn_blocking,
    time::{sleep, timeout},
};

/// How long a shim may take to answer: it does nothing but that, so a longer silence means that it hangs.
const ANSWER: Duration = Duration::from_secs(5);

/// Pause before a run is looked at again that is neither running nor ended, as in its first milliseconds.
const AGAIN: Duration = Duration::from_millis(50);

/// Pause after the machine failed to say what has become of a run.
const AGAIN_AFTER_ERROR: Duration = Duration::from_secs(1);

/// How tasks are run on this machine.
#[derive(Clone, Debug)]
pub struct LinuxConfig {
    /// The folder that holds a folder for each run. One node's alone; made if it does not exist.
    pub tasks_root: PathBuf,
    /// Unique on the machine; names the cgroup that holds the tasks' groups. Letters, digits, `.`, `_` and `-`.
    pub node_id: String,
    /// The program whose `shim` verb calls [`crate::shim_main`]. The default is this program itself, also after its file
    /// was replaced by an upgrade.
    pub shim: PathBuf,
    /// Whether to run tasks even where isolation is incomplete.
    pub best_effort: bool,
    /// Where files are kept in memory; `None`: where the machine can, which is tried out.
    pub memory: Option<Memory>,
    /// Folders of which a task sees only what is its own, beside `tasks_root`: the node's data.
    pub hidden: Vec<PathBuf>,
    /// Files that no task may read, wherever they lie, now or when they are there: what configures the node, with tokens and
    /// keys in it. Absolute.
    pub masked: Vec<PathBuf>,
    /// Folders that every task may read, wherever they lie, if they exist: those of the node's programs.
    pub shown: Vec<PathBuf>,
}

impl LinuxConfig {
    /// The default: the shim is this program, and isolation must be complete.
    pub fn new(tasks_root: impl Into<PathBuf>, node_id: impl Into<String>) -> Self {
        let (tasks_root, node_id) = (tasks_root.into(), node_id.into());
        Self {
            tasks_root,
            node_id,
            shim: "/proc/self/exe".into(),
            best_effort: false,
            memory: None,
            hidden: vec![],
            masked: vec![],
            shown: vec![],
        }
    }
}

/// Why no tasks can be run from this folder.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The node id names no cgroup.
    #[error("the node id cannot name a cgroup")]
    NodeId(#[source] InvalidSpec),
    /// The folder cannot be made or reached.
    #[error("the folder for tasks `{0}` cannot be used")]
    Folder(PathBuf, #[source] io::Error),
}

/// Runs tasks on this machine.
#[derive(Debug)]
pub struct LinuxExecutor {
    machine: Arc<Machine>,
    /// One lock for each run that is being started, looked at or removed at this moment, and no others.
    busy: Mutex<BTreeMap<String, Arc<AsyncMutex<()>>>>,
    commands: Arc<Commands>,
}

impl LinuxExecutor {
    /// Makes the folder and finds out what the machine permits. Blocks for some system calls.
    pub fn new(config: LinuxConfig) -> Result<Self, OpenError> {
        check_name(&config.node_id).map_err(OpenError::NodeId)?;
        let made = DirBuilder::new().recursive(true).mode(0o711).create(&config.tasks_root);
        let tasks_root = made.and_then(|()| config.tasks_root.canonicalize());
        let tasks_root = tasks_root.map_err(|e| OpenError::Folder(config.tasks_root, e))?;
        let hierarchies = Hierarchies::find();
        let mut permitted = limits::probe(&hierarchies, &config.node_id);
        permitted.memory = config.memory.unwrap_or_else(|| secrets::probe(&tasks_root));
        let mut hidden: Vec<PathBuf> = config.hidden.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
        if !hidden.iter().any(|above| tasks_root.starts_with(above)) {
            hidden.push(tasks_root.clone());
        }
        permitted.measures = Measures {
            hidden,
            masked: config.masked.into_iter().map(|file| file.canonicalize().unwrap_or(file)).collect(),
            shown: config.shown,
            ..sandbox::measures(&config.shim, &tasks_root)
        };
        let (shim, best_effort) = (config.shim, config.best_effort);
        let machine = Machine { tasks_root, shim, best_effort, hierarchies, permitted };
        Ok(Self { machine: Arc::new(machine), busy: Mutex::default(), commands: Arc::default() })
    }

    /// The first file of one of a run's outputs.
    pub fn log_path(&self, run_id: &str, stream: Stream) -> PathBuf {
        log_file(&self.machine.folder(run_id), stream, 0)
    }

    /// Does something with a run while nothing else is done with it. What has begun goes on to its end even if the caller
    /// gives up.
    async fn alone<T: Send + 'static>(&self, run_id: &str, f: impl FnOnce(&Machine) -> T + Send + 'static) -> T {
        let lock = {
            let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            busy.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(busy.entry(run_id.to_owned()).or_default())
        };
        let guard = lock.lock_owned().await;
        let machine = Arc::clone(&self.machine);
        let done = spawn_blocking(move || {
            let _guard = guard;
            f(&machine)
        });
        finished(done).await
    }

    async fn settle(&self, run_id: &str) -> Result<Settled, ActError> {
        let name = run_id.to_owned();
        let settled = self.alone(run_id, move |machine| machine.settle(&name)).await;
        settled.map_err(|e| ActError::Failed(format!("run `{run_id}` cannot be looked at: {e}")))
    }

    /// One request, one answer; `None` if the shim does not answer.
    async fn ask(&self, run_id: &str, action: Action) -> Option<Reply> {
        let folder = self.machine.folder(run_id);
        let answer = async { Client::ask(&folder, action).await?.reply().await };
        timeout(ANSWER, answer).await.ok()?.ok()?
    }

    /// Stays connected until the shim says that the task has ended, or hangs up.
    async fn watch(&self, run_id: &str) -> Option<Exit> {
        let mut client = Client::ask(&self.machine.folder(run_id), Action::Watch).await.ok()?;
        while let Ok(Some(reply)) = client.reply().await {
            if let Some(record) = reply.exit {
                return Some(record.exit());
            }
        }
        None
    }
}

/// The result of blocking work; a panic there is a panic here.
async fn finished<T>(work: tokio::task::JoinHandle<T>) -> T {
    match work.await {
        Ok(value) => value,
        Err(e) => match e.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => std::future::pending().await, // the runtime is going away, and this task with it
        },
    }
}

#[async_trait]
impl Executor for LinuxExecutor {
    async fn start(&self, spec: TaskSpec) -> Result<Started, StartError> {
        let run_id = spec.run_id.clone();
        self.alone(&run_id, move |machine| machine.start(&spec)).await
    }

    async fn recover(&self) -> Vec<Found> {
        let machine = Arc::clone(&self.machine);
        finished(spawn_blocking(move || machine.recover())).await
    }

    async fn wait(&self, run_id: &str) -> Exit {
        let mut hung_up = false;
        loop {
            match self.settle(run_id).await {
                Ok(Settled::Ended(record)) => return record.exit(),
                Ok(Settled::Unknown | Settled::NeverRan(_)) => return Exit::Lost,
                Ok(Settled::Starting) => sleep(AGAIN).await,
                Ok(Settled::Running(_)) => match self.watch(run_id).await {
                    Some(exit) => return exit,
                    // It may have ended between the two looks; then the next one knows how.
                    None if !std::mem::replace(&mut hung_up, true) => {}
                    None => sleep(AGAIN).await,
                },
                Err(e) => {
                    tracing::error!(run = run_id, error = %e, "waiting for a run");
                    sleep(AGAIN_AFTER_ERROR).await;
                }
            }
        }
    }

    async fn end_words(&self, run_id: &str) -> Option<String> {
        match self.settle(run_id).await {
            Ok(Settled::Ended(record)) => record.words(),
            Ok(Settled::Unknown | Settled::NeverRan(_) | Settled::Starting | Settled::Running(_)) | Err(_) => None,
        }
    }

    async fn signal(&self, run_id: &str, signal: i32) -> Result<(), ActError> {
        match self.settle(run_id).await? {
            Settled::Unknown | Settled::NeverRan(_) => Err(ActError::Unknown(run_id.to_owned())),
            Settled::Ended(_) => Err(ActError::Ended(run_id.to_owned())),
            Settled::Starting => Err(ActError::Failed(format!("run `{run_id}` is being started"))),
            Settled::Running(_) => match self.ask(run_id, Action::Signal { n: signal }).await {
                Some(Reply { error: None, .. }) => Ok(()),
                Some(Reply { error: Some(why), .. }) => Err(not_granted(run_id, &why)),
                None => Err(ActError::Failed(format!("the shim of run `{run_id}` does not answer"))),
            },
        }
    }

    async fn kill(&self, run_id: &str) -> Result<(), ActError> {
        match self.settle(run_id).await? {
            Settled::Unknown => return Err(ActError::Unknown(run_id.to_owned())),
            Settled::Ended(_) | Settled::NeverRan(_) => return Ok(()),
            Settled::Starting => return Err(ActError::Failed(format!("run `{run_id}` is being started"))),
            Settled::Running(state) => {
                if self.ask(run_id, Action::Kill).await.is_none() {
                    self.alone(run_id, move |machine| machine.kill_with_shim(&state)).await;
                }
            }
        }
        self.wait(run_id).await;
        Ok(())
    }

    async fn extend(&self, run_id: &str, until: BootMillis) -> Result<(), ActError> {
        // No look at the run first, as for a signal: a process that has ended and been replaced has no socket here.
        match self.ask(run_id, Action::Extend { until: until.0 }).await {
            Some(Reply { error: None, .. }) => Ok(()),
            Some(Reply { error: Some(why), .. }) => Err(not_granted(run_id, &why)),
            None => Err(ActError::Failed(format!("the shim of run `{run_id}` does not answer"))),
        }
    }

    fn boot_time(&self) -> BootMillis {
        lease::boot_time()
    }

    async fn forget(&self, run_id: &str) -> Result<(), ActError> {
        let name = run_id.to_owned();
        self.alone(run_id, move |machine| machine.forget(&name)).await
    }

    async fn run_check(&self, run_id: &str, run: &[String], timeout: Duration) -> bool {
        if check_name(run_id).is_err() {
            return false;
        }
        let (machine, run_id, run) = (Arc::clone(&self.machine), run_id.to_owned(), run.to_vec());
        // Not `alone`: a check may take as long as it likes without holding up a kill.
        let spawned = spawn_blocking(move || check::spawn(&machine.folder(&run_id), &machine.groups(&run_id), &run));
        match finished(spawned).await {
            Ok(child) => check::passes(child, timeout).await,
            Err(_) => false,
        }
    }

    async fn exec(&self, run_id: &str, command: CommandSpec) -> Result<Running, CommandError> {
        let failed = |why: String| CommandError::Failed(why);
        match self.settle(run_id).await.map_err(|e| failed(e.to_string()))? {
            Settled::Unknown | Settled::NeverRan(_) => return Err(CommandError::Unknown(run_id.to_owned())),
            Settled::Ended(_) => return Err(CommandError::Ended(run_id.to_owned())),
            Settled::Starting => return Err(failed(format!("run `{run_id}` is being started"))),
            Settled::Running(_) => {}
        }
        let place = self.commands.take(run_id)?;
        let (machine, run_id) = (Arc::clone(&self.machine), run_id.to_owned());
        let task = timeout(ANSWER, Client::ask(&machine.folder(&run_id), Action::Watch)).await;
        let task = task.map_err(|_| failed(format!("the shim of run `{run_id}` does not answer")))?;
        let task = task.map_err(|_| CommandError::Ended(run_id.clone()))?;
        finished(spawn_blocking(move || {
            exec::start(&machine.folder(&run_id), &machine.groups(&run_id), &command, task, place)
        }))
        .await
    }

    async fn look(&self, run_id: &str, ask: FileAsk) -> Result<FileTold, FileError> {
        if check_name(run_id).is_err() {
            return Err(FileError::Unknown(run_id.to_owned()));
        }
        let (folder, run_id) = (self.machine.folder(run_id), run_id.to_owned());
        finished(spawn_blocking(move || files::look(&folder, &run_id, &ask))).await
    }

    async fn usage(&self, run_id: &str) -> Option<Usage> {
        check_name(run_id).ok()?;
        let (machine, run_id) = (Arc::clone(&self.machine), run_id.to_owned());
        finished(spawn_blocking(move || usage::of_run(&machine, &run_id))).await
    }

    async fn tidy(&self) {
        let machine = Arc::clone(&self.machine);
        finished(spawn_blocking(move || machine.tidy())).await;
    }

    fn folder(&self, run_id: &str) -> PathBuf {
        self.machine.folder(run_id)
    }

    async fn read_log(&self, run_id: &str, stream: Stream, piece: Piece) -> io::Result<LogPiece> {
        check_name(run_id).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let folder = self.machine.folder(run_id);
        finished(spawn_blocking(move || output::read(&folder, stream, piece))).await
    }

    fn permitted(&self) -> &Permitted {
        &self.machine.permitted
    }
}

/// The shim's refusal in words for whoever asked.
fn not_granted(run_id: &str, why: &str) -> ActError {
    // A shim lives as long as its task, and this one is from before the release that taught shims this.
    let older = if why.starts_with(NOT_UNDERSTOOD) {
        "; its shim is of an older release: once the task is started anew, it has one of this release"
    } else {
        ""
    };
    ActError::Failed(format!("run `{run_id}`: {why}{older}"))
}
