//! `taffeta chaos sim` and its sweep, as a person or a script runs them.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
};
use support::binary;
use taffeta_harness::eventually;

/// What a call has left behind.
#[derive(Debug)]
struct Said {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

fn taffeta(words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(words).env_remove("TAFFETA_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(mut command: Command) -> Said {
    let output = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// `taffeta chaos sim`, with these words behind it.
fn sim(words: &[&str]) -> Said {
    said(taffeta(&[&["chaos", "sim"], words].concat()))
}

/// One JSON object and nothing else, from a call that went well.
#[track_caller]
fn json_of(said: &Said) -> Value {
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

/// Exit 2 with nothing on stdout, an error that holds `error`, and a help that holds `help`.
#[track_caller]
fn refused(said: &Said, error: &str, help: &str) {
    assert_eq!((said.status.code(), said.stdout.as_str()), (Some(2), ""), "{said:?}");
    let mut lines = said.stderr.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("error: ") && line.contains(error)), "{said:?}");
    let rest: Vec<&str> = lines.collect();
    assert!(rest.iter().all(|line| line.starts_with("help: ")) && rest.join(" ").contains(help), "{said:?}");
}

/// The first of a JSON's names to numbers.
fn counts(value: &Value) -> BTreeMap<String, u64> {
    serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{e}: {value}"))
}

#[test]
fn one_seed_gives_one_trace() {
    let words = ["--seed", "11", "--minutes", "0.2", "-o", "json"];
    let (one, other, another) = (sim(&words), sim(&words), sim(&["--seed", "12", "--minutes", "0.2", "-o", "json"]));
    assert!(one.stderr.starts_with("seed 11\n"), "{one:?}");
    let (mut one, mut other) = (json_of(&one), json_of(&other));
    assert!(one["trace"].as_str().is_some_and(|trace| trace.len() == 16), "{one}");
    assert_ne!(one["trace"], json_of(&another)["trace"]);
    let took = |run: &mut Value| run.as_object_mut().and_then(|run| run.remove("real_s")).and_then(|s| s.as_f64());
    assert!(took(&mut one).is_some_and(|s| s > 0.0) && took(&mut other).is_some());
    assert_eq!(one, other, "and everything else but the real time");
    assert_eq!((&one["seed"], &one["verdict"], &one["why"]), (&json!(11), &json!("pass"), &Value::Null));
    assert!(one["virtual_s"].as_f64().is_some_and(|s| s >= 12.0), "{one}");
    assert_eq!(one["repeat"], "taffeta chaos sim --seed 11 --nodes 5 --minutes 0.2");
    assert!(one["faults"].is_object() && counts(&one["sometimes"]).contains_key("no node ran at all"), "{one}");
}

#[test]
fn the_seed_comes_first_then_the_timeline_then_the_summary() {
    let said = sim(&["--minutes", "0.1", "--nodes", "3"]);
    assert_eq!((said.status.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    let mut lines = said.stdout.lines();
    let seed: u64 = lines.next().and_then(|line| line.strip_prefix("seed ")?.parse().ok()).expect("the seed");
    let (second, event) = lines.next().and_then(|line| line.split_once(" s  ")).expect("a timeline");
    assert!(second.trim().parse::<f64>().is_ok() && event == "3 nodes are ready", "{said:?}");
    for word in ["verdict   pass", "time      ", "writes    ", "faults    ", "trace     ", "met       ", "not met"] {
        assert!(said.stdout.contains(&format!("\n{word}")), "{word}: {said:?}");
    }
    // Printed before anything runs: a reader that waits for it alone need not wait for the run.
    let mut long = taffeta(&["chaos", "sim", "--minutes", "1440"]).spawn().expect("it starts");
    let mut first = [0; 5];
    std::io::Read::read_exact(&mut long.stdout.take().expect("a pipe"), &mut first).expect("a line");
    long.kill().and_then(|()| long.wait()).expect("killed");
    assert_eq!(&first, b"seed ");
    let again = sim(&["--seed", &seed.to_string(), "--minutes", "0.1", "--nodes", "3"]);
    let timeless = |text: &str| text.lines().filter(|l| !l.starts_with("time ")).collect::<Vec<_>>().join("\n");
    assert_eq!(timeless(&again.stdout), timeless(&said.stdout), "the random seed was the one that is told");
}

#[test]
fn a_wrong_call_is_refused_with_advice() {
    refused(&sim(&["--faults", "pause,kill"]), "unknown kind of fault `kill`", "kill-agent, kill-machine");
    refused(&sim(&["--faults", "boom"]), "unknown kind of fault `boom`", "disk-full");
    refused(&sim(&["--nodes", "2"]), "'2' for '--nodes <N>': write a number from 3 to 15", "");
    refused(&sim(&["--nodes", "16"]), "'16'", "");
    refused(&sim(&["--seeds", "5..5"]), "there is no seed in it", "");
    refused(&sim(&["--seeds", "5"]), "write A..B", "");
    refused(&sim(&["--seed", "1", "--seeds", "0..2"]), "cannot be used with", "--help");
    refused(&sim(&["--seed", "x"]), "write a whole number", "");
    refused(&sim(&["--minutes", "1441"]), "--minutes", "");
    refused(&sim(&["--tick-ms", "21"]), "--tick-ms", "");
    refused(&sim(&["--jobs", "2"]), "--seeds", "--help");
    refused(&sim(&["--plan", "x.json", "--faults", "pause"]), "cannot be used with", "--help");
    refused(&sim(&["--plan", "/nonexistent/x.json"]), "cannot read /nonexistent/x.json: No such file", "");
    refused(&sim(&["--seed", "1", "ring"]), "'ring' cannot be used with '--seed", "--help");
    let help = said(taffeta(&["chaos"]));
    assert_eq!((help.status.code(), help.stdout.as_str()), (Some(2), ""), "{help:?}");
    assert!(help.stderr.contains("sim"), "{help:?}");
}

#[test]
fn a_sweep_adds_up_what_its_seeds_tell() {
    let flags = ["--minutes", "0.2", "-o", "json"];
    let sweep = sim(&[&["--seeds", "11..15", "--jobs", "2"][..], &flags].concat());
    assert_eq!(sweep.stderr, "", "nothing to tell where nobody watches");
    let sweep = json_of(&sweep);
    assert_eq!(
        (&sweep["seeds"], &sweep["runs"], &sweep["passed"]),
        (&json!("11..15"), &json!(4), &json!(4)),
        "{sweep}"
    );
    assert_eq!(sweep["failed"], json!([]));
    let (mut virtual_s, mut faults, mut met) = (0.0, BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    for seed in 11..15_u64 {
        let run = json_of(&sim(&[&["--seed", &seed.to_string()][..], &flags].concat()));
        virtual_s += run["virtual_s"].as_f64().expect("seconds");
        counts(&run["faults"]).into_iter().for_each(|(kind, n)| *faults.entry(kind).or_default() += n);
        counts(&run["sometimes"]).into_iter().for_each(|(what, n)| *met.entry(what).or_default() += n);
    }
    assert!((sweep["virtual_s"].as_f64().expect("seconds") - virtual_s).abs() < 1e-6, "{virtual_s}: {sweep}");
    assert_eq!((counts(&sweep["faults"]), counts(&sweep["sometimes"])), (faults, met.clone()));
    let missed: Vec<String> = serde_json::from_value(sweep["missed"].clone()).expect("words");
    assert!(missed.iter().all(|what| met[what] == 0) && missed.len() == met.values().filter(|n| **n == 0).count());
    assert!(sweep["real_s"].as_f64().is_some_and(|s| s > 0.0));
}

/// The processes that run a seed for this sweep.
fn children_of(sweep: &Child) -> Vec<u32> {
    let mark = format!("--sweep\0{}\0", sweep.id());
    let pids = fs::read_dir("/proc").expect("/proc").flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let marked = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&mark)
    };
    pids.filter(marked).collect()
}

/// A sweep that would run for days, with two seeds under way.
fn long_sweep() -> Child {
    let words = ["chaos", "sim", "--seeds", "0..1000", "--jobs", "2", "--minutes", "1440"];
    let sweep = taffeta(&words).spawn().expect("it starts");
    eventually("two seeds run", || children_of(&sweep).len() == 2);
    sweep
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("a pid"), signal).expect("signalled");
}

#[test]
fn a_sweep_that_ends_early_leaves_no_child() {
    for how in [Signal::INT, Signal::TERM, Signal::KILL] {
        let mut sweep = long_sweep();
        signal(sweep.id(), how);
        let status = sweep.wait().expect("it ends");
        eventually("no seed runs on", || children_of(&sweep).is_empty());
        if how == Signal::KILL {
            assert_eq!(status.signal(), Some(9));
            continue;
        }
        assert_eq!(status.code(), Some(1), "{how:?}");
        let output = sweep.wait_with_output().expect("its output");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, "error: interrupted after 0 of 1000 seeds\n");
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("seeds 0..1000\nruns      0 of 1000: 0 passed\n"));
    }
}

