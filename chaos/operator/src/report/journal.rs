//! The Chaos Toolkit's journal (chaostoolkit.org/reference/api/journal), with what is ours under `taffeta`.

use crate::run::{Done, Looked, Report, State, Stretch, Verdict};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value as Json, json};
use std::time::Duration;

impl Report {
    /// The run as a journal.
    pub fn journal(&self) -> Json {
        let states = json!({
            "before": self.before.as_ref().map(|state| self.state(state)),
            "during": self.during.iter().map(|state| self.state(state)).collect::<Vec<_>>(),
            "after": self.after.as_ref().map(|state| self.state(state)),
        });
        let held_not: Map<String, Json> =
            self.failures.iter().map(|(name, stretch)| (name.clone(), not_held(stretch))).collect();
        json!({
            "chaoslib-version": concat!("taffeta ", env!("CARGO_PKG_VERSION")),
            "platform": std::env::consts::OS,
            "node": rustix::system::uname().nodename().to_string_lossy(),
            "experiment": self.source,
            "start": time(self.start),
            "end": time(after(self.start, self.duration)),
            "duration": self.duration.as_secs_f64(),
            "status": status(self.verdict),
            "deviated": self.verdict == Verdict::Deviated || self.after.as_ref().is_some_and(|state| !state.is_met()),
            "steady_states": states,
            "run": self.activities.iter().map(activity).collect::<Vec<_>>(),
            "rollbacks": self.rollbacks.iter().map(activity).collect::<Vec<_>>(),
            "taffeta": {
                "run": self.run,
                "verdict": self.verdict.to_string(),
                "why": self.why,
                "seed": self.plan.seed,
                "plan": self.plan,
                "faults": self.timeline.faults,
                "not_held": held_not,
                "requests": self.timeline.requests,
                "writes": self.written,
                "samples": self.timeline.samples,
                "new_leader_s": self.timeline.new_leader_s(),
                "names_right_s": self.timeline.names_right_s(),
                "full_strength_s": self.timeline.full_strength_s(),
            },
        })
    }

    fn state(&self, state: &State) -> Json {
        json!({
            "steady_state_met": state.is_met(),
            "probes": state.probes.iter().map(looked).collect::<Vec<_>>(),
        })
    }
}

fn not_held(stretch: &Stretch) -> Json {
    json!({"from_s": stretch.from.as_secs_f64(), "lasted_s": stretch.lasted.as_secs_f64()})
}

/// The words that journals know.
fn status(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held | Verdict::Deviated => "completed",
        Verdict::Refused | Verdict::NotHealed => "failed",
        Verdict::Aborted => "aborted",
    }
}

fn looked(looked: &Looked) -> Json {
    let mut run = json!({
        "activity": looked.source,
        "output": looked.output,
        "start": time(looked.start),
        "end": time(after(looked.start, looked.duration)),
        "duration": looked.duration.as_secs_f64(),
        "status": if looked.error.is_some() { "failed" } else { "succeeded" },
        "tolerance_met": looked.met,
    });
    if let Some(error) = &looked.error {
        run["exception"] = json!([error]);
    }
    run
}

fn activity(done: &Done) -> Json {
    let mut run = json!({
        "activity": done.activity.source,
        "output": done.output,
        "start": time(done.start),
        "end": time(after(done.start, done.duration)),
        "duration": done.duration.as_secs_f64(),
        "status": match (done.ended, &done.error) {
            (false, _) => "aborted",
            (true, Some(_)) => "failed",
            (true, None) => "succeeded",
        },
    });
    if let Some(error) = &done.error {
        run["exception"] = json!([error]);
    }
    if let Some(met) = done.tolerated {
        run["tolerance_met"] = met.into();
    }
    run
}

fn after(start: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    start.saturating_add(duration).unwrap_or(start)
}

/// RFC 3339, as Python's `isoformat` in UTC.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.6}").replace('Z', "+00:00")
}
