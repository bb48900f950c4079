//! The command line as a user meets it: exit codes, what goes to stdout and what to stderr. No cluster is needed.

mod fake_api;

use fake_api::FakeApi;
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

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

/// What `deploy` says to an app file.
fn deploy(text: &str) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("shop.toml"), text).expect("a file");
    let mut command = taffeta(&["deploy", "shop.toml"]);
    command.current_dir(folder.path());
    said(command)
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}"))
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
fn a_wrong_app_file_is_told_with_line_and_field() {
    let unknown = deploy("app = \"shop\"\n\n[service.web]\nrun = [\"true\"]\n\ncpus = 1\ncout = 3\n");
    let (error, advised) = refused(&unknown);
    assert_eq!(error, "shop.toml: line 7: service.web.cout: unknown key; did you mean `count`?");
    assert!(advised);

    let kind = deploy("app = \"shop\"\n[service.web]\nrun = [\"true\"]\ncount = \"3\"\n");
    let (error, _) = refused(&kind);
    assert!(error.starts_with("shop.toml: line 4: service.web.count: expected "), "{error}");
    assert!(error.ends_with("found the string \"3\""), "{error}");

    let cycle = deploy(
        "app = \"shop\"\n[service.a]\nrun = [\"true\"]\nafter = [\"b\"]\n[service.b]\nrun = [\"true\"]\nafter = [\"a\"]\n",
    );
    let (error, _) = refused(&cycle);
    assert!(error.starts_with("shop.toml: line "), "{error}");
    assert!(error.contains(".after: ") && error.contains('a') && error.contains('b'), "{error}");

    let missing = deploy("app = \"shop\"\n[service.web]\nrun = [\"./s\"]\nfiles = [\"s.py\"]\n");
    let (error, _) = refused(&missing);
    assert!(
        error.starts_with("shop.toml: line 4: service.web.files: cannot read `s.py`: s.py: No such file"),
        "{error}"
    );

    let broken = deploy("app = \n");
    assert!(refused(&broken).0.starts_with("shop.toml: line 1: "));
}

