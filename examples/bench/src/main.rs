//! `taffeta-bench NAME`: what the product costs and how fast it is, measured on this machine.
//!
//! The measuring is done by a process of its own, so that its end, of whatever kind, leaves no node behind: see `guard`.
//! Each figure comes with the bound that is promised. A figure beyond it is marked and is no failure of the benchmark;
//! what has to hold is for the tests to say (`core/cli/tests`).

mod args;
mod binary;
mod dns;
mod figure;
mod guard;
mod isolation;
mod node;
mod ring;
mod scheduler;
mod store;

use crate::{
    args::{Bench, Cli},
    figure::Report,
};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The product's: what is linked in here is measured with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(spec) = dns::product_to_serve() {
        return told(dns::serve(&spec).map(|()| ExitCode::SUCCESS));
    }
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    told(match guard::binary_to_measure() {
        Some(binary) => measure(&cli, &binary).map(|()| ExitCode::SUCCESS),
        None => binary_of(&cli.bench).and_then(|binary| guard::run(&binary, cli.bench.limit())),
    })
}

/// What is measured: nodes, or parts of the product that are linked into this program.
fn binary_of(bench: &Bench) -> anyhow::Result<PathBuf> {
    match bench {
        Bench::Ring(_) | Bench::Node | Bench::Store(_) | Bench::Scheduler(_) | Bench::Isolation(_) => binary::find(),
        Bench::Dns(_) => Ok(std::env::current_exe()?),
    }
}

fn told(done: anyhow::Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|e| {
        eprintln!("error: {e:#}");
        ExitCode::FAILURE
    })
}

fn measure(cli: &Cli, binary: &Path) -> anyhow::Result<()> {
    let mut report = Report::new(cli.bench.name(), cli.output);
    match &cli.bench {
        Bench::Ring(args) => ring::run(args, binary, &mut report),
        Bench::Dns(args) => dns::run(args, &mut report),
        Bench::Node => node::run(binary, &mut report),
        Bench::Store(args) => store::run(args, binary, &mut report),
        Bench::Scheduler(args) => scheduler::run(args, binary, &mut report),
        Bench::Isolation(args) => isolation::run(args, binary, &mut report),
    }
}
