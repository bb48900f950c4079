//! What came of a run.

use super::{Abort, Options, State, Stretch, mend::Mended};
use crate::{
    format::{Activity, Experiment, mask_section},
    load::Written,
    plan::Plan,
    timeline::Timeline,
};
use jiff::Timestamp;
use serde_json::Value as Json;
use std::{collections::BTreeMap, fmt, time::Duration};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The hypothesis held.
    Held,
    /// It did not, or a promise was broken.
    Deviated,
    /// Nothing was done.
    Refused,
    /// It was ended early, by a person or a safeguard.
    Aborted,
    /// It is not known that everything is undone.
    NotHealed,
}

impl Verdict {
    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Deviated => 1,
            Self::Refused => 2,
            Self::Aborted => 3,
            Self::NotHealed => 5,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Held => "held",
            Self::Deviated => "deviated",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
            Self::NotHealed => "healing not confirmed",
        })
    }
}

/// An activity that was performed.
#[derive(Clone, Debug)]
pub struct Done {
    /// Which.
    pub activity: Activity,
    /// What it found or did.
    pub output: Json,
    /// Why it failed, if so.
    pub error: Option<String>,
    /// Whether what it found was as it should be; `None` without a tolerance.
    pub tolerated: Option<bool>,
    /// Whether it came to its end; if not, the run was aborted meanwhile.
    pub ended: bool,
    /// When it began.
    pub start: Timestamp,
    /// How long it took, without its pauses.
    pub duration: Duration,
}

impl Done {
    /// One that has just begun.
    pub(super) fn begun(activity: &Activity) -> Self {
        Self {
            activity: activity.clone(),
            output: Json::Null,
            error: None,
            tolerated: None,
            ended: false,
            start: Timestamp::now(),
            duration: Duration::ZERO,
        }
    }

    /// A line of it, for people.
    pub(super) fn line(&self, now: Duration) -> String {
        let what = match (&self.error, self.tolerated) {
            (Some(error), _) => format!(": failed: {error}"),
            (None, Some(false)) => format!(": not as it should be: {}", short(&self.output)),
            (None, Some(true)) => format!(": {}", short(&self.output)),
            (None, None) => match self.output.get("nodes") {
                Some(nodes) => format!(": at {}", words(nodes)),
                None => String::new(),
            },
        };
        format!("{:7.1} s  {}{what}", now.as_secs_f64(), self.activity.name)
    }
}

fn short(value: &Json) -> String {
    value.to_string().chars().take(120).collect()
}

fn words(nodes: &Json) -> String {
    let names: Vec<&str> = nodes.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    names.join(", ")
}

/// A run with all that was seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// Title of the experiment.
    pub title: String,
    /// Its description.
    pub description: String,
    /// What it expects.
    pub expects: Vec<String>,
    /// The file, its variables not filled in, and without what is written under `secrets`.
    pub source: Json,
    /// Name of the run, as its faults carry it.
    pub run: String,
    /// What was to be done.
    pub plan: Plan,
    /// When it began.
    pub start: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub verdict: Verdict,
    /// Why, line by line; empty if all held.
    pub why: Vec<String>,
    /// The hypothesis before.
    pub before: Option<State>,
    /// And while faults were on and healed: each probe for itself, and of checks that show the same the first and the last.
    pub during: Vec<State>,
    /// By probe, the longest time in which it did not hold meanwhile.
    pub failures: BTreeMap<String, Stretch>,
    /// And after.
    pub after: Option<State>,
    /// The method's activities.
    pub activities: Vec<Done>,
    /// The rollbacks.
    pub rollbacks: Vec<Done>,
    /// What was seen.
    pub timeline: Timeline,
    /// What became of the writes, if there were any.
    pub written: Option<Written>,
}

impl Report {
    pub(super) fn new(experiment: &Experiment, run: &str, start: Timestamp, plan: Plan) -> Self {
        let mut source = experiment.source.clone();
        mask_section(&mut source);
        Self {
            title: experiment.title.clone(),
            description: experiment.description.clone(),
            expects: experiment.rules.expects.clone(),
            source,
            run: run.into(),
            plan,
            start,
            duration: Duration::ZERO,
            verdict: Verdict::Held,
            why: vec![],
            before: None,
            during: vec![],
            failures: BTreeMap::new(),
            after: None,
            activities: vec![],
            rollbacks: vec![],
            timeline: Timeline::default(),
            written: None,
        }
    }