#[test]
fn a_seed_whose_process_dies_has_crashed_and_is_told_at_once() {
    let words = ["chaos", "sim", "--seeds", "7..8", "--minutes", "1440", "-o", "json"];
    let sweep = taffeta(&words).spawn().expect("it starts");
    eventually("the seed runs", || children_of(&sweep).len() == 1);
    signal(children_of(&sweep)[0], Signal::KILL);
    let output = sweep.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    let repeat = "taffeta chaos sim --seed 7 --nodes 5 --minutes 1440";
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with(&format!("seed 7 crash: killed by signal 9; repeat: {repeat}\nerror: ")), "{stderr}");
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let failed = json!([{"seed": 7, "verdict": "crash", "why": "killed by signal 9", "repeat": repeat}]);
    assert_eq!((&json["failed"], &json["runs"], &json["passed"]), (&failed, &json!(1), &json!(0)));
}

/// Runs a plan of this text for twelve seconds.
fn plan(text: &str) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("plan.json");
    fs::write(&file, text).expect("written");
    sim(&["--seed", "3", "--nodes", "3", "--minutes", "0.2", "-o", "json", "--plan", file.to_str().expect("UTF-8")])
}

#[test]
fn a_plan_is_performed_exactly() {
    let run = json_of(&plan(
        r#"{"faults": [
            {"at_ms": 1000, "lasts_ms": 2000, "target": "n2", "fault": "pause"},
            {"at_ms": 2000, "lasts_ms": 3000, "target": "all", "fault": {"loss": {"fraction": 0.05}}},
            {"at_ms": 6000, "lasts_ms": 1000, "target": "n3", "fault": "pause"},
            {"at_ms": 8000, "lasts_ms": 1000, "target": "leader", "fault": "kill-agent"}]}"#,
    ));
    assert_eq!(run["faults"], json!({"kill-agent": 1, "loss": 1, "pause": 2}), "{run}");
    assert!(run["repeat"].as_str().is_some_and(|repeat| repeat.contains(" --plan /")), "{run}");
    assert_eq!(json_of(&plan(r#"{"faults": []}"#))["faults"], json!({}));
}

#[test]
fn a_malformed_plan_is_told_with_its_field() {
    let one = |fields: &str| plan(&format!("{{\"faults\": [\n{{{fields}}}]}}"));
    refused(&one(r#""at_ms": "soon""#), "plan.json: line 2: faults[0].at_ms: invalid type", "a plan looks like");
    refused(&one(r#""at_ms": 1, "target": "n1", "fault": "puase""#), "faults[0].fault", "a plan looks like");
    let unchecked = r#""at_ms": 1, "target": "n1", "fault": {"loss": {"fraction": 2}}"#;
    refused(&one(unchecked), "plan.json: faults[0].fraction is 2; expected 0 to 1", "");
    refused(&one(r#""at_ms": 1, "target": "n4", "fault": "pause""#), "faults[0].target is n4", "--nodes");
    refused(&one(r#""at_ms": 12000, "target": "n1", "fault": "pause""#), "faults[0].at_ms is 12000", "--minutes");
    let real = r#""at_ms": 1, "target": "n1", "fault": {"bandwidth": {"kbit_per_s": 64}}"#;
    refused(&one(real), "faults[0].fault is bandwidth; expected a fault that the simulator knows", "");
    refused(&plan("{\"fault\": []}"), "plan.json: line 1: fault: unknown field `fault`", "a plan looks like");
}

#[test]
fn what_nodes_log_is_seen_on_request() {
    let mut command = taffeta(&["chaos", "sim", "--seed", "3", "--nodes", "3", "--minutes", "0.1", "-o", "json"]);
    command.env("TAFFETA_LOG", "taffeta=info");
    let logged = said(command);
    json_of(&logged);
    assert!(logged.stderr.contains(" node: taffeta_node::") && logged.stderr.contains("name=\"n1.1\""), "{logged:?}");
    let mut command = taffeta(&["chaos", "sim"]);
    command.env("TAFFETA_LOG", "=x=");
    refused(&said(command), "TAFFETA_LOG: ", "write it as");
}

#[test]
fn the_ring_gives_its_figures_and_repeats_them() {
    let words = "ring --nodes 50 --kill 2 --loss 0.02 --stall 0.1:3 --join --seed 5 -o json";
    let words: Vec<&str> = words.split(' ').collect();
    let (one, other) = (json_of(&sim(&words)), json_of(&sim(&words)));
    assert_eq!(one, other);
    let keys: Vec<&str> = one.as_object().expect("an object").keys().map(String::as_str).collect();
    for key in [
        "seed",
        "nodes",
        "know50",
        "know99",
        "false_suspect",
        "false_down",
        "idle_bytes_per_s",
        "idle_packets_per_s",
        "change99",
        "change_bits_per_s",
        "memory_bytes_per_node",
        "trace",
        // Beside the contract.
        "stalled_down",
        "reversed_ms",
        "burst99",
        "messages_per_change",
        "join_ms",
        "join_bytes",
    ] {
        assert!(keys.contains(&key), "{key}: {one}");
    }
    for times in ["know50", "know99", "change99"] {
        for part in ["median_ms", "p99_ms", "max_ms"] {
            assert!(one[times][part].is_u64(), "{times}.{part}: {one}");
        }
    }
    assert_eq!((&one["seed"], &one["nodes"]), (&json!(5), &json!(50)));
    assert!(one["join_ms"].is_u64() && one["change_bits_per_s"].is_f64(), "{one}");
    let table = sim(&["ring", "--nodes", "2", "--seed", "6"]);
    assert!(table.status.success() && table.stderr == "seed 6\n", "{table:?}");
    assert!(table.stdout.starts_with("ring of 2 nodes, seed 6, trace "), "{table:?}");
}

#[test]
fn a_wrong_ring_is_refused_with_its_field() {
    refused(&sim(&["ring", "--nodes", "10", "--kill", "10"]), "--kill: 10 is not 0 to 9", "");
    refused(&sim(&["ring", "--loss", "0.9"]), "--loss: 0.9 is not 0 to 0.5", "");
    refused(&sim(&["ring", "--stall", "0:5"]), "--stall: fraction 0 is not above 0", "");
    refused(&sim(&["ring", "--seconds", "10"]), "--seconds: 10 is not 49 to 3600", "");
    refused(&sim(&["ring", "--changes-per-second", "1001"]), "--changes-per-second: 1001 is not 0 to 1000", "");
    refused(&sim(&["ring", "--nodes", "2", "--join"]), "--join: true is not false", "");
    refused(&sim(&["ring", "--nodes", "1"]), "--nodes: 1 is not 2 to", "");
    refused(&sim(&["ring", "--stall", "0.1"]), "write FRACTION:SECONDS", "");
}
