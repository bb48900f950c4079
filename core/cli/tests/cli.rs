//! The command line as a user meets it: exit codes, what goes to stdout and what to stderr. No cluster is needed.
//!
//! Here is what the themes share, and what needs no node: help, wrong calls, and what a machine says of itself.

#[path = "cli/asking.rs"]
mod asking;
mod fake_api;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/waiting.rs"]
mod waiting;

use fake_api::FakeApi;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

/// What a call has left behind.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A call without anything of this machine's configuration.
fn taffeta(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taffeta"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TAFFETA_")) {
        command.env_remove(name);
    }
    command.env("TAFFETA_CONFIG", "/dev/null").env("TAFFETA_DATA", "/nonexistent").args(args).stdin(Stdio::null());
    command
}

fn said(mut command: Command) -> Said {
    let output = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn run(args: &[&str]) -> Said {
    said(taffeta(args))
}

/// Asks a fake node.
fn asks(api: &FakeApi, args: &[&str]) -> Said {
    let mut command = taffeta(args);
    command.env("TAFFETA_API", api.url());
    said(command)
}

/// Refused with code 2 before anything happened: the error's line, and whether advice follows.
#[track_caller]
fn refused(said: &Said) -> (&str, bool) {
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    let mut lines = said.stderr.lines();
    let error = lines.next().and_then(|line| line.strip_prefix("error: ")).unwrap_or_else(|| panic!("{said:?}"));
    let rest: Vec<&str> = lines.collect();
    assert!(rest.iter().all(|line| line.starts_with("help: ")), "{said:?}");
    (error, !rest.is_empty())
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

fn task(task: &str, kind: &str, state: &str, reason: &str) -> Value {
    let (service, index) = task.split_once('.').unwrap();
    json!({
        "task": task, "app": "shop", "service": service, "index": index.parse::<u32>().unwrap(), "kind": kind,
        "state": state, "node": "n2", "address": "127.0.0.2", "ports": {"http": 31022}, "pid": 7, "restarts": 1,
        "started_at": "2026-11-22T02:00:00Z", "exit_code": null, "reason": reason,
    })
}

const VERBS: [&str; 36] = [
    "demo",
    "up",
    "token",
    "deploy",
    "plan",
    "apps",
    "ps",
    "nodes",
    "status",
    "leader",
    "services",
    "why",
    "scale",
    "stop",
    "restart",
    "rollback",
    "pause",
    "resume",
    "promote",
    "run",
    "runs",
    "logs",
    "exec",
    "files",
    "drain",
    "remove",
    "quota",
    "volume",
    "maintenance",
    "resolve",
    "events",
    "recover",
    "chaos",
    "config",
    "completions",
    "version",
];

#[test]
fn every_verb_explains_itself() {
    let all = run(&["--help"]);
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), ""));
    for verb in VERBS {
        assert!(all.stdout.contains(&format!("\n  {verb} ")), "`taffeta --help` lists {verb}");
        let own = run(&[verb, "--help"]);
        assert_eq!((own.code, own.stderr.as_str()), (Some(0), ""), "{verb}");
        assert!(own.stdout.contains(&format!("Usage: taffeta {verb}")), "{}", own.stdout);
    }
    assert!(!all.stdout.contains("\n  shim") && !all.stdout.contains("\n  example"), "{}", all.stdout);
}

