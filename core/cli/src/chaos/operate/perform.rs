//! `plan` and `run`.

use super::{
    super::args::{ExperimentFlags, PlanArgs, RunArgs},
    HELP, Told,
    connect::connect,
    file, fresh_seed, interrupted, tables, unanswered,
};
use crate::{
    args::ApiFlags,
    end::End,
    failure::{Failure, Outcome},
    output::{Format, remark, show},
    progress::Progress,
};
use std::{fs, path::Path};
use taffeta_chaos_operator::{
    Limits, Options, Plan, Report, Verdict, format::Experiment, run as perform, sweep_writes,
};

fn chosen(flags: &ExperimentFlags) -> Outcome<(Experiment, u64, Limits)> {
    let experiment = file::experiment(flags)?;
    for ignored in &experiment.ignored {
        remark(&format!("warning: {ignored}"));
    }
    let seed = flags.seed.or(experiment.rules.seed).unwrap_or_else(fresh_seed);
    Ok((experiment, seed, Limits { allow_quorum_loss: flags.allow_quorum_loss }))
}

pub(super) async fn plan(before: ApiFlags, args: PlanArgs) -> Outcome {
    let (experiment, seed, limits) = chosen(&args.experiment)?;
    let fabric = connect(before, args.fabric)?;
    let fleet = fabric.fleet().await.map_err(unanswered)?;
    let mut plan = Plan::new(&experiment, &fleet, seed, limits);
    plan.ask_commands(&fabric).await;
    show(args.output.format, &plan, tables::plan)?;
    if plan.refusals.is_empty() { Ok(()) } else { Err(refusal(&plan.refusals)) }
}

fn refusal(why: &[String]) -> Failure {
    Failure::experiment(Verdict::Refused, format!("refused, and nothing was injected: {}", why.join("; ")))
}

pub(super) async fn run(before: ApiFlags, args: RunArgs) -> Outcome {
    let (experiment, seed, limits) = chosen(&args.experiment)?;
    let fabric = connect(before, args.fabric)?;
    // From here on Ctrl-C heals before it ends.
    let end = End::listen()?;
    remark(&format!("{}; seed {seed}", experiment.title));
    let options = Options { seed, limits, strict: args.strict, load: !args.no_load, writing: args.writes };
    let mut told = Told(Progress::start());
    let report = perform(&experiment, &fabric, options, &mut told, interrupted(end)).await.map_err(unanswered)?;
    drop(told);
    if let Some(written) = &report.written {
        sweep_writes(&fabric, written).await;
    }
    let written = [
        write(args.journal.as_deref(), || serde_json::to_string_pretty(&report.journal()).unwrap_or_default()),
        write(args.junit.as_deref(), || report.junit()),
        write(args.html.as_deref(), || report.page()),
    ];
    match args.output.format {
        Format::Table => show(Format::Table, &(), |()| tables::report(&report))?,
        Format::Json => show(Format::Json, &report.journal(), |_| String::new())?,
    }
    let outcome = outcome(&report);
    if outcome.is_err() {
        // The outcome is what the run ends with: what could not be written is told before.
        written.iter().filter_map(|written| written.as_ref().err()).for_each(|e| remark(&format!("warning: {e}")));
    }
    outcome?;
    written.into_iter().collect::<Result<(), String>>().map_err(Failure::failed)
}

/// Writes a report, if it is wanted; the error says where it could not be.
pub(super) fn write(path: Option<&Path>, text: impl FnOnce() -> String) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, text()).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

fn outcome(report: &Report) -> Outcome {
    match report.verdict {
        Verdict::Held => Ok(()),
        Verdict::Refused => Err(refusal(&report.why)),
        Verdict::NotHealed => {
            Err(Failure::experiment(report.verdict, format!("{}: {}", report.verdict, report.why.join("; ")))
                .help(HELP))
        }
        Verdict::Deviated | Verdict::Aborted => {
            Err(Failure::experiment(report.verdict, format!("{}: {}", report.verdict, report.why.join("; "))))
        }
    }
}
