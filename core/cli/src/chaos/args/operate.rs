//! The flags of the verbs that work on real nodes.

use super::seed;
use crate::{
    args::{ApiFlags, OutputFlag},
    units::duration,
};
use clap::Args;
use serde_json::{Map, Value as Json};
use std::{path::PathBuf, time::Duration};

/// Whom to ask, and with what right.
#[derive(Clone, Debug, Args)]
pub(crate) struct FabricFlags {
    #[command(flatten)]
    pub(crate) api: ApiFlags,
    /// A chaos token; without one, DATA/chaos.token is read if it is there [env: TAFFETA_CHAOS_TOKEN, several separated by
    /// commas]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) chaos_token: Vec<String>,
}

/// An experiment and what is drawn in it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExperimentFlags {
    /// A file (YAML or JSON, in the Chaos Toolkit's format), a fault plan of the simulator, or the name of a ready-made
    /// experiment: kill-worker, kill-leader, kill-both, clock-jump, dns-loss, disk-full, rolling-restart, flapping,
    /// partition-majority, power-cut
    #[arg(value_name = "FILE|NAME")]
    pub(crate) what: String,
    /// Fill a variable of the file's `configuration`; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub(crate) variables: Vec<String>,
    /// Decides who is drawn [default: as the file says, else a random one, which is told]
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Let faults take the quorum away
    #[arg(long)]
    pub(crate) allow_quorum_loss: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) experiment: ExperimentFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) fabric: FabricFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) experiment: ExperimentFlags,
    /// Every probe of the hypothesis has to hold all the time, also while faults are on
    #[arg(long)]
    pub(crate) strict: bool,
    /// Let no clients ask meanwhile; else every service that answers HTTP is asked ten times a second
    #[arg(long)]
    pub(crate) no_load: bool,
    /// Let clients write to the API as well (apps without instances, removed at the end), and check that nothing is lost
    #[arg(long, conflicts_with = "no_load")]
    pub(crate) writes: bool,
    /// Write the Chaos Toolkit's journal (JSON) to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Write JUnit's XML to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write a page with a picture of the run to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) fabric: FabricFlags,
}

#[derive(Debug, Args)]
pub(crate) struct InjectArgs {
    /// The fault: kill, stop, pause, partition, loss, delay, duplicate, reorder, bandwidth, clock, disk-full, cpu, memory,
    /// dns, drain, leader
    #[arg(value_name = "FAULT")]
    pub(crate) func: String,
    /// Who: a machine's name, leader, voters, one, minority, majority, all, zone=NAME or service=SERVICE/APP
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Who is spared
    #[arg(long, value_name = "TARGET")]
    except: Option<String>,
    /// A task alone, as shop/web.2 (kill, pause)
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// For how long: seconds, or 500ms, 10s, 2m; at most an hour
    #[arg(long, value_name = "TIME")]
    lasts: Option<String>,
    /// The other ends of a fault of the network [default: everybody]
    #[arg(long, value_name = "TARGET")]
    peers: Option<String>,
    /// What kill kills: machine (with its tasks) or agent; power is known to the simulator alone, and refused with the reason
    #[arg(long, value_name = "WHAT")]
    what: Option<String>,
    /// How a partition parts: split, one-way-in or one-way-out
    #[arg(long, value_name = "SHAPE")]
    shape: Option<String>,
    /// Which part, 0 to 1 (loss, duplicate, reorder, dns)
    #[arg(long, value_name = "FRACTION")]
    fraction: Option<String>,
    /// By how much: a delay, or a clock's jump, as -5m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    by: Option<String>,
    /// By how much more at most (delay)
    #[arg(long, value_name = "TIME")]
    jitter: Option<String>,
    /// How fast, in thousands of bits per second (bandwidth)
    #[arg(long, value_name = "N")]
    kbit_per_s: Option<String>,
    /// How wrong a clock runs, in millionths
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    ppm: Option<String>,
    /// How many processes compute (cpu)
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Which part of a core each takes, in percent (cpu)
    #[arg(long, value_name = "N")]
    percent: Option<String>,
    /// How much memory, in bytes
    #[arg(long, value_name = "N")]
    bytes: Option<String>,
    /// What a question gets instead of its answer: drop or servfail (dns)
    #[arg(long, value_name = "WHAT")]
    instead: Option<String>,
    /// One machine after the other, each only when the one before is ready again
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    one_by_one: Option<bool>,
    /// Name of the run that the fault belongs to [default: inject]
    #[arg(long, value_name = "NAME")]
    pub(crate) run: Option<String>,
    /// Name of the step, by which is drawn [default: the fault's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Decides who is drawn [default: a random one, which is told]
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Let the fault take the quorum away
    #[arg(long)]
    pub(crate) allow_quorum_loss: bool,
    /// Only tell what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) fabric: FabricFlags,
}

