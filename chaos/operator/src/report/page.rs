//! The run as one page of HTML that needs nothing else.

use super::picture::picture;
use crate::{
    run::{Done, Report, State, Stretch, Verdict},
    timeline::Tally,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:1040px;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
h1{font-size:1.5em;margin:.2em 0}h2{font-size:1.1em;margin:1.4em 0 .4em}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;padding:.25em .8em .25em 0;vertical-align:top;border-bottom:1px solid #8884}\
.held{color:#00734f}.bad{color:#b03a00}.verdict{font-weight:600}svg{width:100%;height:auto}\
svg text{font:11px system-ui,sans-serif;fill:currentColor}svg .small{font-size:10px}svg .on{fill:#fff}\
svg .box{fill:none;stroke:#8886}code{font-size:.9em}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}.held{color:#4ec9a0}.bad{color:#ff9a66}}";

impl Report {
    /// The page.
    pub fn page(&self) -> String {
        let class = if self.verdict == Verdict::Held { "held" } else { "bad" };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width";
                    title { (self.title) ": " (self.verdict) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (self.title) }
                    p { (self.description) }
                    p {
                        span class=(format!("verdict {class}")) { (self.verdict) }
                        " · " (format!("{:.0}", self.start)) " · " (format!("{:.1} s", self.duration.as_secs_f64()))
                        " · seed " (self.plan.seed) " · run " code { (self.run) }
                    }
                    @if !self.why.is_empty() { ul class="bad" { @for why in &self.why { li { (why) } } } }
                    @if !self.expects.is_empty() {
                        h2 { "What is expected" }
                        ul { @for line in &self.expects { li { (line) } } }
                    }
                    @if self.verdict != Verdict::Refused {
                        h2 { "What happened" }
                        (picture(&self.timeline, self.duration.as_secs_f64()))
                        (self.figures())
                    }
                    h2 { "Faults" } (self.faults())
                    h2 { "Hypothesis" } (self.hypothesis())
                    @if !self.activities.is_empty() { h2 { "Activities" } (activities(&self.activities)) }
                    @if !self.rollbacks.is_empty() { h2 { "Rollbacks" } (activities(&self.rollbacks)) }
                }
            }
        };
        page.into_string()
    }

    fn figures(&self) -> Markup {
        let seconds = |value: Option<f64>| value.map_or_else(|| "-".into(), |s| format!("{s:.1} s"));
        html! {
            table {
                tr { th { "another leader after" } td { (seconds(self.timeline.new_leader_s())) } }
                tr { th { "names right after" } td { (seconds(self.timeline.names_right_s())) } }
                tr { th { "full strength after" } td { (seconds(self.timeline.full_strength_s())) } }
                @for (kind, tally) in &self.timeline.requests {
                    tr { th { (kind) " requests" } td { (requests(tally)) } }
                }
                @if let Some(written) = &self.written {
                    tr {
                        th { "writes" }
                        td {
                            (written.acknowledged) " acknowledged, " (written.refused) " refused, " (written.unknown)
                            " of unknown fate, " (written.violations.len()) " promises broken"
                        }
                    }
                }
            }
        }
    }

    fn faults(&self) -> Markup {
        html! {
            table {
                tr { th { "fault" } th { "machine" } th { "by" } th { "from" } th { "to" } th { "takes away" } }
                @for fault in &self.timeline.faults {
                    @let strike = self.plan.strikes.iter().find(|strike| strike.name == fault.name);
                    tr {
                        td { (fault.fault) } td { (fault.node) } td { (fault.backend) }
                        td { (format!("{:.1} s", fault.begun_s)) }
                        td { (fault.undone_s.map_or_else(|| "not confirmed".into(), |s| format!("{s:.1} s"))) }
                        td { @if let Some(strike) = strike { (strike.blast.words()) } }
                    }
                }
            }
        }
    }

    /// Whether a probe held while faults were on.
    fn held(&self, name: &str) -> String {
        match self.failures.get(name) {
            Some(Stretch { from, lasted }) => {
                format!("did not for {:.1} s at most, from {:.1} s on", lasted.as_secs_f64(), from.as_secs_f64())
            }
            None if self.during.is_empty() => "-".into(),
            None => "holds".into(),
        }
    }

    fn hypothesis(&self) -> Markup {
        let names: Vec<&str> =
            self.before.iter().flat_map(|state| state.probes.iter().map(|p| p.name.as_str())).collect();
        let told = |state: &Option<State>, name: &str| {
            let probe = state.as_ref().and_then(|state| state.probes.iter().find(|probe| probe.name == name));
            probe.map_or_else(
                || "-".to_owned(),
                |probe| if probe.met { "holds".into() } else { format!("does not: {}", probe.output) },
            )
        };
        html! {
            table {
                tr { th { "probe" } th { "before" } th { "while faults were on" } th { "after" } }
                @for name in names {
                    tr { td { (name) } td { (told(&self.before, name)) } td { (self.held(name)) } td { (told(&self.after, name)) } }
                }
            }
        }
    }
}

fn requests(tally: &Tally) -> String {
    let failed = match tally.failed {
        0 => String::new(),
        _ => format!(" over {:.1} s, {:.1} s at most", tally.out_s, tally.longest_s),
    };
    format!("{} of {} failed{failed}", tally.failed, tally.right + tally.failed)
}

fn activities(all: &[Done]) -> Markup {
    html! {
        table {
            @for done in all {
                tr {
                    td { (done.activity.name) }
                    td { (format!("{:.2} s", done.duration.as_secs_f64())) }
                    td {
                        @match (&done.error, done.tolerated) {
                            _ if !done.ended => { span class="bad" { "cut off: the run was aborted" } }
                            (Some(error), _) => { span class="bad" { (error) } }
                            (None, Some(false)) => { span class="bad" { "not as it should be" } }
                            (None, Some(true)) => "as it should be",
                            (None, None) => "done",
                        }
                    }
                }
            }
        }
    }
}