#[test]
fn an_app_file_that_cannot_be_read_is_told_before_a_node_is_asked() {
    let said = run(&["deploy", "/nonexistent/shop.toml"]);
    assert!(refused(&said).0.starts_with("cannot read /nonexistent/shop.toml: No such file"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.toml");
    fs::write(&file, [0xff, 0xfe]).unwrap();
    let said = run(&["plan", file.to_str().unwrap()]);
    assert!(refused(&said).0.ends_with("it is not UTF-8 text"), "{said:?}");
    // A pipe in the place of a shipped file would be waited for.
    fs::create_dir(folder.path().join("s.py")).unwrap();
    fs::write(&file, "app = \"a\"\n[service.s]\nrun = [\"./s\"]\nfiles = [\"s.py\"]\n").unwrap();
    let said = run(&["plan", file.to_str().unwrap()]);
    assert!(refused(&said).0.contains("is not a regular file"), "{said:?}");
    fs::remove_dir(folder.path().join("s.py")).unwrap();
    fs::write(folder.path().join("s.py"), vec![0; (1 << 20) + 1]).unwrap();
    let said = run(&["plan", file.to_str().unwrap()]);
    assert!(refused(&said).0.contains("has more than 1048576 bytes"), "{said:?}");
}

#[test]
fn a_node_that_is_not_there_is_told_with_its_address() {
    // Bound and let go: nobody listens there now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let shop = taffeta_example_shop::SHOP_TOML;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.toml");
    fs::write(&file, shop).unwrap();
    for args in [&["nodes"][..], &["status"], &["leader", "-o", "json"], &["deploy", file.to_str().unwrap()]] {
        let said = run(&[args, &["--api", &url]].concat());
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{said:?}");
        assert!(said.stderr.starts_with(&format!("error: no node answers at {url}\nhelp: ")), "{said:?}");
    }
    let socket = run(&["nodes", "--api", "unix:/nonexistent/api.sock"]);
    assert_eq!(socket.code, Some(1));
    assert!(socket.stderr.contains("/nonexistent/api.sock"), "{socket:?}");
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taffeta.toml");
    fs::write(&file, "api = \"http://127.0.0.1:1\"\nzone = \"z1\"\nname = \"f\"\nbest_effort = true\n").unwrap();
    let mut command = taffeta(&["config", "-o", "json", "--api", "http://127.0.0.1:3"]);
    command.env("TAFFETA_CONFIG", &file).env("TAFFETA_API", "http://127.0.0.1:2").env("TAFFETA_NAME", "e");
    command.env("TAFFETA_TOKEN", "s3cret");
    let said = said(command);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.stdout.contains("s3cret"), "a token is never shown");
    let config = json(&said);
    let line = |n: usize| json!(format!("{}: line {n}", file.display()));
    assert_eq!(config["api"], json!({"value": "http://127.0.0.1:3", "from": "flag", "place": "--api"}));
    assert_eq!(config["name"], json!({"value": "e", "from": "env", "place": "TAFFETA_NAME"}));
    assert_eq!(config["zone"], json!({"value": "z1", "from": "file", "place": line(2)}));
    assert_eq!(config["best_effort"], json!({"value": true, "from": "file", "place": line(4)}));
    assert_eq!(config["token"]["from"], "env");
    assert_eq!(config["http"], json!({"value": null, "from": "default", "place": null}));
    assert_eq!(config["data"]["value"], "/nonexistent");

    let table = run(&["config"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.stdout.starts_with("NAME") && table.stdout.contains("http://127.0.0.1:7480"), "{table:?}");
}

#[test]
fn a_wrong_line_of_the_configuration_stops_every_verb_that_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taffeta.toml");
    let with = |text: &str, args: &[&str]| {
        fs::write(&file, text).unwrap();
        let mut command = taffeta(args);
        command.env("TAFFETA_CONFIG", &file);
        said(command)
    };
    for args in [&["nodes"][..], &["up"], &["config"]] {
        let said = with("zone = \"a\"\nadress = \"1.2.3.4\"\n", args);
        let (error, advised) = refused(&said);
        assert_eq!(error, format!("{}: line 2: adress: unknown key; did you mean `address`?", file.display()));
        assert!(advised);
    }
    let wrong = with("\n\naddress = \"x\"\n", &["config"]);
    assert!(refused(&wrong).0.contains("line 3: address: `x` is not an address"), "{wrong:?}");
    assert_eq!(with("adress = 1\n", &["version"]).code, Some(0), "what needs no configuration reads none");
    let mut missing = taffeta(&["config"]);
    missing.env("TAFFETA_CONFIG", "/nonexistent/taffeta.toml");
    assert!(refused(&said(missing)).0.starts_with("cannot read the configuration /nonexistent/taffeta.toml"));
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

#[test]
fn without_a_leader_the_answer_is_null_and_the_exit_3() {
    let api = FakeApi::new(&[("GET /v1/leader", 200, "null")]);
    let script = asks(&api, &["leader", "-o", "json"]);
    assert_eq!((script.code, script.stdout.as_str()), (Some(3), "null\n"), "{script:?}");
    let person = asks(&api, &["leader"]);
    assert_eq!((person.code, person.stdout.as_str()), (Some(3), ""));
    assert!(person.stderr.starts_with("error: no leader"), "{person:?}");

    let api =
        FakeApi::new(&[("GET /v1/leader", 200, r#"{"name":"n1","id":"0f","term":4,"address":"127.0.0.1:7400"}"#)]);
    let there = asks(&api, &["leader", "-o", "json"]);
    assert_eq!(json(&there), json!({"name": "n1", "id": "0f", "term": 4, "address": "127.0.0.1:7400"}));
    assert_eq!(there.code, Some(0));
}

fn status(ready: bool) -> String {
    json!({
        "cluster": "ab", "generation": 0, "leader": "n1", "quorum": true,
        "nodes": {"alive": 3, "suspect": 0, "down": 0}, "apps": 1, "tasks": {"healthy": 7}, "version": "0.1.0",
        "node": "n2", "ready": ready, "voters": ["n1"], "standbys": [], "missing_voters": [],
        "notes": ["no memory limit"], "chaos": 0, "chaos_blocked": false,
    })
    .to_string()
}

#[test]
fn status_exits_3_until_the_node_is_ready() {
    for (ready, code) in [(true, 0), (false, 3)] {
        let answer = status(ready);
        let api = FakeApi::new(&[("GET /v1/status", 200, &answer)]);
        let script = asks(&api, &["status", "-o", "json"]);
        assert_eq!(script.code, Some(code), "{script:?}");
        assert_eq!(json(&script), serde_json::from_str::<Value>(&answer).unwrap());
        let person = asks(&api, &["status"]);
        assert_eq!(person.code, Some(code));
        assert!(person.stdout.contains("3 alive, 0 suspect, 0 down") && person.stdout.contains("no memory limit"));
        assert_eq!(person.stderr.contains("n2 is not ready"), !ready);
    }
}

fn task(task: &str, kind: &str, state: &str, reason: &str) -> Value {
    let (service, index) = task.split_once('.').unwrap();
    json!({
        "task": task, "app": "shop", "service": service, "index": index.parse::<u32>().unwrap(), "kind": kind,
        "state": state, "node": "n2", "address": "127.0.0.2", "ports": {"http": 31022}, "pid": 7, "restarts": 1,
        "started_at": "2026-11-22T02:00:00Z", "exit_code": null, "reason": reason,
    })
}

#[test]
fn the_json_of_a_reading_verb_is_the_apis_own() {
    let tasks = json!([task("web.2", "service", "healthy", "")]);
    let api = FakeApi::new(&[("GET /v1/ps", 200, &tasks.to_string()), ("GET /v1/apps", 200, "[]")]);
    assert_eq!(json(&asks(&api, &["ps", "shop", "-o", "json"])), tasks);
    assert_eq!(api.asked()[0].line, "GET /v1/ps?app=shop");
    let table = asks(&api, &["ps"]);
    assert_eq!(table.stdout.lines().count(), 2, "{table:?}");
    assert!(table.stdout.contains("shop/web.2") && table.stdout.contains("http:31022"));

    let empty = asks(&api, &["apps", "-o", "json"]);
    assert_eq!((empty.stdout.as_str(), empty.stderr.as_str()), ("[]\n", ""));
    let empty = asks(&api, &["apps"]);
    assert_eq!((empty.code, empty.stdout.as_str()), (Some(0), ""));
    assert!(empty.stderr.contains("no apps"));
}

#[test]
fn a_refusal_keeps_its_words_and_gets_its_exit_code() {
    for (status, code, exit) in [
        (400, "invalid", 2),
        (401, "unauthorized", 3),
        (404, "not_found", 1),
        (409, "conflict", 3),
        (503, "no_quorum", 3),
        (504, "timeout", 4),
        (500, "failed", 1),
    ] {
        let body = json!({"error": {"code": code, "message": "because", "help": "do so", "field": null}}).to_string();
        let api = FakeApi::new(&[("DELETE /v1/apps/shop", status, &body)]);
        let said = asks(&api, &["stop", "shop"]);
        assert_eq!((said.code, said.stderr.as_str()), (Some(exit), "error: because\nhelp: do so\n"));
    }
}

#[test]
fn the_token_comes_from_the_flag_the_environment_or_the_data_folder() {
    let api = FakeApi::new(&[("GET /v1/nodes", 200, "[]")]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("admin.token"), "from-folder\n").unwrap();
    let data = folder.path().to_str().unwrap();
    let with = |args: &[&str], variable: Option<&str>| {
        let mut command = taffeta(&[&["nodes"][..], args].concat());
        command.env("TAFFETA_API", api.url());
        if let Some(token) = variable {
            command.env("TAFFETA_TOKEN", token);
        }
        assert_eq!(said(command).code, Some(0));
        api.asked().pop().unwrap().token
    };
    assert_eq!(with(&[], None), None);
    assert_eq!(with(&["--data", data], None).as_deref(), Some("from-folder"));
    assert_eq!(with(&["--data", data], Some("from-env")).as_deref(), Some("from-env"));
    assert_eq!(with(&["--token", "from-flag"], Some("from-env")).as_deref(), Some("from-flag"));
    // Flags before the verb count, those behind it more.
    let api_flag = api.url();
    assert_eq!(run(&["--api", &api_flag, "nodes"]).code, Some(0));
    assert_eq!(run(&["--api", "http://127.0.0.1:1", "nodes", "--api", &api_flag]).code, Some(0));
}

#[test]
fn a_join_token_stands_alone_on_stdout() {
    let made = r#"{"token":"taffeta1.abc","expires_at":"2026-11-22T03:00:00Z"}"#;
    let api = FakeApi::new(&[("POST /v1/tokens", 200, made)]);
    let said = asks(&api, &["token", "create", "--ttl", "2h", "--uses", "3"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "taffeta1.abc\n"));
    let body: Value = serde_json::from_str(&api.asked()[0].body).unwrap();
    assert_eq!(body, json!({"role": "node", "ttl_seconds": 7200, "uses": 3}));
}

#[test]
fn a_deploy_ships_the_files_beside_the_app_file() {
    let api = FakeApi::new(&[("POST /v1/apps", 200, r#"{"app":"a","version":3}"#)]);
    let folder = tempfile::tempdir().unwrap();
    let text = "app = \"a\"\n[service.s]\nrun = [\"./s.sh\"]\nfiles = [\"s.sh\"]\n";
    fs::write(folder.path().join("a.toml"), text).unwrap();
    let script = folder.path().join("s.sh");
    fs::write(&script, "echo").unwrap();
    make_executable(&script);
    let file = folder.path().join("a.toml");
    let said_of_file = asks(&api, &["deploy", file.to_str().unwrap()]);
    assert_eq!(said_of_file.code, Some(0), "{said_of_file:?}");
    assert!(said_of_file.stdout.contains("a version 3"), "{said_of_file:?}");
    let wanted = json!({"file": text, "files": {"s.sh": {"base64": "ZWNobw==", "executable": true}}});
    assert_eq!(serde_json::from_str::<Value>(&api.asked()[0].body).unwrap(), wanted);

    // From stdin, files lie in the present folder.
    let mut command = taffeta(&["deploy", "-"]);
    command.env("TAFFETA_API", api.url()).current_dir(folder.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(serde_json::from_str::<Value>(&api.asked()[1].body).unwrap(), wanted);
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// `deploy --wait` where the app is in this state and its tasks would be treated so.
fn deploy_and_wait(healthy: bool, tasks: &Value, action: &str) -> Said {
    let app =
        json!([{"app": "shop", "version": 2, "deployed_at": "2026-11-22T02:00:00Z", "healthy": healthy, "jobs": []}]);
    let steps: Vec<Value> = tasks
        .as_array()
        .unwrap()
        .iter()
        .map(|t| json!({"task": t["task"], "action": action, "node": "n2", "reason": ""}))
        .collect();
    let api = FakeApi::new(&[
        ("POST /v1/apps", 200, r#"{"app":"shop","version":2}"#),
        ("POST /v1/plan", 200, &json!({"app": "shop", "steps": steps}).to_string()),
        ("GET /v1/apps", 200, &app.to_string()),
        ("GET /v1/ps", 200, &tasks.to_string()),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.toml");
    fs::write(&file, taffeta_example_shop::SHOP_TOML).unwrap();
    asks(&api, &["deploy", file.to_str().unwrap(), "--wait", "--timeout", "300ms"])
}

#[test]
fn waiting_ends_when_all_is_healthy_and_of_the_new_version() {
    let tasks = json!([task("web.1", "service", "healthy", ""), task("migrate.1", "batch", "finished", "")]);
    let done = deploy_and_wait(true, &tasks, "keep");
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "shop version 2 is healthy\n"), "{done:?}");
    let old = deploy_and_wait(true, &tasks, "update");
    assert_eq!((old.code, old.stdout.as_str()), (Some(4), ""), "{old:?}");
    assert!(old.stderr.contains("are being replaced"), "{old:?}");
}

#[test]
fn waiting_too_long_exits_4_and_names_what_is_missing_and_why() {
    let tasks = json!([task("web.1", "service", "healthy", ""), task("web.2", "service", "unhealthy", "HTTP 503")]);
    let late = deploy_and_wait(false, &tasks, "keep");
    assert_eq!((late.code, late.stdout.as_str()), (Some(4), ""), "{late:?}");
    let error = late.stderr.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default();
    assert_eq!(error, "shop is not healthy after 300ms: web.2 is unhealthy on n2 (HTTP 503)");
}

#[test]
fn a_batch_task_that_failed_ends_the_wait_with_1() {
    let tasks = json!([task("migrate.1", "batch", "failed", "exit status 3")]);
    let failed = deploy_and_wait(false, &tasks, "keep");
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("error: shop/migrate.1 failed (exit status 3)"), "{failed:?}");
    assert_eq!(deploy_and_wait(false, &tasks, "update").code, Some(4), "it runs again: no verdict yet");
}

#[test]
fn nobody_who_stops_reading_makes_a_verb_fail() {
    let tasks: Vec<Value> = (1..2000).map(|n| task(&format!("web.{n}"), "service", "healthy", "")).collect();
    let api = FakeApi::new(&[("GET /v1/ps", 200, &json!(tasks).to_string())]);
    let mut command = taffeta(&["ps", "--api", &api.url()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

fn node(state: &str) -> Value {
    let resources = json!({"cpus": 4.0, "memory": 1, "disk": 1, "custom": {"gpu": 2}});
    json!({
        "id": "00000000000000a2", "name": "n2", "address": "127.0.0.2:7400", "zone": "", "state": state,
        "draining": state == "draining", "role": "member", "rtt_ms": null, "generation": 0, "attributes": {}, "resources": resources,
        "used": resources, "tasks": 1, "version": "", "http": null, "dns": null, "not_isolated": [],
    })
}

fn drain(state: &str, tasks: &Value, services: &Value, more: &[&str]) -> (Said, FakeApi) {
    let api = FakeApi::new(&[
        ("GET /v1/nodes", 200, &json!([node(state)]).to_string()),
        ("GET /v1/ps", 200, &tasks.to_string()),
        ("GET /v1/services", 200, &services.to_string()),
        ("POST /v1/nodes/n2/drain", 204, ""),
    ]);
    (asks(&api, &[&["drain", "n2"], more].concat()), api)
}

#[test]
fn a_drain_says_what_it_waits_for_and_exits_4_when_that_takes_too_long() {
    let tasks = json!([
        task("web.1", "service", "healthy", "still on a machine that is drained: n1: needs 2 cpus, 1 free"),
        task("sum.1", "batch", "running", ""),
        task("log.1", "daemon", "running", ""),
        task("done.1", "batch", "finished", ""),
    ]);
    let wait = ["--wait", "--timeout", "300ms"];
    let (late, api) = drain("draining", &tasks, &json!([]), &wait);
    assert_eq!((late.code, late.stdout.as_str()), (Some(4), ""), "{late:?}");
    let left = "0 of 2 tasks moved; waits: \
        shop/web.1: still on a machine that is drained: n1: needs 2 cpus, 1 free; shop/sum.1: runs to its end on n2";
    assert!(
        late.stderr.starts_with(&format!("{left}\nerror: n2 is not empty after 300ms: {left}\nhelp: ")),
        "{late:?}"
    );
    let posted = api.asked().into_iter().find(|asked| asked.line.starts_with("POST")).unwrap();
    assert_eq!(posted.body, r#"{"off":false}"#);
    // The node that is asked may know of the drain a moment later than the leader.
    assert_eq!(drain("alive", &tasks, &json!([]), &wait).0.code, Some(4));
}

#[test]
fn a_drain_is_over_when_only_daemons_and_what_has_ended_are_left() {
    let tasks = json!([task("log.1", "daemon", "running", ""), task("done.1", "batch", "finished", "")]);
    let instance = |service: &str, state: &str| {
        let one = json!({"instance": "1", "node": "n2", "address": "127.0.0.2", "ports": {}, "state": state,
            "serving": false});
        json!([{"service": service, "app": "shop", "name": "x", "instances": [one]}])
    };
    let wait = ["--wait", "--timeout", "300ms"];
    let (done, _) = drain("draining", &tasks, &instance("log", "stopping"), &wait);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), "n2 is empty: 0 of 0 tasks moved or ended\n"), "{done:?}");
    let (late, _) = drain("draining", &tasks, &instance("web", "stopping"), &wait);
    assert!(late.code == Some(4) && late.stderr.contains("shop/web.1: still stopping there"), "{late:?}");
    let (not_awaited, _) = drain("draining", &tasks, &instance("web", "stopping"), &[]);
    assert_eq!(not_awaited.code, Some(0), "{not_awaited:?}");
    let (off, api) = drain("draining", &tasks, &json!([]), &["--off"]);
    assert_eq!((off.code, off.stderr.as_str()), (Some(0), "n2 takes tasks again\n"), "{off:?}");
    assert_eq!(api.asked()[0].body, r#"{"off":true}"#);
}

#[test]
fn a_drain_tells_whom_data_keeps_and_does_not_wait_for_them() {
    let volume = json!({"task": "shop/db.1", "name": "data", "node": "n2", "size": 1_u64 << 30, "state": "used", "born": "0.1.7"});
    let api = FakeApi::new(&[
        ("GET /v1/nodes", 200, &json!([node("draining")]).to_string()),
        ("GET /v1/ps", 200, &json!([task("db.1", "service", "healthy", "")]).to_string()),
        ("GET /v1/services", 200, "[]"),
        ("GET /v1/volumes", 200, &json!([volume]).to_string()),
        ("POST /v1/nodes/n2/drain", 204, ""),
    ]);
    let done = asks(&api, &["drain", "n2", "--wait", "--timeout", "300ms"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("their data keeps these on n2: shop/db.1"), "{done:?}");
}

#[test]
fn nothing_is_lost_without_a_yes_and_it_is_told_what_would_be() {
    let volume = json!({"task": "shop/db.1", "name": "data", "node": "n2", "size": 1_u64 << 30, "state": "awaited", "born": "0.1.7"});
    let api = FakeApi::new(&[
        ("GET /v1/volumes", 200, &json!([volume]).to_string()),
        ("POST /v1/volumes/shop/db.1/reset", 204, ""),
        ("DELETE /v1/volumes/shop/db.1", 204, ""),
    ]);
    let listed = asks(&api, &["volume", "list"]);
    assert!(listed.stdout.contains("shop/db.1   data     n2     1GiB   -      -       awaited   0.1.7"), "{listed:?}");
    for verb in ["reset", "remove"] {
        let asked = api.asked().len();
        let told = asks(&api, &["volume", verb, "shop/db.1"]);
        assert_eq!(told.code, Some(3), "{told:?}");
        let lost = "error: this would lose the volume `data` of shop/db.1 (1GiB on n2, awaited by its task)";
        assert!(told.stderr.contains(lost) && told.stderr.contains("--yes"), "{told:?}");
        assert!(api.asked()[asked..].iter().all(|asked| asked.line.starts_with("GET ")), "{:?}", api.asked());
        assert_eq!(asks(&api, &["volume", verb, "shop/db.1", "--yes"]).code, Some(0));
    }
    assert!(api.asked().iter().any(|asked| asked.line.starts_with("POST /v1/volumes/shop/db.1/reset")));
    assert!(api.asked().iter().any(|asked| asked.line.starts_with("DELETE /v1/volumes/shop/db.1")));
    let unknown = asks(&api, &["volume", "remove", "shop/db.2"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.stderr.contains("`shop/db.2` has no volume"), "{unknown:?}");
}

#[test]
fn a_window_is_set_listed_and_ended() {
    let window = json!({"node": "n2", "schedule": "0 2 * * 0", "zone": "Europe/Berlin", "seconds": 7200,
        "open_until": null, "next": "2026-11-22T01:00:00Z"});
    let api = FakeApi::new(&[
        ("GET /v1/maintenance", 200, &json!([window]).to_string()),
        ("POST /v1/nodes/n2/maintenance", 204, ""),
        ("DELETE /v1/nodes/n2/maintenance", 204, ""),
    ]);
    let set = asks(&api, &["maintenance", "n2", "--schedule", "0 2 * * 0", "--for", "2h", "--zone", "Europe/Berlin"]);
    assert_eq!(set.code, Some(0), "{set:?}");
    assert!(set.stderr.contains("n2 is drained for 2h from 2026-11-22T01:00:00Z on"), "{set:?}");
    let body = json!({"schedule": "0 2 * * 0", "zone": "Europe/Berlin", "seconds": 7200});
    assert_eq!(serde_json::from_str::<Value>(&api.asked()[0].body).unwrap(), body);
    let listed = asks(&api, &["maintenance"]);
    let row = "n2     0 2 * * 0   Europe/Berlin   2h    -            2026-11-22T01:00:00Z";
    assert!(listed.stdout.contains(row), "{listed:?}");
    assert_eq!(json(&asks(&api, &["maintenance", "-o", "json"])), json!([window]));
    assert_eq!(asks(&api, &["maintenance", "n2", "--off"]).code, Some(0));
}

#[test]
fn a_quota_is_set_and_listed_with_its_use() {
    let quota = json!({
        "team": "red", "limits": {"cpus": 2.5, "memory": null, "disk": null, "custom": {"gpu": 2}},
        "used": {"cpus": 0.5, "memory": 1024, "disk": 0, "custom": {"gpu": 1}}, "share": 3, "tasks": 4,
    });
    let api = FakeApi::new(&[
        ("PUT /v1/quotas/red", 200, &quota.to_string()),
        ("GET /v1/quotas", 200, &json!([quota]).to_string()),
        ("DELETE /v1/quotas/red", 204, ""),
    ]);
    let set = asks(&api, &["quota", "set", "red", "--cpus", "2.5", "--resource", "gpu=2", "--share", "3"]);
    let words = "the tasks of team red may use 2.5 cpus, 2 gpu together; its share is 3\n";
    assert_eq!((set.code, set.stderr.as_str()), (Some(0), words), "{set:?}");
    let body: Value = serde_json::from_str(&api.asked()[0].body).unwrap();
    assert_eq!(body, json!({"cpus": 2.5, "memory": null, "disk": null, "custom": {"gpu": 2}, "share": 3}));
    let listed = asks(&api, &["quota", "list"]);
    let row = listed.stdout.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(row, "red 3 4 0.5/2.5 1KiB/- 0B/- gpu 1/2");
    assert_eq!(json(&asks(&api, &["quota", "list", "-o", "json"])), json!([quota]));
    assert_eq!(asks(&api, &["quota", "remove", "red"]).code, Some(0));
}

#[test]
fn a_plan_warns_of_what_no_machine_could_ever_run() {
    let plan =
        json!({"app": "shop", "steps": [], "warnings": ["line 4: needs 9 gpu"], "fields": ["service.big.resources"]});
    let api = FakeApi::new(&[("POST /v1/plan", 200, &plan.to_string())]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.toml");
    fs::write(&file, "app = \"shop\"\n[service.big]\nrun = [\"x\"]\n").unwrap();
    let said = asks(&api, &["plan", file.to_str().unwrap(), "-o", "json"]);
    let warning = format!("warning: {}: line 4: needs 9 gpu\n", file.display());
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), warning.as_str()), "{said:?}");
    assert_eq!(json(&said), plan);
}
