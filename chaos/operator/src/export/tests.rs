use super::Command;
use crate::format::{Experiment, Given, Provider};
use serde_json::{Value as Json, json};

fn command() -> Command {
    Command {
        program: "taffeta".into(),
        flags: vec!["--api".into(), "http://127.0.0.1:7480".into()],
        allow_quorum_loss: false,
    }
}

fn read(text: &str, name: &str) -> Experiment {
    Experiment::read(text, name, &Given::default()).unwrap()
}

#[test]
fn our_provider_becomes_commands_and_nothing_else_changes() {
    let text = "
title: Leader dies
description: words
steady-state-hypothesis:
  title: ok
  probes:
    - {type: probe, name: strength, tolerance: [0.9, 1], provider: {type: taffeta, func: strength, arguments: {service: web/shop}}}
    - {type: probe, name: page, tolerance: 200, provider: {type: http, url: 'http://127.0.0.1:1/${x}'}}
method:
  - {type: action, name: kill it, provider: {type: taffeta, func: kill, arguments: {target: leader, lasts: 10}}, pauses: {after: 3}}
extensions: [{name: taffeta, seed: 7}]
";
    let exported = read(text, "x.yaml").export(&command());
    let words = |path: &str| {
        let words = exported.pointer(path).and_then(Json::as_array).unwrap();
        words.iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let api = "--api http://127.0.0.1:7480 chaos";
    assert_eq!(
        words("/method/0/provider/arguments"),
        format!("{api} inject kill --run leader-dies --name kill it --seed 7 --lasts 10 --target leader")
    );
    assert_eq!(words("/method/1/provider/arguments"), format!("{api} status --wait --run leader-dies"));
    assert_eq!(words("/rollbacks/0/provider/arguments"), format!("{api} stop --run leader-dies"));
    let probe = exported.pointer("/steady-state-hypothesis/probes/0").unwrap();
    assert_eq!(probe["tolerance"], json!(0));
    assert_eq!(
        words("/steady-state-hypothesis/probes/0/provider/arguments"),
        format!("{api} probe strength --service web/shop --tolerance [0.9,1]")
    );
    assert_eq!(
        exported["steady-state-hypothesis"]["probes"][1],
        read(text, "x.yaml").source["steady-state-hypothesis"]["probes"][1]
    );
    assert!(!exported.to_string().contains("\"type\":\"taffeta\""));
}

#[test]
fn every_strike_is_said_so_that_it_reads_as_the_same() {
    let plan = json!({"faults": [
        {"at_ms": 0, "lasts_ms": 5000, "target": "one", "fault": "kill-machine"},
        {"at_ms": 0, "lasts_ms": 5000, "target": "one", "fault": "kill-agent"},
        {"at_ms": 0, "lasts_ms": 5000, "target": "one", "fault": "power-cut"},
        {"at_ms": 0, "lasts_ms": 5000, "target": "zone=a", "fault": "stop"},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": "pause"},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": "disk-full"},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"partition": {"shape": "one-way-in"}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"loss": {"fraction": 0.25}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"duplicate": {"fraction": 0.25}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"reorder": {"fraction": 0.25}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"delay": {"by_ms": 250, "jitter_ms": 50}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"clock-offset": {"by_ms": -2500}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"clock-drift": {"ppm": 250}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"bandwidth": {"kbit_per_s": 250}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"cpu": {"workers": 2}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"memory": {"bytes": 250}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": {"dns": {"fraction": 0.5, "instead": "servfail"}}},
        {"at_ms": 0, "lasts_ms": 5000, "target": "n2", "fault": "drain"},
        {"at_ms": 0, "lasts_ms": 1000, "target": "leader", "fault": "leader"},
        {"at_ms": 0, "lasts_ms": 5000, "target": "all", "fault": "rolling"},
    ]});
    let experiment = read(&plan.to_string(), "plan.json");
    assert_eq!(experiment.strikes().count(), 20);
    for (_, strike) in experiment.strikes() {
        let (func, arguments) = strike.said();
        assert_eq!(&crate::format::Strike::from_words(func, &arguments).unwrap(), strike, "{func} {arguments}");
    }
    // And as a whole: what was exported is an experiment again, of commands.
    let exported = experiment.export(&command());
    let again = read(&exported.to_string(), "x.json");
    assert_eq!(again.method.len(), 21);
    assert!(again.method.iter().all(|activity| matches!(activity.provider, Provider::Process(_))));
    assert_eq!(again.hypothesis.unwrap().probes.len(), 3);
}

#[test]
fn a_command_may_take_as_long_as_it_waits_and_take_the_quorum_if_that_is_allowed() {
    let text = "
title: t
method:
  - {type: action, name: a, provider: {type: taffeta, func: stop, arguments: {target: all, lasts: 200, one-by-one: true}}}
  - {type: action, name: b, provider: {type: taffeta, func: kill, arguments: {target: all, lasts: 400}}}
";
    let allowed = Command { allow_quorum_loss: true, ..command() };
    let [exported, allowed] = [command(), allowed].map(|command| read(text, "x.yaml").export(&command));
    let timeout = |index: usize| exported["method"][index]["provider"]["timeout"].clone();
    assert_eq!([timeout(0), timeout(1), timeout(2)], [json!(3600), json!(120), json!(722)]);
    let flag = json!("--allow-quorum-loss");
    let has = |exported: &Json, index: usize| {
        exported["method"][index]["provider"]["arguments"].as_array().is_some_and(|words| words.contains(&flag))
    };
    assert!([0, 1].into_iter().all(|index| has(&allowed, index) && !has(&exported, index)));
    assert!(!has(&allowed, 2), "it strikes nobody");
}
