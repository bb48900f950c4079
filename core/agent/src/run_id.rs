//! The name of one process start.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use taffeta_model::{AppName, Fence, JobName, TaskId};
use thiserror::Error;

/// One process start of a task: `APP.JOB.INDEX-GENERATION.TERM.INDEX-RESTART`, as in `shop.web.2-0.3.17-0`.
///
/// It consists of `a-z`, `0-9`, `.` and `-` and is at most 212 bytes long, so that it serves as the name of a folder
/// and of a control group; everything it was made of can be read back from it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// The text is not the name of a run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a run: expected APP.JOB.INDEX-GENERATION.TERM.INDEX-RESTART")]
pub struct InvalidRunId(pub String);

impl RunId {
    /// The run of a task under a placement; `restart` counts from 0.
    pub fn new(task: &TaskId, fence: Fence, restart: u32) -> Self {
        Self(format!("{}.{}.{}-{fence}-{restart}", task.app, task.job, task.index))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The task it is a run of.
    pub fn task(&self) -> TaskId {
        self.parts().0
    }

    /// The placement it was started for.
    pub fn fence(&self) -> Fence {
        self.parts().1
    }

    /// How many runs the placement had before it.
    pub fn restart(&self) -> u32 {
        self.parts().2
    }

    fn parts(&self) -> (TaskId, Fence, u32) {
        parse(&self.0).expect("checked when it was made")
    }
}

fn parse(s: &str) -> Option<(TaskId, Fence, u32)> {
    let (rest, restart) = s.rsplit_once('-')?;
    let (task, fence) = rest.rsplit_once('-')?;
    let mut numbers = fence.split('.').map(|n| n.parse().ok());
    let fence = Fence { generation: numbers.next()??, term: numbers.next()??, index: numbers.next()?? };
    if numbers.next().is_some() {
        return None;
    }
    let (names, index) = task.rsplit_once('.')?;
    let (app, job) = names.split_once('.')?;
    let task = TaskId { app: AppName::new(app).ok()?, job: JobName::new(job).ok()?, index: index.parse().ok()? };
    Some((task, fence, restart.parse().ok()?))
}

impl FromStr for RunId {
    type Err = InvalidRunId;
    fn from_str(s: &str) -> Result<Self, InvalidRunId> {
        let made = parse(s).map(|(task, fence, restart)| Self::new(&task, fence, restart));
        // `007` and `+7` are numbers, too: only the way we write them is the name of a run.
        made.filter(|run| run.0 == s).ok_or_else(|| InvalidRunId(s.into()))
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;
    fn try_from(s: String) -> Result<Self, InvalidRunId> {
        s.parse()
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
