//! The binary `taffeta`: a node, the command line that speaks to one, and a whole cluster to play with.
//!
//! A process lives one of six lives. As `shim` it keeps one task and is older than any runtime, as `keeper` it heals a
//! node that was hurt on purpose; as `example` it is a service of the example shop; as `up` it is a node; as `chaos sim` it is a whole cluster on virtual time; as any other
//! verb it asks a node over its API, says what it was told and ends. Left out: everything a node does, which is `taffeta-node`'s.

mod args;
mod chaos;
mod demo;
mod dns;
mod end;
mod failure;
mod log;
mod output;
mod progress;
mod settings;
mod units;
mod up;
mod usage;
mod verbs;

use crate::{
    args::{Cli, Verb},
    failure::{Failure, Outcome},
};
use clap::Parser;
use std::{env, ffi::OsString, process::ExitCode};

/// Requests are taken apart by one thread and their remains dropped by another, which glibc's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    // Before anything else: a shim forks, which only a process without threads may do.
    match args.first().and_then(|verb| verb.to_str()) {
        Some("shim") => return taffeta_isolation_linux::shim_main(args.into_iter().skip(1)),
        Some("keeper") => return taffeta_node::keeper_main(args.into_iter().skip(1)),
        Some("example") => return ended(example(&args[1..])),
        Some(_) | None => {}
    }
    match Cli::try_parse() {
        Ok(cli) => ended(live(cli)),
        Err(told) => usage::tell(&told),
    }
}

fn live(cli: Cli) -> Outcome {
    match cli.verb {
        Verb::Up(args) => up::run(args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Chaos(verb) => chaos::run(cli.before, verb),
        Verb::Dns(verb) => dns::run(verb),
        asked => verbs::run(cli.before, asked),
    }
}

fn ended(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// One program of the example shop, in this process.
fn example(args: &[OsString]) -> Outcome {
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let programs = taffeta_example_shop::PROGRAMS;
    match words.split_first() {
        Some((program, rest)) if programs.contains(&program.as_str()) => {
            taffeta_example_shop::run(program, rest).map_err(|e| Failure::failed(format!("{program}: {e:#}")))
        }
        Some(_) | None => Err(Failure::wrong(format!("`taffeta example` takes one of {}", programs.join(", ")))),
    }
}
