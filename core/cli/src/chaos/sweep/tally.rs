//! What a sweep has come to.

use super::child::Ended;
use crate::{
    chaos::{args::Seeds, words},
    failure::{Failure, Outcome, one_line},
};
use serde::{Serialize, Serializer};
use std::{collections::BTreeMap, fmt, time::Instant};
use taffeta_sim::{Moment, Verdict};

/// A sweep of so many seeds under all kinds of faults must have met every moment; fewer may miss one by chance.
const MEETS_ALL: u64 = 50;

/// Most failures that are told at the end; all of them were told when they happened, and are in the JSON.
const FAILURES_TOLD: usize = 20;

/// Worst first: this order decides the exit code.
const WORST_FIRST: [Verdict; 3] = [Verdict::Crash, Verdict::Wrong, Verdict::Stuck];

/// The sum of the runs so far. As JSON what the sweep prints.
#[derive(Debug, Serialize)]
pub(super) struct Tally {
    #[serde(serialize_with = "shown")]
    seeds: Seeds,
    runs: u64,
    passed: u64,
    failed: Vec<Failed>,
    virtual_s: f64,
    #[serde(rename = "real_s", serialize_with = "seconds_since")]
    began: Instant,
    faults: BTreeMap<String, u64>,
    sometimes: BTreeMap<&'static str, u64>,
    /// Moments that were never met.
    missed: Vec<&'static str>,
    /// Whether every kind of fault may happen.
    #[serde(skip)]
    allows_all: bool,
}

/// A seed that did not pass, and the command that shows it again. Shown as one line.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failed {
    seed: u64,
    verdict: Verdict,
    why: String,
    repeat: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} {}: {}; repeat: {}", self.seed, self.verdict, one_line(&self.why), self.repeat)
    }
}

impl Tally {
    pub(super) fn new(seeds: Seeds, allows_all: bool) -> Self {
        Self {
            seeds,
            runs: 0,
            passed: 0,
            failed: vec![],
            virtual_s: 0.0,
            began: Instant::now(),
            faults: BTreeMap::new(),
            sometimes: Moment::ALL.iter().map(|moment| (moment.words(), 0)).collect(),
            missed: Moment::ALL.iter().map(|moment| moment.words()).collect(),
            allows_all,
        }
    }

    /// Adds a run; gives back its failure, if it is one.
    pub(super) fn record(&mut self, ended: Ended, repeat: impl FnOnce(u64) -> String) -> Option<&Failed> {
        self.runs += 1;
        if let Some(told) = &ended.report {
            self.virtual_s += told.virtual_s;
            for (kind, count) in &told.faults {
                *self.faults.entry(kind.clone()).or_default() += count;
            }
            for (words, count) in &mut self.sometimes {
                *count += told.sometimes.get(*words).copied().unwrap_or(0);
            }
            self.missed.retain(|words| self.sometimes[words] == 0);
        }
        let Ended { seed, verdict, why, .. } = ended;
        if verdict == Verdict::Pass {
            self.passed += 1;
            return None;
        }
        self.failed.push(Failed { seed, verdict, why, repeat: repeat(seed) });
        self.failed.last()
    }

    /// For whoever watches.
    pub(super) fn so_far(&self) -> String {
        let (runs, failed, speed) = (self.runs, self.failed.len(), words::speed(self.virtual_s, self.real_s()));
        format!("{runs} of {} seeds, {failed} failed, {speed:.0} virtual seconds a second", self.seeds.count())
    }

    /// Success, or the worst that happened.
    pub(super) fn verdict(&self, interrupted: bool) -> Outcome {
        let runs = self.runs;
        if let Some(worst) = WORST_FIRST.into_iter().find(|verdict| self.count(*verdict) > 0) {
            let told = format!("{} of {runs} seeds failed: {}", self.failed.len(), self.by_verdict());
            let first = self.failed.iter().find(|failed| failed.verdict == worst);
            let help = first.map(|failed| format!("repeat the first of the worst: {}", failed.repeat));
            return Err(Failure::simulated(worst, told).maybe_help(help));
        }
        if interrupted {
            return Err(Failure::failed(format!("interrupted after {runs} of {} seeds", self.seeds.count())));
        }
        if self.allows_all && self.seeds.count() >= MEETS_ALL && !self.missed.is_empty() {
            let told = format!("{runs} seeds passed, but none of them met: {}", self.missed.join("; "));
            return Err(Failure::failed(told).help("more seeds or more --minutes may meet it; else nothing tests it"));
        }
        Ok(())
    }

    /// In sentences and rows.
    pub(super) fn as_text(&self) -> String {
        let failed = if self.failed.is_empty() { String::new() } else { format!(", {}", self.by_verdict()) };
        let (runs, all) = (self.runs, self.seeds.count());
        let mut text = words::row("runs", format!("{runs} of {all}: {} passed{failed}", self.passed));
        text += &words::time(self.virtual_s, self.real_s());
        text += &words::faults(&self.faults);
        text += &words::moments(|moment| self.sometimes.get(moment.words()).copied().unwrap_or(0));
        text.extend(self.failed.iter().take(FAILURES_TOLD).map(|failed| format!("{failed}\n")));
        if self.failed.len() > FAILURES_TOLD {
            text += &format!("and {} more failed\n", self.failed.len() - FAILURES_TOLD);
        }
        text
    }

    fn by_verdict(&self) -> String {
        let counts = WORST_FIRST.map(|verdict| (verdict, self.count(verdict)));
        let told = counts.iter().filter(|(_, n)| *n > 0).map(|(verdict, n)| format!("{n} {verdict}"));
        told.collect::<Vec<_>>().join(", ")
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.failed.iter().filter(|failed| failed.verdict == verdict).count()
    }

    fn real_s(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

fn shown<S: Serializer>(seeds: &Seeds, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(seeds)
}

fn seconds_since<S: Serializer>(began: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests;
