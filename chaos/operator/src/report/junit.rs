//! JUnit's XML, as build servers read it (the schema of Jenkins' xunit plugin).

use crate::run::{Done, Report, State, Verdict};
use std::fmt::Write;

struct Case {
    name: String,
    seconds: f64,
    /// What failed, in words.
    failure: Option<String>,
}

impl Report {
    /// The run as a test suite: the hypothesis before, each activity, the healing, the hypothesis after.
    pub fn junit(&self) -> String {
        let mut cases =
            vec![Case { name: "steady state before".into(), seconds: 0.0, failure: failure(self.before.as_ref()) }];
        if self.verdict == Verdict::Refused {
            cases[0].failure = Some(self.why.join("; "));
        } else {
            cases.extend(self.activities.iter().chain(&self.rollbacks).map(case));
            let left = self.timeline.faults.iter().filter(|fault| fault.undone_s.is_none());
            let left: Vec<String> = left.map(|fault| format!("{} at {}", fault.fault, fault.node)).collect();
            let failure_of =
                |left: Vec<String>| (!left.is_empty()).then(|| format!("not confirmed: {}", left.join(", ")));
            cases.push(Case { name: "every fault is undone".into(), seconds: 0.0, failure: failure_of(left) });
            cases.push(Case { name: "steady state after".into(), seconds: 0.0, failure: failure(self.after.as_ref()) });
            let why = (!self.why.is_empty()).then(|| self.why.join("; "));
            cases.push(Case { name: "verdict".into(), seconds: self.duration.as_secs_f64(), failure: why });
        }
        let failures = cases.iter().filter(|case| case.failure.is_some()).count();
        let (title, seconds) = (escape(&self.title), self.duration.as_secs_f64());
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let counts = format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{seconds:.3}\"", cases.len());
        let _ = writeln!(
            text,
            "<testsuites {counts}>\n  <testsuite name=\"{title}\" {counts} timestamp=\"{:.0}\">",
            self.start
        );
        for case in &cases {
            let (name, time) = (escape(&case.name), case.seconds);
            let _ = match &case.failure {
                None => writeln!(text, "    <testcase classname=\"{title}\" name=\"{name}\" time=\"{time:.3}\"/>"),
                Some(why) => writeln!(
                    text,
                    "    <testcase classname=\"{title}\" name=\"{name}\" time=\"{time:.3}\"><failure message=\"{}\"/></testcase>",
                    escape(why)
                ),
            };
        }
        text + "  </testsuite>\n</testsuites>\n"
    }
}

fn failure(state: Option<&State>) -> Option<String> {
    state.and_then(State::why)
}

fn case(done: &Done) -> Case {
    let failure = match (&done.error, done.tolerated) {
        _ if !done.ended => Some("the run was aborted before its end".into()),
        (Some(error), _) => Some(error.clone()),
        (None, Some(false)) => Some(format!("found {}", done.output)),
        (None, Some(true) | None) => None,
    };
    Case { name: done.activity.name.clone(), seconds: done.duration.as_secs_f64(), failure }
}

/// What XML 1.0 cannot hold at all becomes a space.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
