//! The working folders of tasks: of those here, and through the machine that has them.

use crate::{
    api::{ApiError, ErrorCode},
    node::Core,
    wire::{Ask, Told},
};
use std::time::Duration;
use taffeta_isolation_plan::{FileAsk, FileError, FileTold};
use taffeta_model::TaskId;

/// How long another node may take to list a folder or to give a piece of a file.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// Longest path, as of the kernel.
const PATH_BYTES_MAX: usize = 4_096;

impl Core {
    /// Looks into a task's working folder, wherever that is.
    pub(crate) async fn files(&self, task: TaskId, ask: FileAsk) -> Result<FileTold, ApiError> {
        if ask.path.len() >= PATH_BYTES_MAX || ask.path.contains('\0') {
            let message = format!("a path has less than {PATH_BYTES_MAX} bytes, and no zero byte among them");
            return Err(ApiError::new(ErrorCode::Invalid, message).field("path"));
        }
        let owner = self.owner_of(&task)?;
        if owner == self.me {
            return self.files_here(&task, ask).await;
        }
        match self.ask(owner, &Ask::Files(task, ask), LOOK_LIMIT).await {
            Ok(Told::Files(told)) => told,
            Ok(_) => Err(ApiError::new(ErrorCode::Failed, "an unexpected reply")),
            Err(e) => Err(self.owner_silent(owner, &e)),
        }
    }

    /// The same of a task of this node: of its newest run.
    pub(crate) async fn files_here(&self, task: &TaskId, ask: FileAsk) -> Result<FileTold, ApiError> {
        let runs = self.tasks.runs_of(task.clone()).await;
        let run = runs.last().ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("`{task}` has no folder here: it was not started yet"))
                .help("`taffeta why TASK` says why one waits")
        })?;
        self.executor.look(run.as_str(), ask).await.map_err(|e| match &e {
            FileError::NotFound(_) => {
                ApiError::new(ErrorCode::NotFound, e.to_string()).help("without a path the folder is listed")
            }
            FileError::Unknown(_) => ApiError::new(ErrorCode::NotFound, e.to_string()),
            FileError::Outside(_) => ApiError::new(ErrorCode::Forbidden, e.to_string())
                .help("paths begin in the task's folder, and no link that leads out of it is followed"),
            FileError::NotAFile(_) => ApiError::new(ErrorCode::Invalid, e.to_string()).field("path"),
            FileError::Failed(..) => ApiError::new(ErrorCode::Failed, e.to_string()),
        })
    }
}
