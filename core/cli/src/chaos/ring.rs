//! The ring alone.

use super::{args::RingArgs, fresh_seed};
use crate::{
    failure::{Failure, Outcome},
    output::{remark, show},
    progress::Progress,
};
use taffeta_chaos_ring::{InvalidRing, RingConfig};

/// Virtual seconds that are enough for all that happens but a long standstill.
const SECONDS: u64 = 60;

/// A standstill begins at the latest at this second.
const STALL_AT: u64 = 30;

/// What comes of a standstill is known so many seconds after it.
const STALL_SETTLE: u64 = 5;

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
    let stands_still = args.stall.map(|stall| stall.lasts.as_secs_f64().ceil() as u64);
    let needed = stands_still.map(|seconds| seconds.saturating_add(STALL_AT + STALL_SETTLE));
    RingConfig {
        nodes: args.nodes,
        kill: args.kill.unwrap_or_else(|| args.nodes.saturating_sub(1).min(3)),
        loss: args.loss,
        stall: args.stall,
        seconds: args.seconds.unwrap_or_else(|| needed.unwrap_or(0).max(SECONDS)),
        seed: args.seed.unwrap_or_else(fresh_seed),
    }
}

/// `--kill: 9 ...`: fields are named as their flags, `stall` has two.
fn wrong(e: &InvalidRing) -> Failure {
    let (flag, part) = e.field.split_once('.').unwrap_or((e.field, ""));
    let part = if part.is_empty() { String::new() } else { format!("{part} ") };
    Failure::wrong(format!("--{flag}: {part}{} is not {}", e.found, e.expected))
}
