//! The scheduler: a pool of ten thousand machines in memory, a pool against static partitions, and three real nodes.

mod pool;
mod real;
mod utilisation;

use crate::{
    args::{SchedulerArgs, SchedulerCase},
    figure::Report,
};
use anyhow::Result;
use std::path::Path;

/// Measures the cases that were asked for.
pub(crate) fn run(args: &SchedulerArgs, binary: &Path, report: &mut Report) -> Result<()> {
    use SchedulerCase::{Agents, Deploy30, Finished, Place, Utilisation};
    let asked = |case| args.cases.is_empty() || args.cases.contains(&case);
    if asked(Place) || asked(Agents) {
        pool::run(report, asked(Agents));
    }
    if asked(Utilisation) {
        utilisation::run(report);
    }
    if asked(Deploy30) || asked(Finished) {
        real::run(binary, report)?;
    }
    Ok(())
}
