//! Experiments from files, or from the program itself.

use super::super::args::{ExperimentFlags, ExportArgs};
use crate::{
    args::ApiFlags,
    failure::{Failure, Outcome},
    output::print,
};
use std::{
    env,
    fs::File,
    io::{self, Read},
};
use taffeta_chaos_operator::{
    Command, FILE_BYTES_MAX, READY, Wrong, find_ready,
    format::{Experiment, Given},
};

/// The experiment that is meant.
pub(super) fn experiment(flags: &ExperimentFlags) -> Outcome<Experiment> {
    let mut given = Given { environment: environment(), ..Given::default() };
    for pair in &flags.variables {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| Failure::wrong(format!("--var {pair}: write NAME=VALUE")))?;
        given.variables.insert(name.into(), value.into());
    }
    read(&flags.what, &given)
}

/// What is no text in the environment cannot be meant.
fn environment() -> std::collections::BTreeMap<String, String> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

fn read(what: &str, given: &Given) -> Outcome<Experiment> {
    let text = text_of(what)?;
    Experiment::read(&text, what, given).map_err(|wrong: Wrong| {
        let told = wrong.to_string();
        let told = told.strip_prefix("line ").map_or_else(|| told.clone(), |rest| format!("{what}:{rest}"));
        Failure::wrong(told).maybe_help(wrong.help)
    })
}

/// A name of ours is one unless there is a file of it.
fn text_of(what: &str) -> Outcome<String> {
    let mut text = String::new();
    let read = File::open(what).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    match (read, find_ready(what)) {
        (Ok(_), _) => Ok(text),
        (Err(_), Some(ready)) => Ok(ready.text.into()),
        (Err(e), None) => {
            let names: Vec<&str> = READY.iter().map(|ready| ready.name).collect();
            let help = match e.kind() {
                io::ErrorKind::NotFound => Some(format!("name a file, or one of {}", names.join(", "))),
                _ => None, // a foreign enum: the error says it
            };
            Err(Failure::wrong(format!("cannot read {what}: {e}")).maybe_help(help))
        }
    }
}

pub(super) fn export(before: ApiFlags, args: &ExportArgs) -> Outcome {
    if args.plain {
        return print(&text_of(&args.what)?);
    }
    let experiment = read(&args.what, &Given { environment: environment(), ..Given::default() })?;
    let api = args.api.clone().or(before);
    // A token is no part of a file: it comes from the environment there, too.
    let flags = [("--api", api.api), ("--data", api.data.map(|data| data.display().to_string()))];
    let flags = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten().collect();
    let command = Command { program: args.program.clone(), flags, allow_quorum_loss: args.allow_quorum_loss };
    let exported = experiment.export(&command);
    print(&serde_json::to_string_pretty(&exported).map_err(|e| Failure::failed(format!("it cannot be written: {e}")))?)
}
