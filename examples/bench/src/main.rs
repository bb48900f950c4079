//! `taffeta-bench NAME`: what the product costs and how fast it is, measured on real nodes of this machine.
//!
//! The measuring is done by a process of its own, so that its end, of whatever kind, leaves no node behind: see `guard`.
//! Each figure comes with the bound that is promised. A figure beyond it is marked and is no failure of the benchmark;
//! what has to hold is for the tests to say (`core/cli/tests`).

mod args;
mod binary;
mod figure;
mod guard;
mod node;
mod ring;

use crate::{
    args::{Bench, Cli},
    figure::Report,
};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let done = match guard::binary_to_measure() {
        Some(binary) => measure(&cli, &binary).map(|()| ExitCode::SUCCESS),
        None => binary::find().and_then(|binary| guard::run(&binary, cli.bench.limit())),
    };
    done.unwrap_or_else(|e| {
        eprintln!("error: {e:#}");
        ExitCode::FAILURE
    })
}

fn measure(cli: &Cli, binary: &std::path::Path) -> anyhow::Result<()> {
    let mut report = Report::new(cli.bench.name(), cli.output);
    match &cli.bench {
        Bench::Ring(args) => ring::run(args, binary, &mut report),
        Bench::Node => node::run(binary, &mut report),
    }
}
