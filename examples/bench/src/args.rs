//! The command line.

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use std::{process::ExitCode, time::Duration};

/// Measures taffeta on real nodes of this machine
#[derive(Debug, Parser)]
#[command(name = "taffeta-bench", subcommand_value_name = "NAME", subcommand_help_heading = "Benchmarks")]
#[command(arg_required_else_help = true, disable_help_subcommand = true, max_term_width = 110)]
#[command(after_help = "TAFFETA_BINARY names the binary that is measured; without it, it is this build's own.\n\
                        Exit codes: 0 measured, 1 it failed, 2 the command is wrong, 4 it took too long.")]
pub(crate) struct Cli {
    /// How the figures are printed
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) bench: Bench,
}

/// How figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For scripts: one JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Many nodes: how fast all know of a start, of deaths and of a farewell, and what they use while idle
    Ring(RingArgs),
    /// The footprint of one idle node of three
    Node,
}

#[derive(Debug, Args)]
pub(crate) struct RingArgs {
    /// Nodes, each a process of its own; from 7, so that three may die and most are left
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u8).range(7..=200))]
    pub(crate) nodes: u8,
    /// How many times three nodes are killed at once
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub(crate) rounds: u8,
    /// Nodes that may be on their way into the ring at any time; by default eight for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) at_once: Option<u8>,
}

impl Bench {
    /// As on the command line and in the figures.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ring(_) => "ring",
            Self::Node => "node",
        }
    }

    /// How long it may take: several times what it does.
    pub(crate) fn limit(&self) -> Duration {
        match self {
            Self::Ring(args) => Duration::from_secs(180 + 60 * u64::from(args.rounds)),
            Self::Node => Duration::from_secs(120),
        }
    }
}

/// The command line, or the exit code after the parser has said what it has to say.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|told| match told.kind() {
        ErrorKind::InvalidSubcommand => {
            let rendered = told.render().to_string();
            let name = rendered.split('\'').nth(1).unwrap_or_default();
            eprintln!("error: there is no benchmark `{name}`\nhelp: there are {}", names().join(", "));
            ExitCode::from(2)
        }
        _ => {
            let _ = told.print(); // nobody reads it any more
            ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2))
        }
    })
}

/// The benchmarks that there are.
fn names() -> Vec<String> {
    Cli::command().get_subcommands().map(|bench| bench.get_name().to_owned()).collect()
}
