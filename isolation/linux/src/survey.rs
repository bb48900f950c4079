//! What this machine permits, asked by somebody who runs no tasks.

use crate::{LinuxConfig, LinuxExecutor, OpenError};
use std::path::Path;
use taffeta_isolation_plan::{Executor, Permitted};

/// Tries all that a node would try that keeps its tasks in `tasks_root`, and takes it back. `shim` is as in [`LinuxConfig`].
pub async fn survey(tasks_root: &Path, shim: Option<&Path>) -> Result<Permitted, OpenError> {
    let mut config = LinuxConfig::new(tasks_root, format!("survey-{}", std::process::id()));
    if let Some(shim) = shim {
        config.shim = shim.into();
    }
    let executor = LinuxExecutor::new(config)?;
    let permitted = executor.permitted().clone();
    executor.tidy().await;
    Ok(permitted)
}
