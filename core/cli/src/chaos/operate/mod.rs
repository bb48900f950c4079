//! The verbs that work on real nodes.

mod connect;
mod fault;
mod file;
mod gauntlet;
mod own_demo;
mod perform;
mod tables;

use super::{
    args::{AllowArgs, ExportArgs, GauntletArgs, HaltArgs, InjectArgs, PlanArgs, ProbeArgs, RunArgs, StateArgs},
    fresh_seed,
};
use crate::{
    args::ApiFlags,
    end::End,
    failure::{Failure, Outcome},
    progress::Progress,
};
use taffeta_chaos_operator::{Tell, Verdict};
use taffeta_node::api::ApiError;

pub(super) fn plan(before: ApiFlags, args: PlanArgs) -> Outcome {
    block_on(perform::plan(before, args))
}

pub(super) fn run(before: ApiFlags, args: RunArgs) -> Outcome {
    block_on(perform::run(before, args))
}

pub(super) fn inject(before: ApiFlags, args: InjectArgs) -> Outcome {
    block_on(fault::inject(before, args))
}

pub(super) fn stop(before: ApiFlags, args: HaltArgs) -> Outcome {
    block_on(fault::stop(before, args))
}

pub(super) fn allow(before: ApiFlags, args: AllowArgs) -> Outcome {
    block_on(fault::allow(before, args))
}

pub(super) fn status(before: ApiFlags, args: StateArgs) -> Outcome {
    block_on(fault::status(before, args))
}

pub(super) fn probe(before: ApiFlags, args: ProbeArgs) -> Outcome {
    block_on(fault::probe(before, args))
}

pub(super) fn export(before: ApiFlags, args: &ExportArgs) -> Outcome {
    file::export(before, args)
}

pub(super) fn gauntlet(before: ApiFlags, args: GauntletArgs) -> Outcome {
    block_on(gauntlet::run(before, args))
}

/// Watching, asking and breaking wait most of the time: one thread does.
fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Failure::failed(format!("the runtime cannot start: {e}")))?.block_on(work)
}

/// What helps whom it is not confirmed that all is undone.
const HELP: &str = "a node undoes its faults at their deadline, and goes on trying, as soon as it or its keeper runs; \
                    see `taffeta chaos status`";

/// That nobody answers is an end of its own.
fn unanswered(e: ApiError) -> Failure {
    match e.code.may_pass() {
        true => Failure::experiment(Verdict::Aborted, e.message).maybe_help(e.help),
        false => e.into(),
    }
}

/// Says on stderr how it goes.
struct Told(Progress);

impl Tell for Told {
    fn doing(&mut self, what: &str) {
        self.0.hint(what);
    }

    fn told(&mut self, what: &str) {
        self.0.done(what);
    }
}

/// Ctrl-C as a reason to abort.
async fn interrupted(mut end: End) -> String {
    end.wait().await;
    "it was ended by a person".into()
}
