use super::{Arguments, Experiment, Given, Place, Provider};
use crate::timeline::Request;
use std::time::Duration;
use taffeta_chaos_plan::{DnsInstead, Fault, PartitionShape, Target};

const WHOLE: &str = r#"
title: The leader dies
description: Another one leads.
tags: [leader, kill]
configuration:
  node: n2
  port: {type: env, key: PORT, env_var_type: int}
  path: /health
secrets:
  api: {token: {type: env, key: TOKEN}}
steady-state-hypothesis:
  title: it answers
  probes:
    - type: probe
      name: page
      tolerance: [200, 204]
      provider:
        type: http
        url: http://127.0.0.1:${port}${path}
        headers: {Authorization: "Bearer ${token}"}
        timeout: [1, 2]
    - {type: probe, name: strength, tolerance: 1, provider: {type: taffeta, func: strength, arguments: {service: web/shop}}}
method:
  - type: action
    name: kill it
    provider: {type: taffeta, func: kill, arguments: {target: "${node}", lasts: 1m}}
    pauses: {before: 1, after: 2.5}
  - type: probe
    name: list
    background: true
    provider: {type: process, path: ls, arguments: [-l, 5]}
  - ref: kill it
rollbacks:
  - {type: action, name: say so, provider: {type: process, path: echo, arguments: "$HOME ${unknown} $$5"}}
extensions:
  - {name: other, anything: 1}
  - {name: taffeta, seed: 7, within: {strength: 15}, requests: {name: 2, write: 10s}, heal: 30, confirm: 20s, expects: [names are right]}
"#;

fn given() -> Given {
    let environment = [("PORT", "8080"), ("TOKEN", "hush")].map(|(k, v)| (k.into(), v.into())).into();
    Given { environment, ..Given::default() }
}

