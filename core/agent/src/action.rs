//! What goes out of the agent and what comes in.

use crate::RunId;
use std::{sync::Arc, time::Duration};
use taffeta_model::{Assigned, BootMillis, Exit, Fence, HealthProbe, TaskId, UnixMillis};
use thiserror::Error;

/// Something to be done for one run. Each is given once; its outcome comes back through a `handle_*` method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the process. Answered exactly once, by `handle_started` or `handle_start_failed` (a `handle_exit` that
    /// comes before either is as good).
    Start {
        /// Name of the run, of its folder and of its control group.
        run: RunId,
        /// The task.
        task: TaskId,
        /// What to run.
        assigned: Arc<Assigned>,
        /// Its ports in the order of the app file. To be test-bound before anything is made: if one is taken, answer
        /// [`StartFailure::PortTaken`] and leave nothing behind, for the same run is then started with others.
        ports: Vec<(String, u16)>,
        /// When its lease ends, if it is exclusive.
        lease: Option<BootMillis>,
    },
    /// Let the run of an exclusive task go on until then. Not answered: the next one comes soon.
    Extend {
        /// The run.
        run: RunId,
        /// When its lease ends now.
        until: BootMillis,
    },
    /// Make one health check. Answered exactly once, by `handle_check`, after `timeout` at the latest.
    Check {
        /// The run.
        run: RunId,
        /// What to try.
        probe: HealthProbe,
        /// The run's ports by name.
        ports: Vec<(String, u16)>,
        /// Time after which the check has failed.
        timeout: Duration,
    },
    /// Send SIGTERM to the run's process. Its end is told by `handle_exit`.
    Terminate {
        /// The run.
        run: RunId,
    },
    /// Send SIGKILL to everything in the run. Its end is told by `handle_exit`.
    Kill {
        /// The run.
        run: RunId,
    },
    /// Remove the folder and the control group of an ended run. Answered by `handle_forgotten` when they are gone.
    Forget {
        /// The run.
        run: RunId,
    },
}

impl Action {
    /// The run it is about.
    pub fn run(&self) -> &RunId {
        match self {
            Self::Start { run, .. }
            | Self::Extend { run, .. }
            | Self::Check { run, .. }
            | Self::Terminate { run }
            | Self::Kill { run }
            | Self::Forget { run } => run,
        }
    }
}

/// A run that was on the machine when the agent started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRun {
    /// Its name.
    pub run: RunId,
    /// The ports it was given, in the order of the app file.
    pub ports: Vec<(String, u16)>,
    /// Whether it has a lease.
    pub exclusive: bool,
    /// How it was found.
    pub state: FoundState,
    /// What is known of its end beyond the exit, in words that follow it.
    pub words: Option<String>,
}

/// How a run was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// Its process runs.
    Running {
        /// Process id.
        pid: u32,
        /// When it was started.
        started_at: UnixMillis,
    },
    /// It ended, and how is known.
    Exited {
        /// How.
        exit: Exit,
    },
    /// It is gone and nobody saw how: the machine was rebooted, or its supervisor was killed.
    Lost,
}

/// Why a process was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// Somebody else listens on these ports. Nothing was made, no folder either.
    PortTaken(Vec<u16>),
    /// Anything else, in words. A folder may have been made.
    NotStarted(String),
    /// Something that the task needs could not be had yet, in words. Nothing was made, and it is not the task's failure.
    Withheld(String),
}

/// What became of an assigned set that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is newer and replaces the one before: persist it.
    New,
    /// It is the one that is obeyed already.
    Same,
}

/// The set is older than the one that is obeyed. Nothing was changed; pull again, from a voter that has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the assigned set of {offered} is older than that of {obeyed}, which is obeyed")]
pub struct StaleFence {
    /// Fence of the refused set.
    pub offered: Fence,
    /// Fence of the obeyed set.
    pub obeyed: Fence,
}
