//! Each route, and the shape of what goes wrong.

use super::super::HttpConfig;
use super::super::body::BODY_BYTES_MAX;
use super::super::openapi::Document;
use super::super::routes::routes;
use super::{Running, fake, loopback, raw, run, run_with, with_token};
use crate::api::{
    ApiError, DeployRequest, ErrorCode, FaultRequest, LogRead, MaintenanceRequest, QuotaRequest, ScaleRequest,
    ShippedFileBody, TokenRequest,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use taffeta_model::Secret;
use utoipa::OpenApi;

const JSON: &str = "Content-Type: application/json";

/// The single call that the backend saw.
fn call(running: &Running) -> String {
    let calls = running.fake.take_calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls[0].clone()
}

#[tokio::test]
async fn every_reading_verb_travels_to_the_backend_and_back() {
    let running = run(false);
    let client = running.client();
    client.health().await.unwrap();
    assert!(running.fake.take_calls().is_empty());

    assert_eq!(client.status().await.unwrap().leader.as_deref(), Some("n1"));
    assert_eq!(call(&running), "status");
    assert_eq!(client.leader().await.unwrap().unwrap().term, 3);
    assert_eq!(call(&running), "leader");
    assert_eq!(client.nodes().await.unwrap().len(), 3);
    assert_eq!(call(&running), "nodes");
    let job = client.apps().await.unwrap()[0].jobs[0].clone();
    assert_eq!((job.count, job.exclusive), (3, true));
    assert_eq!(job.isolation.profile.as_deref(), Some("strict"));
    assert_eq!(job.isolation.without, ["pid-namespace"]);
    assert_eq!(call(&running), "apps");
    assert_eq!(client.tasks(None).await.unwrap()[0].ports["http"], 31022);
    assert_eq!(call(&running), "tasks None");
    client.tasks(Some("shop".parse().unwrap())).await.unwrap();
    assert_eq!(call(&running), "tasks Some(shop)");
    assert_eq!(client.services().await.unwrap()[0].name, "web.shop.fabric.internal");
    assert_eq!(call(&running), "services");
    assert_eq!(client.why("shop/web.2".parse().unwrap()).await.unwrap().task, "shop/web.2");
    assert_eq!(call(&running), "why shop/web.2");
    assert_eq!(client.tokens().await.unwrap()[0].uses_left, Some(2));
    assert_eq!(call(&running), "tokens");
    assert_eq!(client.authorities().await.unwrap().waiting, ["n3"]);
    assert_eq!(call(&running), "authorities");
    let resolved = client.resolve("_http._tcp.web.shop.fabric.internal.".into(), "SRV".into()).await.unwrap();
    assert_eq!(resolved.hidden[0].reason, "suspect");
    assert_eq!(call(&running), "resolve _http._tcp.web.shop.fabric.internal. SRV");
}

#[tokio::test]
async fn faults_travel_to_the_backend_with_their_own_token() {
    let running = run(false);
    let client = running.client();
    assert_eq!(client.chaos().await.unwrap().blocked.unwrap().reason, "enough");
    assert_eq!(call(&running), "chaos");
    let request = FaultRequest {
        id: "0123456789abcdef".into(),
        run: "a run".into(),
        node: "n2".into(),
        fault: taffeta_chaos_plan::Fault::Loss { fraction: 0.25 },
        lasts_ms: 9_000,
        peers: vec!["n1".into()],
        task: None,
        dry_run: false,
    };
    assert_eq!(client.inject(&request, "s3cret\n").await.unwrap().backend, "socket");
    assert_eq!(call(&running), r#"begin "s3cret" 0123456789abcdef a run n2 `loss 25 %` 9000 ["n1"] None false"#);
    // The API's own token does not stand in for it.
    let body = br#"{"id":"0123456789abcdef","run":"r","node":"n2","fault":"pause","lasts_ms":1}"#;
    with_token(running.addr, "POST /v1/chaos/faults", &[JSON], body).await;
    assert_eq!(call(&running), r#"begin "" 0123456789abcdef r n2 `pause` 1 [] None false"#);
    let wrong = br#"{"id":"0123456789abcdef","run":"r","node":"n2","fault":"explode","lasts_ms":1}"#;
    let refused = with_token(running.addr, "POST /v1/chaos/faults", &[JSON], wrong).await;
    assert_eq!((refused.status, running.fake.take_calls()), (400, vec![]));
    assert_eq!(client.undo("0123456789abcdef").await.unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(call(&running), "end 0123456789abcdef");
    assert_eq!(client.chaos_stop("enough").await.unwrap().stopped, ["n1"]);
    assert_eq!(call(&running), r#"stop "enough""#);
    assert_eq!(with_token(running.addr, "POST /v1/chaos/stop", &[], b"").await.status, 200, "a kill switch is easy");
    assert_eq!(call(&running), r#"stop """#);
    client.chaos_allow().await.unwrap();
    assert_eq!(call(&running), "allow");
}

#[tokio::test]
async fn every_changing_verb_travels_to_the_backend_and_back() {
    let running = run(false);
    let client = running.client();
    let shipped = ShippedFileBody { base64: "aGk=".into(), executable: true };
    let request = DeployRequest { file: "app = \"shop\"".into(), files: [("a.py".to_owned(), shipped)].into() };

    assert_eq!(client.deploy(request.clone()).await.unwrap().version, 2);
    assert_eq!(call(&running), r#"deploy "app = \"shop\"" ["a.py"]"#);
    assert_eq!(client.plan(request).await.unwrap().steps[0].action, "keep");
    assert_eq!(call(&running), r#"plan "app = \"shop\"""#);
    let app = || "shop".parse().unwrap();
    client.scale(app(), ScaleRequest { service: "web".into(), count: 5 }).await.unwrap();
    assert_eq!(call(&running), "scale shop/web 5");
    client.stop(app()).await.unwrap();
    assert_eq!(call(&running), "stop shop");
    client.restart(app(), Some("web".parse().unwrap())).await.unwrap();
    assert_eq!(call(&running), "restart shop Some(web)");
    client.restart(app(), None).await.unwrap();
    assert_eq!(call(&running), "restart shop None");
    client.rollback(app(), Some(3)).await.unwrap();
    assert_eq!(call(&running), "shop Rollback { to: Some(3) }");
    client.pause(app(), true).await.unwrap();
    assert_eq!(call(&running), "shop Pause");
    client.pause(app(), false).await.unwrap();
    assert_eq!(call(&running), "shop Resume");
    client.promote(app(), Some("web".parse().unwrap())).await.unwrap();
    assert_eq!(call(&running), "shop Promote { job: Some(web) }");
    client.run(app(), "report".parse().unwrap(), vec!["--all".into()]).await.unwrap();
    assert_eq!(call(&running), r#"shop Run { job: report, args: ["--all"] }"#);
    let token = client.create_token(TokenRequest { role: None, ttl_seconds: Some(60), uses: Some(1) }).await.unwrap();
    assert_eq!(token.token, "join");
    assert_eq!(call(&running), "create_token Some(60) Some(1)");
    client.revoke_token("b1".parse().unwrap()).await.unwrap();
    assert_eq!(call(&running), "revoke_token 00000000000000b1");
    client.remove_node("n3", false).await.unwrap();
    assert_eq!(call(&running), "remove_node n3 false");
    client.remove_node("n3", true).await.unwrap();
    assert_eq!(call(&running), "remove_node n3 true");
    client.drain_node("n3", false).await.unwrap();
    assert_eq!(call(&running), "drain_node n3 false");
    client.drain_node("n3", true).await.unwrap();
    assert_eq!(call(&running), "drain_node n3 true");
    assert_eq!(with_token(running.addr, "POST /v1/nodes/n3/drain", &[], b"").await.status, 204);
    assert_eq!(call(&running), "drain_node n3 false");
    client.rotate_authority().await.unwrap();
    assert_eq!(call(&running), "rotate_authority");
    client.finish_rotation(true).await.unwrap();
    assert_eq!(call(&running), "finish_rotation true");
}

#[tokio::test]
async fn secrets_and_backups_travel_to_the_backend_and_back() {
    let running = run(false);
    let client = running.client();
    assert_eq!(client.secrets().await.unwrap()[0].used_by[0].version, 1);
    assert_eq!(call(&running), "secrets");
    let value = Secret::new(b"hunter2".to_vec());
    assert_eq!(client.set_secret("db".parse().unwrap(), &value).await.unwrap().version, 2);
    assert_eq!(call(&running), "set_secret db 7");
    client.remove_secret("db".parse().unwrap(), true).await.unwrap();
    assert_eq!(call(&running), "remove_secret db true");
    assert_eq!(with_token(running.addr, "DELETE /v1/secrets/db", &[], b"").await.status, 204);
    assert_eq!(call(&running), "remove_secret db false");
    assert_eq!(client.backup().await.unwrap(), "a backup");
    assert_eq!(call(&running), "backup");
    // What any web page may send, or a path that is no name, sets nothing.
    let form = "Content-Type: application/x-www-form-urlencoded";
    assert_eq!(with_token(running.addr, "PUT /v1/secrets/db", &[form], b"x").await.status, 415);
    let bytes = "Content-Type: application/octet-stream";
    let answer = with_token(running.addr, "PUT /v1/secrets/.db", &[bytes], b"x").await;
    assert_eq!((answer.status, answer.json()["error"]["field"].as_str()), (400, Some("name")));
    assert!(running.fake.take_calls().is_empty());
}

#[tokio::test]
async fn quotas_travel_to_the_backend_and_back() {
    let running = run(false);
    let client = running.client();
    assert_eq!(client.quotas().await.unwrap()[0].limits.cpus, Some(2.5));
    assert_eq!(call(&running), "quotas");
    let team = || "red".parse().unwrap();
    let request = QuotaRequest { cpus: Some(1.5), custom: [("gpu".into(), 2)].into(), ..QuotaRequest::default() };
    assert_eq!(client.set_quota(team(), &request).await.unwrap().share, 3);
    assert_eq!(call(&running), r#"set_quota red Some(1.5) {"gpu": 2} None"#);
    client.remove_quota(team()).await.unwrap();
    assert_eq!(call(&running), "remove_quota red");
    let answer = with_token(running.addr, "PUT /v1/quotas/red", &[JSON], br#"{"cpu":1}"#).await;
    assert_eq!((answer.status, answer.json()["error"]["field"].as_str()), (400, Some("cpu")));
    let answer = with_token(running.addr, "DELETE /v1/quotas/Red", &[], b"").await;
    assert_eq!((answer.status, answer.json()["error"]["field"].as_str()), (400, Some("team")));
    assert!(running.fake.take_calls().is_empty());
}

#[tokio::test]
async fn volumes_and_windows_travel_to_the_backend_and_back() {
    let running = run(false);
    let client = running.client();
    assert_eq!(client.volumes().await.unwrap()[0].born, "0.1.7");
    assert_eq!(call(&running), "volumes");
    client.reset_volume("shop/db.1".parse().unwrap()).await.unwrap();
    assert_eq!(call(&running), "reset_volume shop/db.1");
    client.remove_volume("shop/db.1".parse().unwrap(), None).await.unwrap();
    assert_eq!(call(&running), "remove_volume shop/db.1 None");
    client.remove_volume("shop/db.1".parse().unwrap(), Some("data".parse().unwrap())).await.unwrap();
    assert_eq!(call(&running), "remove_volume shop/db.1 Some(data)");
    assert_eq!(client.maintenance().await.unwrap()[0].seconds, 7200);
    assert_eq!(call(&running), "maintenance");
    let window = MaintenanceRequest { schedule: "0 2 * * 0".into(), zone: None, seconds: 60 };
    client.maintain("n1", Some(&window)).await.unwrap();
    assert_eq!(call(&running), r#"maintain n1 Some(("0 2 * * 0", None, 60))"#);
    client.maintain("n1", None).await.unwrap();
    assert_eq!(call(&running), "maintain n1 None");
    let answer = with_token(running.addr, "POST /v1/nodes/n1/maintenance", &[JSON], br#"{"schedule":"x"}"#).await;
    assert_eq!(answer.status, 400);
    for (line, field) in [
        ("POST /v1/volumes/shop/db/reset", "task"),
        ("DELETE /v1/volumes/shop/..%2f..", "task"),
        ("DELETE /v1/volumes/shop/db.1?name=..%2fx", "name"),
    ] {
        let answer = with_token(running.addr, line, &[], b"").await;
        assert_eq!((answer.status, answer.json()["error"]["field"].as_str()), (400, Some(field)), "{line}");
    }
    assert!(running.fake.take_calls().is_empty());
}

#[tokio::test]
async fn a_piece_of_the_logs_says_where_the_next_begins() {
    let running = run(false);
    running.fake.chunks.lock().unwrap().push_back(Ok(fake::chunk("hello\n", 106, "run-7", true)));
    let read = LogRead { stderr: true, offset: Some(100), tail: 10, limit: 4096, ..LogRead::default() };
    let chunk = running.client().logs("shop/web.2".parse().unwrap(), read).await.unwrap();
    assert_eq!(chunk, fake::chunk("hello\n", 106, "run-7", true));
    assert_eq!(call(&running), "logs shop/web.2 true Some(100) 10 4096");

    let answer = with_token(running.addr, "GET /v1/logs/shop/web.2", &[], b"").await;
    assert_eq!((answer.status, answer.header("x-taffeta-next")), (200, Some("0")));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(call(&running), "logs shop/web.2 false None 65536 262144");
}

#[tokio::test]
async fn an_app_file_is_taken_as_toml_and_empty_bodies_mean_the_defaults() {
    let running = run(false);
    let toml = "Content-Type: application/toml; charset=utf-8";
    let answer = with_token(running.addr, "POST /v1/apps", &[toml], b"app = 'x'").await;
    assert_eq!((answer.status, answer.json()["version"].as_u64()), (200, Some(2)));
    assert_eq!(call(&running), r#"deploy "app = 'x'" []"#);
    assert_eq!(with_token(running.addr, "POST /v1/plan", &[toml], b"app = 'x'").await.status, 200);
    assert_eq!(call(&running), r#"plan "app = 'x'""#);
    assert_eq!(with_token(running.addr, "POST /v1/tokens", &[], b"").await.status, 200);
    assert_eq!(call(&running), "create_token None None");
    assert_eq!(with_token(running.addr, "POST /v1/apps/shop/restart", &[], b"").await.status, 204);
    assert_eq!(call(&running), "restart shop None");
    assert_eq!(with_token(running.addr, "GET /v1/dns/web.shop.fabric.internal", &[], b"").await.status, 200);
    assert_eq!(call(&running), "resolve web.shop.fabric.internal A");
    assert_eq!(with_token(running.addr, "GET /v1/dns?after=5&limit=7", &[], b"").await.status, 200);
    assert_eq!(call(&running), "zone 5 7");
    for wrong in ["limit=0", "limit=10001", "after=-1", "start=1"] {
        assert_eq!(with_token(running.addr, &format!("GET /v1/dns?{wrong}"), &[], b"").await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn no_leader_is_null_and_a_success() {
    let running = run(false);
    *running.fake.failure.lock().unwrap() = Some(ApiError::new(ErrorCode::NotFound, "none"));
    let answer = with_token(running.addr, "GET /v1/leader", &[], b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "null"));
    assert_eq!(running.client().leader().await.unwrap(), None);
}

#[tokio::test]
async fn errors_of_the_backend_come_through_whole() {
    let running = run(false);
    let codes = [
        (ErrorCode::Invalid, 400),
        (ErrorCode::Forbidden, 403),
        (ErrorCode::NotFound, 404),
        (ErrorCode::Conflict, 409),
        (ErrorCode::Failed, 500),
        (ErrorCode::NoQuorum, 503),
        (ErrorCode::Timeout, 504),
    ];
    for (code, status) in codes {
        let error = ApiError::new(code, "no").help("do this").field("service.web.count");
        *running.fake.failure.lock().unwrap() = Some(error.clone());
        assert_eq!(running.client().status().await.unwrap_err(), error);
        assert_eq!(running.client().stop("shop".parse().unwrap()).await.unwrap_err(), error);
        let answer = with_token(running.addr, "GET /v1/status", &[], b"").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["error"]["field"], "service.web.count");
    }
}

#[tokio::test]
async fn bad_requests_name_the_field_and_reach_no_backend() {
    let running = run(false);
    // request line, body, status, field
    let cases: [(&str, &str, u16, Option<&str>); 18] = [
        ("POST /v1/apps/shop/run", r#"{"args":["x"]}"#, 400, Some("job")),
        ("POST /v1/apps/shop/run", r#"{"job":"No!"}"#, 400, Some("job")),
        ("POST /v1/apps/shop/rollback", r#"{"version":"1"}"#, 400, Some("version")),
        ("POST /v1/apps/shop/scale", r#"{"service":"web"}"#, 400, Some("count")),
        ("POST /v1/apps/shop/scale", r#"{"service":"web","count":"3"}"#, 400, Some("count")),
        ("POST /v1/apps/shop/scale", r#"{"service":"web","count":-1}"#, 400, Some("count")),
        ("POST /v1/apps/shop/scale", r#"{"service":"No!","count":1}"#, 400, Some("service")),
        ("POST /v1/apps/shop/scale", r#"{"service":"web","count":1"#, 400, None),
        ("POST /v1/apps/shop/scale", r#"[]"#, 400, None),
        ("POST /v1/apps/Shop/scale", r#"{"service":"web","count":1}"#, 400, Some("app")),
        ("POST /v1/apps/shop/restart", r#"{"servcie":"web"}"#, 400, Some("servcie")),
        ("POST /v1/apps", r#"{"file":"","files":{"a.py":{"base64":1}}}"#, 400, Some("files.a.py.base64")),
        ("POST /v1/apps", r#"{"file":"","files":{"a.py":{}}}"#, 400, Some("files.a.py.base64")),
        ("POST /v1/tokens", r#"{"ttl_seconds":"1h"}"#, 400, Some("ttl_seconds")),
        ("GET /v1/ps?app=a_b", "", 400, Some("app")),
        ("GET /v1/ps?apps=shop", "", 400, Some("apps")),
        ("GET /v1/why/shop/web", "", 400, Some("task")),
        ("GET /v1/logs/shop/web.1?stream=both", "", 400, Some("stream")),
    ];
    for (line, body, status, field) in cases {
        let headers: &[&str] = if body.is_empty() { &[] } else { &[JSON] };
        let answer = with_token(running.addr, line, headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, "invalid"), "{line} {body}");
        assert_eq!(answer.json()["error"]["field"].as_str(), field, "{line} {body} {answer:?}");
    }
    assert!(running.fake.take_calls().is_empty());
}

#[tokio::test]
async fn whatever_is_wrong_with_a_request_the_answer_is_an_error_body() {
    let running = run(false);
    let long = vec![b'a'; BODY_BYTES_MAX + 1];
    let toml = "Content-Type: application/toml";
    type Case<'a> = (&'a str, &'a [&'a str], &'a [u8], u16, &'a str);
    let cases: [Case<'_>; 8] = [
        ("GET /v1/nonsense", &[], b"", 404, "not_found"),
        ("GET /favicon.ico", &[], b"", 404, "not_found"),
        ("PUT /v1/apps", &[], b"", 405, "invalid"),
        ("POST /v1/status", &[], b"", 405, "invalid"),
        ("POST /v1/apps", &[], b"app = 'x'", 415, "invalid"),
        ("POST /v1/apps/shop/scale", &["Content-Type: text/plain"], b"{}", 415, "invalid"),
        ("POST /v1/apps", &[toml], &long, 413, "invalid"),
        ("POST /v1/apps", &[toml], &[0xff, 0xfe], 400, "invalid"),
    ];
    for (line, headers, body, status, code) in cases {
        let answer = with_token(running.addr, line, headers, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{line}");
        assert!(!answer.json()["error"]["message"].as_str().unwrap().is_empty());
    }
    let answer = with_token(running.addr, "PUT /v1/apps", &[], b"").await;
    assert_eq!(answer.header("allow"), Some("GET,HEAD,POST"));
    // Percent-encoded bytes that are no text.
    let answer = with_token(running.addr, "GET /v1/dns/%ff", &[], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid"));
    assert!(running.fake.take_calls().is_empty());
}

#[tokio::test]
async fn the_largest_body_that_is_allowed_is_taken() {
    let running = run(false);
    let body = vec![b' '; BODY_BYTES_MAX];
    let answer = with_token(running.addr, "POST /v1/apps", &["Content-Type: application/toml"], &body).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn metrics_are_the_recorders_and_empty_without_one() {
    let empty = with_token(run(false).addr, "GET /metrics", &[], b"").await;
    assert_eq!((empty.status, empty.body.as_str()), (200, ""));

    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || metrics::counter!("taffeta_test_total").increment(3));
    let config = HttpConfig { listen: Some(loopback()), metrics: Some(recorder.handle()), ..HttpConfig::default() };
    let running = run_with(config);
    let answer = with_token(running.addr, "GET /metrics", &[], b"").await;
    assert!(answer.body.contains("taffeta_test_total 3"), "{answer:?}");
}

#[tokio::test]
async fn the_openapi_document_has_every_route_and_no_other() {
    let document = serde_json::to_value(Document::openapi()).unwrap();
    let mut documented: Vec<(String, String)> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        documented.extend(item.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())));
    }
    let mut routed: Vec<_> = routes().iter().map(|r| (r.method.to_owned(), r.path.to_owned())).collect();
    documented.sort();
    routed.sort();
    assert_eq!(documented, routed);

    let running = run(false);
    let served = with_token(running.addr, "GET /v1/openapi.json", &[], b"").await;
    assert_eq!(served.json(), document);
}

#[tokio::test]
async fn the_openapi_document_has_every_schema_that_it_refers_to() {
    let document = serde_json::to_value(Document::openapi()).unwrap();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut referred = 0;
    for rest in text.split("#/components/schemas/").skip(1) {
        let name = rest.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to but missing");
        referred += 1;
    }
    assert!(referred > 20, "only {referred} references");
    assert!(schemas.contains_key("TaskView") && schemas.contains_key("ErrorBody"));
    let job = &schemas["JobView"]["properties"];
    assert_eq!(job["exclusive"]["type"], "boolean");
    assert!(job["isolation"].to_string().contains("#/components/schemas/IsolationView"), "{job}");
    assert!(schemas["IsolationView"]["properties"]["without"].is_object());
}

#[tokio::test]
async fn every_route_of_the_table_is_answered_by_its_own_handler() {
    let running = run(false);
    for route in routes() {
        let path = route.path.replace("{app}", "shop").replace("{task}", "web.1").replace("{name}", "a");
        let path = if path == "/v1/events" { "/v1/events?follow=false".into() } else { path };
        let answer = with_token(running.addr, &format!("{} {path}", route.method.to_uppercase()), &[], b"").await;
        assert!(!matches!(answer.status, 404 | 405 | 500..), "{} {path}: {answer:?}", route.method);
    }
    assert_eq!(raw(running.addr, "GET /health", &[], b"").await.json()["status"], "ok");
}
