//! The ring alone.

use super::{args::RingArgs, fresh_seed};
use crate::{
    failure::{Failure, Outcome},
    output::{remark, show},
    progress::Progress,
};
use taffeta_chaos_ring::{InvalidRing, RingConfig};

/// Virtual seconds of a run that is not told otherwise, if they are enough for all that is to happen.
const SECONDS: u64 = 60;

/// Nodes of which one publishes a changed set each second, if nobody says otherwise.
const NODES_PER_CHANGE: f64 = 100.0;

pub(super) fn run(args: &RingArgs) -> Outcome {
    let config = config(args);
    config.check().map_err(|e| wrong(&e))?;
    remark(&format!("seed {}", config.seed));
    let mut progress = Progress::start();
    progress.hint("members learn of each other");
    let report = taffeta_chaos_ring::run(&config, &mut |now| {
        progress.hint(&format!("{} of {} virtual seconds", now.as_secs(), config.seconds));
    });
    progress.end();
    show(args.output.format, &report.map_err(|e| wrong(&e))?, ToString::to_string)
}

fn config(args: &RingArgs) -> RingConfig {
    let config = RingConfig {
        kill: args.kill.unwrap_or_else(|| args.nodes.saturating_sub(1 + usize::from(args.join)).min(3)),
        loss: args.loss,
        stall: args.stall,
        changes_per_second: args.changes_per_second.unwrap_or(args.nodes as f64 / NODES_PER_CHANGE),
        join: args.join,
        ..RingConfig::quiet(args.nodes, args.seed.unwrap_or_else(fresh_seed))
    };
    let seconds = args.seconds.unwrap_or_else(|| config.seconds_min().max(SECONDS));
    RingConfig { seconds, ..config }
}

/// `--kill: 9 ...`: fields are named as their flags, but with lines; `stall` has two.
fn wrong(e: &InvalidRing) -> Failure {
    let (flag, part) = e.field.split_once('.').unwrap_or((e.field, ""));
    let part = if part.is_empty() { String::new() } else { format!("{part} ") };
    let flag = flag.replace('_', "-");
    Failure::wrong(format!("--{flag}: {part}{} is not {}", e.found, e.expected))
}