impl InjectArgs {
    /// The arguments as in a file.
    pub(crate) fn arguments(&self) -> Json {
        let texts = [
            ("target", &self.target),
            ("except", &self.except),
            ("task", &self.task),
            ("lasts", &self.lasts),
            ("peers", &self.peers),
            ("what", &self.what),
            ("shape", &self.shape),
            ("fraction", &self.fraction),
            ("by", &self.by),
            ("jitter", &self.jitter),
            ("kbit-per-s", &self.kbit_per_s),
            ("ppm", &self.ppm),
            ("workers", &self.workers),
            ("percent", &self.percent),
            ("bytes", &self.bytes),
            ("instead", &self.instead),
        ];
        let given = texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), Json::from(text.clone()?))));
        let mut arguments: Map<String, Json> = given.collect();
        if let Some(on) = self.one_by_one {
            arguments.insert("one-by-one".into(), on.into());
        }
        Json::Object(arguments)
    }
}

#[derive(Debug, Args)]
pub(crate) struct HaltArgs {
    /// A fault to undo, by its id from `taffeta chaos status`
    #[arg(value_name = "ID", conflicts_with_all = ["all", "run"])]
    pub(crate) id: Option<String>,
    /// Undo everything everywhere, and refuse new faults until `taffeta chaos allow`
    #[arg(long)]
    pub(crate) all: bool,
    /// Undo the faults of this run
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub(crate) run: Option<String>,
    /// Why, for those who find faults refused
    #[arg(long, value_name = "WORDS", requires = "all", default_value = "")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) fabric: FabricFlags,
}

#[derive(Debug, Args)]
pub(crate) struct AllowArgs {
    #[command(flatten)]
    pub(crate) fabric: FabricFlags,
}

#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Only the faults of this run
    #[arg(long, value_name = "NAME")]
    pub(crate) run: Option<String>,
    /// Wait until no fault is on any more; exits 5 if that is not so after their ends
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long after its end a fault may take to be confirmed undone, as 45s
    #[arg(long, value_name = "TIME", requires = "wait", default_value = "45s", value_parser = duration)]
    pub(crate) confirm: Duration,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) fabric: FabricFlags,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// The probe: leader, quorum, alive, strength, names, serves, faults
    #[arg(value_name = "PROBE")]
    pub(crate) func: String,
    /// Only services of this app
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Only this service, as web/shop
    #[arg(long, value_name = "SERVICE/APP")]
    service: Option<String>,
    /// What is asked for (serves)
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// What is to be found, as in a file: 1, true, [0.9, 1]; exits 1 if it is not
    #[arg(long, value_name = "VALUE")]
    pub(crate) tolerance: Option<String>,
    #[command(flatten)]
    pub(crate) fabric: FabricFlags,
}

impl ProbeArgs {
    /// The arguments as in a file.
    pub(crate) fn arguments(&self) -> Json {
        let texts = [("app", &self.app), ("service", &self.service), ("path", &self.path)];
        Json::Object(texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.clone()?.into()))).collect())
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The experiment: a file, a fault plan of the simulator, or the name of a ready-made one
    #[arg(value_name = "FILE|NAME")]
    pub(crate) what: String,
    /// Write it as it is, for a ready-made experiment to begin with, and not for the Chaos Toolkit
    #[arg(long)]
    pub(crate) plain: bool,
    /// The program that the exported commands call
    #[arg(long, value_name = "PATH", default_value = "taffeta")]
    pub(crate) program: String,
    /// Let the exported faults take the quorum away
    #[arg(long)]
    pub(crate) allow_quorum_loss: bool,
    #[command(flatten)]
    pub(crate) api: ApiFlags,
}

#[derive(Debug, Args)]
pub(crate) struct GauntletArgs {
    /// No experiment begins after so many minutes
    #[arg(long, value_name = "M", default_value_t = 10.0, value_parser = super::minutes)]
    pub(crate) minutes: f64,
    /// Only this one; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Decides who is drawn [default: a random one, which is told]
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Also the experiments that take the quorum away; in a demo of its own they are always among them
    #[arg(long)]
    pub(crate) allow_quorum_loss: bool,
    /// Write each experiment's journal and page to this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) reports: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
    #[command(flatten)]
    pub(crate) fabric: FabricFlags,
}
