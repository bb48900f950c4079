//! What a node is asked, and what a person or a script is told of its answer.
//!
//! Left out: verbs that wait, or that ask the person back, which are `waiting`'s.

use super::{asks, fake_api::FakeApi, json, run, said, taffeta, task};
use serde_json::Value;
use std::{fs, io::Write, path::Path, process::Stdio};

#[test]
fn a_node_that_is_not_there_is_told_with_its_address() {
    // Bound and let go: nobody listens there now, and no other test binds a port of this host.
    let free = std::net::TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap();
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
fn nobody_who_stops_reading_makes_a_verb_fail() {
    let tasks: Vec<Value> = (1..2000).map(|n| task(&format!("web.{n}"), "service", "healthy", "")).collect();
    let api = FakeApi::new(&[("GET /v1/ps", 200, &json!(tasks).to_string())]);
    let mut command = taffeta(&["ps", "--api", &api.url()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
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