fn read(text: &str) -> Experiment {
    Experiment::read(text, "x.yaml", &given()).unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn wrong(text: &str) -> String {
    let wrong = Experiment::read(text, "x.yaml", &given()).unwrap_err();
    match &wrong.help {
        Some(help) => format!("{wrong} | {help}"),
        None => wrong.to_string(),
    }
}

#[test]
fn an_experiment_of_the_chaos_toolkit_is_read_with_its_variables_filled_in() {
    let experiment = read(WHOLE);
    assert_eq!((experiment.title.as_str(), experiment.slug().as_str()), ("The leader dies", "the-leader-dies"));
    let hypothesis = experiment.hypothesis.as_ref().unwrap();
    let Provider::Http(page) = &hypothesis.probes[0].provider else { panic!("not http") };
    assert_eq!(page.url.as_str(), "http://127.0.0.1:8080/health");
    assert_eq!(page.headers["Authorization"], "Bearer hush");
    assert_eq!(page.timeout, Duration::from_secs(3));
    let (_, strike) = experiment.strikes().next().unwrap();
    assert_eq!(strike.fault, Fault::KillMachine);
    assert_eq!(strike.place, Place::Nodes { target: Target::Node("n2".into()), except: None });
    assert_eq!(strike.lasts, Duration::from_secs(60));
    assert_eq!(
        (experiment.method[0].before, experiment.method[0].after),
        (Duration::from_secs(1), Duration::from_millis(2500))
    );
    assert!(experiment.method[1].background && experiment.method[2].name == "kill it");
    let Provider::Process(list) = &experiment.method[1].provider else { panic!("not process") };
    assert_eq!(list.arguments, Arguments::Words(vec!["-l".into(), "5".into()]));
    let Provider::Process(say) = &experiment.rollbacks[0].provider else { panic!("not process") };
    assert_eq!(say.arguments, Arguments::Shell("$HOME ${unknown} $5".into()));
    assert_eq!(experiment.rules.within["strength"], Duration::from_secs(15));
    let requests = [(Request::Name, Duration::from_secs(2)), (Request::Write, Duration::from_secs(10))];
    assert_eq!(experiment.rules.requests, requests.into());
    assert_eq!((experiment.rules.seed, experiment.rules.heal), (Some(7), Duration::from_secs(30)));
}

#[test]
fn no_secret_is_in_what_is_reported() {
    let experiment = read(WHOLE);
    let page = &experiment.hypothesis.as_ref().unwrap().probes[0];
    assert!(page.source.to_string().contains("Bearer ${token}"), "{}", page.source);
    assert!(!experiment.source.to_string().contains("hush"));
    let named = read(
        &WHOLE.replace("name: kill it", "name: kill with ${token}").replace("ref: kill it", "ref: kill with hush"),
    );
    assert_eq!((named.method[0].name.as_str(), named.method[2].name.as_str()), ("kill with ***", "kill with ***"));
    assert_eq!(named.secrets.mask("Bearer hush"), "Bearer ***");
    let told = wrong(&WHOLE.replace("target: \"${node}\"", "target: \"A ${token}\""));
    assert!(told.contains("`A ***` is not a target"), "{told}");
}

#[test]
fn json_and_yaml_are_the_same_experiment() {
    let yaml = read(WHOLE);
    let json = Experiment::read(&yaml.source.to_string(), "x.json", &given()).unwrap();
    assert_eq!(json.source, yaml.source);
    assert_eq!(format!("{:?}", json.strikes().next().unwrap().1), format!("{:?}", yaml.strikes().next().unwrap().1));
}

#[test]
fn the_command_line_beats_the_file() {
    let mut given = given();
    given.variables.insert("node".into(), "n3".into());
    let experiment = Experiment::read(WHOLE, "x.yaml", &given).unwrap();
    assert_eq!(experiment.strikes().next().unwrap().1.to_string(), "kill-machine at n3 for 60 s");
    given.variables.insert("nod".into(), "n3".into());
    let unknown = Experiment::read(WHOLE, "x.yaml", &given).unwrap_err();
    assert_eq!(unknown.help.as_deref(), Some("did you mean `node`?"));
}

/// A method of one action of ours.
fn strike(func: &str, arguments: &str) -> String {
    format!(
        "title: t\nmethod:\n- type: action\n  name: a\n  provider:\n    type: taffeta\n    func: {func}\n    arguments: {arguments}\n"
    )
}

#[test]
fn every_fault_is_said_in_its_own_words() {
    let said = |func: &str, arguments: &str| {
        let experiment = read(&strike(func, &format!("{{target: one, lasts: 5, {arguments}}}")));
        experiment.strikes().next().unwrap().1.fault
    };
    assert_eq!(said("kill", ""), Fault::KillMachine);
    assert_eq!(said("kill", "what: agent"), Fault::KillAgent);
    assert_eq!(said("kill", "what: power"), Fault::PowerCut);
    assert_eq!(said("stop", "one-by-one: true"), Fault::Stop);
    assert_eq!(said("pause", ""), Fault::Pause);
    assert_eq!(said("partition", "shape: one-way-in"), Fault::Partition { shape: PartitionShape::OneWayIn });
    assert_eq!(said("loss", "fraction: 0.3, peers: voters"), Fault::Loss { fraction: 0.3 });
    let delay = Fault::Delay { by: Duration::from_millis(50), jitter: Duration::from_millis(500) };
    assert_eq!(said("delay", "by: 50ms, jitter: 0.5"), delay);
    assert_eq!(said("duplicate", "fraction: 1"), Fault::Duplicate { fraction: 1.0 });
    assert_eq!(said("reorder", "fraction: 0"), Fault::Reorder { fraction: 0.0 });
    assert_eq!(said("bandwidth", "kbit-per-s: 64"), Fault::Bandwidth { kbit_per_s: 64 });
    assert_eq!(said("clock", "by: -5m"), Fault::ClockOffset { by_ms: -300_000 });
    assert_eq!(said("clock", "ppm: 200"), Fault::ClockDrift { ppm: 200 });
    assert_eq!(said("disk-full", ""), Fault::DiskFull);
    assert_eq!(said("cpu", "workers: 2"), Fault::Cpu { workers: 2, percent: 100 });
    assert_eq!(said("memory", "bytes: 1000"), Fault::Memory { bytes: 1000 });
    assert_eq!(
        said("dns", "fraction: 0.5, instead: servfail"),
        Fault::Dns { fraction: 0.5, instead: DnsInstead::Servfail }
    );
    assert_eq!(said("drain", ""), Fault::Drain);
    assert_eq!(read(&strike("leader", "{}")).strikes().next().unwrap().1.to_string(), "leader at leader");
    let task = read(&strike("kill", "{task: shop/web.2, lasts: 1}"));
    assert_eq!(task.strikes().next().unwrap().1.place, Place::Task("shop/web.2".into()));
}

#[test]
fn a_wrong_file_is_refused_with_line_and_field() {
    let cases = [
        (strike("kil", "{}"), "line 7: method[0].provider.func: unknown fault `kil` | did you mean `kill`?"),
        (
            strike("kill", "{target: one}"),
            "line 8: method[0].provider.arguments: `lasts` is missing: every fault has an end",
        ),
        (strike("kill", "{lasts: 1}"), "line 8: method[0].provider.arguments: `target` is missing"),
        (
            strike("kill", "{target: one, last: 1}"),
            "line 8: method[0].provider.arguments: unknown key `last` | did you mean `lasts`?",
        ),
        (
            strike("loss", "{target: one, lasts: 1, fraction: 2}"),
            "line 8: method[0].provider.arguments: fraction is 2; expected 0 to 1",
        ),
        (
            strike("kill", "{target: one, lasts: 2h}"),
            "line 8: method[0].provider.arguments.lasts: expected a time of at most 3600 s",
        ),
        (
            strike("kill", "{target: Leader, lasts: 2}"),
            "line 8: method[0].provider.arguments.target: `Leader` is not a target",
        ),
        (
            strike("partition", "{target: all, lasts: 2}"),
            "line 8: method[0].provider.arguments: all nodes leave no rest",
        ),
        (
            strike("partition", "{target: one, lasts: 2, shape: swizzle}"),
            "line 8: method[0].provider.arguments.shape: the shape `swizzle` is only simulated",
        ),
        (
            strike("kill", "{target: one, lasts: 2}").replace("taffeta", "python"),
            "line 6: method[0].provider.type: `python` providers are code",
        ),
        (
            strike("kill", "{}").replace("action", "act"),
            "line 3: method[0].type: unknown type of activity `act` | did you mean `action`?",
        ),
        (WHOLE.replace("rollbacks", "rollback"), "line 33: unknown key `rollback` | did you mean `rollbacks`?"),
        (
            WHOLE.replace("ref: kill it", "ref: kil it"),
            "line 32: method[2].ref: there is no activity `kil it` above | did you mean `kill it`?",
        ),
        (WHOLE.replace("tolerance: 1, ", ""), "line 22: steady-state-hypothesis.probes[1]: `tolerance` is missing"),
        (
            WHOLE.replace("{strength: 15}", "{strenght: 15}"),
            "line 37: extensions[1].within.strenght: the hypothesis has no probe `strenght` | did you mean `strength`?",
        ),
        (
            WHOLE.replace("{name: 2,", "{names: 2,"),
            "line 37: extensions[1].requests: unknown key `names` | did you mean `name`?",
        ),
        (
            WHOLE.replace("key: TOKEN", "key: NONE"),
            "line 10: secrets.api.token: the environment has no variable `NONE`",
        ),
        (WHOLE.replace("title: The leader dies\n", ""), "line 2: `title` is missing"),
    ];
    for (text, expected) in cases {
        let told = wrong(&text);
        assert!(told.starts_with(expected), "expected {expected}\n     got {told}");
    }
}

#[test]
fn who_asks_for_a_rehearsal_gets_a_refusal_and_no_fault() {
    let expected = "line 3: dry: nothing is rehearsed here: it would be done";
    let told = wrong(&WHOLE.replace("description: Another one leads.\n", "dry: actions\n"));
    assert!(told.starts_with(expected), "{told}");
    let told = wrong(&strike("kill", "{target: one, lasts: 1}").replace("name: a\n", "name: a\n  dry: true\n"));
    assert!(told.starts_with("line 5: method[0].dry: nothing is rehearsed"), "{told}");
    read(&strike("kill", "{target: one, lasts: 1}").replace("name: a\n", "name: a\n  dry: false\n"));
}

#[test]
fn a_steady_state_has_a_probe() {
    let text = |probes: &str| format!("title: t\nmethod: []\nsteady-state-hypothesis: {{title: s{probes}}}\n");
    let told = wrong(&text(", probes: []"));
    assert!(told.starts_with("line 3: steady-state-hypothesis.probes: there is no probe in it"), "{told}");
    let told = wrong(&text(""));
    assert!(told.starts_with("line 3: steady-state-hypothesis: `probes` is missing"), "{told}");
}

#[test]
fn what_stands_beside_a_reference_and_retries_are_ignored_loudly() {
    let told = read(&WHOLE.replace("- ref: kill it", "- {ref: kill it, pauses: {after: 5}}")).ignored;
    assert!(told.len() == 1 && told[0].contains("beside `ref`"), "{told:?}");
    let told = read(&WHOLE.replace("type: http\n", "type: http\n        max_retries: 3\n")).ignored;
    assert!(told.len() == 1 && told[0].contains("`max_retries`"), "{told:?}");
    assert_eq!(read(WHOLE).ignored, Vec::<String>::new());
}

#[test]
fn a_word_may_be_null_and_nothing_is_none() {
    let words = |arguments: &str| {
        let text = format!(
            "title: t\nmethod: [{{type: action, name: a, provider: {{type: process, path: p, arguments: {arguments}}}}}]"
        );
        let Provider::Process(call) = read(&text).method[0].provider.clone() else { panic!("not process") };
        call.arguments
    };
    let expected = |all: &[&str]| Arguments::Words(all.iter().map(|word| (*word).to_owned()).collect());
    assert_eq!(words("['null', null, '', 0, a]"), expected(&["null", "0", "a"]));
    assert_eq!(words("{-a: 'null', -b: null}"), expected(&["-a", "null", "-b"]));
    assert_eq!(words("null"), expected(&[]));
}

#[test]
fn controls_are_ignored_loudly() {
    let experiment = read(&WHOLE.replace("rollbacks:", "controls: [{name: x}]\nruntime: {}\nrollbacks:"));
    assert_eq!(experiment.ignored.len(), 2);
    assert!(experiment.ignored[0].contains("`controls`"));
}

#[test]
fn a_plan_of_the_simulator_is_an_experiment_for_the_faults_that_both_know() {
    let plan =
        |faults: &str| Experiment::read(&format!("{{\"faults\": [\n{faults}\n]}}"), "dir/p.json", &Given::default());
    let experiment = plan(
        r#"{"at_ms": 1000, "lasts_ms": 5000, "target": "leader", "fault": "kill-machine"},
           {"at_ms": 1500, "lasts_ms": 500, "target": "all", "fault": "rolling"}"#,
    )
    .unwrap();
    let said: Vec<_> =
        experiment.strikes().map(|(activity, strike)| (activity.before.as_millis(), strike.to_string())).collect();
    let expected =
        [(1000, "kill-machine at leader for 5 s".to_owned()), (500, "stop at all one by one for 0.5 s".to_owned())];
    assert_eq!(said, expected);
    assert_eq!(experiment.title, "fault plan p.json");
    let refused = plan(r#"{"at_ms": 1000, "lasts_ms": 5000, "target": "one", "fault": "wipe"}"#).unwrap_err();
    assert!(refused.to_string().starts_with("line 2: faults[0]: the fault `wipe` is only simulated"), "{refused}");
    let endless = plan(r#"{"at_ms": 1000, "target": "one", "fault": "pause"}"#).unwrap_err();
    assert!(endless.to_string().contains("`lasts_ms` is missing"), "{endless}");
    let unknown = plan(r#"{"at_ms": 1000, "target": "one", "fault": "explode"}"#).unwrap_err();
    assert_eq!(unknown.line, 2);
}
