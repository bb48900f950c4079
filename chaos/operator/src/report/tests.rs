use crate::{
    fleet::Fleet,
    format::{Experiment, Given},
    plan::{Limits, Plan},
    run::{Done, Looked, Report, State, Stretch, Verdict},
    timeline::{Request, Sample, Span, Timeline},
};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use std::time::Duration;

const TEXT: &str = "
title: Kill <it> & \"see\"
steady-state-hypothesis: {title: ok, probes: [{type: probe, name: strength, tolerance: 1, provider: {type: taffeta, func: strength}}]}
method: [{type: action, name: kill, provider: {type: taffeta, func: kill, arguments: {target: n1, lasts: 5}}}]
";

fn looked(met: bool) -> Looked {
    Looked {
        name: "strength".into(),
        source: json!({"name": "strength"}),
        output: json!(if met { 1.0 } else { 0.5 }),
        error: None,
        met,
        start: Timestamp::UNIX_EPOCH,
        duration: Duration::from_millis(20),
    }
}

fn report() -> Report {
    let experiment = Experiment::read(TEXT, "x.yaml", &Given::default()).unwrap();
    let state = |met| State { at: Duration::ZERO, probes: vec![looked(met)] };
    let sample = |index: u32| Sample {
        at_s: f64::from(index) / 4.0,
        leader: (index != 4).then(|| "n1".into()),
        quorum: true,
        serving: if index < 3 { 3 } else { 2 },
        wanted: 3,
        right: 2,
        asked: 2,
        changes: 0,
    };
    let mut timeline = Timeline { samples: (0..20).map(sample).collect(), ..Timeline::default() };
    timeline.faults.push(Span {
        id: "a".into(),
        name: "kill".into(),
        fault: "kill-machine".into(),
        node: "n1".into(),
        backend: "signal".into(),
        begun_s: 0.5,
        due_s: 4.5,
        undone_s: Some(4.5),
        silences: vec!["n1".into()],
        error: None,
    });
    timeline.add_request(Duration::from_secs(1), Request::Page, "web/shop", Err("refused".into()));
    timeline.end(Duration::from_secs(5));
    Report {
        title: experiment.title.clone(),
        description: "words".into(),
        expects: vec!["names are right".into()],
        source: experiment.source.clone(),
        run: "kill-123456".into(),
        plan: Plan::new(&experiment, &Fleet::default(), 7, Limits::default()),
        start: Timestamp::UNIX_EPOCH,
        duration: Duration::from_secs(5),
        verdict: Verdict::Deviated,
        why: vec!["`strength` found 0.5".into()],
        before: Some(state(true)),
        during: vec![state(false)],
        failures: [("strength".to_owned(), Stretch { from: Duration::from_secs(1), lasted: Duration::from_secs(2) })]
            .into(),
        after: Some(state(false)),
        activities: vec![Done {
            activity: experiment.method[0].clone(),
            output: json!({"nodes": ["n1"]}),
            error: None,
            tolerated: None,
            ended: true,
            start: Timestamp::UNIX_EPOCH,
            duration: Duration::from_millis(100),
        }],
        rollbacks: vec![],
        timeline,
        written: None,
    }
}

#[test]
fn the_journal_has_the_fields_of_the_chaos_toolkit() {
    let journal = report().journal();
    assert_eq!((&journal["status"], &journal["deviated"]), (&json!("completed"), &json!(true)));
    assert_eq!(journal["start"], "1970-01-01T00:00:00.000000+00:00");
    assert_eq!(journal["end"], "1970-01-01T00:00:05.000000+00:00");
    assert_eq!(journal["steady_states"]["before"]["steady_state_met"], true);
    assert_eq!(journal["steady_states"]["after"]["probes"][0]["tolerance_met"], false);
    assert_eq!(journal["steady_states"]["during"].as_array().unwrap().len(), 1);
    let run = &journal["run"][0];
    assert_eq!(
        (&run["activity"]["name"], &run["status"], &run["duration"]),
        (&json!("kill"), &json!("succeeded"), &json!(0.1))
    );
    assert_eq!(journal["taffeta"]["faults"][0]["node"], "n1");
    assert_eq!(journal["taffeta"]["not_held"], json!({"strength": {"from_s": 1.0, "lasted_s": 2.0}}));
    assert_eq!(journal["taffeta"]["seed"], 7);
    assert!(journal["rollbacks"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn junit_counts_failures_and_escapes_what_xml_would_mistake() {
    let text = report().junit();
    assert!(
        text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"5\" failures=\"2\""),
        "{text}"
    );
    assert!(text.contains("name=\"Kill &lt;it&gt; &amp; &quot;see&quot;\""));
    assert!(
        text.contains("<testcase classname=\"Kill &lt;it&gt; &amp; &quot;see&quot;\" name=\"kill\" time=\"0.100\"/>")
    );
    assert!(text.contains("failure message=\"`strength` found 0.5\""));
    assert_eq!(text.matches("<testcase").count(), 5);
    let refused = Report { verdict: Verdict::Refused, why: vec!["no".into()], ..report() }.junit();
    assert!(refused.contains("tests=\"1\" failures=\"1\"") && refused.contains("message=\"no\""));
}

#[test]
fn the_page_needs_nothing_else_and_shows_faults_leader_strength_and_failures() {
    let page = report().page();
    assert!(page.starts_with("<!DOCTYPE html>"));
    for part in [
        "kill-machine at n1",
        "instances serving",
        "machines with right names",
        "failed requests",
        "did not for 2.0 s at most, from 1.0 s on",
        ">n1</text>",
        "deviated",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains("Kill &lt;it&gt; &amp; &quot;see&quot;") && !page.contains("<it>"));
    for outside in ["http://", "https://", "src=", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let nothing = Report { timeline: Timeline::default(), before: None, after: None, during: vec![], ..report() };
    assert!(nothing.page().contains("<svg"));
    assert_eq!(nothing.journal()["steady_states"]["before"], Json::Null);
}
