//! One run, from its seed to its verdict.

use super::{scenario::Scenario, words};
use crate::{
    failure::{Failure, Outcome},
    log,
    output::{Format, print, remark, show},
    progress::Progress,
};
use rustix::{
    process::{Signal, getppid, set_parent_process_death_signal},
    thread::set_name,
};
use serde_json::{Value, json};
use std::{
    any::Any,
    io::{self, IsTerminal},
    thread,
    time::{Duration, Instant},
};
use taffeta_sim::{InvalidSim, Moments, Report, SimConfig, Verdict};

/// Stack of the run's thread: a whole cluster's destructors and unoptimised builds go deep.
const STACK_BYTES: usize = 16 << 20;

/// Runs it. `sweep` is the process that a run is part of.
pub(super) fn run(scenario: &Scenario, seed: u64, sweep: Option<i32>, format: Format) -> Outcome {
    if let Some(parent) = sweep {
        end_with(parent)?;
    }
    let logs = start_log()?;
    // Before anything can go wrong.
    match format {
        Format::Table => print(&format!("seed {seed}"))?,
        Format::Json => remark(&format!("seed {seed}")),
    }
    let report = simulate(scenario.config(seed), !logs)?;
    let shown = show(format, &document(&report, scenario), |_| as_text(&report));
    match &report.why {
        Some(why) => {
            let told = format!("seed {seed}: {}: {why}", report.verdict);
            Err(Failure::simulated(report.verdict, told).help(format!("repeat it: {}", scenario.repeat(seed))))
        }
        None => shown,
    }
}

/// Dies when its parent does, however that comes about.
fn end_with(parent: i32) -> Outcome {
    let failed = |e: io::Error| Failure::failed(format!("cannot follow the sweep: {e}"));
    let _ = set_name(c"taffeta"); // it was not started by that name; lists of processes show it
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| failed(e.into()))?;
    // It may have died just before.
    let there = getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent);
    if there { Ok(()) } else { Err(Failure::failed(format!("process {parent} is not the one that started this"))) }
}

/// What the nodes log, without dates, which mean nothing here; says whether anything is logged.
fn start_log() -> Outcome<bool> {
    let Some(filter) = log::wanted()? else { return Ok(false) };
    let log = tracing_subscriber::fmt().compact().without_time().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::stderr().is_terminal()).init();
    Ok(true)
}

/// Plays it on a thread of its own. A panic outside of the nodes is one of the simulator itself: a crash as well.
fn simulate(config: SimConfig, watched: bool) -> Outcome<Report> {
    let began = Instant::now();
    let played = config.clone();
    let play = move || {
        let mut progress = watched.then(Progress::start);
        taffeta_sim::run(&played, &mut |now| {
            if let Some(progress) = &mut progress {
                progress.hint(&format!("{} virtual seconds", now.as_secs()));
            }
        })
    };
    let thread = thread::Builder::new().name("sim".into()).stack_size(STACK_BYTES).spawn(play);
    let thread = thread.map_err(|e| Failure::failed(format!("the simulator's thread cannot start: {e}")))?;
    match thread.join() {
        Ok(ended) => ended.map_err(|e: InvalidSim| Failure::wrong(e.to_string())),
        Err(panic) => Ok(crashed(config, began.elapsed(), &*panic)),
    }
}

fn crashed(config: SimConfig, real_time: Duration, panic: &(dyn Any + Send)) -> Report {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Report {
        seed: config.seed,
        nodes: config.nodes,
        lasts: config.lasts,
        verdict: Verdict::Crash,
        why: Some(format!("the simulator panicked: {}", text.unwrap_or("without words"))),
        virtual_time: Duration::ZERO,
        real_time,
        faults: [].into(),
        sometimes: Moments::default(),
        trace: 0,
        events: 0,
        writes: [].into(),
        slowest_write: Duration::ZERO,
        timeline: vec![],
        words: None,
    }
}

/// The report as it is, with the command that repeats all of it, also its faults.
fn document(report: &Report, scenario: &Scenario) -> Value {
    let mut document = json!(report);
    document["repeat"] = scenario.repeat(report.seed).into();
    document
}

/// The timeline and a summary.
fn as_text(report: &Report) -> String {
    let told = report.timeline.iter().map(|(at, line)| words::moment_of_time(at.as_secs_f64(), line));
    let mut text: String = told.collect();
    text += "\n";
    text += &words::row("verdict", report.verdict);
    text += &words::time(report.virtual_time.as_secs_f64(), report.real_time.as_secs_f64());
    let writes: Vec<String> = report.writes.iter().map(|(fate, count)| format!("{count} {fate}")).collect();
    text += &words::row("writes", writes.join(", "));
    text += &words::faults(&report.faults.iter().map(|(kind, count)| (kind.to_string(), *count)).collect());
    text += &words::row("trace", format!("{:016x} of {} events", report.trace, report.events));
    text += &words::moments(|moment| report.sometimes.count(moment));
    text
}
