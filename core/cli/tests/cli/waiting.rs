//! Verbs that wait, as `deploy --wait` and `drain --wait`, or that want a yes first: what they say meanwhile and how
//! they end.

use super::{Said, asks, fake_api::FakeApi, task};
use serde_json::{Value, json};
use std::fs;

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
    // Long enough to look once on a busy machine.
    let wait = ["--wait", "--timeout", "2s"];
    let (late, api) = drain("draining", &tasks, &json!([]), &wait);
    assert_eq!((late.code, late.stdout.as_str()), (Some(4), ""), "{late:?}");
    let left = "0 of 2 tasks moved; waits: \
        shop/web.1: still on a machine that is drained: n1: needs 2 cpus, 1 free; shop/sum.1: runs to its end on n2";
    assert!(late.stderr.starts_with(&format!("{left}\nerror: n2 is not empty after 2s: {left}\nhelp: ")), "{late:?}");
    let posted = api.asked().into_iter().find(|asked| asked.line.starts_with("POST")).unwrap();
    assert_eq!(posted.body, r#"{"off":false}"#);
    // The node that is asked may know of the drain a moment later than the leader.
    assert_eq!(drain("alive", &tasks, &json!([]), &["--wait", "--timeout", "300ms"]).0.code, Some(4));
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
