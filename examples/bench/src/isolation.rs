//! Tasks of the profile `standard`: how long one takes from its start to its exit, beside `crun` and `bwrap`; how fast 200
//! are there, what looking after them costs, and how fast a new agent takes up those of a killed one.

mod many;
mod peers;
mod plain;
mod readopt;

use crate::{
    args::{IsolationArgs, IsolationCase},
    figure::Report,
};
use anyhow::Result;
use std::path::Path;

/// Measures the cases that were asked for.
pub(crate) fn run(args: &IsolationArgs, binary: &Path, report: &mut Report) -> Result<()> {
    use IsolationCase::{Idle200, PlainTrue, Readopt10, ShimMemory, Start200};
    let asked = |case| args.cases.is_empty() || args.cases.contains(&case);
    if asked(PlainTrue) {
        plain::run(args.rounds, binary, report)?;
    }
    let idle_seconds = asked(Idle200).then_some(args.idle_seconds);
    let wanted = many::Wanted { start: asked(Start200), memory: asked(ShimMemory), idle_seconds };
    if wanted.start || wanted.memory || wanted.idle_seconds.is_some() {
        many::run(&wanted, binary, report)?;
    }
    if asked(Readopt10) {
        readopt::run(binary, report)?;
    }
    Ok(())
}
