//! The flags of `taffeta chaos`.

mod operate;

pub(crate) use operate::{
    AllowArgs, ExperimentFlags, ExportArgs, FabricFlags, GauntletArgs, HaltArgs, InjectArgs, PlanArgs, ProbeArgs,
    RunArgs, StateArgs,
};

use crate::args::OutputFlag;
use clap::{Args, Subcommand};
use std::{fmt, num::NonZeroUsize, path::PathBuf, str::FromStr, time::Duration};
use taffeta_chaos_ring::Stall;
use taffeta_sim::{LASTS_MAX, NODES};

/// Most seeds of one sweep: years of it.
const SEEDS_MAX: u64 = 10_000_000;

/// What `run` ends with.
const RUN_CODES: &str = "Exit codes: 0 the hypothesis held, 1 it did not, 2 the file is wrong or the run was refused \
(broken steady state, no quorum left, not opted in, blocked), 3 aborted by a person or a safeguard, or no node answers, \
5 it is not confirmed that everything is undone.";

#[derive(Debug, Subcommand)]
pub(crate) enum ChaosVerb {
    /// Show whom an experiment would strike, by what, and what that takes away; injects nothing
    #[command(
        after_help = "Exit codes: 0 it may be run, 2 it would be refused, or the file is wrong, 3 no node answers."
    )]
    Plan(Box<PlanArgs>),
    /// Run an experiment on real nodes: check, break, watch, heal, check again, report
    #[command(after_help = RUN_CODES)]
    Run(Box<RunArgs>),
    /// Bring about one fault; it ends by itself
    #[command(
        after_help = "Exit codes: 0 it is on (one by one: it was on everywhere and is over), 1 it failed, 2 the command \
                            is wrong, 3 refused, 4 timed out, 5 it is not confirmed that what was begun is undone."
    )]
    Inject(Box<InjectArgs>),
    /// Undo faults: one, those of a run, or all, which also refuses new ones
    #[command(after_help = "Exit codes: 0 undone, 1 it failed, 2 the command is wrong, 3 no node answers, \
                            5 it is not confirmed that all is undone.")]
    Stop(HaltArgs),
    /// Let faults be brought about again after `stop --all`
    Allow(AllowArgs),
    /// List the faults that are on, and who can be hurt how
    #[command(after_help = "Exit codes: 0 done, 5 with --wait: it is not confirmed that all is undone.")]
    Status(StateArgs),
    /// Ask one probe of experiments, and say whether it found what it should
    Probe(ProbeArgs),
    /// Write an experiment so that the stock Chaos Toolkit runs it: JSON on stdout
    Export(ExportArgs),
    /// Run all ready-made experiments under load, and print what came of it; on a demo of five of its own unless --api names
    /// a cluster
    #[command(after_help = "Exit codes: 0 every experiment held, nothing was lost and nothing is left; 1 not so; \
                            2 the command is wrong; 3 ended early; 5 it is not confirmed that everything is undone.")]
    Gauntlet(GauntletArgs),
    /// Simulate a whole cluster under faults, on virtual time, from one seed or from many
    #[command(after_help = "Exit codes: 0 all promises were kept, 127 the code panicked, 128 no progress was made, \
                            129 a promise was broken, 1 a sweep never met something, 2 the command or file is wrong.")]
    Sim(SimArgs),
}

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    subcommand_value_name = "TIER",
    subcommand_help_heading = "Tiers"
)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    pub(super) instead: Option<SimVerb>,
    #[command(flatten)]
    pub(super) flags: SimFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimVerb {
    /// Simulate membership and catalogue alone, with up to ten thousand nodes
    Ring(RingArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SimFlags {
    /// Decides all that happens; a random one, which is printed first, if neither this nor --seeds is given
    #[arg(long, value_name = "N", conflicts_with = "seeds", value_parser = seed)]
    pub(super) seed: Option<u64>,
    /// Run every seed from A up to and without B (A..=B: with B), each in a process of its own
    #[arg(long, value_name = "A..B")]
    pub(super) seeds: Option<Seeds>,
    /// How many nodes, 3 to 15
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = nodes)]
    pub(super) nodes: usize,
    /// Virtual minutes under faults, as 0.5; then up to two and a half more in which all must become well
    #[arg(long, value_name = "M", default_value_t = 5.0, value_parser = minutes)]
    pub(super) minutes: f64,
    /// Kinds of faults that may happen, separated by commas, as pause,partition; `all` or `none`
    #[arg(long, value_name = "LIST", default_value = "all", conflicts_with = "plan")]
    pub(super) faults: String,
    /// Perform exactly the faults of this file (JSON) instead
    #[arg(long, value_name = "FILE")]
    pub(super) plan: Option<PathBuf>,
    /// Length of a step in milliseconds, 1 to 20: longer is faster and coarser
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=20))]
    pub(super) tick_ms: u64,
    /// How many seeds run at once [default: as many as there are cores]
    #[arg(long, value_name = "N", requires = "seeds")]
    pub(super) jobs: Option<NonZeroUsize>,
    /// The process of the sweep that this run is part of, and with which it ends
    #[arg(long, value_name = "PID", hide = true, requires = "seed")]
    pub(super) sweep: Option<i32>,
    #[command(flatten)]
    pub(super) output: OutputFlag,
}