    pub(super) fn refused(self, why: Vec<String>) -> Self {
        Self { verdict: Verdict::Refused, why, ..self }
    }

    /// The worst of all that is known decides.
    pub(super) fn judge(&mut self, experiment: &Experiment, options: &Options, aborted: Option<Abort>, mended: Mended) {
        let mut deviations = self.deviations(experiment, options, aborted.as_ref());
        let aborts: Vec<String> = aborted.into_iter().map(String::from).collect();
        let left: Vec<String> = match mended {
            Mended::All => vec![],
            Mended::Late(late) => {
                let confirm = experiment.rules.confirm.as_secs_f64();
                let words = |fault: String| format!("{fault}: {confirm} s after its end it was not confirmed undone");
                deviations.extend(late.into_iter().map(words));
                vec![]
            }
            Mended::Not(left) => {
                left.into_iter().map(|fault| format!("{fault}: nobody confirms that it is undone")).collect()
            }
        };
        self.verdict = match (left.is_empty(), aborts.is_empty(), deviations.is_empty()) {
            (false, _, _) => Verdict::NotHealed,
            (true, false, _) => Verdict::Aborted,
            (true, true, false) => Verdict::Deviated,
            (true, true, true) => Verdict::Held,
        };
        self.why = [left, aborts, deviations].concat();
    }

    fn deviations(&self, experiment: &Experiment, options: &Options, aborted: Option<&Abort>) -> Vec<String> {
        let mut found = vec![];
        if let Some(why) = self.after.as_ref().and_then(State::why) {
            found.push(match aborted {
                None => format!("{} s after healing: {why}", experiment.rules.heal.as_secs()),
                Some(_) => format!("after healing: {why}"), // a person may not have waited so long
            });
        }
        for probe in experiment.hypothesis.iter().flat_map(|hypothesis| &hypothesis.probes) {
            let limit = match experiment.rules.within.get(&probe.name) {
                _ if options.strict => Duration::ZERO,
                Some(limit) => *limit,
                None => continue,
            };
            if let Some(Stretch { from, lasted }) = self.failures.get(&probe.name)
                && (*lasted > limit || options.strict)
            {
                let (lasted, from, limit) = (lasted.as_secs_f64(), from.as_secs_f64(), limit.as_secs_f64());
                found.push(format!(
                    "`{}` did not hold for {lasted:.1} s from {from:.1} s on; {limit} s are allowed",
                    probe.name
                ));
            }
        }
        for (request, limit) in &experiment.rules.requests {
            let (Some(tally), limit) = (self.timeline.requests.get(request), limit.as_secs_f64()) else { continue };
            if tally.longest_s > limit {
                let (longest, why) = (tally.longest_s, tally.last_error.as_deref().unwrap_or_default());
                found.push(format!(
                    "{request} requests failed for {longest:.1} s at a stretch; {limit} s are allowed; the last one: {why}"
                ));
            }
        }
        for done in self.activities.iter().chain(&self.rollbacks) {
            match (&done.error, done.tolerated) {
                (_, Some(false)) => found.push(format!("`{}` found {}", done.activity.name, short(&done.output))),
                // Why the run was aborted is told by itself.
                (Some(error), None) if aborted.is_some_and(|why| why.0 == *error) => {}
                (Some(error), None) => found.push(format!("`{}` failed: {error}", done.activity.name)),
                (Some(_) | None, _) => {}
            }
        }
        for violation in self.written.iter().flat_map(|written| &written.violations) {
            found.push(format!("writes: {violation}"));
        }
        if let Some(why) = self.written.as_ref().and_then(|written| written.unread.as_ref()) {
            found.push(format!("writes: the leader could not be read at the end: {why}"));
        }
        found
    }
}

#[cfg(test)]
mod tests;
