//! The seam at which the agent starts, finds and ends processes. A simulator implements it without any.

use crate::{
    CommandError, CommandSpec, FileAsk, FileError, FileTold, InvalidSpec, LogPiece, Permitted, Piece, Running, Stream,
    TaskSpec, Usage,
};
use async_trait::async_trait;
use std::{io, path::PathBuf, time::Duration};
use taffeta_model::{BootMillis, Exit, UnixMillis};
use thiserror::Error;

/// A start that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Process id of the task.
    pub pid: u32,
    /// When the process was started.
    pub started_at: UnixMillis,
    /// What is not isolated, in words; empty if all is in force.
    pub not_isolated: Vec<String>,
}

/// Why a task was not started. Nothing of the run is left, except after `AlreadyRan`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StartError {
    /// The machine cannot isolate as asked, and was not told to go on regardless.
    #[error("not isolated: {}; start the node with --best-effort to run tasks regardless", .0.join("; "))]
    NotIsolated(Vec<String>),
    /// The program cannot be executed; trying again helps only if the machine changes.
    #[error("{0}")]
    NotStarted(String),
    /// This run id has had its process, which ended so. Forget it, and start under another id.
    #[error("run `{run_id}` has been before: {exit}")]
    AlreadyRan {
        /// The run.
        run_id: String,
        /// How it ended.
        exit: Exit,
    },
    /// The spec is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// The machine failed, as with a full disk; it may be tried again.
    #[error("{0}")]
    Failed(String),
}

impl StartError {
    /// The same as a task's end.
    pub fn exit(&self) -> Exit {
        match self {
            Self::AlreadyRan { exit, .. } => exit.clone(),
            Self::NotIsolated(_) | Self::NotStarted(_) | Self::Invalid(_) | Self::Failed(_) => {
                Exit::NotStarted(self.to_string())
            }
        }
    }
}

/// Why a run could not be acted on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ActError {
    /// There is no such run, or it was forgotten. Nothing was changed.
    #[error("there is no run `{0}`")]
    Unknown(String),
    /// It still runs; kill it first. Nothing was changed.
    #[error("run `{0}` still runs")]
    Running(String),
    /// It has ended. Nothing was changed.
    #[error("run `{0}` has ended")]
    Ended(String),
    /// The machine failed; it may be tried again.
    #[error("{0}")]
    Failed(String),
}

/// A run that an earlier agent left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The run.
    pub run_id: String,
    /// What was asked for, without the bodies of the files.
    pub spec: TaskSpec,
    /// What has become of it.
    pub state: FoundState,
}

/// What has become of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// It runs, under its shim.
    Running {
        /// Process id of the task.
        pid: u32,
        /// When the process was started.
        started_at: UnixMillis,
    },
    /// It has ended.
    Exited {
        /// How.
        exit: Exit,
        /// When.
        at: UnixMillis,
        /// As [`Executor::end_words`] gives them.
        words: Option<String>,
    },
    /// Its shim died or the machine was restarted: whatever was left of it has been killed.
    Lost,
}

/// Starts, finds and ends processes. Every method may be called from any task at any time; a call that is dropped half
/// way is carried to its end, or taken back.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Starts the task, once for each run id: a second call while it runs returns the same process.
    async fn start(&self, spec: TaskSpec) -> Result<Started, StartError>;

    /// Finds the runs of an earlier agent, kills what has lost its shim, and removes what belongs to no run. To be
    /// called before the first start.
    async fn recover(&self) -> Vec<Found>;

    /// Returns when the task has ended and nothing of it runs any more; [`Exit::Lost`] for an unknown run.
    async fn wait(&self, run_id: &str) -> Exit;

    /// What the kernel's counters say of the end of a run beyond its exit, in words that follow it, as `its limit of 64 MiB
    /// was reached`; `None` if nothing, or if it has not ended.
    async fn end_words(&self, _run_id: &str) -> Option<String> {
        None
    }

    /// Sends a signal to the task's main process.
    async fn signal(&self, run_id: &str, signal: i32) -> Result<(), ActError>;

    /// Kills all processes of the task; returns when none is left. No error if it has ended already.
    async fn kill(&self, run_id: &str) -> Result<(), ActError>;

    /// Lets an exclusive task run on until then; see [`TaskSpec::lease`]. Without that it gets SIGTERM at its grace before
    /// the end of its lease, and everything of it SIGKILL at the end, also while no agent runs, and at once after a sleep of
    /// the machine. An earlier end than the present one changes nothing.
    async fn extend(&self, run_id: &str, until: BootMillis) -> Result<(), ActError>;

    /// Now, by the clock of leases.
    fn boot_time(&self) -> BootMillis;

    /// Removes the group, the folder, the logs and the exit status of a run that has ended. No error if there is none.
    async fn forget(&self, run_id: &str) -> Result<(), ActError>;

    /// Runs a program in the task's working folder with its environment, inside its group where there is one; whether it
    /// returned 0 within `timeout`. It is killed when the time is up.
    async fn run_check(&self, run_id: &str, run: &[String], timeout: Duration) -> bool;

    /// Runs a command beside a task, in its working folder, with its environment and inside of its group. It is told that its
    /// terminal is gone, and killed soon after, when [`Running::output`] is dropped before its end.
    async fn exec(&self, run_id: &str, command: CommandSpec) -> Result<Running, CommandError>;

    /// Looks into the working folder of a run, also of one that has ended and is not forgotten; never outside of it and of
    /// the volumes that are linked into it.
    async fn look(&self, run_id: &str, ask: FileAsk) -> Result<FileTold, FileError>;

    /// What a run uses now; `None` if that is not counted here, or it does not run.
    async fn usage(&self, run_id: &str) -> Option<Usage>;

    /// Removes what an executor without tasks leaves on the machine, at a clean stop. Running tasks are not touched.
    async fn tidy(&self);

    /// The folder of a run: what [`TaskSpec::folder`] has to be.
    fn folder(&self, run_id: &str) -> PathBuf;

    /// Reads a piece of one of the task's outputs, and tells where the next piece begins. A run that is not there has
    /// written nothing.
    async fn read_log(&self, run_id: &str, stream: Stream, piece: Piece) -> io::Result<LogPiece>;

    /// What this machine permits.
    fn permitted(&self) -> &Permitted;

    /// What is not isolated on this machine, in words; empty if all is in force.
    fn not_isolated(&self) -> Vec<String> {
        self.permitted().not_isolated()
    }
}