#[test]
fn a_wrong_command_line_exits_2_and_says_what_is_wrong() {
    for (args, word) in [
        (&["noeds"][..], "noeds"),
        (&["nodes", "--colour"], "--colour"),
        (&["deploy"], "<FILE>"),
        (&["ps", "-o", "xml"], "xml"),
        (&["why", "shop/web"], "APP/SERVICE.INDEX"),
        (&["why", "web.2"], "APP/SERVICE.INDEX"),
        (&["scale", "web", "3"], "APP/SERVICE"),
        (&["scale", "shop/web", "-1"], "-1"),
        (&["scale", "shop/web", "many"], "many"),
        (&["stop", "Shop"], "DNS label"),
        (&["ps", "nodes"], "reserved"),
        (&["deploy", "--wait", "--timeout", "60", "x.toml"], "60s"),
        (&["logs", "shop/web.1", "--tail", "much"], "64KiB"),
        (&["logs", "shop/web.1", "--since", "yesterday"], "10m"),
        (&["logs", "shop/web.1", "--stderr", "--both"], "--both"),
        (&["exec", "shop/web.1"], "<CMD>"),
        (&["exec", "shop/web.1", "ls"], "ls"),
        (&["exec", "shop/web", "--", "ls"], "APP/SERVICE.INDEX"),
        (&["files"], "<TASK>"),
        (&["token", "create", "--role", "king"], "king"),
        (&["demo", "--nodes", "0"], "0"),
        (&["up", "--address", "here"], "--address: `here` is not an address"),
        (&["up", "--name", "A b"], "--name: `A b` is not a DNS label"),
        (&["up", "--cpus", "two"], "--cpus: `two` is not a number of processors, as 2 or 0.5"),
        (&["up", "--memory", "8G"], "--memory: `8G` is not a size"),
        (&["up", "--resource", "gpu"], "--resource: `gpu` is not NAME=N, as gpu=2"),
        (&["drain", "n1", "--off", "--wait"], "--wait"),
        (&["quota", "set", "red"], "--cpus"),
        (&["quota", "set", "Red", "--cpus", "1"], "Red"),
        (&["quota", "set", "red", "--resource", "memory=1"], "`memory` is a key of its own"),
        (&["quota", "set", "red", "--share", "0"], "0"),
        (&["volume", "reset", "shop/db", "--yes"], "APP/SERVICE.INDEX"),
        (&["volume", "remove", "shop/../x.1"], "APP/SERVICE.INDEX"),
        (&["volume", "remove", "shop/db.1", "--name", "../x"], "DNS label"),
        (&["maintenance", "n1", "--schedule", "0 2 * * 0"], "--for"),
        (&["maintenance", "n1", "--schedule", "0 2 * * 0", "--for", "2"], "--for"),
        (&["maintenance", "--off"], "NODE"),
        (&["up", "--attr", "fast"], "--attr: `fast` is not KEY=VALUE"),
        (&["up", "--token", "abc"], "this is not a join token"),
        (&["ps", "--api", "https://localhost"], "--api: "),
        (&["example", "bakery"], "web, orders, inventory, migrate"),
    ] {
        let said = run(args);
        let (error, _) = refused(&said);
        assert!(error.contains(word), "{args:?}: {error}");
    }
    let similar = run(&["noeds"]);
    assert!(similar.stderr.contains("help: ") && similar.stderr.contains("'nodes'"), "{similar:?}");
    let nothing = run(&[]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""));
    assert!(nothing.stderr.contains("demo"), "without a verb the verbs are listed");
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let said = run(&["completions", shell]);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(VERBS.iter().all(|verb| said.stdout.contains(verb)), "{shell}");
    }
    assert_eq!(run(&["completions", "cmd"]).code, Some(2));
}

#[test]
fn the_version_is_told_for_people_and_for_scripts() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&["version"]).stdout, format!("taffeta {version}\n"));
    assert_eq!(run(&["--version"]).stdout, format!("taffeta {version}\n"));
    assert_eq!(json(&run(&["version", "-o", "json"])), json!({ "version": version }));
}

#[test]
fn the_doctor_asks_the_machine_itself_and_its_status_says_whether_all_is_in_force() {
    let said = run(&["doctor", "-o", "json"]);
    let findings: Vec<Value> = serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}"));
    let whats: Vec<&str> = findings.iter().map(|finding| finding["what"].as_str().unwrap()).collect();
    for what in ["memory-limit", "pid-namespace", "read-only-root", "seccomp", "landlock", "secrets-in-memory"] {
        assert!(whats.contains(&what), "{whats:?}");
    }
    let missing = |finding: &&Value| finding["standard"] == true && finding["in_force"] == false;
    for finding in findings.iter().filter(|finding| finding["in_force"] == false) {
        assert!(finding["why"].is_string() && finding["advice"].is_string(), "{finding}");
    }
    let missing = findings.iter().filter(missing).count();
    assert_eq!(said.code, Some(i32::from(missing > 0)), "{said:?}");
    assert_eq!(said.stderr.starts_with("error: tasks of the default profile"), missing > 0, "{said:?}");
    let table = run(&["doctor"]);
    assert_eq!(table.stdout.lines().count(), findings.len() + 1, "{table:?}");
}
