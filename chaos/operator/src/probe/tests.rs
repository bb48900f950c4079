use super::{find, is_tolerated};
use crate::{
    fabric::Fabric,
    format::{Experiment, Given, read_tolerance},
};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};
use taffeta_node::client::{ApiClient, ApiTarget};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A cluster that nobody asks.
fn nobody() -> Fabric {
    Fabric::new(ApiClient::new(ApiTarget::Http("http://127.0.0.1:1".into()), None).unwrap(), None, vec![])
}

async fn found(provider: &Json) -> Result<Json, String> {
    let text = json!({"title": "t", "method": [{"type": "probe", "name": "p", "provider": provider}]}).to_string();
    let experiment = Experiment::read(&text, "x.json", &Given::default()).unwrap();
    find(&experiment.method[0], &nobody()).await
}

#[tokio::test]
async fn a_command_gives_status_and_both_outputs_as_in_the_chaos_toolkit() {
    let words = json!({"type": "process", "path": "printf", "arguments": ["%s-%s", "a b", 5]});
    assert_eq!(found(&words).await.unwrap(), json!({"status": 0, "stdout": "a b-5", "stderr": ""}));
    let shell = json!({"type": "process", "path": "echo", "arguments": "one; echo two >&2; exit 3"});
    assert_eq!(found(&shell).await.unwrap(), json!({"status": 3, "stdout": "one\n", "stderr": "two\n"}));
    let map = json!({"type": "process", "path": "echo", "arguments": {"-n": "x"}});
    assert_eq!(found(&map).await.unwrap()["stdout"], "x");
    let missing = found(&json!({"type": "process", "path": "/no/such/program"})).await.unwrap_err();
    assert!(missing.starts_with("/no/such/program cannot be started"), "{missing}");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("pid");
    let text = format!("x; sleep 60 & echo $! > {}; wait", mark.display());
    let began = Instant::now();
    let late = found(&json!({"type": "process", "path": "echo", "arguments": text, "timeout": 1})).await.unwrap_err();
    assert!(late.contains("took longer than 1s") && began.elapsed() < Duration::from_secs(20), "{late}");
    let pid = std::fs::read_to_string(mark).unwrap();
    let status = format!("/proc/{}/status", pid.trim());
    let until = Instant::now() + Duration::from_secs(10);
    // Dead, or dead and not yet reaped by whoever inherits it.
    let lives = || std::fs::read_to_string(&status).is_ok_and(|text| !text.contains("State:\tZ"));
    while lives() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!lives(), "what it had started goes on");
}

/// Answers one request, and gives what was asked.
async fn server(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 4096];
        let mut request = String::new();
        while !request.contains("\r\n\r\n") || request.contains("content-length: 7") && !request.ends_with("a=b&c=1") {
            let length = stream.read(&mut buffer).await.unwrap();
            request += &String::from_utf8_lossy(&buffer[..length]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });
    (port, asked)
}

#[tokio::test]
async fn a_request_gives_status_headers_and_a_body_that_is_json_if_it_says_so() {
    let answer = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{\"a\":1}";
    let (port, asked) = server(answer).await;
    let url = format!("http://127.0.0.1:{port}/x");
    let reply =
        found(&json!({"type": "http", "url": url, "arguments": {"q": "a b"}, "headers": {"X-Y": 5}})).await.unwrap();
    assert_eq!((&reply["status"], &reply["body"]), (&json!(201), &json!({"a": 1})));
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("GET /x?q=a+b HTTP/1.1\r\n") && asked.contains("x-y: 5\r\n"), "{asked}");

    let (port, asked) = server("HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno").await;
    let url = format!("http://127.0.0.1:{port}/");
    let reply =
        found(&json!({"type": "http", "url": url, "method": "post", "arguments": {"a": "b", "c": 1}})).await.unwrap();
    assert_eq!((&reply["status"], &reply["body"]), (&json!(500), &json!("no")));
    assert!(asked.await.unwrap().ends_with("a=b&c=1"));

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let late = found(&json!({"type": "http", "url": url, "timeout": [0.05, 0.05]})).await.unwrap_err();
    assert!(late.contains("no answer within 100ms"), "{late}");
}

#[tokio::test]
async fn a_tolerance_may_be_a_probe_that_gets_the_value() {
    let script = r#"[ "$2" -gt 3 ]"#;
    let text = json!({"type": "probe", "name": "more than three", "provider":
        {"type": "process", "path": "/bin/sh", "arguments": ["-c", script, "x"]}});
    let tolerance = read_tolerance(&text.to_string()).unwrap();
    assert!(is_tolerated(&tolerance, &json!(5), &nobody()).await);
    assert!(!is_tolerated(&tolerance, &json!(2), &nobody()).await);
}