#[derive(Debug, Args)]
pub(crate) struct RingArgs {
    /// How many nodes, 2 to 10000; memory grows with the square, to 10 GB
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(super) nodes: usize,
    /// How many are killed [default: 3, or fewer if none would be left]
    #[arg(long, value_name = "K")]
    pub(super) kill: Option<usize>,
    /// Which part of all packets is lost, 0 to 0.5
    #[arg(long, value_name = "FRACTION", default_value_t = 0.01)]
    pub(super) loss: f64,
    /// Let this part of the nodes stand still for so long, as 0.1:5
    #[arg(long, value_name = "FRACTION:SECONDS", value_parser = stall)]
    pub(super) stall: Option<Stall>,
    /// Changed sets a second in the whole ring for ten seconds, 0 to 1000 [default: one for each hundred nodes]
    #[arg(long, value_name = "N")]
    pub(super) changes_per_second: Option<f64>,
    /// Let the last of the nodes join at the end, and tell how long that takes
    #[arg(long)]
    pub(super) join: bool,
    /// Virtual seconds [default: 60, or as many as what is to happen needs]
    #[arg(long, value_name = "T")]
    pub(super) seconds: Option<u64>,
    /// Decides all that happens [default: a random one, which is told]
    #[arg(long, value_name = "X", value_parser = seed)]
    pub(super) seed: Option<u64>,
    #[command(flatten)]
    pub(super) output: OutputFlag,
}

/// The seeds of a sweep; one at least. Shown as `A..B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seeds {
    /// The first.
    pub(super) first: u64,
    /// The last, which is not below it.
    pub(super) last: u64,
}

impl Seeds {
    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let wrong = "write A..B, as 0..100, or A..=B";
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong);
        let (first, end) = s.split_once("..").ok_or(wrong)?;
        let first = number(first)?;
        let last = match end.strip_prefix('=') {
            Some(last) => Some(number(last)?),
            None => number(end)?.checked_sub(1),
        };
        match last.filter(|last| *last >= first) {
            None => Err("there is no seed in it; write the smaller number first, as 0..100".into()),
            Some(last) if last - first >= SEEDS_MAX => Err(format!("these are more than {SEEDS_MAX} seeds")),
            Some(last) => Ok(Self { first, last }),
        }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last.checked_add(1) {
            Some(end) => write!(f, "{}..{end}", self.first),
            None => write!(f, "{}..={}", self.first, self.last),
        }
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("write a whole number up to {}, as 42", u64::MAX))
}

fn nodes(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| NODES.contains(n));
    number.ok_or_else(|| format!("write a number from {} to {}", NODES.start(), NODES.end()))
}

fn minutes(text: &str) -> Result<f64, String> {
    let most = LASTS_MAX.as_secs_f64() / 60.0;
    let number = text.parse().ok().filter(|m| (0.0..=most).contains(m));
    number.ok_or_else(|| format!("write a number from 0 to {most}, as 0.5"))
}

fn stall(text: &str) -> Result<Stall, String> {
    let parts = text.split_once(':').and_then(|(fraction, seconds)| {
        let lasts = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
        Some(Stall { fraction: fraction.parse().ok()?, lasts })
    });
    parts.ok_or_else(|| "write FRACTION:SECONDS, as 0.1:5".into())
}

#[cfg(test)]
mod tests;
